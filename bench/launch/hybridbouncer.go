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

// OlderProduct builds our pooler as it was at another commit of this repository.
func OlderProduct(ctx context.Context, revision string) (_ Product, cleanUp func(), err error) {
	folder, err := Scratch("bench-older-*", nil)
	if err != nil {
		return Product{}, nil, err
	}
	cleanUp = func() { _ = os.RemoveAll(folder) }
	defer func() {
		if err != nil {
			cleanUp()
		}
	}()
	archive := filepath.Join(folder, "source.tar")
	path := filepath.Join(folder, "hybridbouncer")
	for _, command := range [][]string{
		{"git", "archive", "-o", archive, revision},
		{"tar", "-xf", archive, "-C", folder},
		{"go", "build", "-C", folder, "-o", path, "./cmd/hybridbouncer"},
	} {
		if output, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			return Product{}, nil, fmt.Errorf("build commit %s (run this inside the repository): %s: %w\n%s", revision, strings.Join(command, " "), err, output)
		}
	}
	name := "commit " + revision
	return Product{Name: name, Version: "hybridbouncer, " + name, Fresh: true, Start: Renamed(func(ctx context.Context, s Settings) (*Pooler, error) {
		return startHybridbouncer(ctx, path, s)
	}, name)}, cleanUp, nil
}

// Renamed gives the poolers of a product another name in the report.
func Renamed(start func(context.Context, Settings) (*Pooler, error), name string) func(context.Context, Settings) (*Pooler, error) {
	return func(ctx context.Context, s Settings) (*Pooler, error) {
		p, err := start(ctx, s)
		if err == nil {
			p.Name = name
		}
		return p, err
	}
}

// Commit is the repository's commit, marked when files differ from it; "unknown" outside a repository.
func Commit() string {
	output, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=10").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(output))
}

// HybridbouncerProduct starts our pooler from the program at path; empty: builds it from this repository first.
func HybridbouncerProduct(ctx context.Context, path string) (_ Product, cleanUp func(), err error) {
	cleanUp = func() {}
	if path == "" {
		folder, err := Scratch("bench-build-*", nil)
		if err != nil {
			return Product{}, nil, err
		}
		cleanUp = func() { _ = os.RemoveAll(folder) }
		path = filepath.Join(folder, "hybridbouncer")
		build := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/hybridbouncer/hybridbouncer/cmd/hybridbouncer")
		if output, err := build.CombinedOutput(); err != nil {
			cleanUp()
			return Product{}, nil, fmt.Errorf("build hybridbouncer (run this inside the repository, or give -hybridbouncer PATH): %w\n%s", err, output)
		}
	}
	if path, err = filepath.Abs(path); err != nil {
		cleanUp()
		return Product{}, nil, err
	}
	version := "hybridbouncer " + Commit()
	return Product{Name: "hybridbouncer", Version: version, Fresh: true, Start: func(ctx context.Context, s Settings) (*Pooler, error) {
		return startHybridbouncer(ctx, path, s)
	}}, cleanUp, nil
}

func startHybridbouncer(ctx context.Context, path string, s Settings) (*Pooler, error) {
	folder, err := Scratch("bench-hybridbouncer-*", nil)
	if err != nil {
		return nil, err
	}
	ports := make([]int, 3)
	for i := range ports {
		if ports[i], err = FreePort(); err != nil {
			return nil, err
		}
	}
	running := &Pooler{Name: "hybridbouncer", TransactionPort: ports[0]}
	if s.SessionSize > 0 {
		running.SessionPort = ports[1]
	}
	adminPort := 0
	if s.Admin {
		adminPort = ports[2]
		running.Health = fmt.Sprintf("http://%s/health/db", Address(adminPort))
	}
	text := hybridbouncerConfig(s, running.TransactionPort, running.SessionPort, adminPort)
	if err := WriteFiles(folder, s.files("config.toml", text)); err != nil {
		return nil, err
	}
	process, err := startChild("hybridbouncer", folder, nil, path, "run", "-config", filepath.Join(folder, "config.toml"))
	if err != nil {
		return nil, err
	}
	running.PIDs = []int{process.command.Process.Pid}
	running.Stop = func() {
		_ = process.command.Process.Signal(syscall.SIGTERM)
		process.Stop(syscall.SIGTERM) // the second one stops at once
		_ = os.RemoveAll(folder)
	}
	if err := process.waitListening(ctx, Address(running.TransactionPort)); err != nil {
		running.Stop()
		return nil, err
	}
	return running, nil
}

// hybridbouncerConfig is config.toml for these settings; a port of 0 leaves that listener out.
func hybridbouncerConfig(s Settings, transactionPort, sessionPort, adminPort int) string {
	text := fmt.Sprintf("loops = %d\n\n[server]\nhost = %q\nport = %d\n\n[auth]\ntype = %q\nuser_file = \"userlist.txt\"\n\n[log]\nlevel = \"warn\"\n",
		s.Loops, s.Server.Host, s.Server.Port, s.AuthType)
	admin := ""
	if adminPort != 0 {
		admin = Address(adminPort)
	}
	text += fmt.Sprintf("\n[admin]\nlisten = %q\n", admin)
	text += s.listenerText("transactional", "transaction", transactionPort, s.PoolSize, s.ReserveSize)
	if sessionPort != 0 {
		text += s.listenerText("session", "session", sessionPort, s.SessionSize, 0)
	}
	return text
}

func (s Settings) listenerText(name, mode string, port, size, reserve int) string {
	text := fmt.Sprintf(`
[[listener]]
name = %q
listen = [%q]
pool_mode = %q
default_pool_size = %d
reserve_pool_size = %d
max_client_conn = %d
query_wait_timeout = "%ds"
%s`, name, Address(port), mode, size, reserve, s.MaxClientConn, s.waitSeconds(), s.Listener)
	if s.Certificate != nil {
		text += "client_tls_sslmode = \"require\"\nclient_tls_cert_file = \"server.crt\"\nclient_tls_key_file = \"server.key\"\n"
	}
	return text
}
