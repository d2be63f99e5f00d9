// Command drivers owns the driver matrix: it plays an application's ordinary day, written once for each driver, to PostgreSQL and through
// both ports of the pooler, and writes what came of it to docs/DRIVERS.md. It must not know what a driver does: a driver is a folder,
// a way to install it into a temporary folder and a command that prints a line for each case.
//
// It is called by scripts/drivers.sh (`make drivers`), which is no part of the tests: the drivers come from their registries.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config/load"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/proxy"
)

const (
	user     = "day"
	password = "day's secret" // with a blank and a quote: all drivers must cope
	urlEnd   = "?sslmode=disable"
)

// ports are where a day is played, in the order of the table.
var ports = []string{"direct", "session", "transaction"}

func main() {
	work := flag.String("work", filepath.Join(os.TempDir(), "hybridbouncer-drivers"), "folder that the drivers are installed into")
	source := flag.String("source", "compat/drivers", "folder of this program and the days")
	out := flag.String("out", "docs/DRIVERS.md", "the table is written there; empty: to standard output alone")
	only := flag.String("only", "", "names of drivers, parted by commas; the table is not written then")
	flag.Parse()
	if err := run(*work, *source, *out, *only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(work, source, out, only string) (err error) {
	addresses, stop, version, err := start(work)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	var rows []row
	for _, d := range drivers {
		if only != "" && !slices.Contains(strings.Split(only, ","), d.name) {
			continue
		}
		fmt.Println("==", d.name)
		r := row{driver: d, days: map[string]day{}}
		if r.missing = d.install(source, work); r.missing != nil {
			fmt.Println("   cannot be had:", r.missing)
		} else {
			for _, port := range ports {
				r.days[port] = d.play(work, port, addresses[port])
				fmt.Printf("   %-12s %s\n", port, r.days[port].summary())
			}
		}
		rows = append(rows, r)
	}
	if only == "" && out != "" {
		if err := os.WriteFile(out, []byte(document(rows, version)), 0o644); err != nil {
			return err
		}
	}
	return faults(rows)
}

// faults is every case that fails on a port and not on PostgreSQL itself, but for those that are expected to.
func faults(rows []row) error {
	var all []error
	for _, r := range rows {
		for _, port := range ports[1:] {
			for _, name := range cases {
				if direct := r.days["direct"][name.name]; r.missing != nil || direct.word != "ok" {
					continue
				}
				got := r.days[port][name.name]
				why := expected(r.driver.name, port, name.name)
				switch {
				case got.word != "ok" && why == "":
					all = append(all, fmt.Errorf("%s, %s port, %s: %s", r.driver.name, port, name.name, got.text))
				case got.word == "ok" && why != "":
					all = append(all, fmt.Errorf("%s, %s port, %s works now: take it off the list of expected failures", r.driver.name, port, name.name))
				}
			}
		}
	}
	return errors.Join(all...)
}

// start runs PostgreSQL and a pooler in front of it, both wanting SCRAM.
func start(work string) (addresses map[string]string, stop func() error, version string, err error) {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, nil, "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cluster, err := pgtest.Start(ctx, pgtest.Options{AuthMethod: "scram-sha-256", MaxConnections: 200})
	if err != nil {
		return nil, nil, "", err
	}
	halt := func() error { return errors.Join(cluster.Stop(true), pgtest.Cleanup()) }
	p, err := pooler(cluster, work)
	if err != nil {
		return nil, nil, "", errors.Join(err, halt())
	}
	addresses = map[string]string{"direct": cluster.Address()}
	for name, at := range p.Addresses() {
		addresses[name] = at[0]
	}
	rows, err := cluster.Query("show server_version")
	if err != nil {
		return nil, nil, "", errors.Join(err, p.Close(), halt())
	}
	return addresses, func() error { return errors.Join(p.Close(), halt()) }, strings.Fields(rows[0][0])[0], nil
}

// pooler starts a proxy with few servers that are lent in turn, so that no transaction finds what the one before it left.
func pooler(cluster *pgtest.Cluster, work string) (*proxy.Proxy, error) {
	quoted := strings.ReplaceAll(password, "'", "''")
	for _, sql := range []string{"create role " + user + " login password '" + quoted + "'", "create database " + user + " owner " + user} {
		if err := cluster.Exec(sql); err != nil {
			return nil, err
		}
	}
	users := filepath.Join(work, "userlist.txt")
	if err := os.WriteFile(users, []byte(`"`+user+`" "`+password+`"`+"\n"), 0o600); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("[server]\nhost = %q\nport = %d\n[auth]\ntype = \"scram-sha-256\"\nuser_file = %q\n", cluster.Host, cluster.Port, users)
	for port, size := range map[string]int{"transaction": 4, "session": 40} {
		text += fmt.Sprintf("[[listener]]\nname = %q\nlisten = [\"127.0.0.1:0\"]\npool_mode = %q\ndefault_pool_size = %d\nserver_round_robin = true\n",
			port, port, size)
	}
	path := filepath.Join(work, "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cfg, err := load.Config(path, nil)
	if err != nil {
		return nil, err
	}
	p, err := proxy.New(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		return nil, err
	}
	return p, p.Start()
}
