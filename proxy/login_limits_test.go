package proxy_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestClientLimits: clients are limited by listener, database and user. A client counts from the end of its authentication until it leaves.
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
	pgtest.WaitFor(t, 20*time.Second, "the place of the client that left", func() bool {
		return tryLogin(t, p.session, "postgres", "template1", "secret") == ""
	})
}

// TestLoginsUnderWay: no more logins are under way than max_client_conn and a reserve, however little they have sent.
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

// TestLoginMessageCaps: a client that is not authenticated cannot make the pooler read long messages.
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
