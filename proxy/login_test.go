package proxy_test

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/config/load"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/proxy"
)

// tryLogin starts a login and returns PostgreSQL's words if it is refused; "" if it is not.
func tryLogin(t *testing.T, address, user, database, password string) string {
	t.Helper()
	w := pgtest.Dial(t, address)
	defer w.Close()
	w.Startup(map[string]string{"user": user, "database": database})
	if e := w.TryAuthenticate(user, password); e != nil {
		return e.Code + " " + e.Message
	}
	return ""
}

// TestHBA: the file decides by address, database and user; peer asks the operating system; a reload reads it again, and a bad one leaves
// the old in force.
func TestHBA(t *testing.T) {
	dir := t.TempDir()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	hba, ident := filepath.Join(dir, "hba.conf"), filepath.Join(dir, "ident.conf")
	write(t, filepath.Join(dir, "users.txt"), "\"postgres\" \"secret\"\n")
	write(t, hba, "local all all peer map=me\nhost all bob 127.0.0.1/32 trust\nhost postgres postgres samehost scram-sha-256\nhost all eve all reject\n")
	write(t, ident, fmt.Sprintf("me %q postgres\n", me.Username))
	auth := fmt.Sprintf("[auth]\ntype = \"hba\"\nuser_file = %q\nauth_hba_file = %q\nauth_ident_file = %q\n", filepath.Join(dir, "users.txt"), hba, ident)
	port := freePort(t)
	p := start(t, pgtest.Shared(t), "", fmt.Sprintf("[[listener]]\nname = \"local\"\nlisten = [\"%s:%d\"]\npool_mode = \"transaction\"\n%s", dir, port, auth))
	socket := filepath.Join(dir, ".s.PGSQL."+strconv.Itoa(port))
	for _, c := range []struct{ address, user, database, password, want string }{
		{p.transaction, "postgres", "postgres", "secret", ""},
		{p.transaction, "postgres", "postgres", "wrong", "28P01 password authentication failed for user \"postgres\""},
		{p.transaction, "postgres", "template1", "secret", `28000 no pg_hba.conf entry for host "127.0.0.1", user "postgres", database "template1", no encryption`},
		{p.transaction, "eve", "postgres", "", `28000 pg_hba.conf rejects connection for host "127.0.0.1", user "eve", database "postgres", no encryption`},
		{socket, "postgres", "postgres", "", ""},
		{socket, "bob", "postgres", "", `28000 Peer authentication failed for user "bob"`},
	} {
		if have := tryLogin(t, c.address, c.user, c.database, c.password); have != c.want {
			t.Errorf("%+v: %s", c, have)
		}
	}
	reload := func() error {
		cfg, err := load.Config(p.config, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Reload(cfg)
		return err
	}
	write(t, hba, "host all all all trust\nhost all all nonsense trust\n")
	if err := reload(); err == nil || !strings.Contains(err.Error(), "hba.conf:2:") {
		t.Error(err)
	}
	if have := tryLogin(t, p.transaction, "postgres", "template1", "secret"); !strings.HasPrefix(have, "28000 no pg_hba.conf entry") {
		t.Errorf("after a reload that was refused: %s", have)
	}
	write(t, hba, "host all all all trust\n")
	if err := reload(); err != nil {
		t.Error(err)
	}
	if have := tryLogin(t, p.transaction, "postgres", "template1", ""); have != "" {
		t.Errorf("after a reload: %s", have)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	sock, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	return sock.Addr().(*net.TCPAddr).Port
}

// TestAheadOfTheLogin: what a client sends behind its startup packet, in whatever pieces, is answered after its login.
func TestAheadOfTheLogin(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	packets := pgtest.Encode(t, &pgproto3.StartupMessage{
		ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "postgres", "application_name": strings.Repeat("long", 200)},
	}, &pgproto3.Query{String: "select 'one'"}, &pgproto3.Query{String: "select '" + strings.Repeat("two", 1000) + "'"})
	for _, pieces := range []int{1, 3, 7, 100, 511, 512, 513, len(packets)} {
		w := pgtest.Dial(t, p.transaction)
		for rest := packets; len(rest) > 0; rest = rest[min(pieces, len(rest)):] {
			w.Raw(rest[:min(pieces, len(rest))])
		}
		w.ReceiveReady() // the login
		w.Expect("RowDescription ?column?", "DataRow one", "CommandComplete SELECT 1", "ReadyForQuery I", "RowDescription ?column?", "*",
			"CommandComplete SELECT 1", "ReadyForQuery I")
		w.Close()
	}
}

// TestUserFileReplaced: a new user file is taken up by itself; one that cannot be used is not, nor one that is gone.
func TestUserFileReplaced(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users.txt")
	write(t, users, "\"postgres\" \"old\"\n")
	p := start(t, pgtest.Shared(t), "", fmt.Sprintf("[auth]\nuser_file = %q\n", users))
	stays := pgtest.Login(t, p.transaction, "postgres", "postgres", "old")
	write(t, users, "\"postgres\" \"newer\"\n")
	waitFor(t, "the new password", func() bool { return tryLogin(t, p.transaction, "postgres", "postgres", "newer") == "" })
	if have := tryLogin(t, p.transaction, "postgres", "postgres", "old"); !strings.HasPrefix(have, "28P01") {
		t.Errorf("the old password: %s", have)
	}
	for _, spoil := range []func(){func() { write(t, users, "broken") }, func() { _ = os.Remove(users) }} {
		spoil()
		waitFor(t, "the fault", func() bool { return proxy.UserFileFault(p.Proxy) != "" })
		if have := tryLogin(t, p.transaction, "postgres", "postgres", "newer"); have != "" {
			t.Errorf("with a file that cannot be used: %s", have)
		}
		write(t, users, "\"postgres\" \"newer\"\n# and a comment\n")
		waitFor(t, "the file to be as it should be", func() bool { return proxy.UserFileFault(p.Proxy) == "" })
	}
	if got := one(t, stays, "select 7"); got != "7" {
		t.Error(got)
	}
}
