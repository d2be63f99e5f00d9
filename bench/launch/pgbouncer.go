package launch

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// PgBouncerProduct starts PgBouncer from the program at path: one process a port, as people run it.
func PgBouncerProduct(path string) (Product, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Product{}, err
	}
	output, err := exec.Command(path, "--version").Output()
	if err != nil {
		return Product{}, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	version, _, _ := strings.Cut(string(output), "\n")
	return Product{Name: "pgbouncer", Version: version, Fresh: true, Start: func(ctx context.Context, s Settings) (*Pooler, error) {
		return startPgBouncers(ctx, path, s)
	}}, nil
}

func startPgBouncers(ctx context.Context, path string, s Settings) (_ *Pooler, err error) {
	running := &Pooler{Name: "pgbouncer"}
	var stops []func()
	running.Stop = func() {
		for _, stop := range stops {
			stop()
		}
	}
	defer func() {
		if err != nil {
			running.Stop()
		}
	}()
	for _, port := range []struct {
		mode          string
		size, reserve int
		port          *int
	}{{"transaction", s.PoolSize, s.ReserveSize, &running.TransactionPort}, {"session", s.SessionSize, 0, &running.SessionPort}} {
		if port.size == 0 {
			continue
		}
		pid, number, stop, err := startPgBouncer(ctx, path, s, port.mode, port.size, port.reserve)
		if err != nil {
			return nil, err
		}
		stops = append(stops, stop)
		*port.port = number
		running.PIDs = append(running.PIDs, pid)
	}
	return running, nil
}

func startPgBouncer(ctx context.Context, path string, s Settings, mode string, size, reserve int) (pid, port int, stop func(), err error) {
	owner, err := unprivileged("nobody", "postgres")
	if err != nil {
		return 0, 0, nil, err
	}
	folder, err := Scratch("bench-pgbouncer-*", owner)
	if err != nil {
		return 0, 0, nil, err
	}
	if port, err = FreePort(); err != nil {
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
`, s.Server.Host, s.Server.Port, port, s.AuthType, filepath.Join(folder, "userlist.txt"), mode, size, reserve, s.MaxClientConn, s.waitSeconds())
	if s.Backlog > 0 {
		ini += fmt.Sprintf("listen_backlog = %d\n", s.Backlog)
	}
	if s.Certificate != nil {
		ini += fmt.Sprintf("client_tls_sslmode = require\nclient_tls_cert_file = %[1]s/server.crt\nclient_tls_key_file = %[1]s/server.key\n", folder)
	}
	if err := WriteFiles(folder, s.files("pgbouncer.ini", ini)); err != nil {
		return 0, 0, nil, err
	}
	process, err := startChild("pgbouncer", folder, owner, path, filepath.Join(folder, "pgbouncer.ini"))
	if err != nil {
		return 0, 0, nil, err
	}
	stop = func() {
		process.Stop(syscall.SIGQUIT) // at once; SIGTERM of 1.23 and later waits for clients
		_ = os.RemoveAll(folder)
	}
	if err := process.waitListening(ctx, Address(port)); err != nil {
		stop()
		return 0, 0, nil, err
	}
	return process.command.Process.Pid, port, stop, nil
}
