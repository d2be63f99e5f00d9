package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
)

const onListener = minimal + `
[[listener]]
name = "a"
listen = ":7001"
default_pool_size = 20
[[listener]]
name = "b"
listen = ":7002"
default_pool_size = 10
[databases.d]
pool_size = 5
query_wait_timeout = 9
[databases.d.b]
pool_size = 3
min_pool_size = 2
[databases.e.a]
pool_size = 4
[users.u.b]
query_timeout = "7s"
query_wait_timeout = "8s"
[users.v]
pool_size = 1
`

// A table for one listener overrides its database or user on that listener, and nowhere else. A user's table goes before a database's.
func TestSettingsOnOneListener(t *testing.T) {
	c := mustLoad(t, onListener, "HYBRIDBOUNCER_DATABASES_D_B_RESERVE_POOL_SIZE=6")
	for _, test := range []struct {
		listener              int
		database, user        string
		size, least, reserve  int
		queryTimeout, waiting time.Duration
	}{
		{0, "d", "x", 5, 0, 0, 0, 9 * time.Second},
		{1, "d", "x", 3, 2, 6, 0, 9 * time.Second},
		{1, "d", "u", 3, 2, 6, 7 * time.Second, 8 * time.Second},
		{0, "d", "u", 5, 0, 0, 0, 9 * time.Second},
		{0, "e", "u", 4, 0, 0, 0, 30 * time.Second},
		{1, "e", "u", 10, 0, 0, 7 * time.Second, 8 * time.Second},
		{1, "d", "v", 1, 1, 6, 0, 9 * time.Second},
	} {
		r, ok := c.Resolve(&c.Listeners[test.listener], test.database, test.user)
		if !ok || r.PoolSize != test.size || r.MinPoolSize != test.least || r.ReservePoolSize != test.reserve ||
			r.QueryTimeout != test.queryTimeout || r.QueryWaitTimeout != test.waiting {
			t.Errorf("%+v: have %+v", test, r)
		}
	}
}

func TestFaultsOnOneListener(t *testing.T) {
	for text, want := range map[string]string{
		onListener + "[users.v.c]\n":                 `c.toml:25: users.v.c: there is no listener "c"`,
		onListener + "[databases.e.b]\nhost = 'x'\n": "c.toml:26: databases.e.b.host: unknown key here: it belongs in [server] or [databases.NAME]",
		onListener + "[users.v.a]\npool_size = -1\n": "c.toml:26: users.v.a.pool_size: must be at least 0, not -1",
	} {
		if have := faults(t, text); len(have) != 1 || have[0] != want {
			t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), want)
		}
	}
}

func TestDiffOnOneListener(t *testing.T) {
	before := mustLoad(t, onListener)
	changed := strings.NewReplacer("[users.u.b]", "[users.u.a]", "pool_size = 3", "pool_size = 8").Replace(onListener)
	after := mustLoad(t, changed)
	var have []string
	for _, c := range config.Diff(before, after) {
		have = append(have, c.Key+" "+c.Old+" "+c.New+" "+c.When.String())
	}
	want := "users.u.b present absent reload, users.u.a absent present reload, databases.d.b.pool_size 3 8 reload"
	if strings.Join(have, ", ") != want {
		t.Errorf("have %s, want %s", strings.Join(have, ", "), want)
	}
	merged := config.Merge(before, after)
	merged.Databases["d"].Listeners["b"] = config.DatabaseOnListener{}
	if len(config.Diff(after, mustLoad(t, changed))) > 0 {
		t.Error("the merged configuration shares memory with the one it was made from")
	}
}

// TestZeroSwitchesOff: a 0 that is written in an overriding table switches the limit off there, and an absent key does not. A reload tells
// one from the other.
func TestZeroSwitchesOff(t *testing.T) {
	const head = `
[server]
max_db_connections = 7
max_user_connections = 7
[auth]
type = "trust"
max_db_client_connections = 7
max_user_client_connections = 7
[[listener]]
name = "a"
listen = ["127.0.0.1:1"]
reserve_pool_size = 7
min_pool_size = 7
query_wait_timeout = "7s"
client_idle_timeout = "7s"
idle_transaction_timeout = "7s"
transaction_timeout = "7s"
query_timeout = "7s"
server_lifetime = "7s"
`
	without := mustLoad(t, head)
	for _, table := range []string{"databases", "users", config.DatabaseOnListenerSection, config.UserOnListenerSection} {
		for _, key := range config.SectionNamed(table).Keys {
			if key.Off == "" {
				continue
			}
			header := map[string]string{
				"databases": "[databases.d]", "users": "[users.u]", config.DatabaseOnListenerSection: "[databases.d.a]", config.UserOnListenerSection: "[users.u.a]",
			}[table]
			for _, zero := range []string{"0", "\"0\"", "\"0s\""} {
				if _, number := key.Field(config.SectionNamed(table).Defaults()).(*int); number && zero != "0" {
					continue
				}
				off := mustLoad(t, head+header+"\n"+key.Name+" = "+zero+"\n")
				have, _ := off.Resolve(&off.Listeners[0], "d", "u")
				other, _ := without.Resolve(&without.Listeners[0], "d", "u")
				if differences := fmt.Sprintf("%+v", have); strings.Count(differences, ":7") != strings.Count(fmt.Sprintf("%+v", other), ":7")-1 {
					t.Errorf("%s %s = %s: %s", header, key.Name, zero, differences)
				}
				on := mustLoad(t, head+header+"\n")
				changes := config.Diff(on, off)
				if len(changes) != 1 || changes[0].Old != "absent" || strings.Trim(changes[0].New, "\"s") != "0" {
					t.Errorf("%s %s = %s: the changes are %v", header, key.Name, zero, changes)
				}
			}
		}
	}
}
