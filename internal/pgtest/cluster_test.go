package pgtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// testContext is for helpers that only a time-out can stop.
func testContext() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// login connects by DSN, as a driver does, and closes with the test.
func login(t *testing.T, dsn string) (*pgconn.PgConn, error) {
	t.Helper()
	server, err := pgconn.Connect(t.Context(), dsn)
	if err == nil {
		t.Cleanup(func() { _ = server.Close(testContext()) })
	}
	return server, err
}

func TestAuthMethods(t *testing.T) {
	for _, method := range []string{"trust", "password", "md5", "scram-sha-256"} {
		t.Run(method, func(t *testing.T) {
			c := New(t, Options{AuthMethod: method})
			if _, err := login(t, c.DSN("postgres", "postgres")); err != nil {
				t.Fatal(err)
			}
			wrong := strings.Replace(c.DSN("postgres", "postgres"), "postgres:secret@", "postgres:wrong@", 1)
			_, err := login(t, wrong)
			if refused := err != nil; refused != (method != "trust") {
				t.Errorf("a wrong password was refused: %v (%v)", refused, err)
			}
			w := Login(t, c.Address(), "postgres", "postgres", c.Password)
			if w.TxStatus != 'I' || w.Parameters["server_encoding"] != "UTF8" || w.Key.ProcessID == 0 {
				t.Errorf("after login: status %q, encoding %q, key %v", w.TxStatus, w.Parameters["server_encoding"], w.Key)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	c := New(t, Options{TLS: true, AuthMethod: "scram-sha-256", Password: "o'hara"})
	server, err := login(t, c.DSN("postgres", "postgres")) // verify-full
	if err != nil {
		t.Fatal(err)
	}
	rows, err := server.Exec(t.Context(), "select ssl from pg_stat_ssl where pid = pg_backend_pid()").ReadAll()
	if err != nil || string(rows[0].Rows[0][0]) != "t" {
		t.Errorf("ssl is %v, %v", rows, err)
	}
}

func TestSettingsHBAAndLog(t *testing.T) {
	var log lockedBuffer
	c := New(t, Options{
		MaxConnections: 17, LogTo: &log,
		Settings: map[string]string{"application_name": "it's", "log_statement": "all"},
		HBA:      "host all nobody_else all trust\nhost all postgres all reject\n",
	})
	rows, err := c.Query("select current_setting('max_connections'); select current_setting('max_connections'), reset_val, null " +
		"from pg_settings where name = 'application_name'")
	if err != nil || len(rows) != 1 || rows[0][0] != "17" || rows[0][2] != "" {
		t.Errorf("rows %q, %v", rows, err)
	}
	if _, err := login(t, c.DSN("postgres", "postgres")); err == nil || !strings.Contains(err.Error(), "28000") {
		t.Errorf("pg_hba.conf rejects, yet: %v", err)
	}
	WaitFor(t, 5*time.Second, "the statement is in both logs", func() bool {
		return strings.Contains(log.String(), "reset_val") && strings.Contains(c.Log(), "reset_val")
	})
}

func TestHaltKillRestart(t *testing.T) {
	c := New(t, Options{})
	if err := c.Exec("create table kept (n int); insert into kept values (42)"); err != nil {
		t.Fatal(err)
	}
	port := c.Port
	ends := map[string]func(){
		"nothing":   func() { /* Restart stops it */ },
		"fast":      func() { noError(t, c.Halt(false)) },
		"immediate": func() { noError(t, c.Halt(true)) },
		"kill":      c.Kill,
	}
	for name, end := range ends {
		w := Login(t, c.Address(), "postgres", "postgres", "")
		pid := c.PID()
		end()
		if name != "nothing" && (c.Running() || c.PID() != 0) {
			t.Errorf("%s: still running", name)
		}
		noError(t, c.Restart())
		if !c.Running() || c.Port != port || c.PID() == pid {
			t.Errorf("%s: running %v, port %d after %d, process %d after %d", name, c.Running(), c.Port, port, c.PID(), pid)
		}
		switch name {
		case "immediate", "kill":
			for err := error(nil); err == nil; { // perhaps a word first: of a backend, too, that notices that its postmaster is gone
				_, err = w.TryReceive()
			}
		default:
			w.ExpectError("57P01")
		}
		if rows, err := c.Query("select n from kept"); err != nil || rows[0][0] != "42" {
			t.Errorf("%s: %v, %v", name, rows, err)
		}
	}
}

// TestKillLeavesNoSharedMemory asks the kernel for the System V segment of a server that was killed and not started again.
func TestKillLeavesNoSharedMemory(t *testing.T) {
	c := New(t, Options{})
	b, err := os.ReadFile(filepath.Join(c.DataDir, "postmaster.pid"))
	noError(t, err)
	segment := strings.Fields(strings.Split(string(b), "\n")[6])[1]
	exists := func() bool {
		out, _ := exec.Command("ipcs", "-m").Output()
		return slices.Contains(strings.Fields(string(out)), segment)
	}
	if !exists() {
		t.Fatalf("segment %s of a running server is not there, so this test would prove nothing", segment)
	}
	c.Kill()
	WaitFor(t, 5*time.Second, "segment "+segment+" is gone", func() bool { return !exists() })
}

func TestStop(t *testing.T) {
	c, err := Start(testContext(), Options{})
	noError(t, err)
	noError(t, c.Stop(false))
	noError(t, c.Stop(false))
	if _, err := os.Stat(c.folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", c.folder, err)
	}
	if _, err := net.Dial("tcp", c.Address()); err == nil {
		t.Errorf("somebody still listens on %s", c.Address())
	}
	if err := c.Exec("select 1"); err == nil {
		t.Error("a stopped cluster executed a statement")
	}
}

func TestStartFailsWithTheServersOwnWords(t *testing.T) {
	_, err := Start(testContext(), Options{Settings: map[string]string{"max_connections": "lots"}})
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "max_connections"`) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Start(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(workshop.root, "[0-9]*")); len(left) > 0 {
		t.Errorf("failed starts left %v", left)
	}
}

// TestNothingSurvivesSIGKILL kills a process that has a cluster, in the way nobody can prepare for, and looks for its remains.
func TestNothingSurvivesSIGKILL(t *testing.T) {
	self, err := os.Executable()
	noError(t, err)
	child := exec.Command(self)
	child.Env = append(os.Environ(), "PGTEST_CHILD=1")
	stdin, err := child.StdinPipe()
	noError(t, err)
	stdout, err := child.StdoutPipe()
	noError(t, err)
	noError(t, child.Start())
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	f := strings.Fields(line)
	if len(f) != 4 || f[0] != "ready" {
		t.Fatalf("the child said %q", line)
	}
	pid, _ := strconv.Atoi(f[1])
	address, folder := "127.0.0.1:"+f[2], f[3]
	if !alive(pid) {
		t.Fatalf("process %d of the child's PostgreSQL is not there, so this test would prove nothing", pid)
	}
	noError(t, child.Process.Kill())
	_ = child.Wait()
	_ = stdin.Close()
	WaitFor(t, 10*time.Second, "PostgreSQL has ended and its folder is gone", func() bool {
		_, err := os.Stat(filepath.Dir(folder))
		return !alive(pid) && errors.Is(err, os.ErrNotExist)
	})
	if _, err := net.Dial("tcp", address); err == nil {
		t.Errorf("somebody still listens on %s", address)
	}
}

// alive says whether a process runs; one that ended and waits for a careless init to notice does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || !bytes.Contains(stat, []byte(") Z "))
}

func TestSharedIsOne(t *testing.T) {
	a, b := Shared(t), Shared(t)
	if a != b || !a.Running() {
		t.Errorf("two clusters, or none: %v %v", a, b)
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lockedBuffer is a bytes.Buffer that one goroutine may fill while another reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
