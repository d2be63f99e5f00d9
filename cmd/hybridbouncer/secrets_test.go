package main

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// output is all that a run shows to anybody.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// TestNoSecretIsShown: through a run with logins good and bad, reloads that change every secret, a server that refuses, a bad file, and all
// that the admin endpoint and `check -print` show, no secret appears: at log level debug, in either format.
func TestNoSecretIsShown(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{HBA: "host all md5user all md5\nhost all all all scram-sha-256\n"})
	secrets := map[string]string{}
	for _, name := range []string{"plain", "hashed", "server", "database", "passfile", "asker", "typed", "next", "broken"} {
		secrets[name] = "s3cr3t'\\ of " + name
	}
	scram, err := auth.BuildSCRAMSecret(secrets["hashed"], 4096)
	if err != nil {
		t.Fatal(err)
	}
	quote := func(s string) string { return strings.ReplaceAll(s, "'", "''") }
	if err := c.Exec(fmt.Sprintf(`create role plainuser login password '%s'; create role scramuser login password '%s';
		create role asker superuser login password '%s'; create role queried login password '%s'; create role server login password '%s';
		set password_encryption = 'md5'; create role md5user login password '%s'`, quote(secrets["plain"]), scram, quote(secrets["asker"]),
		quote(secrets["hashed"]), quote(secrets["server"]), quote(secrets["hashed"]))); err != nil {
		t.Fatal(err)
	}
	rows, err := c.Query("select rolpassword from pg_authid where rolpassword is not null")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		secrets[row[0]] = row[0]
	}
	for format, level := range map[string]string{"text": "debug", "json": "debug"} {
		shown := &output{}
		runWithSecrets(t, c, shown, format, level, secrets, scram)
		text := shown.String()
		for name, secret := range secrets {
			for _, form := range []string{secret, strings.Trim(fmt.Sprintf("%q", secret), `"`), quote(secret), html.EscapeString(secret)} {
				if i := strings.Index(text, form); i >= 0 {
					t.Errorf("%s: the secret %q is shown: ...%s", format, name, text[max(0, i-200):i+len(form)])
				}
			}
		}
		for _, must := range []string{
			"client logged in", "login refused", "reloaded", "hybridbouncer_logins_total", "********", "[plainuser postgres plain]: <nil>",
			"[scramuser postgres hashed]: <nil>", "[queried postgres hashed]: <nil>", "[md5user postgres hashed]: <nil>", "[plainuser forced plain]: <nil>",
		} {
			if !strings.Contains(text, must) {
				t.Errorf("%s: the run did not show %q", format, must)
			}
		}
	}
}

// runWithSecrets runs the program and does what can show a secret.
func runWithSecrets(t *testing.T, c *pgtest.Cluster, shown *output, format, level string, secrets map[string]string, scram string) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	users := file("users", fmt.Sprintf("\"plainuser\" \"%s\"\n\"scramuser\" \"%s\"\n\"asker\" \"%s\"\n", secrets["plain"], scram, secrets["asker"]))
	file("pass", fmt.Sprintf("*:*:*:passuser:%s\n", strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(secrets["passfile"])))
	config := func(server, database string) string {
		return fmt.Sprintf(`[server]
host = %q
port = %d
user = ""
passfile = "pass"
server_login_retry = "100ms"
[auth]
type = "md5"
user_file = %q
auth_user = "asker"
auth_query_cache = "1s"
[[listener]]
name = "only"
listen = ["127.0.0.1:0"]
pool_mode = "transaction"
client_login_timeout = "3s"
[databases."*"]
[databases.forced]
dbname = "postgres"
user = "server"
password = %q
[databases.wrong]
dbname = "postgres"
user = "server"
password = %q
[admin]
listen = "127.0.0.1:0"
[log]
level = %q
format = %q
`, c.Host, c.Port, users, server, database, level, format)
	}
	path := file("config.toml", config(secrets["server"], secrets["database"]))
	p := &process{stdout: shown, stderr: shown}
	s := &service{process: p, path: path, logTo: shown}
	err := s.run(func(s *service) {
		address := s.proxy.Addresses()["only"][0]
		tryAll(shown, address, secrets)
		file("config.toml", config(secrets["next"], secrets["next"]))
		raise(t, s, shown, "reloaded")
		tryAll(shown, address, secrets)
		file("users", fmt.Sprintf("\"plainuser\" \"SCRAM-SHA-256$%s\"\n", secrets["broken"]))
		raise(t, s, shown, "stays in force")
		file("config.toml", config(secrets["server"], secrets["database"])+"password = \""+secrets["broken"]+"\n")
		raise(t, s, shown, "TOML")
		for _, page := range []string{"/", "/metrics", "/health/db", "/healthz", "/readyz"} {
			answer, err := http.Get("http://" + s.admin.Address() + page)
			if err != nil {
				t.Error(err)
				continue
			}
			_, _ = io.Copy(shown, answer.Body)
			_ = answer.Body.Close()
		}
		fmt.Fprintf(shown, "%v %+v %#v\n", s.config, s.config, s.config.Databases)
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	})
	fmt.Fprintln(shown, err)
	file("users", "")
	file("config.toml", config(secrets["server"], secrets["database"]))
	fmt.Fprintln(shown, dispatch([]string{"check", "-print", "-config", path}, p))
}

// tryAll logs in with each user, the right secret and a wrong one, and shows what the client is told.
func tryAll(shown io.Writer, address string, secrets map[string]string) {
	host, port, _ := strings.Cut(address, ":")
	for _, l := range [][3]string{
		{"plainuser", "postgres", "plain"},
		{"scramuser", "postgres", "hashed"},
		{"md5user", "postgres", "hashed"},
		{"queried", "postgres", "hashed"},
		{"plainuser", "forced", "plain"},
		{"plainuser", "wrong", "plain"},
		{"nobody", "postgres", "typed"},
		{"plainuser", "postgres", "typed"},
		{"scramuser", "postgres", "typed"},
		{"md5user", "postgres", "typed"},
		{"queried", "nowhere", "hashed"},
	} {
		cfg, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%s sslmode=disable", host, port))
		if err != nil {
			panic(err)
		}
		cfg.User, cfg.Database, cfg.Password = l[0], l[1], secrets[l[2]]
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		client, err := pgconn.ConnectConfig(ctx, cfg)
		if err == nil {
			_, err = client.Exec(ctx, "select 1").ReadAll()
			_ = client.Close(ctx)
		}
		fmt.Fprintf(shown, "%v: %v\n", l, err)
		cancel()
	}
}

// raise reloads, and waits until that is done.
func raise(t *testing.T, s *service, shown *output, word string) {
	before := strings.Count(shown.String(), word)
	s.reload()
	pgtest.WaitFor(t, 20*time.Second, "the reload", func() bool { return strings.Count(shown.String(), word) > before })
}
