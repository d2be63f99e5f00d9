package pgbouncer_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/config/pgbouncer"
)

// importTexts writes ini files a.ini, b.ini ... into the working directory and imports them.
func importTexts(t *testing.T, texts ...string) (*pgbouncer.Imported, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	var paths []string
	for n, text := range texts {
		path := string(rune('a'+n)) + ".ini"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return pgbouncer.Import(paths...)
}

// base is a file without a fault, for tests that add to it.
const base = "[databases]\nd = host=h\n[pgbouncer]\nauth_type = scram-sha-256\nauth_file = /u\nunix_socket_dir = /s\n"

// The import stops where PgBouncer would refuse the file, or where the behaviour would change without a word.
func TestFaults(t *testing.T) {
	other := strings.Replace(base, "[pgbouncer]", "[pgbouncer]\nlisten_port = 6433", 1)
	for _, test := range []struct {
		name  string
		files []string
		want  string // all faults
	}{
		{"no section", []string{"listen_port = 1\n"}, "a.ini:1: listen_port stands above all sections"},
		{"no main section", []string{"[databases]\n"}, "a.ini: there is no section [pgbouncer]; PgBouncer would not start with this file"},
		{"unknown section", []string{"[pgbuncer]\n"}, "a.ini:1: PgBouncer has no section [pgbuncer]"},
		{"open header", []string{"\n[pgbouncer\n]\n"}, "a.ini:2: the section header has no ]"},
		{"no value", []string{base + "x\n"}, "a.ini:7: expected name = value"},
		{"open quote", []string{base + "[users]\n'x = 1\n"}, "a.ini:8: the quoted name has no end, or is empty"},
		{"empty quotes", []string{base + "[users]\n'' = 1\n"}, "a.ini:8: the quoted name has no end, or is empty"},
		{"missing include", []string{"%include nowhere.ini\n"}, "nowhere.ini: cannot be read: open nowhere.ini: no such file or directory"},
		{"endless include", []string{"%include a.ini\n"}, "a.ini:1: %include goes deeper than 10 files"},
		{"unknown key", []string{base + "listen_prot = 1\n"}, "a.ini:7: listen_prot: PgBouncer has no such setting; did you mean listen_port?"},
		{"unit", []string{base + "query_timeout = 5s\n"}, "a.ini:7: query_timeout: PgBouncer expects a number of seconds here, without a unit"},
		{"bad word", []string{base + "pool_mode = any\n"}, "a.ini:7: pool_mode: PgBouncer expects one of session, transaction, statement here"},
		{"two at once", []string{base + "pool_mode = any\nmax_client_conn = many\n"}, "a.ini:7: pool_mode: PgBouncer expects one of session, transaction, statement here\na.ini:8: max_client_conn: PgBouncer expects a whole number here"},
		{"no limit", []string{base + "default_pool_size = 0\n"}, "a.ini:7: default_pool_size: 0 is \"no limit\" in PgBouncer; every pool has a limit here: write the largest size that PostgreSQL has room for"},
		{"no limit of a database", []string{strings.Replace(base, "host=h", "host=h pool_size=0", 1)}, "a.ini:2: databases d pool_size: 0 is \"no limit\" in PgBouncer, and \"as for the others\" here: write a number"},
		{"no limit among limits", []string{strings.Replace(base, "host=h", "host=h max_db_connections=0", 1) + "max_db_connections = 3\n"}, "a.ini:2: databases d max_db_connections: 0 is \"no limit\" in PgBouncer, and \"as for the others\" here: write a number"},
		{"host list", []string{strings.Replace(base, "host=h", "host=h,i", 1)}, "a.ini:2: databases d host: a list of hosts is tried in its order here; PgBouncer takes them in turn, unless load_balance_hosts = disable: add load_balance_hosts = disable if that is right for you (PgBouncer 1.24 and later), or name one host"},
		{"reserved database", []string{strings.Replace(base, "d =", "pgbouncer =", 1)}, "a.ini:2: databases pgbouncer: the name is reserved for the console"},
		{"unknown key of a database", []string{strings.Replace(base, "host=h", "hots=h", 1)}, "a.ini:2: databases d hots: PgBouncer has no such setting"},
		{"connection string", []string{strings.Replace(base, "host=h", "host h", 1)}, "a.ini:2: databases d: syntax error: expected key=value pairs with blanks between them, and quotes around values with blanks"},
		{"no database", []string{strings.Replace(base, "d = host=h\n", "", 1)}, "a.ini: databases: the files name no database; PgBouncer would refuse every client, and without [databases] every name is allowed here"},
		{"no address", []string{strings.Replace(base, "/s", "", 1)}, "a.ini: listen_addr: the file names no address that can be listened on"},
		{"pam", []string{strings.Replace(base, "scram-sha-256", "pam", 1)}, "a.ini:4: auth_type: there is no pam in this version"},
		{"any", []string{strings.Replace(base, "scram-sha-256", "any", 1)}, "a.ini:4: auth_type: any ignores the client's user name, so every database needs user=; these files have databases without it"},
		{"two auth types", []string{base, strings.Replace(other, "scram-sha-256", "md5", 1)}, "b.ini:5: auth_type: the files disagree, and there is one setting for all listeners here: make them equal first; auth_type = hba with rules by address and database can replace both"},
		{"two user files", []string{base, strings.Replace(other, "/u", "/v", 1)}, "b.ini:6: auth_file: the files disagree (a.ini:5 and b.ini:6), and there is one setting for all listeners here: make them equal first"},
		{"two servers of one name", []string{base, strings.Replace(other, "host=h", "host=i", 1)}, "b.ini:2: databases d host: differs from a.ini:2, and a database is the same on all listeners here: make them equal, or rename one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := importTexts(t, test.files...)
			if err == nil || err.Error() != test.want {
				t.Errorf("have\n%v\nwant\n%s", err, test.want)
			}
		})
	}
}

// What the notes say where nothing stops the import.
func TestNotes(t *testing.T) {
	for _, test := range []struct {
		name, text, want string
	}{
		{"nothing to say", base, ""},
		{"the default is nothing to tell", base + "pkt_buf = 4096\nserver_lifetime = 3600\nlog_stats = 0\n", ""},
		{"repeated section", base + "query_timeout = 3\n[pgbouncer]\nunix_socket_dir = /s\n", "a.ini:4: auth_type: has no effect: PgBouncer goes back to its defaults at the repeated [pgbouncer] of a.ini:8\n" +
			"a.ini:6: unix_socket_dir: has no effect: PgBouncer goes back to its defaults at the repeated [pgbouncer] of a.ini:8\na.ini:7: query_timeout: has no effect: PgBouncer goes back to its defaults at the repeated [pgbouncer] of a.ini:8"},
		{"one use", base + "server_lifetime = 0\n", "a.ini:7: server_lifetime: 0, one use for each server, becomes 1ms"},
		{"test each time", base + "server_check_delay = 0\n", "a.ini:7: server_check_delay: 0, a test before each use, becomes 1ms"},
		{"old TLS", base + "client_tls_protocols = all\n", "a.ini:7: client_tls_protocols: TLS 1.0 and 1.1 are not spoken here"},
		{"abstract socket", base + "unix_socket_dir = @x\nlisten_addr = 127.0.0.1\n", "a.ini:7: unix_socket_dir: abstract sockets have no equal in this version: clients need a directory or a TCP address"},
		{"all and one address", base + "listen_addr = ::1, *\n", "a.ini:7: listen_addr: * stands for every address: the others are left out"},
		{"rules without hba", base + "auth_hba_file = /h\n", "a.ini:7: auth_hba_file: is left out: it has a meaning with auth_type = hba only"},
	} {
		t.Run(test.name, func(t *testing.T) {
			imported, err := importTexts(t, test.text)
			if err != nil {
				t.Fatal(err)
			}
			var have []string
			for _, n := range imported.Notes {
				have = append(have, n.String())
			}
			slices.Sort(have)
			want := strings.Split(test.want, "\n")
			slices.Sort(want)
			if strings.Join(have, "\n") != strings.Join(want, "\n") {
				t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), test.want)
			}
		})
	}
}

// A password stands in the values of the written file and nowhere else.
func TestSecretsAreNotInNotes(t *testing.T) {
	for _, text := range []string{
		strings.Replace(base, "host=h", "host=h password=hunter2", 1),
		strings.Replace(base, "host=h", "host=h user=u password=hunter2 connect_query='SELECT 1'", 1),
		strings.Replace(base, "host=h", "host=h user=u password='hunter2", 1),
		strings.Replace(base, "host=h", "host=h password hunter2", 1),
		base + "hunter2\n",
	} {
		imported, err := importTexts(t, text)
		if err != nil {
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a fault shows the password: %v", err)
			}
			continue
		}
		for _, n := range imported.Notes {
			if strings.Contains(n.String(), "hunter2") {
				t.Errorf("a note shows the password: %s", n)
			}
		}
	}
}

// Two files of one pool mode are named by their files.
func TestListenerNames(t *testing.T) {
	t.Chdir(t.TempDir())
	paths := []string{"Web-1.ini", filepath.Join("x", "web-1.ini")}
	if err := os.Mkdir("x", 0o700); err != nil {
		t.Fatal(err)
	}
	for n, path := range paths {
		text := strings.Replace(base, "[pgbouncer]", "[pgbouncer]\nlisten_port = 643"+string(rune('2'+n)), 1)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	imported, err := pgbouncer.Import(paths...)
	if err != nil {
		t.Fatal(err)
	}
	if l := imported.Config.Listeners; l[0].Name != "web-1" || l[1].Name != "web-1_2" {
		t.Errorf("the listeners are %q and %q", l[0].Name, l[1].Name)
	}
}

// Import must survive any text.
func FuzzImport(f *testing.F) {
	f.Add(base)
	f.Add("[pgbouncer]x=1\n%include \n'a'='b'\n[users]\nu = a='")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "%include") {
			return // it would read other files
		}
		path := filepath.Join(t.TempDir(), "a.ini")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if imported, err := pgbouncer.Import(path); err == nil {
			sameConfiguration(t, imported)
		}
	})
}
