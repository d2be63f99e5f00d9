package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/config"
)

func TestValidate(t *testing.T) {
	dir := t.TempDir()
	const listener = "[[listener]]\nname='a'\nlisten=':1'\n"
	for _, test := range []struct{ name, text, want string }{
		{"negative duration", minimal + "[server]\nserver_login_retry = -1\n", "c.toml:4: server.server_login_retry: must not be negative; 0 means: 100ms"},
		{"number too small", minimal + listener + "default_pool_size = 0\n", "c.toml:6: listener.a.default_pool_size: must be at least 1, not 0"},
		{"number too large", minimal + "[server]\nport = 65536\n", "c.toml:4: server.port: must be from 1 to 65535, not 65536"},
		{"negative override", minimal + "[users.web]\npool_size = -1\n", "c.toml:4: users.web.pool_size: must be at least 0, not -1"},
		{"word", minimal + listener + "pool_mode = 'transactions'\n", `c.toml:6: listener.a.pool_mode: must be one of session, transaction, statement, not "transactions"; did you mean transaction?`},
		{"auth type of later", "[auth]\ntype = 'ldap'\n", `c.toml:2: auth.type: this version does not support auth type "ldap", only trust, password, md5, scram-sha-256, scram-sha-256-plus, cert, hba`},
		{"HBA without its file", "[auth]\ntype = 'hba'\n", `c.toml:1: auth.auth_hba_file: type = "hba" and auth_hba_file belong together: set both or none`},
		{"maps without HBA", minimal + "auth_ident_file = 'c.toml'\n", `c.toml:3: auth.auth_ident_file: needs type = "hba": only lines of auth_hba_file name maps`},
		{"no user file", "[auth]\ntype = 'md5'\n", `c.toml:1: auth.user_file: auth type md5 needs a user_file (lines of "name" "password"), or auth.user and auth.password, or auth_user to ask PostgreSQL`},
		{"auth_query without its user", minimal + "auth_query = 'select 1'\n", `c.toml:3: auth.auth_query: must name the user as $1`},
		{"user file that is not there", "[auth]\nuser_file = '" + dir + "/none'\n", "c.toml:2: auth.user_file: open " + dir + "/none: no such file or directory"},
		{"user file that is a directory", "[auth]\nuser_file = '" + dir + "'\n", "c.toml:2: auth.user_file: " + dir + " is a directory, not a file"},
		{"login without password", "[auth]\nuser = 'x'\n", "c.toml:2: auth.user: needs auth.password"},
		{"password without user", minimal + "[server]\npassword = 'x'\n", "c.toml:4: server.password: needs server.user; without one, servers log in as the client's user, with the password of the user file"},
		{"password of a database without user", minimal + "[databases.d]\npassword = 'x'\n", "c.toml:4: databases.d.password: needs databases.d.user or server.user"},
		{"no host", minimal + "[server]\nhost = ''\n", "c.toml:4: server.host: must not be empty; PostgreSQL on this machine is 127.0.0.1, or a directory such as /run/postgresql"},
		{"host with port", minimal + "[server]\nhost = 'a,b:5432'\n", "c.toml:4: server.host: must not contain a port; write port = ... instead"},
		{"empty host in a list", minimal + "[server]\nhost = 'a,,b'\n", "c.toml:4: server.host: contains an empty name"},
		{"relative directory", minimal + "[databases.d]\nhost = 'run/x'\n", "c.toml:4: databases.d.host: must be a name, an address, or an absolute directory"},
		{"certificate without key", minimal + "[server]\nsslcert = 'c.toml'\n", "c.toml:4: server.sslcert: sslcert and sslkey belong together: set both or none"},
		{"verify without authority", minimal + "[server]\nsslmode = 'verify-full'\n", `c.toml:4: server.sslmode: verify-full needs sslrootcert: a file of certificate authorities, or "system"`},
		{"no listener", "listener = []\n" + minimal, "c.toml: listener: there must be a [[listener]]"},
		{"listener without name", minimal + "[[listener]]\nlisten=':1'\n", `c.toml:3: listener.#1.name: a listener needs a name, such as name = "transactional"`},
		{"bad listener name", minimal + "[[listener]]\nname='A b'\nlisten=':1'\n", `c.toml:4: listener."A b".name: must consist of lower-case letters, digits, - and _`},
		{"two of a name", minimal + "[[listener]]\nname='a-b'\nlisten=':1'\n[[listener]]\nname='a_b'\nlisten=':2'\n", "c.toml:7: listener.a_b.name: two listeners have this name (- and _ count as the same letter, because environment names have no -)"},
		{"no address", minimal + "[[listener]]\nname='a'\n", `c.toml:3: listener.a.listen: must have an address, such as listen = ["127.0.0.1:6432"]`},
		{"address without port", minimal + "[[listener]]\nname='a'\nlisten='localhost'\n", `c.toml:5: listener.a.listen: "localhost" must be host:port, :port, or /directory:port`},
		{"named port", minimal + "[[listener]]\nname='a'\nlisten='localhost:pg'\n", `c.toml:5: listener.a.listen: "localhost:pg" needs a port from 0 to 65535 (0: any free one)`},
		{"socket without port", minimal + "[[listener]]\nname='a'\nlisten='/tmp:0'\n", `c.toml:5: listener.a.listen: "/tmp:0" needs a port: it is part of the socket's name`},
		{"two listeners on a port", minimal + "[[listener]]\nname='a'\nlisten='localhost:7001'\n[[listener]]\nname='b'\nlisten='127.0.0.1:7001'\n", "c.toml:8: listener.b.listen: 127.0.0.1:7001 is already the address of listener.a.listen"},
		{"all addresses include each", minimal + "[[listener]]\nname='a'\nlisten=['10.0.0.1:7001', ':7001', '/tmp:7001']\n", "c.toml:5: listener.a.listen: :7001 is already the address of listener.a.listen"},
		{"socket directory twice", minimal + "[[listener]]\nname='a'\nlisten=['/tmp:7001', '/tmp/:7001']\n", "c.toml:5: listener.a.listen: /tmp/:7001 is already the address of listener.a.listen"},
		{"admin on a listener's port", minimal + "[admin]\nlisten = '127.0.0.1:6433'\n", "c.toml:4: admin.listen: 127.0.0.1:6433 is already the address of listener.session.listen"},
		{"admin on nothing", minimal + "[admin]\nlisten = '9127'\n", `c.toml:4: admin.listen: "9127" must be host:port, or "" for no endpoint`},
		{"pointing at ourselves", minimal + "[server]\nport = 6432\n", "c.toml:4: server.port: 127.0.0.1 port 6432 is an address of this program (listener.transactional.listen); write the address of PostgreSQL"},
		{"minimum above size", minimal + listener + "min_pool_size = 21\n", "c.toml:6: listener.a.min_pool_size: must not be above default_pool_size (20), is 21"},
		{"minimum above size of a database", minimal + "[databases.d]\npool_size = 2\nmin_pool_size = 3\n", "c.toml:5: databases.d.min_pool_size: must not be above pool_size (2), is 3"},
		{"socket mode", minimal + listener + "unix_socket_mode = '0888'\n", `c.toml:6: listener.a.unix_socket_mode: must be an octal number such as "0777"`},
		{"unknown promotion", minimal + listener + "promotion = 'never'\n", `c.toml:6: listener.a.promotion: must be one of on, off, error, not "never"`},
		{"no session listener of that name", minimal + listener + "pool_mode = 'transaction'\npromotion = 'error'\npromote_to = 'b'\n", `c.toml:8: listener.a.promote_to: there is no listener "b" with pool_mode session`},
		{"zero byte", minimal + "[server]\nuser = \"a\\u0000b\"\n", "c.toml:4: server.user: must not contain a zero byte"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if have := faults(t, test.text); len(have) != 1 || have[0] != test.want {
				t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), test.want)
			}
		})
	}
}

func TestAllFaultsAtOnceInOrder(t *testing.T) {
	have := faults(t, "[server]\nport = 0\nhots = 'x'\nhost = 1\n[auth]\ntype = 'nobody'\n[log]\nlevel = 'loud'\n", "HYBRIDBOUNCER_LOOPS=-1")
	want := []string{"c.toml:2:", "c.toml:3:", "c.toml:4:", "c.toml:6:", "c.toml:8:", "environment: HYBRIDBOUNCER_LOOPS:"}
	if len(have) != len(want) {
		t.Fatalf("have\n%s", strings.Join(have, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(have[i], want[i]) {
			t.Errorf("fault %d is %s, want it at %s", i, have[i], want[i])
		}
	}
}

func TestDefaultsAreValid(t *testing.T) {
	c := config.Default()
	c.Auth.Type = "trust"
	if faults := c.Validate(); len(faults) > 0 {
		t.Error(config.Problems(faults))
	}
	c.Server.Port = 0
	if faults := c.Validate(); len(faults) != 1 {
		t.Errorf("want one fault, have %v", faults)
	}
}

func TestBothFamiliesAreNoCollision(t *testing.T) {
	mustLoad(t, minimal+"[[listener]]\nname='a'\nlisten=['127.0.0.1:7001', '[::1]:7001', '0.0.0.0:7002', '[::1]:7002', '/tmp:7002']\n")
}

// A listener on all addresses would be the server, too, if the server were on this machine.
func TestPointingAtOurselvesOnAllAddresses(t *testing.T) {
	have := faults(t, minimal+"[server]\nport=7001\n[[listener]]\nname='a'\nlisten=':7001'\n")
	if len(have) != 1 || !strings.Contains(have[0], "address of this program") {
		t.Errorf("have %q", have)
	}
}

func TestRelativeFilesAreBesideTheConfiguration(t *testing.T) {
	c := mustLoad(t, minimal+"user_file = 'c.toml'\n")
	if _, err := os.Stat(c.Auth.UserFile); err != nil {
		t.Error(err)
	}
}
