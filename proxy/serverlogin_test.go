package proxy_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// secretOf is what PostgreSQL stores for a role.
func secretOf(t *testing.T, c *pgtest.Cluster, role string) string {
	t.Helper()
	rows, err := c.Query("select rolpassword from pg_authid where rolname = '" + role + "'")
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	return rows[0][0]
}

// TestServerLogin: from each form of secret, wherever it comes from, servers log in to a PostgreSQL that wants SCRAM or MD5, or say what
// is missing. Nothing but the form named is known to the pooler.
func TestServerLogin(t *testing.T) {
	for _, tls := range []bool{false, true} {
		c := pgtest.New(t, pgtest.Options{
			TLS: tls,
			HBA: "host all md5user,scramuser,otheruser all md5\nhost all all all scram-sha-256\n",
		})
		if err := c.Exec(`set password_encryption = 'md5'; create role md5user login password 'right';
			set password_encryption = 'scram-sha-256'; create role scramuser login password 'right'; create role otheruser login password 'right';
			create role asker superuser login password 'asked'`); err != nil {
			t.Fatal(err)
		}
		md5, scram, other := secretOf(t, c, "md5user"), secretOf(t, c, "scramuser"), secretOf(t, c, "otheruser")
		for _, test := range []struct{ name, method, user, secret, more, want string }{
			{"plain to SCRAM", "scram-sha-256", "scramuser", "right", "", ""},
			{"plain to MD5", "scram-sha-256", "md5user", "right", "", ""},
			{"SCRAM pass-through", "scram-sha-256", "scramuser", scram, "", ""},
			{"SCRAM pass-through by md5", "md5", "scramuser", scram, "", ""},
			{"what the password method heard", "password", "scramuser", scram, "", ""},
			{"what the password method heard, for MD5", "password", "md5user", md5, "", ""},
			{"md5 secret to MD5", "md5", "md5user", md5, "", ""},
			{"another SCRAM secret of the same password", "scram-sha-256", "scramuser", other, "", "08006"},
			{"md5 secret to SCRAM", "md5", "scramuser", "md5" + strings.Repeat("0", 32), "", "28P01"},
			{"SCRAM secret to MD5", "scram-sha-256", "md5user", scram, "", "08006"},
			{"auth_query, SCRAM pass-through", "scram-sha-256", "scramuser", "", "auth_user = \"asker\"\n", ""},
			{"auth_query, md5 to MD5", "md5", "md5user", "", "auth_user = \"asker\"\n", ""},
			{"wrong password", "scram-sha-256", "scramuser", "wrong", "", "28P01"},
		} {
			t.Run(fmt.Sprintf("%s/tls=%v", test.name, tls), func(t *testing.T) {
				users := filepath.Join(t.TempDir(), "users.txt")
				lines := "\"asker\" \"asked\"\n"
				if test.secret != "" {
					lines += fmt.Sprintf("%q %q\n", test.user, test.secret)
				}
				write(t, users, lines)
				p := start(t, c, "", fmt.Sprintf("[auth]\ntype = %q\nuser_file = %q\n%s", test.method, users, test.more))
				for range 2 {
					have := tryLogin(t, p.transaction, test.user, "postgres", "right")
					if code, _, _ := strings.Cut(have, " "); code != test.want {
						t.Errorf("%s, want %q", have, test.want)
					}
				}
				if test.want == "" {
					w := pgtest.Login(t, p.session, test.user, "postgres", "right")
					if got := one(t, w, "select current_user"); got != test.user {
						t.Error(got)
					}
				}
			})
		}
	}
}

// TestServerPasswords: the other places that a password can come from.
func TestServerPasswords(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{AuthMethod: "scram-sha-256"})
	dir := t.TempDir()
	pass := filepath.Join(dir, "pgpass")
	write(t, pass, fmt.Sprintf("# comment\n%s:%d:*:postgres:%s\n", c.Host, c.Port, c.Password))
	t.Setenv("PGPASSWORD", "of somebody else")
	t.Setenv("PGPASSFILE", "/does/not/exist")
	for name, more := range map[string]string{
		"passfile": "[databases.\"*\"]\nuser = \"postgres\"\n",
		"database": fmt.Sprintf("[databases.\"*\"]\nuser = \"postgres\"\npassword = %q\n", c.Password),
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, c, configuration(t, serverAt(c)+fmt.Sprintf("passfile = %q\n", pass), "", more))
			w := p.login(t, p.transaction)
			if got := one(t, w, "select 7"); got != "7" {
				t.Error(got)
			}
		})
	}
	p := start(t, c, "", "")
	if have := tryLogin(t, p.transaction, "postgres", "postgres", ""); !strings.HasPrefix(have, "08006") {
		t.Errorf("without any password: %s", have)
	}
}
