package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// postgres is the PostgreSQL behind the poolers: one of our own, thrown away at the end, or one that was given.
type postgres struct {
	host                     string
	port                     int
	user, password, database string // a login that may create tables and roles

	own *pgtest.Cluster // nil when it was given
}

// startPostgres starts a cluster that trusts everybody on the loopback address and keeps nothing safe from a crash: what
// PostgreSQL itself costs is not measured here, only shared by all poolers.
func startPostgres(ctx context.Context) (*postgres, error) {
	own, err := pgtest.Start(ctx, pgtest.Options{
		MaxConnections: 400, // several poolers keep their 25 to 60 servers open side by side
		Settings:       map[string]string{"shared_buffers": "256MB", "autovacuum": "off"},
	})
	if err != nil {
		return nil, err
	}
	return &postgres{host: own.Host, port: own.Port, user: own.Superuser, password: own.Password, database: "postgres", own: own}, nil
}

// givenPostgres is one that runs already.
func givenPostgres(address, user, password, database string) (*postgres, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("-server wants host:port: %w", err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("-server wants host:port: %w", err)
	}
	return &postgres{host: host, port: port, user: user, password: password, database: database}, nil
}

func (p *postgres) target() (*target, error) {
	return newTarget(p.host, p.port, p.user, p.password, p.database)
}

// stop ends our own PostgreSQL at once and removes its files; one that was given is left alone.
func (p *postgres) stop() {
	if p.own != nil {
		_ = p.own.Stop(true) // its watchdog removes what is left when this fails
	}
}

// makeTables fills pgbench's tables, dropping those there are.
func (p *postgres) makeTables(ctx context.Context, scale int) error {
	program, err := pgbenchProgram()
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, program, "-i", "-q", "-s", strconv.Itoa(scale),
		"-h", p.host, "-p", strconv.Itoa(p.port), "-U", p.user, p.database)
	command.Env = append(os.Environ(), "PGPASSWORD="+p.password)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("make pgbench's tables: %w\n%s", err, output)
	}
	return nil
}

// pgbenchProgram is pgbench on PATH or beside PostgreSQL's other programs.
func pgbenchProgram() (string, error) {
	path, err := exec.LookPath("pgbench")
	if err == nil {
		return path, nil
	}
	return pgtest.Program("pgbench")
}
