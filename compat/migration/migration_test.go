//go:build pgbouncer

package migration

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// limit bounds every wait. It is long because a machine may be busy with other tests.
const limit = time.Minute

// The ini files, as a fmt format: PORT, DIR, HOST and SERVERPORT are replaced.
const transactional = `
[databases]
app = host=HOST port=SERVERPORT
alias = host=HOST port=SERVERPORT dbname=app pool_size=1
forced = host=HOST port=SERVERPORT dbname=app user=owner password='it''s secret'
[users]
slow = pool_mode=transaction
[pgbouncer]
pool_mode = transaction
listen_addr = 127.0.0.1
listen_port = PORT
unix_socket_dir = DIR
auth_type = md5
auth_file = DIR/userlist.txt
default_pool_size = 2
query_wait_timeout = 1
server_tls_sslmode = prefer
`

const session = `
[databases]
%include DIR/databases.ini
[pgbouncer]
pool_mode = transaction
[pgbouncer]
pool_mode = session
listen_addr = 127.0.0.1
listen_port = PORT
unix_socket_dir = DIR
auth_type = md5
auth_file = DIR/userlist.txt
default_pool_size = 2
query_wait_timeout = 1
`

const sessionDatabases = `
app = host=HOST port=SERVERPORT
alias = host=HOST port=SERVERPORT dbname='app' pool_size=2
forced = host=HOST port=SERVERPORT dbname=app user=owner password='it''s secret'
`

// once has a server for each transaction.
const once = `
[databases]
app = host=HOST port=SERVERPORT
[pgbouncer]
pool_mode = transaction
listen_addr = 127.0.0.1
listen_port = PORT
unix_socket_dir =
auth_type = md5
auth_file = DIR/userlist.txt
server_lifetime = 0
`

// world is a PostgreSQL with the roles of the ini files, and a folder that every program may read.
type world struct {
	t       *testing.T
	cluster *pgtest.Cluster
	folder  string
	owner   *syscall.Credential // the programs run as this user; nil: as the test
	program string              // ours
	bouncer string              // PgBouncer
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, owner: unprivileged(t)}
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Fatalf("this test needs PgBouncer: %v (Debian: apt-get install pgbouncer)", err)
	}
	w.bouncer = path
	w.cluster = pgtest.New(t, pgtest.Options{AuthMethod: "scram-sha-256"})
	for _, sql := range []string{
		`create role alice login password 'a'; create role bob login password 'b'; create role carol login password 'c'`,
		`create role owner login password 'it''s secret'; create role outsider login password 'o'`, "create database app",
	} {
		if err := w.cluster.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	if w.folder, err = os.MkdirTemp("", "migration-"); err != nil { // short: it becomes part of a socket's path
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(w.folder) })
	rows, err := w.cluster.Query("select rolpassword from pg_authid where rolname = 'carol'")
	if err != nil {
		t.Fatal(err)
	}
	users := fmt.Sprintf("; users\n\"alice\" \"a\"\n\"bob\" \"md5%x\"\n\"carol\" \"%s\" rest\n\"nobody\" \"n\"\n", md5.Sum([]byte("bbob")), rows[0][0])
	w.write("userlist.txt", users)
	w.program = filepath.Join(w.folder, "hybridbouncer")
	build := exec.Command("go", "build", "-o", w.program, "../../cmd/hybridbouncer")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if err := os.Symlink(w.program, filepath.Join(w.folder, "pgbouncer")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(w.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if w.owner != nil {
		if err := os.Chown(w.folder, int(w.owner.Uid), int(w.owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// unprivileged returns the user nobody for root: PgBouncer does not run as root.
func unprivileged(t *testing.T) *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	account, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// write writes a file of the world and returns its path.
func (w *world) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.folder, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// ini writes an ini file for a free port and returns both.
func (w *world) ini(name, text string) (path string, port int) {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	port = listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	return w.write(name, strings.NewReplacer("SERVERPORT", strconv.Itoa(w.cluster.Port), "PORT", strconv.Itoa(port), "HOST", w.cluster.Host,
		"DIR", w.folder).Replace(text)), port
}

// start runs a program until the test ends, and returns when all ports accept connections.
func (w *world) start(program string, args []string, ports ...int) {
	w.t.Helper()
	command := exec.Command(program, args...)
	command.Dir = w.folder
	command.SysProcAttr = &syscall.SysProcAttr{Credential: w.owner}
	var log strings.Builder
	command.Stdout, command.Stderr = &log, &log
	if err := command.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	w.t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGQUIT) // PgBouncer stops at once
		_ = command.Process.Kill()
		<-ended
		if w.t.Failed() {
			w.t.Logf("%s %s wrote\n%s", program, args, log.String())
		}
	})
	for _, port := range ports {
		pgtest.WaitFor(w.t, limit, fmt.Sprintf("%s on port %d", program, port), func() bool {
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
	}
}

// login logs in; the error of a refusal is a *pgconn.PgError or says that the connection was closed.
func login(host string, port int, name, password, database string) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return pgconn.Connect(ctx, fmt.Sprintf("postgres:///%s?host=%s&port=%d&user=%s&password=%s&sslmode=disable", database, url.QueryEscape(host),
		port, name, url.QueryEscape(password)))
}

// ask runs a query and returns its values, or "refused".
func ask(c *pgconn.PgConn, sql string) string {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil {
		return "refused"
	}
	var values []string
	for _, result := range results {
		for _, row := range result.Rows {
			for _, value := range row {
				values = append(values, string(value))
			}
		}
	}
	return strings.Join(values, " ")
}

// logins is what a client may try: as whom, with which password, at which database, and what both products must answer.
var logins = []struct{ name, password, database, want string }{
	{"alice", "a", "app", "alice app"},
	{"alice", "wrong", "app", "refused"},
	{"alice", "", "app", "refused"},
	{"alice", "a", "alias", "alice app"},
	{"alice", "a", "forced", "owner app"},
	{"bob", "b", "forced", "owner app"},    // an MD5 secret lets a client in
	{"bob", "b", "app", "refused"},         // but logs no server in to a PostgreSQL that wants SCRAM
	{"carol", "c", "app", "carol app"},     // a SCRAM secret does both
	{"carol", "x", "app", "refused"},       //
	{"nobody", "n", "forced", "owner app"}, // a user that only the user file knows
	{"nobody", "n", "app", "refused"},
	{"outsider", "o", "app", "refused"}, // a role that the user file does not name
	{"alice", "a", "nowhere", "refused"},
	{"alice", "a", "postgres", "refused"},
}

// product is a pair of ports that speak for the two ini files.
type product struct {
	name                   string
	transactional, session int
}

func (w *world) products() []product {
	ports := map[string][2]int{}
	for _, name := range []string{"pgbouncer", "imported", "in-place"} {
		w.write("databases.ini", strings.NewReplacer("SERVERPORT", strconv.Itoa(w.cluster.Port), "HOST", w.cluster.Host).Replace(sessionDatabases))
		first, t := w.ini(name+"_transactional.ini", transactional)
		second, s := w.ini(name+"_session.ini", session)
		ports[name] = [2]int{t, s}
		switch name {
		case "pgbouncer":
			w.start(w.bouncer, []string{first}, t)
			w.start(w.bouncer, []string{second}, s)
		case "in-place":
			w.start(filepath.Join(w.folder, "pgbouncer"), []string{first}, t)
			w.start(filepath.Join(w.folder, "pgbouncer"), []string{"-q", second}, s)
		default:
			toml := filepath.Join(w.folder, "config.toml")
			command := exec.Command(w.program, "import", "-o", toml, first, second)
			command.SysProcAttr = &syscall.SysProcAttr{Credential: w.owner}
			if output, err := command.CombinedOutput(); err != nil {
				w.t.Fatalf("import: %v\n%s", err, output)
			}
			w.start(w.program, []string{"run", "-config", toml}, t, s)
		}
	}
	var all []product
	for _, name := range []string{"pgbouncer", "imported", "in-place"} {
		all = append(all, product{name, ports[name][0], ports[name][1]})
	}
	return all
}

// Each product answers each login the same, on both ports and on the unix socket.
func TestLogins(t *testing.T) {
	w := newWorld(t)
	for _, p := range w.products() {
		for _, port := range []int{p.transactional, p.session} {
			for _, host := range []string{"127.0.0.1", w.folder} {
				for _, try := range logins {
					have := "refused"
					if c, err := login(host, port, try.name, try.password, try.database); err == nil {
						have = ask(c, "select current_user, current_database()")
						_ = c.Close(context.Background())
					}
					if have != try.want {
						t.Errorf("%s on %s port %d: %s with password %q at %s: %s, want %s", p.name, host, port, try.name, try.password, try.database, have, try.want)
					}
				}
			}
		}
		p.poolModes(t)
		p.poolSizes(t)
	}
}

// poolModes: between transactions, clients of the transaction port share a server; on the session port each has its own.
func (p product) poolModes(t *testing.T) {
	for _, test := range []struct {
		port   int
		shared bool
	}{{p.transactional, true}, {p.session, false}} {
		var pids []string
		for range 2 {
			c, err := login("127.0.0.1", test.port, "alice", "a", "app")
			if err != nil {
				t.Fatalf("%s: %v", p.name, err)
			}
			defer func() { _ = c.Close(context.Background()) }()
			pids = append(pids, ask(c, "select pg_backend_pid()"))
		}
		if shared := pids[0] == pids[1]; shared != test.shared {
			t.Errorf("%s on port %d: two clients share a server: %t, want %t", p.name, test.port, shared, test.shared)
		}
	}
}

// poolSizes: alias has one server on the transaction port, and two on the session port.
func (p product) poolSizes(t *testing.T) {
	for _, test := range []struct {
		port int
		want string
	}{{p.transactional, "refused"}, {p.session, "1"}} {
		first, err := login("127.0.0.1", test.port, "alice", "a", "alias")
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		ask(first, "begin; select 1")
		second, err := login("127.0.0.1", test.port, "alice", "a", "alias")
		have := "refused"
		if err == nil {
			have = ask(second, "select 1")
			_ = second.Close(context.Background())
		}
		if have != test.want {
			t.Errorf("%s on port %d: beside an open transaction a query gives %s, want %s", p.name, test.port, have, test.want)
		}
		_ = first.Close(context.Background())
	}
}

// server_lifetime = 0 is one use for each server.
func TestLifetimeZero(t *testing.T) {
	w := newWorld(t)
	for _, program := range []string{w.bouncer, filepath.Join(w.folder, "pgbouncer")} {
		path, port := w.ini("once.ini", once)
		w.start(program, []string{path}, port)
		c, err := login("127.0.0.1", port, "alice", "a", "app")
		if err != nil {
			t.Fatal(err)
		}
		pids := map[string]bool{}
		for range 5 {
			pids[ask(c, "select pg_backend_pid()")] = true
		}
		_ = c.Close(context.Background())
		if len(pids) != 5 || pids["refused"] {
			t.Errorf("%s: 5 transactions ran on the servers %v, want 5 servers", program, pids)
		}
	}
}

// Both products refuse a file with a fault at the start.
func TestFaultyFiles(t *testing.T) {
	w := newWorld(t)
	for name, text := range map[string]string{
		"unknown key":      strings.Replace(once, "auth_type", "auth_tpye", 1),
		"unit":             strings.Replace(once, "server_lifetime = 0", "server_lifetime = 1h", 1),
		"no section":       "listen_port = 1\n" + once,
		"unknown section":  once + "[pools]\n",
		"missing include":  once + "%include nowhere.ini\n",
		"database's key":   strings.Replace(once, "app = ", "app = x=1 ", 1),
		"empty value":      strings.Replace(once, "app = ", "app = dbname='' ", 1),
		"reserved name":    strings.Replace(once, "app = ", "pgbouncer = ", 1),
		"no closing quote": strings.Replace(once, "app = ", "app = dbname='x ", 1),
	} {
		for _, program := range []string{w.bouncer, filepath.Join(w.folder, "pgbouncer")} {
			path, _ := w.ini("faulty.ini", text)
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			command := exec.CommandContext(ctx, program, path)
			command.Dir = w.folder
			command.SysProcAttr = &syscall.SysProcAttr{Credential: w.owner}
			output, err := command.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || ctx.Err() != nil {
				t.Errorf("%s: %s started with it: %v\n%s", name, program, err, output)
			}
			cancel()
		}
	}
}

// asked looks its users up in PostgreSQL.
const asked = `
[databases]
app = host=HOST port=SERVERPORT
[pgbouncer]
pool_mode = transaction
listen_addr = 127.0.0.1
listen_port = PORT
unix_socket_dir =
auth_type = md5
auth_file = DIR/lookup.txt
auth_user = postgres
auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename=$1
`

// Users that the user file does not name are looked up, and their SCRAM secrets log servers in.
func TestAuthQuery(t *testing.T) {
	w := newWorld(t)
	w.write("lookup.txt", fmt.Sprintf("\"postgres\" \"%s\"\n", w.cluster.Password))
	for _, program := range []string{w.bouncer, filepath.Join(w.folder, "pgbouncer")} {
		path, port := w.ini("asked.ini", asked)
		w.start(program, []string{path}, port)
		for _, try := range []struct{ name, password, want string }{
			{"alice", "a", "alice"}, {"outsider", "o", "outsider"}, {"alice", "o", "refused"}, {"stranger", "s", "refused"}, {"alice", "", "refused"},
		} {
			have := "refused"
			if c, err := login("127.0.0.1", port, try.name, try.password, "app"); err == nil {
				have = ask(c, "select current_user")
				_ = c.Close(context.Background())
			}
			if have != try.want {
				t.Errorf("%s: %s with password %q: %s, want %s", program, try.name, try.password, have, try.want)
			}
		}
	}
}
