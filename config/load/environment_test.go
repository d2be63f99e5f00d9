package load

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// Every setting can be given by its environment name, and arrives.
func TestEveryKeyByEnvironment(t *testing.T) {
	base := mustLoad(t, shippedText(t)+"[databases.reports]\n[users.web]\n")
	for _, target := range base.Targets() {
		name := config.EnvName(target.Path)
		value := otherValue(target)
		if value == "" {
			continue // listener.*.name: it would rename the listener under the other names
		}
		c := base.Clone()
		c.Warnings = nil
		r := &envReader{config: c, values: map[string]string{name: value}}
		r.own(name, value)
		if len(r.faults) > 0 {
			t.Errorf("%s: %v", name, r.faults)
			continue
		}
		changes := config.Diff(base, c)
		if len(changes) != 1 || changes[0].Key != target.Path {
			t.Errorf("%s=%s changes %+v", name, value, changes)
		}
	}
}

// shippedText is the shipped file without files it needs.
func shippedText(t *testing.T) string {
	t.Helper()
	return strings.Replace(sampleText(t), `"userlist.txt"`, `"c.toml"`, 1)
}

// otherValue gives a value of the setting's type that it does not have.
func otherValue(t config.Target) string {
	switch p := t.Field().(type) {
	case *int:
		return "7"
	case *bool:
		if *p {
			return "off"
		}
		return "on"
	case *time.Duration:
		return "77s"
	case *[]string:
		return "127.0.0.1:7777,[::1]:7777"
	case *string:
		if t.Key.Name == "name" {
			return ""
		}
		return "otherwise"
	}
	return ""
}

func TestEnvironment(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("hunter2\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := minimal + "[server]\nuser='u'\nport=1111\n"
	for _, test := range []struct {
		name    string
		environ []string
		want    map[string]string // by path, as TOML writes it; secrets plain
	}{
		{"own name", []string{"HYBRIDBOUNCER_SERVER_PORT=2222"}, map[string]string{"server.port": "2222"}},
		{"listener", []string{"HYBRIDBOUNCER_LISTENER_TRANSACTIONAL_DEFAULT_POOL_SIZE=33"}, map[string]string{"listener.transactional.default_pool_size": "33", "listener.session.default_pool_size": "10"}},
		{"seconds", []string{"HYBRIDBOUNCER_SHUTDOWN_TIMEOUT=5"}, map[string]string{"shutdown_timeout": `"5s"`}},
		{"empty number", []string{"HYBRIDBOUNCER_SERVER_PORT="}, map[string]string{"server.port": "1111"}},
		{"empty text", []string{"HYBRIDBOUNCER_ADMIN_LISTEN="}, map[string]string{"admin.listen": `""`}},
		{"new database", []string{"HYBRIDBOUNCER_DATABASES_MY_APP_RESERVE_POOL_SIZE=3", "HYBRIDBOUNCER_DATABASES_MY_APP_POOL_SIZE=4"}, map[string]string{"databases.my_app.reserve_pool_size": "3", "databases.my_app.pool_size": "4"}},
		{"new user", []string{"HYBRIDBOUNCER_USERS_WEB_QUERY_TIMEOUT=3"}, map[string]string{"users.web.query_timeout": `"3s"`}},
		{"secret file", []string{"HYBRIDBOUNCER_SERVER_PASSWORD_FILE=" + secret}, map[string]string{"server.password": `"hunter2"`}},
		{"secret file of a new database", []string{"HYBRIDBOUNCER_DATABASES_APP_PASSWORD_FILE=" + secret}, map[string]string{"databases.app.password": `"hunter2"`}},
		{"kubernetes", []string{"HYBRIDBOUNCER_SERVICE_HOST=10.0.0.1", "HYBRIDBOUNCER_PORT=tcp://10.0.0.1:6432", "HYBRIDBOUNCER_PORT_6432_TCP_ADDR=10.0.0.1", "HYBRIDBOUNCER_SERVICE_PORT_PG=6432", "HYBRIDBOUNCER_SERVER_PORT=tcp://10.0.0.1:6432", "HYBRIDBOUNCER_CONFIG=x", "HYBRIDBOUNCER_PG_BIN=/x"}, map[string]string{"server.port": "1111"}},
		{"image names", []string{"DB_HOST=db", "DB_PORT=3333", "DB_USER=app", "DB_PASSWORD=hunter2", "AUTH_TYPE=plain"}, map[string]string{"server.host": `"db"`, "server.port": "3333", "server.user": `"app"`, "server.password": `"hunter2"`, "auth.type": `"password"`, "auth.user": `"app"`, "auth.password": `"hunter2"`}},
		{"own before image", []string{"DB_HOST=db", "HYBRIDBOUNCER_SERVER_HOST=own"}, map[string]string{"server.host": `"own"`}},
		{"empty image name", []string{"DB_HOST=", "DB_PORT="}, map[string]string{"server.host": `"127.0.0.1"`, "server.port": "1111"}},
		{"sizes", []string{"DEFAULT_POOL_SIZE=7", "MAX_CLIENT_CONN=77", "SESSION_POOL_SIZE=8", "SESSION_MAX_CLIENT_CONN=88", "QUERY_WAIT_TIMEOUT=9", "QUERY_TIMEOUT=6"}, map[string]string{
			"listener.transactional.default_pool_size": "7", "listener.transactional.max_client_conn": "77",
			"listener.session.default_pool_size": "8", "listener.session.max_client_conn": "88",
			"listener.transactional.query_wait_timeout": `"9s"`, "listener.session.query_wait_timeout": `"9s"`,
			"listener.transactional.query_timeout": `"6s"`, "listener.session.query_timeout": `"0s"`,
		}},
		{"bitnami", []string{"POSTGRESQL_HOST=db", "PGBOUNCER_DEFAULT_POOL_SIZE=7", "PGBOUNCER_PORT=7432", "PGBOUNCER_BIND_ADDRESS=0.0.0.0", "POSTGRESQL_PASSWORD_FILE=" + secret, "PGBOUNCER_DATABASE=app"}, map[string]string{
			"server.host": `"db"`, "listener.transactional.default_pool_size": "7", "server.user": `"postgres"`, "server.password": `"hunter2"`,
			"listener.transactional.listen": `["0.0.0.0:7432"]`, "listener.session.listen": `["0.0.0.0:6433"]`, "databases.app.dbname": `""`,
		}},
		{"any address", []string{"LISTEN_ADDR=*", "UNIX_SOCKET_DIR=/run/hb/"}, map[string]string{"listener.transactional.listen": `[":6432", "/run/hb:6432"]`}},
		{"URL", []string{"DATABASE_URL=postgres://ap%40p:hunt%2Fer2@db:4444/my%20app?sslmode=require&connect_timeout=3&application_name=x"}, map[string]string{
			"server.host": `"db"`, "server.port": "4444", "server.user": `"ap@p"`, "server.password": `"hunt/er2"`, "server.sslmode": `"require"`,
			"server.server_connect_timeout": `"3s"`, "server.application_name": `"x"`, `databases."my app".dbname`: `""`,
		}},
		{"URL, any database, no port", []string{"DATABASE_URL=postgresql://app@[::1]/*"}, map[string]string{"server.host": `"::1"`, "server.port": "1111", "server.user": `"app"`}},
		{"URLs", []string{"DATABASE_URLS=postgres://a:hunter2@one:1/x, postgres://b:hunter2@two/y"}, map[string]string{
			"databases.x.host": `"one"`, "databases.x.port": "1", "databases.y.host": `"two"`, "databases.y.port": "0", "databases.y.password": `"hunter2"`,
		}},
		{
			"TLS for clients",
			[]string{"CLIENT_TLS_SSLMODE=require", "CLIENT_TLS_KEY_FILE=/dev/null", "CLIENT_TLS_CERT_FILE=/dev/null"},
			map[string]string{"listener.transactional.client_tls_sslmode": `"require"`, "listener.session.client_tls_cert_file": `"/dev/null"`},
		},
		{"service link of another", []string{"DB_PORT=tcp://10.0.0.1:5432", "PGBOUNCER_PORT=tcp://10.0.0.1:5432"}, map[string]string{"server.port": "1111", "listener.transactional.listen": `["127.0.0.1:6432"]`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			// trust is replaced where AUTH_TYPE is given; setLogin adds no login for trust.
			text := file
			if slices.Contains(test.environ, "AUTH_TYPE=plain") {
				text = strings.TrimPrefix(file, minimal)
			}
			c := mustLoad(t, text, test.environ...)
			for path, want := range test.want {
				target, known := c.Target(path)
				if !known {
					t.Errorf("there is no %s", path)
				} else if have := config.Show(target.Field()); have != want {
					t.Errorf("%s is %s, want %s", path, have, want)
				}
			}
		})
	}
}

func TestEnvironmentFaults(t *testing.T) {
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, secretFileBytesMax+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		environ []string
		want    string
	}{
		{[]string{"HYBRIDBOUNCER_SERVER_PROT=1"}, "environment: HYBRIDBOUNCER_SERVER_PROT: no setting has this name; did you mean HYBRIDBOUNCER_SERVER_PORT?"},
		{[]string{"HYBRIDBOUNCER_LISTENER_TRANSACTIONL_POOL_MODE=x"}, "environment: HYBRIDBOUNCER_LISTENER_TRANSACTIONL_POOL_MODE: no setting has this name; did you mean HYBRIDBOUNCER_LISTENER_TRANSACTIONAL_POOL_MODE?"},
		{[]string{"HYBRIDBOUNCER_SERVER_PORT=x"}, "environment: HYBRIDBOUNCER_SERVER_PORT: must be a whole number without quotes"},
		{[]string{"HYBRIDBOUNCER_SERVER_PORT=0"}, "environment: HYBRIDBOUNCER_SERVER_PORT: must be from 1 to 65535, not 0"},
		{[]string{"DEFAULT_POOL_SIZE=0"}, "environment: DEFAULT_POOL_SIZE: must be at least 1, not 0"},
		{[]string{"HYBRIDBOUNCER_SERVER_SSLMODE_FILE=/x"}, "environment: HYBRIDBOUNCER_SERVER_SSLMODE_FILE: no setting has this name; did you mean HYBRIDBOUNCER_SERVER_SSLMODE?"},
		{[]string{"HYBRIDBOUNCER_SERVER_PASSWORD_FILE=/does/not/exist"}, "environment: HYBRIDBOUNCER_SERVER_PASSWORD_FILE: read the secret: open /does/not/exist: no such file or directory"},
		{[]string{"HYBRIDBOUNCER_SERVER_PASSWORD_FILE=" + big}, "environment: HYBRIDBOUNCER_SERVER_PASSWORD_FILE: the secret's file is larger than 65536 bytes; is it the right file?"},
		{[]string{"HYBRIDBOUNCER_SERVER_PASSWORD_FILE=" + big, "HYBRIDBOUNCER_SERVER_PASSWORD=x", "HYBRIDBOUNCER_SERVER_USER=x"}, "environment: HYBRIDBOUNCER_SERVER_PASSWORD_FILE: and HYBRIDBOUNCER_SERVER_PASSWORD are both set; keep one of them"},
		{[]string{"AUTH_TYPE=any"}, "environment: AUTH_TYPE: any is not supported, because it forgets the name of the client; use trust and server.user"},
		{[]string{"DATABASE_URL=mysql://h/x"}, "environment: DATABASE_URL: " + errURL.Error()},
	} {
		t.Run(test.environ[0], func(t *testing.T) {
			if have := faults(t, minimal, test.environ...); len(have) != 1 || have[0] != test.want {
				t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), test.want)
			}
		})
	}
}

// The warnings list the image names that were used, and those that were not.
func TestWarnings(t *testing.T) {
	c := mustLoad(t, minimal+"user_file = 'c.toml'\n", "DB_HOST=db", "POOL_MODE=session", "PGBOUNCER_PEERS=1", "CONNECT_QUERY=select 1",
		"HYBRIDBOUNCER_AUTH_TYPE=md5", "HYBRIDBOUNCER_AUTH_USER=a", "HYBRIDBOUNCER_AUTH_PASSWORD=b")
	want := []string{
		"PGBOUNCER_PEERS is ignored: no equal here",
		"CONNECT_QUERY is ignored: no equal here",
		"server.host is taken from DB_HOST",
		"POOL_MODE is ignored: each port has its own pool mode here: connect to the transaction listener or to the session listener",
		"auth.user is ignored, because auth.user_file names the users",
	}
	if !reflect.DeepEqual(c.Warnings, want) {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(c.Warnings, "\n"), strings.Join(want, "\n"))
	}
}

// The tables of image names lead to settings that exist, and no name stands in two of them.
func TestImageNames(t *testing.T) {
	c := config.Default()
	for name, path := range ImageNames {
		parts := strings.Split(path, ".")
		if s := config.SectionNamed(parts[0]); s == nil || s.Key(parts[len(parts)-1]) == nil {
			t.Errorf("%s leads to %s, which is no setting", name, path)
		}
		if parts[0] == "listener" && parts[1] != "*" && firstListener(c, parts[1]) == nil {
			t.Errorf("%s leads to %s: no such listener", name, path)
		}
		if imageActions[name] != nil || ImageNamesIgnored[name] != "" {
			t.Errorf("%s stands in two tables", name)
		}
	}
	for alias, name := range imageAliases {
		if imageName(name) != name {
			t.Errorf("%s leads to %s, which is not known", alias, name)
		}
	}
}
