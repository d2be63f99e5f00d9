package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settings of a pooler that is started for a run. Every product gets the same ones, written in its own language.
type settings struct {
	server        *postgres
	authType      string // trust or scram-sha-256
	poolSize      int    // servers of the transaction port
	reserveSize   int    // its reserve_pool_size
	sessionSize   int    // servers of the session port; 0: no such port
	maxClientConn int
	password      string // of both users, postgres and applicationUser, or its SCRAM secret
	admin         bool   // wants the HTTP endpoint, if the product has one
	loops         int    // event loops of hybridbouncer; 0: as it decides
	certificate   *certificate
	queryWait     time.Duration // query_wait_timeout; 0: 30 s
	backlog       int           // listen_backlog of PgBouncer; 0: its default. Ours is what the system allows
	listener      string        // further lines of each [[listener]] of hybridbouncer
}

// waitSeconds is query_wait_timeout.
func (s settings) waitSeconds() int {
	if s.queryWait == 0 {
		return 30
	}
	return int(s.queryWait.Seconds())
}

// certificate, if there is one, makes a pooler insist on TLS with its clients.
type certificate struct{ signed, key string }

// files are those that a pooler's configuration names, relative to its folder.
func (s settings) files(name, configuration string) map[string]string {
	all := map[string]string{name: configuration, "userlist.txt": userList(s.password)}
	if s.certificate != nil {
		all["server.crt"], all["server.key"] = s.certificate.signed, s.certificate.key
	}
	return all
}

// pooler is one that runs: what it takes to load it and to measure it.
type pooler struct {
	name            string
	transactionPort int
	sessionPort     int    // 0 when there is none
	health          string // URL of /health/db, "" when there is none
	pids            []int
	stop            func() // no-op when it was not started here
}

func (p *pooler) target(user, password, database string) (*target, error) {
	return newTarget("127.0.0.1", p.transactionPort, user, password, database)
}

// product can be started, each time as a fresh process, or stands for one that runs already.
type product struct {
	name, version string
	fresh         bool // start gives a new process: memory and logins can be measured again
	loadOnly      bool // it is no pooler: only the load can be measured
	start         func(ctx context.Context, s settings) (*pooler, error)
}

// givenProduct stands for a pooler that somebody else runs: "name=port:pid", or "name=port:pid,pid" for several processes.
func givenProduct(text string) (product, error) {
	const form = `-pooler wants name=port:pid (or port:pid,pid), as in "odyssey=7432:4711", not %q`
	name, place, okName := strings.Cut(text, "=")
	portText, pidsText, okPlace := strings.Cut(place, ":")
	port, err := strconv.Atoi(portText)
	if !okName || !okPlace || name == "" || err != nil {
		return product{}, fmt.Errorf(form, text)
	}
	given := &pooler{name: name, transactionPort: port, stop: func() {}}
	for pidText := range strings.SplitSeq(pidsText, ",") {
		pid, err := strconv.Atoi(pidText)
		if err != nil {
			return product{}, fmt.Errorf(form, text)
		}
		given.pids = append(given.pids, pid)
	}
	if _, err := readUsage(given.pids); err != nil {
		return product{}, err
	}
	return product{name: name, version: "given, process " + pidsText, start: func(context.Context, settings) (*pooler, error) { return given, nil }}, nil
}

// pgbouncerProduct starts PgBouncer from the program at path: one process a port, as people run it.
func pgbouncerProduct(path string) (product, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return product{}, err
	}
	output, err := exec.Command(path, "--version").Output()
	if err != nil {
		return product{}, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	version, _, _ := strings.Cut(string(output), "\n")
	return product{name: "pgbouncer", version: version, fresh: true, start: func(ctx context.Context, s settings) (*pooler, error) {
		return startPgBouncers(ctx, path, s)
	}}, nil
}

func startPgBouncers(ctx context.Context, path string, s settings) (_ *pooler, err error) {
	running := &pooler{name: "pgbouncer"}
	var stops []func()
	running.stop = func() {
		for _, stop := range stops {
			stop()
		}
	}
	defer func() {
		if err != nil {
			running.stop()
		}
	}()
	for _, port := range []struct {
		mode          string
		size, reserve int
		port          *int
	}{{"transaction", s.poolSize, s.reserveSize, &running.transactionPort}, {"session", s.sessionSize, 0, &running.sessionPort}} {
		if port.size == 0 {
			continue
		}
		pid, number, stop, err := startPgBouncer(ctx, path, s, port.mode, port.size, port.reserve)
		if err != nil {
			return nil, err
		}
		stops = append(stops, stop)
		*port.port = number
		running.pids = append(running.pids, pid)
	}
	return running, nil
}

func startPgBouncer(ctx context.Context, path string, s settings, mode string, size, reserve int) (pid, port int, stop func(), err error) {
	owner, err := unprivileged("nobody", "postgres")
	if err != nil {
		return 0, 0, nil, err
	}
	folder, err := scratch("bench-pgbouncer-*", owner)
	if err != nil {
		return 0, 0, nil, err
	}
	if port, err = freePort(); err != nil {
		return 0, 0, nil, err
	}
	ini := fmt.Sprintf(`[databases]
* = host=%s port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = %s
auth_file = %s
pool_mode = %s
default_pool_size = %d
reserve_pool_size = %d
max_client_conn = %d
max_prepared_statements = 200
ignore_startup_parameters = extra_float_digits
query_wait_timeout = %d
log_connections = 0
log_disconnections = 0
`, s.server.host, s.server.port, port, s.authType, filepath.Join(folder, "userlist.txt"), mode, size, reserve, s.maxClientConn, s.waitSeconds())
	if s.backlog > 0 {
		ini += fmt.Sprintf("listen_backlog = %d\n", s.backlog)
	}
	if s.certificate != nil {
		ini += fmt.Sprintf("client_tls_sslmode = require\nclient_tls_cert_file = %[1]s/server.crt\nclient_tls_key_file = %[1]s/server.key\n", folder)
	}
	if err := writeFiles(folder, s.files("pgbouncer.ini", ini)); err != nil {
		return 0, 0, nil, err
	}
	process, err := startChild("pgbouncer", folder, owner, path, filepath.Join(folder, "pgbouncer.ini"))
	if err != nil {
		return 0, 0, nil, err
	}
	stop = func() {
		process.stop(syscall.SIGQUIT) // at once; SIGTERM of 1.23 and later waits for clients
		_ = os.RemoveAll(folder)
	}
	if err := process.waitListening(ctx, address(port)); err != nil {
		stop()
		return 0, 0, nil, err
	}
	return process.command.Process.Pid, port, stop, nil
}

// floorProduct builds the relay of bench/floor, which only forwards: what every pooler has to pay.
func floorProduct(ctx context.Context) (_ product, cleanUp func(), err error) {
	folder, err := scratch("bench-floor-*", nil)
	if err != nil {
		return product{}, nil, err
	}
	cleanUp = func() { _ = os.RemoveAll(folder) }
	path := filepath.Join(folder, "relay")
	if output, err := exec.CommandContext(ctx, "cc", "-O2", "-o", path, "bench/floor/relay.c").CombinedOutput(); err != nil {
		cleanUp()
		return product{}, nil, fmt.Errorf("build the floor (it needs a C compiler, and the repository as working directory): %w\n%s", err, output)
	}
	return product{name: "bare relay", version: "bench/floor, cc -O2", loadOnly: true, start: func(ctx context.Context, s settings) (*pooler, error) {
		return startFloor(ctx, path, folder, s)
	}}, cleanUp, nil
}

func startFloor(ctx context.Context, path, folder string, s settings) (*pooler, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	process, err := startChild("floor", folder, nil, path, strconv.Itoa(port), strconv.Itoa(s.server.port), strconv.Itoa(s.poolSize))
	if err != nil {
		return nil, err
	}
	running := &pooler{name: "bare relay", transactionPort: port, pids: []int{process.command.Process.Pid}, stop: func() { process.stop(syscall.SIGTERM) }}
	if err := process.waitListening(ctx, address(port)); err != nil {
		running.stop()
		return nil, err
	}
	return running, nil
}

// hybridbouncerProduct starts our pooler from the program at path; empty: builds it from this repository first.
func hybridbouncerProduct(ctx context.Context, path string) (_ product, cleanUp func(), err error) {
	cleanUp = func() {}
	if path == "" {
		folder, err := scratch("bench-build-*", nil)
		if err != nil {
			return product{}, nil, err
		}
		cleanUp = func() { _ = os.RemoveAll(folder) }
		path = filepath.Join(folder, "hybridbouncer")
		build := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/hybridbouncer/hybridbouncer/cmd/hybridbouncer")
		if output, err := build.CombinedOutput(); err != nil {
			cleanUp()
			return product{}, nil, fmt.Errorf("build hybridbouncer (run this inside the repository, or give -hybridbouncer PATH): %w\n%s", err, output)
		}
	}
	if path, err = filepath.Abs(path); err != nil {
		cleanUp()
		return product{}, nil, err
	}
	version := "hybridbouncer " + commit()
	return product{name: "hybridbouncer", version: version, fresh: true, start: func(ctx context.Context, s settings) (*pooler, error) {
		return startHybridbouncer(ctx, path, s)
	}}, cleanUp, nil
}

func startHybridbouncer(ctx context.Context, path string, s settings) (*pooler, error) {
	folder, err := scratch("bench-hybridbouncer-*", nil)
	if err != nil {
		return nil, err
	}
	ports := make([]int, 3)
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	running := &pooler{name: "hybridbouncer", transactionPort: ports[0]}
	if s.sessionSize > 0 {
		running.sessionPort = ports[1]
	}
	adminPort := 0
	if s.admin {
		adminPort = ports[2]
		running.health = fmt.Sprintf("http://%s/health/db", address(adminPort))
	}
	text := hybridbouncerConfig(s, running.transactionPort, running.sessionPort, adminPort)
	if err := writeFiles(folder, s.files("config.toml", text)); err != nil {
		return nil, err
	}
	process, err := startChild("hybridbouncer", folder, nil, path, "run", "-config", filepath.Join(folder, "config.toml"))
	if err != nil {
		return nil, err
	}
	running.pids = []int{process.command.Process.Pid}
	running.stop = func() {
		_ = process.command.Process.Signal(syscall.SIGTERM)
		process.stop(syscall.SIGTERM) // the second one stops at once
		_ = os.RemoveAll(folder)
	}
	if err := process.waitListening(ctx, address(running.transactionPort)); err != nil {
		running.stop()
		return nil, err
	}
	return running, nil
}

// hybridbouncerConfig is config.toml for these settings; a port of 0 leaves that listener out.
func hybridbouncerConfig(s settings, transactionPort, sessionPort, adminPort int) string {
	text := fmt.Sprintf("loops = %d\n\n[server]\nhost = %q\nport = %d\n\n[auth]\ntype = %q\nuser_file = \"userlist.txt\"\n\n[log]\nlevel = \"warn\"\n",
		s.loops, s.server.host, s.server.port, s.authType)
	admin := ""
	if adminPort != 0 {
		admin = address(adminPort)
	}
	text += fmt.Sprintf("\n[admin]\nlisten = %q\n", admin)
	text += s.listenerText("transactional", "transaction", transactionPort, s.poolSize, s.reserveSize)
	if sessionPort != 0 {
		text += s.listenerText("session", "session", sessionPort, s.sessionSize, 0)
	}
	return text
}

func (s settings) listenerText(name, mode string, port, size, reserve int) string {
	text := fmt.Sprintf(`
[[listener]]
name = %q
listen = [%q]
pool_mode = %q
default_pool_size = %d
reserve_pool_size = %d
max_client_conn = %d
query_wait_timeout = "%ds"
%s`, name, address(port), mode, size, reserve, s.maxClientConn, s.waitSeconds(), s.listener)
	if s.certificate != nil {
		text += "client_tls_sslmode = \"require\"\nclient_tls_cert_file = \"server.crt\"\nclient_tls_key_file = \"server.key\"\n"
	}
	return text
}

// userList is PgBouncer's format, which both products read.
func userList(password string) string {
	return fmt.Sprintf("\"postgres\" \"%s\"\n\"%s\" \"%s\"\n", password, applicationUser, password)
}

func writeFiles(folder string, files map[string]string) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
