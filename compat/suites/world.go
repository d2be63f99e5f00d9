package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/config/load"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/proxy"
)

// world is a PostgreSQL, made as the suites want it, and a pooler in front of it.
type world struct {
	work    string
	version string // of PostgreSQL
	cluster *pgtest.Cluster
	proxy   *proxy.Proxy
	targets map[string]target // by port
}

// target is where a suite finds PostgreSQL, or what it takes for it.
type target struct {
	host, port string
	socketDir  string // of a unix socket with that port
	caFile     string // signed the certificate it shows for localhost
}

// hba is what PostgreSQL and the pooler ask of whom, as the suites' own clusters do.
const hba = `local all all trust
host all pgx_md5,pqgomd5 127.0.0.1/32 md5
host all pgx_scram,pqgoscram 127.0.0.1/32 scram-sha-256
host all pgx_pw,pqgopassword 127.0.0.1/32 password
hostssl all pgx_ssl 127.0.0.1/32 scram-sha-256
hostnossl all pqgossl 127.0.0.1/32 reject
host all all 127.0.0.1/32 trust
`

// roles are the suites' users.
const roles = `create role pgx_ssl superuser login password 'secret'; create role pgx_pw superuser login password 'secret';
create role pgx_scram superuser login password 'secret'; create role pgx_md5 superuser login password 'secret';
create role " tricky, ' } "" \ test user " superuser login password 'secret';
create role pqgo superuser login; create role pqgossl login; create role pqgopassword login password 'wordpass';
create role pqgoscram login password 'wordpass'; create role pqgomd5 login password 'wordpass'`

// userlist lets the pooler log them in, and log in as them.
const userlist = `"postgres" ""
"pgx_ssl" "secret"
"pgx_pw" "secret"
"pgx_scram" "secret"
"pgx_md5" "secret"
"pqgo" ""
"pqgossl" ""
"pqgopassword" "wordpass"
"pqgoscram" "wordpass"
"pqgomd5" "wordpass"
`

const startMax = time.Minute

func newWorld(work string) (*world, error) {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startMax)
	defer cancel()
	cluster, err := pgtest.Start(ctx, pgtest.Options{
		HBA: hba, TLS: true, MaxConnections: 400,
		Settings: map[string]string{"max_prepared_transactions": "10", "wal_level": "logical"},
	})
	if err != nil {
		return nil, err
	}
	w := &world{work: work, cluster: cluster}
	if err := w.furnish(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) furnish() error {
	if err := w.cluster.Exec(roles); err != nil {
		return err
	}
	rows, err := w.cluster.Query("show server_version")
	if err != nil {
		return err
	}
	w.version = strings.Fields(rows[0][0])[0]
	if w.proxy, err = w.pooler(); err != nil {
		return err
	}
	w.targets = map[string]target{"direct": {
		host: w.cluster.Host, port: strconv.Itoa(w.cluster.Port), socketDir: w.cluster.SocketDir, caFile: w.cluster.CAFile,
	}}
	for name, at := range w.proxy.Addresses() {
		host, port, err := net.SplitHostPort(at[0])
		if err != nil {
			return err
		}
		w.targets[name] = target{host: host, port: port, socketDir: w.sockets(), caFile: w.cluster.CAFile}
	}
	return nil
}

func (w *world) sockets() string { return filepath.Join(w.work, "sockets") }

// pooler starts a proxy whose transaction port lends its servers in turn, so that no transaction finds what the one before it left.
func (w *world) pooler() (*proxy.Proxy, error) {
	file := func(name, text string) string {
		path := filepath.Join(w.work, name)
		_ = os.WriteFile(path, []byte(text), 0o600) // load.Config reports the error
		return path
	}
	if err := os.MkdirAll(w.sockets(), 0o700); err != nil {
		return nil, err
	}
	certificate, key := filepath.Join(w.cluster.DataDir, "server.crt"), filepath.Join(w.cluster.DataDir, "server.key")
	text := fmt.Sprintf("[server]\nhost = %q\nport = %d\napplication_name = \"\"\n[auth]\ntype = \"hba\"\nauth_hba_file = %q\nuser_file = %q\n",
		w.cluster.Host, w.cluster.Port, file("pg_hba.conf", hba), file("userlist.txt", userlist))
	for _, port := range ports[1:] {
		size := map[string]int{"transaction": 6, "session": 100}[port]
		number, err := freePort()
		if err != nil {
			return nil, err
		}
		text += fmt.Sprintf("[[listener]]\nname = %q\nlisten = [\"127.0.0.1:%d\", \"%s:%d\"]\npool_mode = %q\ndefault_pool_size = %d\n"+
			"server_round_robin = true\nclient_tls_sslmode = \"allow\"\nclient_tls_cert_file = %q\nclient_tls_key_file = %q\n",
			port, number, w.sockets(), number, port, size, certificate, key)
	}
	cfg, err := load.Config(file("config.toml", text), nil)
	if err != nil {
		return nil, err
	}
	p, err := proxy.New(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		return nil, err
	}
	return p, p.Start()
}

// freePort is a port that is free now. The socket of a listener has the same number.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// prepare makes the suite's database anew.
func (w *world) prepare(s suite) error {
	statements := []string{"drop database if exists " + s.database + " with (force)", "create database " + s.database}
	if s.leaves != "" {
		statements = append(statements, "drop database if exists "+s.leaves+" with (force)")
	}
	for _, sql := range statements {
		if err := w.cluster.Exec(sql); err != nil {
			return err
		}
	}
	return w.in(s.database, s.setup)
}

// in runs statements in a database.
func (w *world) in(database, sql string) error {
	if sql == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startMax)
	defer cancel()
	server, err := pgconn.Connect(ctx, w.cluster.DSN("postgres", database))
	if err != nil {
		return err
	}
	_, err = server.Exec(ctx, sql).ReadAll()
	return errors.Join(err, server.Close(ctx))
}

func (w *world) close() error {
	var err error
	if w.proxy != nil {
		err = w.proxy.Close()
	}
	return errors.Join(err, w.cluster.Stop(true), pgtest.Cleanup())
}
