package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// demoUser is the user of the demo, its password, and its database. README.md, config.toml and userlist.txt as shipped promise the same.
const demoUser = "app"

// demoStartMax bounds the start of the throwaway PostgreSQL; initdb needs a second, a loaded machine ten.
const demoStartMax = time.Minute

// runDemo starts a PostgreSQL that vanishes with the process, and the pooler in front of it.
func runDemo(p *process, args []string) error {
	named := p.flags.String("config", "", "configuration `FILE`; its server, user and password are replaced (default: built-in defaults)")
	if err := p.parse(args); err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, "Starting a throwaway PostgreSQL ...")
	cluster, err := demoCluster()
	if err != nil {
		return err
	}
	defer func() {
		if err := cluster.Stop(true); err != nil {
			fmt.Fprintf(p.stderr, "stop the throwaway PostgreSQL: %v\n", err)
		}
	}()
	p.environ = demoEnviron(p.environ, cluster, *named == "")
	s := &service{process: p, path: *named, logTo: p.stderr}
	return s.run(func(s *service) { p.demoHelp(s, cluster) })
}

// demoCluster starts PostgreSQL with the demo's user and database. A signal meanwhile ends the start.
func demoCluster() (*pgtest.Cluster, error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, demoStartMax)
	defer cancel()
	cluster, err := pgtest.Start(ctx, pgtest.Options{AuthMethod: "scram-sha-256"})
	if err != nil {
		return nil, err
	}
	for _, sql := range []string{
		"create role " + demoUser + " login password '" + demoUser + "'",
		"create database " + demoUser + " owner " + demoUser,
	} {
		if err := cluster.Exec(sql); err != nil {
			return nil, errors.Join(fmt.Errorf("prepare the throwaway PostgreSQL: %w", err), cluster.Stop(true))
		}
	}
	return cluster, nil
}

// demoEnviron points the pooler at the throwaway PostgreSQL. Names of other programs are left out: a DATABASE_URL of the shell must
// not lead a demo to somebody's database.
func demoEnviron(environ []string, cluster *pgtest.Cluster, login bool) []string {
	var kept []string
	for _, entry := range environ {
		if strings.HasPrefix(entry, "HYBRIDBOUNCER_") {
			kept = append(kept, entry)
		}
	}
	kept = append(kept, "HYBRIDBOUNCER_SERVER_HOST="+cluster.Host, fmt.Sprintf("HYBRIDBOUNCER_SERVER_PORT=%d", cluster.Port),
		"HYBRIDBOUNCER_SERVER_USER=", "HYBRIDBOUNCER_SERVER_PASSWORD=")
	if login {
		kept = append(kept, "HYBRIDBOUNCER_AUTH_USER="+demoUser, "HYBRIDBOUNCER_AUTH_PASSWORD="+demoUser)
	}
	return kept
}

// demoHelp prints lines to paste.
func (p *process) demoHelp(s *service, cluster *pgtest.Cluster) {
	fmt.Fprintf(p.stdout, "\nPostgreSQL runs on port %d and vanishes with this program. It has a user %[2]s (password %[2]s) and a database %[2]s.\n"+
		"Paste into another terminal:\n\n", cluster.Port, demoUser)
	addresses := s.proxy.Addresses()
	for i := range s.config.Listeners {
		l := &s.config.Listeners[i]
		for _, address := range addresses[l.Name] {
			fmt.Fprintf(p.stdout, "  %-62s # %s, pool_mode %s\n", "PGPASSWORD="+demoUser+" "+psqlLine(address, demoUser, demoUser), l.Name, l.PoolMode)
		}
	}
	if s.admin != nil {
		fmt.Fprintf(p.stdout, "  %-62s # utilization of both pools\n  %-62s # for Prometheus\n",
			"curl http://"+s.admin.Address()+"/health/db", "curl http://"+s.admin.Address()+"/metrics")
	}
	fmt.Fprint(p.stdout, "\nCtrl-C ends it.\n\n")
}
