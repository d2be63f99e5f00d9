package proxy_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// startAsking runs a pooler that asks PostgreSQL for secrets, as postgres.
func startAsking(t *testing.T, c *pgtest.Cluster, lines, more string) *pooler {
	t.Helper()
	users := filepath.Join(t.TempDir(), "users.txt")
	write(t, users, `"postgres" "secret"`+"\n")
	return start(t, c, "", fmt.Sprintf("[auth]\nuser_file = %q\nauth_user = \"postgres\"\n%s\n%s", users, lines, more))
}

// TestAuthQuery: who is in pg_authid may log in with that password; who is not, may not log in, or is expired hears what everybody hears.
func TestAuthQuery(t *testing.T) {
	c := pgtest.Shared(t)
	if err := c.Exec(`
		set password_encryption = 'md5'; create role aq_md5 login password 'right';
		set password_encryption = 'scram-sha-256'; create role aq_scram login password 'right'; create role "aq ""quote" login password 'right';
		create role aq_expired login password 'right' valid until '2020-01-01'; create role aq_later login password 'right' valid until '2999-01-01';
		create role aq_nologin password 'right'; create role aq_empty login`); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"md5", "scram-sha-256", "password"} {
		p := startAsking(t, c, "type = \""+method+"\"", "")
		for _, name := range []string{"aq_scram", "aq_md5", `aq "quote`, "aq_later"} {
			can := method != "scram-sha-256" || name != "aq_md5"
			if have := tryLogin(t, p.transaction, name, "postgres", "right"); (have == "") != can {
				t.Errorf("%s, %s: %s", method, name, have)
			}
			if have := tryLogin(t, p.session, name, "postgres", "wrong"); !strings.HasPrefix(have, "28P01 ") {
				t.Errorf("%s, %s with a wrong password: %s", method, name, have)
			}
		}
		for _, name := range []string{"aq_expired", "aq_nologin", "aq_empty", "aq_nobody", "\xff", strings.Repeat("x", 64)} {
			for _, password := range []string{"right", ""} {
				want := `28P01 password authentication failed for user "` + name + `"`
				if have := tryLogin(t, p.transaction, name, "postgres", password); have != want {
					t.Errorf("%s, %s: %s", method, name, have)
				}
			}
		}
		if have := tryLogin(t, p.transaction, "aq_scram", "no such database", "right"); !strings.HasPrefix(have, "28P01 ") {
			t.Errorf("in no database: %s", have)
		}
	}
}

// TestAuthQueryIsApart: nothing of the client's is set where it is asked, one connection serves all, and its answers are checked.
func TestAuthQueryIsApart(t *testing.T) {
	c := pgtest.Shared(t)
	if err := c.Exec("create sequence asked"); err != nil {
		t.Fatal(err)
	}
	const query = `select $1, 'right' where nextval('asked') > 0 and current_setting('search_path') = '\"$user\", public' and
		current_database() = 'postgres' and current_user = 'postgres' and current_setting('statement_timeout') = '0'`
	p := startAsking(t, c, `auth_dbname = "postgres"
auth_query_cache = "1h"
auth_query = """`+query+`"""`, "")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			w := pgtest.Dial(t, p.transaction)
			defer w.Close()
			w.Startup(map[string]string{
				"user": "anybody", "database": "template1", "search_path": "evil", "options": "-c search_path=evil", "statement_timeout": "7",
			})
			if e := w.TryAuthenticate("anybody", "wrong"); e == nil || e.Code != "28P01" {
				t.Error(e)
			}
		})
	}
	all.Wait()
	if have := tryLogin(t, p.transaction, "anybody", "template1", "right"); have != `28000 role "anybody" does not exist` {
		t.Errorf("with the password of the query: %s", have) // PostgreSQL says so, after we have let him in
	}
	for _, c := range []struct{ query, want string }{
		{"select $1, 'right'", ""},
		{"select 'postgres', 'right' where $1 <> ''", "08006 the user could not be looked up in PostgreSQL (auth_query)"},
		{"select $1", "08006 the user could not be looked up in PostgreSQL (auth_query)"},
		{"select $1, 'right' from generate_series(1, 2)", "08006 the user could not be looked up in PostgreSQL (auth_query)"},
		{"select $1, 'SCRAM-SHA-256$4096:AAAA$AAAA:AAAA'", "08006 the user could not be looked up in PostgreSQL (auth_query)"},
		{"select $1, 1/0::text", "08006 the user could not be looked up in PostgreSQL (auth_query)"},
		{"select $1, null", `28P01 password authentication failed for user "pg_monitor2"`},
		{"select $1, ''", `28P01 password authentication failed for user "pg_monitor2"`},
	} {
		q := startAsking(t, p.postgres, "auth_query = \""+c.query+"\"", "[databases.\"*\"]\nuser = \"postgres\"\n")
		if have := tryLogin(t, q.transaction, "pg_monitor2", "postgres", "right"); have != c.want {
			t.Errorf("%s: %s", c.query, have)
		}
	}
	rows, err := c.Query("select last_value || ' ' || is_called from asked")
	if err != nil || rows[0][0] != "1 true" && rows[0][0] != "2 true" { // the second is for those that came during the first
		t.Errorf("asked %v times (%v)", rows, err)
	}
}

// TestAuthQueryAtOnce: the first login after a change of the password succeeds with the new one and fails with the old one.
func TestAuthQueryAtOnce(t *testing.T) {
	c := pgtest.Shared(t)
	if err := c.Exec("create role aq_at_once login password '0'"); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"scram-sha-256", "md5", "password"} {
		p := startAsking(t, c, "type = \""+method+"\"", "")
		for i := range 5 {
			if err := c.Exec(fmt.Sprintf("alter role aq_at_once password '%d'", i)); err != nil {
				t.Fatal(err)
			}
			if have := tryLogin(t, p.transaction, "aq_at_once", "postgres", strconv.Itoa(i)); have != "" {
				t.Errorf("%s, the new password: %s", method, have)
			}
			if have := tryLogin(t, p.transaction, "aq_at_once", "postgres", strconv.Itoa(i-1)); !strings.HasPrefix(have, "28P01") {
				t.Errorf("%s, the old password: %s", method, have)
			}
		}
	}
}

// TestAuthQueryLearns: a changed password is known after the first login that fails, although answers are kept for an hour; and a
// connection that PostgreSQL has closed is replaced unnoticed.
func TestAuthQueryLearns(t *testing.T) {
	c := pgtest.Shared(t)
	if err := c.Exec("create role aq_changed login password 'old'"); err != nil {
		t.Fatal(err)
	}
	p := startAsking(t, c, "auth_query_cache = \"1h\"\n", "")
	if have := tryLogin(t, p.transaction, "aq_changed", "postgres", "old"); have != "" {
		t.Fatal(have)
	}
	if err := c.Exec("alter role aq_changed password 'new'; select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'hybridbouncer'"); err != nil {
		t.Fatal(err)
	}
	pgtest.WaitFor(t, 20*time.Second, "the new password", func() bool {
		return tryLogin(t, p.transaction, "aq_changed", "postgres", "new") == ""
	})
	if have := tryLogin(t, p.transaction, "aq_changed", "postgres", "old"); !strings.HasPrefix(have, "28P01") {
		t.Errorf("the old password: %s", have)
	}
}

// TestAuthQueryConnections: whatever databases are asked about, there are a few connections for questions, no more; those of yesterday give
// their place to others.
func TestAuthQueryConnections(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	if err := c.Exec("create role aq_many login password 'right'"); err != nil {
		t.Fatal(err)
	}
	const databases = 7
	for i := range databases {
		if err := c.Exec(fmt.Sprintf("create database aq_%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	p := startAsking(t, c, "auth_query_cache = 0\nauth_query = \"select rolname, rolpassword from pg_authid where rolname = $1 and pg_sleep(0.05) is not null\"\n", "")
	most := make(chan int)
	done := make(chan struct{})
	go func() {
		n := 0
		for {
			rows, err := c.Query("select count(*) from pg_stat_activity where usename = 'postgres' and datname like 'aq\\_%'")
			if err == nil {
				have, _ := strconv.Atoi(rows[0][0])
				n = max(n, have)
			}
			select {
			case <-done:
				most <- n
				return
			default:
			}
		}
	}()
	var all sync.WaitGroup
	for i := range 4 * databases {
		all.Go(func() {
			if have := tryLogin(t, p.transaction, "aq_many", fmt.Sprintf("aq_%d", i%databases), "wrong"); !strings.HasPrefix(have, "28P01") {
				t.Error(have)
			}
		})
	}
	all.Wait()
	close(done)
	if n := <-most; n > 5 || n == 0 {
		t.Errorf("%d connections for questions at once", n)
	}
	for i := range databases { // one after the other: none of those that are open is asked
		if have := tryLogin(t, p.transaction, "aq_many", fmt.Sprintf("aq_%d", i), "right"); have != "" {
			t.Errorf("aq_%d: %s", i, have)
		}
	}
}
