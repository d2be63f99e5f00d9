package config_test

import (
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
