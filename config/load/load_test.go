package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// minimal is a file without a fault, for tests that add to it.
const minimal = "[auth]\ntype = \"trust\"\n"

// load writes a file and loads it.
func load(t *testing.T, text string, environ ...string) (*config.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Config(path, environ)
}

// sampleText is the shipped file.
func sampleText(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../config.toml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func mustLoad(t *testing.T, text string, environ ...string) *config.Config {
	t.Helper()
	c, err := load(t, text, environ...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// faults loads and gives the faults without the directory.
func faults(t *testing.T, text string, environ ...string) []string {
	t.Helper()
	_, err := load(t, text, environ...)
	var problems config.Problems
	if err == nil || !errors.As(err, &problems) {
		t.Fatalf("want faults, have error %v", err)
	}
	var lines []string
	for _, p := range problems {
		if p.File != "environment" {
			p.File = filepath.Base(p.File)
		}
		lines = append(lines, p.String())
	}
	return lines
}

func TestShippedFileLoads(t *testing.T) {
	c, err := Config("../../config.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range c.Warnings {
		if !strings.Contains(warning, "userlist.txt") { // the one for the demo may be read by everybody
			t.Errorf("warning: %s", warning)
		}
	}
	if !filepath.IsAbs(c.Auth.UserFile) || filepath.Base(c.Auth.UserFile) != "userlist.txt" {
		t.Errorf("user_file is %q", c.Auth.UserFile)
	}
	// Commented keys show defaults and set keys repeat them: but for these two, the file changes nothing.
	want := config.Default()
	want.Auth.UserFile, want.Admin.Users = c.Auth.UserFile, []string{"postgres"}
	for _, change := range config.Diff(want, c) {
		t.Errorf("the shipped file changes %s from %s to %s", change.Key, change.Old, change.New)
	}
	users, err := os.ReadFile(c.Auth.UserFile)
	if err != nil || !strings.Contains(string(users), `"app" "app"`) {
		t.Errorf("the documented user app is not in userlist.txt: %v", err)
	}
}

// Every line of the shipped file that is commented out must be right when a user removes the #.
func TestShippedFileUncommented(t *testing.T) {
	var lines []string
	for line := range strings.SplitSeq(sampleText(t), "\n") {
		rest, commented := strings.CutPrefix(line, "# ")
		name, _, isKey := strings.Cut(rest, " = ")
		if commented && (isKey && !strings.Contains(name, " ") || strings.HasPrefix(rest, "[databases.") && !strings.Contains(rest, ";") || strings.HasPrefix(rest, "[users.")) {
			line = rest
		}
		lines = append(lines, line)
	}
	text := strings.Join(lines, "\n")
	if strings.Count(text, "\n[databases.reports]\n") != 1 || strings.Count(text, "\n[users.web]\n") != 1 {
		t.Fatal("the optional tables were not found")
	}
	text = strings.Replace(text, `"userlist.txt"`, `"c.toml"`, 1)
	c := mustLoad(t, text)
	if _, ok := c.Databases["reports"]; !ok {
		t.Error("databases.reports is not there")
	}
}

func TestValuesOfAllTypes(t *testing.T) {
	c := mustLoad(t, minimal+`
[server]
tcp_keepalive = 0
server_connect_timeout = 2.5
tcp_keepidle = 90
tcp_keepintvl = "1m30s"
tcp_user_timeout = "7"
[[listener]]
name = "one"
listen = "127.0.0.1:7001, /run/x:7001"
server_check_query = "<empty>"
server_round_robin = 1
[[listener]]
name = "two"
listen = ["[::1]:7002", ":7003"]
[databases."my.app"]
pool_size = 3
[databases."*"]
[users.web]
query_timeout = "250ms"
`)
	check := func(what string, have, want any) {
		t.Helper()
		if !reflect.DeepEqual(have, want) {
			t.Errorf("%s is %v, want %v", what, have, want)
		}
	}
	check("tcp_keepalive", c.Server.TCPKeepalive, false)
	check("server_connect_timeout", c.Server.ConnectTimeout, 2500*time.Millisecond)
	check("tcp_keepidle", c.Server.TCPKeepidle, 90*time.Second)
	check("tcp_keepintvl", c.Server.TCPKeepintvl, 90*time.Second)
	check("tcp_user_timeout", c.Server.TCPUserTimeout, 7*time.Second)
	check("listeners", len(c.Listeners), 2)
	check("listen of one", c.Listeners[0].Listen, []string{"127.0.0.1:7001", "/run/x:7001"})
	check("listen of two", c.Listeners[1].Listen, []string{"[::1]:7002", ":7003"})
	check("default of a listener", c.Listeners[1].DefaultPoolSize, 20)
	check("server_round_robin", c.Listeners[0].ServerRoundRobin, true)
	check("<empty>", c.Listeners[0].ServerCheckQuery, ";")
	check("quoted name", c.Databases["my.app"].PoolSize, 3)
	check("user", c.Users["web"].QueryTimeout, 250*time.Millisecond)
}

func TestFaultsOfTheFile(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"misspelt key", "[auth]\ntype = 'trust'\n[server]\nprot = 5432\n", "c.toml:4: server.prot: unknown key; did you mean port?"},
		{"misspelt table", minimal + "[sever]\nport = 1\n", "c.toml:3: sever: unknown key; did you mean server?"},
		{"key of a listener", minimal + "[[listener]]\nname='a'\nlisten=':1'\ndefault_pool_sise = 3\n", "c.toml:6: listener.a.default_pool_sise: unknown key; did you mean default_pool_size?"},
		{"key of another table", minimal + "[server]\nquery_wait_timeout = 3\n", "c.toml:4: server.query_wait_timeout: unknown key here: it belongs in [[listener]] or [databases.NAME] or [users.NAME]"},
		{"PgBouncer's key", minimal + "auth_file = 'x'\n", "c.toml:3: auth.auth_file: unknown key here: here it is user_file in [auth]"},
		{"nothing near", "xyzzy = 1\n" + minimal, "c.toml:1: xyzzy: unknown key"},
		{"single brackets", minimal + "[listener]\nname = 'a'\n", "c.toml:3: listener: write [[listener]] with double brackets, once for each port"},
		{"text for a number", minimal + "[server]\n\nport = '5432'\n", "c.toml:5: server.port: must be a whole number without quotes"},
		{"number for a text", minimal + "[server]\nhost = 1\n", "c.toml:4: server.host: must be a text in quotes"},
		{"bad duration", minimal + "[server]\ntcp_keepidle = '5 apples'\n", `c.toml:4: server.tcp_keepidle: must be a duration such as "5s", "500ms", "1h30m", or a number of seconds`},
		{"huge number of seconds", minimal + "[server]\ntcp_keepidle = 1e300\n", "c.toml:4: server.tcp_keepidle: must be a number of seconds below a century"},
		{"not a number", minimal + "[server]\ntcp_keepidle = nan\n", "c.toml:4: server.tcp_keepidle: must be a number of seconds below a century"},
		{"bad switch", minimal + "[server]\ntcp_keepalive = 2\n", "c.toml:4: server.tcp_keepalive: must be true or false"},
		{"connection string", minimal + "[databases]\nreports = 'host=x'\n", "c.toml:4: databases.reports: must be a table: [databases.reports]"},
		{"value for a table", "log = 3\n" + minimal, "c.toml:1: log: must be a table: [log]"},
		{"after an array over lines", minimal + "[[listener]]\nname='a'\nlisten=[\n  ':1', # [x]\n  ':2']\npool_mod='session'\n", "c.toml:8: listener.a.pool_mod: unknown key; did you mean pool_mode?"},
		{"not TOML", "[auth]\ntype = 'trust\n", "c.toml:2: this is not TOML: literal strings cannot have new lines"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if have := faults(t, test.text); len(have) != 1 || have[0] != test.want {
				t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), test.want)
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	_, err := Config(filepath.Join(t.TempDir(), "none.toml"), nil)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("have %v", err)
	}
}

func TestNoFileAtAll(t *testing.T) {
	c, err := Config("", []string{"HYBRIDBOUNCER_AUTH_TYPE=trust"})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Listeners) != 2 || c.Listeners[0].Listen[0] != "127.0.0.1:6432" {
		t.Errorf("listeners are %+v", c.Listeners)
	}
}

// secretWord stands for every password of these tests; no text that leaves the package may contain it.
const secretWord = "hunter2"

func TestSecretsAreNeverShown(t *testing.T) {
	files := []string{
		minimal + "[server]\npassword = hunter2\n",
		minimal + "[server]\npassword = \"hunter2\n",
		minimal + "[server]\npassword = [\"hunter2\"]\n",
		minimal + "[server]\npassword = \"hunter2\" x\n",
		minimal + "[server]\npassword = \"hunter2\"\nsslmode = 'no'\n",
		minimal + "[server]\nhost = \"postgres://u:hunter2@h/db\"\n",
		minimal + "[databases.x]\npassword = \"hunter2\"\nport = -1\n",
		"[auth]\npassword = \"hunter2\"\n",
	}
	for i, text := range files {
		if _, err := load(t, text); err == nil {
			t.Errorf("file %d has no fault", i)
		} else if strings.Contains(err.Error(), secretWord) {
			t.Errorf("file %d: the secret is shown: %v", i, err)
		}
	}
	if _, err := load(t, minimal+"[server]\npassword = 99999999999999999999\n"); err == nil || strings.Contains(err.Error(), "9999") {
		t.Errorf("a number as a password is shown: %v", err)
	}
	for _, entry := range []string{
		"DATABASE_URL=postgres://u:hunter2@h:x/db", "DATABASE_URL=postgres://u:hunter2%zz@h/db", "DATABASE_URL=postgres://u:hunter2#@h/db",
		"DATABASE_URL=u:hunter2@h", "DATABASE_URLS=postgres://u:hunter2@h/a/b,x", "HYBRIDBOUNCER_SERVER_PORT=hunter2", "DB_PORT=hunter2",
		"HYBRIDBOUNCER_SERVER_PASSWORD=hunter2", "HYBRIDBOUNCER_SERVER_PASSWRD=hunter2",
	} {
		if _, err := load(t, minimal, entry); err == nil {
			t.Errorf("%s has no fault", entry)
		} else if strings.Contains(err.Error(), secretWord) {
			t.Errorf("%s: the secret is shown: %v", entry, err)
		}
	}
}

func TestPrintingMasksSecrets(t *testing.T) {
	c := mustLoad(t, minimal+"user='a'\npassword='hunter2'\n[server]\nuser='u'\npassword='hunter2'\n[databases.x]\npassword='hunter2'\n",
		"DATABASE_URL=postgres://v:hunter2@h/db?sslmode=require&x=hunter2")
	r, _ := c.Resolve(&c.Listeners[0], "x", "u")
	if r.ServerPassword != secretWord {
		t.Fatal("the password did not arrive")
	}
	other := c.Clone()
	other.Server.Password, other.Auth.Password = "hunter2x", "hunter2x"
	other.SetDatabase("x", config.Database{Password: "hunter2x"})
	encoded, err := json.Marshal([]any{c, r})
	if err != nil {
		t.Fatal(err)
	}
	changes := config.Diff(c, other)
	if len(changes) != 3 {
		t.Errorf("changed secrets: %+v", changes)
	}
	for _, text := range []string{
		fmt.Sprintf("%v %+v %#v", *c, *c, *c), fmt.Sprintf("%v %+v %#v", r, &r, r), fmt.Sprintf("%+v", changes),
		string(encoded), strings.Join(c.Warnings, "\n"),
	} {
		if strings.Contains(text, secretWord) {
			t.Errorf("the secret is shown: %s", text)
		}
	}
}

// locate must survive every text that the library accepts.
func FuzzLocate(f *testing.F) {
	f.Add(sampleText(f))
	f.Add("a.b = {c = [1, {d = 2}], 'e' = \"\"\"x\n\"\"\"}\n[[x]]\ny = '''\n'''\n[x.\"z.\\\"\"]\n\tk=1")
	f.Add("[listener")
	f.Fuzz(func(t *testing.T, text string) {
		var any map[string]any
		if err := toml.Unmarshal([]byte(text), &any); err != nil {
			return // locate is called with texts that the library accepts, and nothing else
		}
		for path, line := range locate([]byte(text)) {
			if line < 1 || line > strings.Count(text, "\n")+1 {
				t.Errorf("%q is on line %d", path, line)
			}
		}
	})
}
