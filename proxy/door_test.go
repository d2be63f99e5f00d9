package proxy_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestClientLimits: per listener, database and user; who has not proved who he is takes nobody's place; a place is free when its client
// leaves.
func TestClientLimits(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users.txt")
	write(t, users, "\"postgres\" \"secret\"\n\"other\" \"secret\"\n")
	c := pgtest.Shared(t)
	if err := c.Exec("do $$ begin create role other login superuser; exception when duplicate_object then end $$"); err != nil {
		t.Fatal(err)
	}
	p := start(t, c, "max_client_conn = 5\n", fmt.Sprintf(`[auth]
user_file = %q
max_db_client_connections = 6
max_user_client_connections = 4
[databases."*"]
[databases.template1]
max_db_client_connections = 1
[users.other]
max_user_client_connections = 5
`, users))
	for range 20 { // asked for their password, they do not answer
		w := pgtest.Dial(t, p.transaction)
		w.Startup(map[string]string{"user": "postgres", "database": "postgres"})
		w.Expect("AuthenticationSASL")
	}
	refused := func(address, user, database, setting string) {
		t.Helper()
		w := pgtest.Dial(t, address)
		defer w.Close()
		w.Startup(map[string]string{"user": user, "database": database})
		e := w.TryAuthenticate(user, "secret")
		if e == nil || e.Code != "53300" || !strings.Contains(e.Detail, setting) {
			t.Errorf("%s %s: %+v, want %s", user, database, e, setting)
		}
	}
	enter := func(address, user, database string) *pgtest.Wire {
		t.Helper()
		return pgtest.Login(t, address, user, database, "secret")
	}
	first := enter(p.session, "postgres", "template1")
	refused(p.transaction, "other", "template1", "max_db_client_connections = 1")
	for range 3 {
		enter(p.transaction, "postgres", "postgres")
	}
	refused(p.session, "postgres", "postgres", "max_user_client_connections = 4")
	for range 2 {
		enter(p.transaction, "other", "postgres")
	}
	refused(p.transaction, "other", "postgres", "max_client_conn = 5")
	enter(p.session, "other", "postgres")
	refused(p.session, "other", "postgres", "max_db_client_connections = 6")
	first.Close()
	pgtest.WaitFor(t, 20*time.Second, "the place of the one who left", func() bool {
		return tryLogin(t, p.session, "postgres", "template1", "secret") == ""
	})
}

// TestLoginsUnderWay: no more than max_client_conn and a reserve, whatever they have said so far.
func TestLoginsUnderWay(t *testing.T) {
	p := start(t, pgtest.Shared(t), "max_client_conn = 1\n", "")
	for range 101 {
		pgtest.Dial(t, p.transaction)
	}
	pgtest.WaitFor(t, 20*time.Second, "a refusal", func() bool {
		w := pgtest.Dial(t, p.transaction)
		defer w.Close()
		w.SetLimit(100 * time.Millisecond)
		m, err := w.TryReceive()
		e, is := m.(*pgproto3.ErrorResponse)
		return err == nil && is && e.Code == "53300"
	})
}

// TestLoginRate: logins wait for their turn, and are refused if it would come too late.
func TestLoginRate(t *testing.T) {
	p := start(t, pgtest.Shared(t), "client_login_timeout = 1\n", "[auth]\ntype = \"trust\"\nlogin_rate = 10\n")
	begin := time.Now()
	for range 12 { // ten at once, two more
		p.login(t, p.transaction).Close()
	}
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("12 logins at 10 a second took %s", took)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	told := map[string]int{}
	for range 40 {
		all.Go(func() {
			have := tryLogin(t, p.transaction, "postgres", "postgres", "")
			mu.Lock()
			told[have]++
			mu.Unlock()
		})
	}
	all.Wait()
	if told[""] == 0 || told["53300 sorry, too many clients already"] == 0 || len(told) > 2 {
		t.Errorf("%v", told)
	}
}

// TestLoginAtTheDoor: a login that is not let in for as long as it may take is told so.
func TestLoginAtTheDoor(t *testing.T) {
	p := start(t, pgtest.Shared(t), "client_login_timeout = \"200ms\"\n", "[auth]\ntype = \"trust\"\n")
	p.FillDoor()
	if told := tryLogin(t, p.transaction, "postgres", "postgres", ""); !strings.Contains(told, "client_login_timeout") {
		t.Errorf("told %q", told)
	}
	pgtest.WaitFor(t, 20*time.Second, "the refusal to be counted", func() bool { return len(p.Snapshot().Refusals) > 0 })
	if err := p.Close(); err != nil { // every login has come to its end
		t.Error(err)
	}
	if n := p.Snapshot().Panics; n != 0 {
		t.Errorf("%d panics", n)
	}
}

// TestSlowLogin: a client that sends a byte now and then has client_login_timeout in all, at every stage.
func TestSlowLogin(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users.txt")
	write(t, users, "\"postgres\" \"secret\"\n")
	p := start(t, pgtest.Shared(t), "client_login_timeout = 1\n", fmt.Sprintf("[auth]\nuser_file = %q\n", users))
	startup := pgtest.Encode(t, &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "postgres"}})
	for name, quick := range map[string]int{"from the start": 0, "behind the startup packet": len(startup)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := pgtest.Dial(t, p.transaction)
			w.Raw(startup[:quick])
			begin := time.Now()
			go func() {
				tick := time.NewTicker(50 * time.Millisecond)
				defer tick.Stop()
				for range tick.C {
					if _, err := w.Socket().Write([]byte{0}); err != nil {
						return
					}
				}
			}()
			for {
				m, err := w.TryReceive()
				if err != nil {
					t.Fatal(err)
				}
				if e, is := m.(*pgproto3.ErrorResponse); is {
					if took := time.Since(begin); e.Code != "08006" && e.Code != "08P01" || took > 10*time.Second {
						t.Errorf("%s after %s", e.Code, took)
					}
					return
				}
			}
		})
	}
}

// TestLoginMessageCaps: nobody makes the pooler remember much before he is known.
func TestLoginMessageCaps(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users.txt")
	write(t, users, "\"postgres\" \"secret\"\n")
	for method, most := range map[string]int{"scram-sha-256": 1024, "password": 65535} {
		p := start(t, pgtest.Shared(t), "", fmt.Sprintf("[auth]\ntype = %q\nuser_file = %q\n", method, users))
		w := pgtest.Dial(t, p.transaction)
		w.Startup(map[string]string{"user": "postgres"})
		w.Receive()
		w.Raw([]byte{'p', 0, byte((most + 5) >> 16), byte((most + 5) >> 8), byte(most + 5)})
		w.ExpectError("08P01")
	}
}

// TestProxyProtocol: rules and the log see the client's address, as those who may say so say it.
func TestProxyProtocol(t *testing.T) {
	hba := filepath.Join(t.TempDir(), "hba.conf")
	write(t, hba, "host all all 203.0.113.0/24 trust\nhost all all 2001:db8::/32 trust\nhost all bob 127.0.0.1/32 trust\nlocal all all trust\n")
	const from = "proxy_protocol = true\nproxy_protocol_from = [%q]\n"
	auth := fmt.Sprintf("[auth]\ntype = \"hba\"\nauth_hba_file = %q\n", hba)
	p := start(t, pgtest.Shared(t), fmt.Sprintf(from, "127.0.0.0/8"), auth)
	v2 := "\r\n\r\n\x00\r\nQUIT\n"
	tcp4 := "\x00\x0c" + "\xcb\x00\x71\x07" + "\x7f\x00\x00\x01" + "\x01\x02\x03\x04"
	try := func(p *pooler, header, user string) string {
		t.Helper()
		w := pgtest.Dial(t, p.transaction)
		defer w.Close()
		w.Raw(append([]byte(header), pgtest.Encode(t, &pgproto3.StartupMessage{
			ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": user, "database": "postgres"},
		})...)) // at once: a header that is no good is not read to its end
		m, err := w.TryReceive()
		if e, is := m.(*pgproto3.ErrorResponse); is {
			return e.Code + " " + e.Message
		}
		if err != nil {
			return "closed"
		}
		return ""
	}
	const refused = `28000 no pg_hba.conf entry for host "%s", user "postgres", database "postgres", no encryption`
	for _, c := range []struct{ name, header, user, want string }{
		{"version 1", "PROXY TCP4 203.0.113.7 127.0.0.1 1000 6432\r\n", "postgres", ""},
		{"version 1, another", "PROXY TCP4 198.51.100.7 127.0.0.1 1000 6432\r\n", "postgres", fmt.Sprintf(refused, "198.51.100.7")},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::1 ::1 1000 6432\r\n", "postgres", ""},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", "postgres", fmt.Sprintf(refused, "127.0.0.1")},
		{"version 1, unknown and more", "PROXY UNKNOWN 203.0.113.7 127.0.0.1 1 2\r\n", "postgres", fmt.Sprintf(refused, "127.0.0.1")},
		{"version 2", v2 + "\x21\x11" + tcp4, "postgres", ""},
		{"version 2 with an extension", v2 + "\x21\x11\x00\x10" + tcp4[2:] + "\x04\x00\x01x", "postgres", ""},
		{"version 2, IPv6", v2 + "\x21\x21\x00\x24\x20\x01\x0d\xb8" + strings.Repeat("\x00", 32), "postgres", ""},
		{"version 2, a health check", v2 + "\x20\x00\x00\x00", "postgres", fmt.Sprintf(refused, "127.0.0.1")},
		{"version 2, a socket", v2 + "\x21\x31\x00\xd8" + strings.Repeat("\x00", 216), "postgres", fmt.Sprintf(refused, "127.0.0.1")},
		{"none", "", "bob", "closed"},
		{"half", "PROXY TCP4 203.0.113.7 127.0.0.1 1000\r\n", "bob", "closed"},
		{"mixed", "PROXY TCP4 ::1 127.0.0.1 1000 6432\r\n", "bob", "closed"},
		{"endless", "PROXY TCP4 " + strings.Repeat("1", 200), "bob", "closed"},
		{"version 2, too short", v2 + "\x21\x11\x00\x04abcd", "bob", "closed"},
		{"version 2, too long", v2 + "\x21\x11\xff\xff", "bob", "closed"},
		{"version 3", v2 + "\x31\x11" + tcp4, "bob", "closed"},
	} {
		if have := try(p, c.header, c.user); have != c.want {
			t.Errorf("%s: %s", c.name, have)
		}
	}
	stranger := start(t, pgtest.Shared(t), fmt.Sprintf(from, "10.0.0.1"), auth)
	if have := try(stranger, "PROXY TCP4 203.0.113.7 127.0.0.1 1000 6432\r\n", "postgres"); !strings.HasPrefix(have, "08P01") {
		t.Errorf("from one who may not say so: %q", have)
	}
	if have := tryLogin(t, stranger.transaction, "postgres", "postgres", ""); have != fmt.Sprintf(refused, "127.0.0.1") {
		t.Errorf("without: %q", have)
	}
	id := newIdentity(t)
	secure := start(t, pgtest.Shared(t), fmt.Sprintf(from, "127.0.0.1")+id.listener("require"), auth)
	nc := dialTCP(t, secure.transaction)
	if _, err := nc.Write([]byte("PROXY TCP4 203.0.113.7 127.0.0.1 1000 6432\r\n")); err != nil {
		t.Fatal(err)
	}
	w := pgtest.NewWire(t, tlsClient(nc, id, t))
	w.Startup(map[string]string{"user": "postgres", "database": "postgres"})
	w.Authenticate("postgres", "")
	if got := one(t, w, "select 7"); got != "7" {
		t.Error(got)
	}
}

// tlsClient begins with TLS at once.
func tlsClient(nc net.Conn, id *identity, t *testing.T) net.Conn { return tls.Client(nc, id.client(t)) }

// TestMadeUpDatabases: what clients make up is forgotten: pools of databases that do not exist, and their numbers; what is used stays.
func TestMadeUpDatabases(t *testing.T) {
	p := start(t, pgtest.Shared(t), "pool_idle_timeout = \"300ms\"\nserver_idle_timeout = \"100ms\"\nmax_client_conn = 200\n", "")
	stays := p.login(t, p.transaction) // and has no server soon
	before := len(p.Snapshot().Pools)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			if have := tryLogin(t, p.transaction, "postgres", fmt.Sprintf("no_%d", i), ""); !strings.HasPrefix(have, "3D000") {
				t.Error(have)
			}
		})
	}
	all.Wait()
	waitFor(t, "the pools to be forgotten", func() bool { return len(p.Snapshot().Pools) == before })
	if got := one(t, stays, "select 7"); got != "7" {
		t.Error(got)
	}
	if n := p.pool(t, "transaction").Queries; n != 1 {
		t.Errorf("%d queries are counted", n)
	}
	if err := p.Verify(); err != nil {
		t.Error(err)
	}
}
