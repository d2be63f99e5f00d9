// Package pgtest owns what tests, benchmarks and the demo need of the outside world: a throwaway PostgreSQL, a raw client that
// speaks from a script, a proxy that breaks a connection at a chosen message, and the checks that nothing is left behind. It
// must not know how the pooler works: it drives PostgreSQL and sockets, and would serve to test any pooler.
//
// It is called from tests, bench and `hybridbouncer demo`, from any goroutine; nothing here runs in production. Read cluster.go
// first; wire.go, fault.go and leak.go stand alone.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Options says what kind of cluster Start makes. The zero value is a cluster that trusts everybody on the loopback address.
type Options struct {
	// MaxConnections is PostgreSQL's max_connections; 0 means 100.
	MaxConnections int
	// Settings are further lines of postgresql.conf; they win over those that Start writes itself.
	Settings map[string]string
	// AuthMethod is what TCP clients, and socket clients other than the superuser, must do: "trust" (also when empty), "password",
	// "md5" or "scram-sha-256". The superuser is always trusted on the socket, so that Exec works.
	AuthMethod string
	// HBA replaces the whole of pg_hba.conf below the superuser's line; AuthMethod then only chooses password_encryption.
	HBA string
	// Password is the superuser's; empty means "secret" unless AuthMethod is trust.
	Password string
	// TLS gives the server a certificate for localhost and 127.0.0.1, signed by the CA in Cluster.CAFile.
	TLS bool
	// LogTo also gets the server's log, which otherwise only Cluster.Log shows.
	LogTo io.Writer
}

// stopLimit is how long a server may take to shut down before it is killed: five times what a fast shutdown of an unsynced
// cluster was seen to need under the race detector with two busy cores.
const stopLimit = 15 * time.Second

// Cluster is a running throwaway PostgreSQL. Its data, socket and processes vanish at Stop, at the latest when this process ends,
// however it ends (see watchdog.go). Safe for use by several goroutines.
type Cluster struct {
	// Immutable after Start.

	Host      string // TCP address, always 127.0.0.1
	Port      int    // TCP port and suffix of the socket; kept over Restart
	SocketDir string // directory of the unix socket
	Superuser string // always postgres
	Password  string // of the superuser; empty if everybody is trusted
	DataDir   string
	CAFile    string     // PEM; empty without Options.TLS
	Authority *Authority // whose certificate that is

	options Options
	folder  string // holds data, socket and log; removed by Stop
	log     string // path of the log file
	inst    *installation

	// Guarded by mu.

	mu     sync.Mutex
	server *process // nil while stopped
}

// Start makes a cluster and returns once it accepts connections, after about a tenth of a second (the first of a process: 0.7 s,
// for initdb). ctx bounds the start, not the life of the cluster: that ends with Stop. The error of a machine
// without PostgreSQL is a *MissingError and says what to do.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	inst, err := findInstallation()
	if err != nil {
		return nil, err
	}
	if o.AuthMethod == "" {
		o.AuthMethod = "trust"
	}
	if o.Password == "" && o.AuthMethod != "trust" {
		o.Password = "secret"
	}
	folder, err := newFolder(ctx, inst)
	if err != nil {
		return nil, fmt.Errorf("make a throwaway PostgreSQL: %w", err)
	}
	c := &Cluster{
		Host: "127.0.0.1", Superuser: "postgres", Password: o.Password,
		SocketDir: folder, DataDir: filepath.Join(folder, "data"),
		options: o, folder: folder, log: filepath.Join(folder, "server.log"), inst: inst,
	}
	if err := c.firstStart(ctx); err != nil {
		_ = c.Stop(true)
		return nil, fmt.Errorf("start a throwaway PostgreSQL with %s: %w", inst.postgres(), err)
	}
	return c, nil
}

// firstStart chooses the port, writes the configuration and starts the server; a port taken in between is replaced.
func (c *Cluster) firstStart(ctx context.Context) error {
	if c.options.TLS {
		if err := c.writeCertificate(); err != nil {
			return err
		}
	}
	const portsMax = 5
	var err error
	for range portsMax {
		if c.Port, err = freePort(); err != nil {
			return err
		}
		if err = c.writeConfiguration(); err != nil {
			return err
		}
		if err = c.launch(ctx); err == nil {
			return c.setPassword(ctx)
		}
		if !strings.Contains(c.Log(), "Address already in use") {
			return err
		}
	}
	return err
}

func (c *Cluster) setPassword(ctx context.Context) error {
	if c.Password == "" {
		return nil
	}
	quoted := "'" + strings.ReplaceAll(c.Password, "'", "''") + "'"
	return c.exec(ctx, "ALTER ROLE "+c.Superuser+" PASSWORD "+quoted)
}

// launch starts the server process and waits until it accepts connections.
func (c *Cluster) launch(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != nil {
		return errors.New("the server is running already")
	}
	out, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	var log io.Writer = out
	if c.options.LogTo != nil {
		log = io.MultiWriter(out, c.options.LogTo)
	}
	cmd := exec.Command(c.inst.postgres(), "-D", c.DataDir)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := c.inst.start(cmd, c.DataDir, out)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	if err := c.waitReady(ctx, p); err != nil {
		p.kill()
		return err
	}
	c.server = p
	return nil
}

// waitReady watches postmaster.pid, whose eighth line says "ready" once connections are accepted (pg_ctl does the same; since
// PostgreSQL 10).
func (c *Cluster) waitReady(ctx context.Context, p *process) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	pidFile := filepath.Join(c.DataDir, "postmaster.pid")
	for {
		b, _ := os.ReadFile(pidFile)
		lines := strings.Split(string(b), "\n")
		if len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready" && lines[0] == strconv.Itoa(p.pid()) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready yet when time ran out: %w; its log ends with:\n%s", ctx.Err(), tail(c.Log()))
		case <-p.ended:
			return fmt.Errorf("the server ended at once (%s); its log ends with:\n%s", p.cmd.ProcessState, tail(c.Log()))
		case <-tick.C:
		}
	}
}

// DSN is the URL by which user reaches database over TCP; it carries the superuser's password for every user, so give
// further roles the same one. With Options.TLS it asks for verify-full.
func (c *Cluster) DSN(user, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User(user), Path: "/" + database,
		Host: net.JoinHostPort(c.Host, strconv.Itoa(c.Port)),
	}
	if c.Password != "" {
		u.User = url.UserPassword(user, c.Password)
	}
	q := url.Values{"sslmode": {"disable"}}
	if c.options.TLS {
		q = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {c.CAFile}}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// Address is host:port of the TCP listener.
func (c *Cluster) Address() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

// Exec runs sql (one or more statements, simple protocol) as the superuser in database postgres, over a connection of its own on
// the unix socket. It waits at most a minute.
func (c *Cluster) Exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return c.exec(ctx, sql)
}

func (c *Cluster) exec(ctx context.Context, sql string) error {
	_, err := c.query(ctx, sql)
	return err
}

// Query is Exec that returns the rows of the last statement as text; NULL is the empty string.
func (c *Cluster) Query(sql string) ([][]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return c.query(ctx, sql)
}

func (c *Cluster) query(ctx context.Context, sql string) ([][]string, error) {
	server, err := pgconn.Connect(ctx, fmt.Sprintf("host=%s port=%d user=%s dbname=postgres sslmode=disable application_name=pgtest",
		c.SocketDir, c.Port, c.Superuser))
	if err != nil {
		return nil, err
	}
	defer func() { _ = server.Close(ctx) }()
	results, err := server.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%.200s: %w", sql, err)
	}
	if len(results) == 0 {
		return nil, nil
	}
	last := results[len(results)-1]
	rows := make([][]string, 0, len(last.Rows))
	for _, r := range last.Rows {
		row := make([]string, len(r))
		for i, v := range r {
			row[i] = string(v)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// Running says whether the server has been started and has not ended.
func (c *Cluster) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server != nil && !c.server.hasEnded()
}

// Halt ends the server but keeps its data and port: Restart brings it back. Fast shutdown (clients get 57P01), or, if immediate,
// PostgreSQL's immediate one (clients get a notice or nothing; recovery at the next start). Halting a halted cluster does nothing.
func (c *Cluster) Halt(immediate bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return nil
	}
	sig := syscall.SIGINT
	if immediate {
		sig = syscall.SIGQUIT
	}
	p := c.server
	c.server = nil
	return p.stop(sig, stopLimit)
}

// Kill ends the server and all its processes by SIGKILL: clients see the connection break without a word, as after a crash of the
// machine. Data and port are kept: Restart brings it back, by way of recovery.
func (c *Cluster) Kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return
	}
	c.server.kill()
	c.server = nil
	c.removeSharedMemory()
}

// removeSharedMemory removes the System V segment (56 bytes, held for its key) that a killed server leaves in the kernel, and that
// a Stop without another start would leave there for good. Its number is the second on the seventh line of postmaster.pid.
func (c *Cluster) removeSharedMemory() {
	b, _ := os.ReadFile(filepath.Join(c.DataDir, "postmaster.pid"))
	lines := strings.Split(string(b), "\n")
	if len(lines) < 7 {
		return
	}
	if f := strings.Fields(lines[6]); len(f) == 2 {
		_ = exec.Command("ipcrm", "-m", f[1]).Run()
	}
}

// Restart stops the server if it is running (fast shutdown) and starts it again on the same port and data. It also brings back a
// server that was halted or killed. It returns once connections are accepted, or fails after a minute.
func (c *Cluster) Restart() error {
	if err := c.Halt(false); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := c.launch(ctx)
	for err != nil && strings.Contains(err.Error(), stillInUse) && ctx.Err() == nil {
		<-time.After(50 * time.Millisecond)
		err = c.launch(ctx)
	}
	if err != nil {
		return fmt.Errorf("restart the throwaway PostgreSQL on port %d: %w", c.Port, err)
	}
	return nil
}

// stillInUse is what a postmaster says whose predecessor was killed a moment ago, and one of whose processes is still dying.
const stillInUse = "pre-existing shared memory block"

// Stop ends the server (see Halt) and removes all it had. Idempotent; nil for a cluster that was already stopped.
func (c *Cluster) Stop(immediate bool) error {
	err := c.Halt(immediate)
	return errors.Join(err, os.RemoveAll(c.folder))
}

// Log is the server's log since Start, restarts included; empty after Stop.
func (c *Cluster) Log() string {
	b, _ := os.ReadFile(c.log)
	return string(b)
}

// PID is the process id of the postmaster; 0 while the server is halted.
func (c *Cluster) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return 0
	}
	return c.server.pid()
}

// tail is the part of a log worth showing in an error.
func tail(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}
