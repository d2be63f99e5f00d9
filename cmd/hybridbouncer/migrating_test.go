package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// commandsOf returns the commands of the first block of shell in a document.
func commandsOf(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```sh\n")
	block, _, _ = strings.Cut(block, "```")
	var commands []string
	for line := range strings.SplitSeq(block, "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			commands = append(commands, line)
		}
	}
	return commands
}

// migration is a directory in which the commands of docs/MIGRATING.md run.
type migration struct {
	t       *testing.T
	folder  string
	environ []string
	ports   *strings.Replacer // from the document's ports to free ones
}

func newMigration(t *testing.T) *migration {
	cluster := pgtest.New(t, pgtest.Options{AuthMethod: "scram-sha-256"})
	for _, sql := range []string{"create role app login password 'secret'", "create database app owner app"} {
		if err := cluster.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	programs, err := pgtest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	bin := filepath.Join(folder, "bin")
	self, err := os.Executable() // TestMain makes it the program under this name
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "hybridbouncer")); err != nil {
		t.Fatal(err)
	}
	m := &migration{t: t, folder: folder, ports: strings.NewReplacer("6432", freePort(t), "6433", freePort(t))}
	m.environ = []string{"PATH=" + bin + ":" + programs + ":" + os.Getenv("PATH"), "PGPASSWORD=secret", "HOME=" + folder, "HYBRIDBOUNCER_ADMIN_LISTEN=127.0.0.1:0"}
	m.write("userlist.txt", "\"app\" \"secret\"\n")
	for name, port := range map[string]string{"transactional": "6432", "session": "6433"} {
		m.write("pgbouncer_"+name+".ini", m.ports.Replace(fmt.Sprintf(`[databases]
app = host=%s port=%d
[pgbouncer]
pool_mode = %s
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = scram-sha-256
auth_file = userlist.txt
pidfile = %s.pid
logfile = %[5]s.log
`, cluster.Host, cluster.Port, strings.TrimSuffix(name, "al"), port, name)))
		m.standIn(name + ".pid")
	}
	return m
}

// standIn starts a process that the pidfile names, as PgBouncer's would, and that ends at SIGINT.
func (m *migration) standIn(pidfile string) {
	command := exec.Command("sleep", "600")
	if err := command.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.write(pidfile, strconv.Itoa(command.Process.Pid)+"\n")
	ended := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	m.t.Cleanup(func() {
		select {
		case <-ended:
		default:
			m.t.Error("the document's commands did not stop the PgBouncer of " + pidfile)
			_ = command.Process.Kill()
			<-ended
		}
	})
}

func freePort(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

func (m *migration) write(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.folder, name), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// run runs a line of shell and returns its output.
func (m *migration) run(line string) string {
	m.t.Helper()
	output, err := os.CreateTemp(m.folder, "output-")
	if err != nil {
		m.t.Fatal(err)
	}
	defer output.Close()
	command := exec.Command("sh", "-c", m.ports.Replace(line))
	command.Dir, command.Env, command.Stdout, command.Stderr = m.folder, m.environ, output, output
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = command.Run()
	group := -command.Process.Pid
	m.t.Cleanup(func() {
		_ = syscall.Kill(group, syscall.SIGKILL) // what the line left in the background
		pgtest.WaitFor(m.t, stepLimit, "the end of "+line, func() bool { return errors.Is(syscall.Kill(group, 0), syscall.ESRCH) })
	})
	text, readErr := os.ReadFile(output.Name())
	if err != nil || readErr != nil {
		m.t.Fatalf("%s: %v %v\n%s", line, err, readErr, text)
	}
	return string(text)
}

// TestMigrating runs the five commands of docs/MIGRATING.md as they stand there, but for the port numbers.
func TestMigrating(t *testing.T) {
	commands := commandsOf(t, "../../docs/MIGRATING.md")
	if len(commands) != 5 {
		t.Fatalf("the document has %d commands, not five: %q", len(commands), commands)
	}
	m := newMigration(t)
	if have := m.run(commands[0]); !strings.Contains(have, "wrote config.toml") {
		t.Errorf("import says %s", have)
	}
	if have := m.run(commands[1]); !strings.Contains(have, "config.toml: no faults") {
		t.Errorf("check says %s", have)
	}
	m.run(commands[2])
	pgtest.WaitFor(t, stepLimit, "the end of both PgBouncers", func() bool {
		alive := false
		for _, name := range []string{"transactional.pid", "session.pid"} {
			text, err := os.ReadFile(filepath.Join(m.folder, name))
			if err != nil {
				t.Fatal(err)
			}
			pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
			alive = alive || syscall.Kill(pid, 0) == nil
		}
		return !alive
	})
	m.run(commands[3])
	pgtest.WaitFor(t, stepLimit, "the line ready in the log", func() bool {
		log, _ := os.ReadFile(filepath.Join(m.folder, "transactional.log"))
		return strings.Contains(string(log), "msg=ready")
	})
	if have := m.run(commands[4]); strings.Count(have, " app\n") != 2 {
		t.Errorf("psql says %s", have)
	}
}
