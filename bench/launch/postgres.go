package launch

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"

	"github.com/hybridbouncer/hybridbouncer/bench/wire"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// Postgres is the PostgreSQL behind the poolers: one of our own, thrown away at the end, or one that was given.
type Postgres struct {
	Host                     string
	Port                     int
	user, password, database string // a login that may create tables and roles

	Own *pgtest.Cluster // nil when it was given
}

// StartPostgres starts a cluster that trusts everybody on the loopback address and keeps nothing safe from a crash. The cost of PostgreSQL
// itself is shared by all poolers and not measured.
func StartPostgres(ctx context.Context) (*Postgres, error) {
	own, err := pgtest.Start(ctx, pgtest.Options{
		MaxConnections: 400, // several poolers keep their 25 to 60 servers open side by side
		Settings:       map[string]string{"shared_buffers": "256MB", "autovacuum": "off"},
	})
	if err != nil {
		return nil, err
	}
	return &Postgres{Host: own.Host, Port: own.Port, user: own.Superuser, password: own.Password, database: "postgres", Own: own}, nil
}

// GivenPostgres describes a PostgreSQL that runs already, at host:port.
func GivenPostgres(address, user, password, database string) (*Postgres, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("-server wants host:port: %w", err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("-server wants host:port: %w", err)
	}
	return &Postgres{Host: host, Port: port, user: user, password: password, database: database}, nil
}

// Target makes a login of the user that may create tables, straight to PostgreSQL.
func (p *Postgres) Target() (*wire.Target, error) {
	return wire.NewTarget(p.Host, p.Port, p.user, p.password, p.database)
}

// Stop ends our own PostgreSQL at once and removes its files; one that was given is left alone.
func (p *Postgres) Stop() {
	if p.Own != nil {
		_ = p.Own.Stop(true) // when this fails, its watchdog removes the rest
	}
}

// MakeTables fills pgbench's tables, dropping those there are.
func (p *Postgres) MakeTables(ctx context.Context, scale int) error {
	program, err := PgbenchProgram()
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, program, "-i", "-q", "-s", strconv.Itoa(scale),
		"-h", p.Host, "-p", strconv.Itoa(p.Port), "-U", p.user, p.database)
	command.Env = append(os.Environ(), "PGPASSWORD="+p.password)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("make pgbench's tables: %w\n%s", err, output)
	}
	return nil
}

// PgbenchProgram is pgbench on PATH or beside PostgreSQL's other programs.
func PgbenchProgram() (string, error) {
	path, err := exec.LookPath("pgbench")
	if err == nil {
		return path, nil
	}
	return pgtest.Program("pgbench")
}
