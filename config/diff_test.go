package config_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
)

const twoListeners = minimal + `
[[listener]]
name = "a"
listen = ":7001"
[[listener]]
name = "b"
listen = ":7002"
default_pool_size = 5
[databases.old]
[databases.kept]
pool_size = 1
[users.u]
`

const twoListenersLater = "loops = 2\n" + minimal + `
[[listener]]
name = "b"
listen = [":7003"]
default_pool_size = 6
max_client_conn = 7
[[listener]]
name = "c"
listen = ":7004"
[databases.kept]
pool_size = 2
[databases.new]
[users.u]
query_timeout = 3
[log]
format = "json"
`

func TestDiff(t *testing.T) {
	before := mustLoad(t, twoListeners)
	after := mustLoad(t, twoListenersLater)
	want := []config.Change{
		{Key: "databases.old", Old: "present", New: "absent", When: config.NewLogins},
		{Key: "listener.a", Old: "present", New: "absent", When: config.Restart},
		{Key: "databases.new", Old: "absent", New: "present", When: config.NewLogins},
		{Key: "listener.c", Old: "absent", New: "present", When: config.Restart},
		{Key: "loops", Old: "0", New: "2", When: config.Restart},
		{Key: "listener.b.listen", Old: `[":7002"]`, New: `[":7003"]`, When: config.Restart},
		{Key: "listener.b.max_client_conn", Old: "100", New: "7", When: config.NewLogins},
		{Key: "listener.b.default_pool_size", Old: "5", New: "6", When: config.Live},
		{Key: "databases.kept.pool_size", Old: "1", New: "2", When: config.Live},
		{Key: "users.u.query_timeout", Old: "absent", New: `"3s"`, When: config.Live},
		{Key: "log.format", Old: `"text"`, New: `"json"`, When: config.Restart},
	}
	if have := config.Diff(before, after); !reflect.DeepEqual(have, want) {
		t.Errorf("have\n%+v\nwant\n%+v", have, want)
	}
	if have := config.Diff(after, after); len(have) != 0 {
		t.Errorf("a configuration differs from itself: %+v", have)
	}
}

// After a reload the process runs with the merged configuration: what needs a restart is as before, and still differs.
func TestMerge(t *testing.T) {
	before := mustLoad(t, twoListeners)
	after := mustLoad(t, twoListenersLater)
	merged := config.Merge(before, after)
	for _, change := range config.Diff(before, merged) {
		if change.When == config.Restart {
			t.Errorf("%s would change without a restart", change.Key)
		}
	}
	for _, change := range config.Diff(merged, after) {
		if change.When != config.Restart {
			t.Errorf("%s was not taken over", change.Key)
		}
	}
	if len(config.Diff(merged, after)) != 5 {
		t.Errorf("still to come: %+v", config.Diff(merged, after))
	}
	merged.Listeners[0].Listen[0] = "x"
	if before.Listeners[0].Listen[0] == "x" || after.Listeners[0].Listen[0] == "x" {
		t.Error("the merged configuration shares memory with the others")
	}
}

func TestResolve(t *testing.T) {
	c := mustLoad(t, minimal+`
[server]
host = "main"
port = 1
user = "pooler"
password = "p"
max_db_connections = 40
max_user_connections = 30
[[listener]]
name = "a"
listen = ":7001"
min_pool_size = 15
query_timeout = 9
[databases.reports]
host = "other"
port = 2
dbname = "analytics"
pool_size = 11
reserve_pool_size = 3
max_db_connections = 12
query_wait_timeout = 8
server_lifetime = 7
[databases.own]
user = "owner"
[databases.own2]
user = "owner"
password = "q"
[databases."*"]
pool_size = 10
[users.web]
pool_size = 4
max_user_connections = 5
query_wait_timeout = 6
query_timeout = 3
idle_transaction_timeout = 2
`)
	l := &c.Listeners[0]
	base := config.Resolved{
		Host: "main", Port: 1, DBName: "any", ServerUser: "pooler", ServerPassword: "p",
		PoolSize: 10, MinPoolSize: 10, ReservePoolTimeout: 5 * time.Second, MaxDBConnections: 40, MaxUserConnections: 30,
		QueryWaitTimeout: 30 * time.Second, QueryWaitNotify: 5 * time.Second, QueryTimeout: 9 * time.Second,
		ServerLifetime: time.Hour, ServerIdleTimeout: 10 * time.Minute, ServerCheckDelay: 30 * time.Second,
	}
	for _, test := range []struct {
		database, user string
		change         func(r *config.Resolved)
	}{
		{"any", "joe", func(*config.Resolved) {}},
		{"reports", "joe", func(r *config.Resolved) {
			r.Host, r.Port, r.DBName, r.PoolSize, r.MinPoolSize, r.ReservePoolSize = "other", 2, "analytics", 11, 11, 3
			r.MaxDBConnections, r.QueryWaitTimeout, r.ServerLifetime = 12, 8*time.Second, 7*time.Second
		}},
		{"reports", "web", func(r *config.Resolved) {
			r.Host, r.Port, r.DBName, r.PoolSize, r.MinPoolSize, r.ReservePoolSize = "other", 2, "analytics", 4, 4, 3
			r.MaxDBConnections, r.QueryWaitTimeout, r.ServerLifetime = 12, 6*time.Second, 7*time.Second
			r.MaxUserConnections, r.QueryTimeout, r.IdleTransactionTimeout = 5, 3*time.Second, 2*time.Second
		}},
		// Another user's password is not the one of [server].
		{"own", "joe", func(r *config.Resolved) {
			r.DBName, r.ServerUser, r.ServerPassword, r.PoolSize, r.MinPoolSize = "own", "owner", "", 20, 15
		}},
		{"own2", "joe", func(r *config.Resolved) {
			r.DBName, r.ServerUser, r.ServerPassword, r.PoolSize, r.MinPoolSize = "own2", "owner", "q", 20, 15
		}},
	} {
		want := base
		test.change(&want)
		have, ok := c.Resolve(l, test.database, test.user)
		type plain config.Resolved // shows the password
		if !ok || have != want {
			t.Errorf("%s for %s: have\n%+v\nwant\n%+v", test.database, test.user, plain(have), plain(want))
		}
	}
}

func TestNoReserveWithoutItsTimeout(t *testing.T) {
	c := mustLoad(t, minimal+"[[listener]]\nname='a'\nlisten=':1'\nreserve_pool_size=3\nreserve_pool_timeout=0\n[users.u]\nreserve_pool_size=4\n")
	if r, _ := c.Resolve(&c.Listeners[0], "d", "u"); r.ReservePoolSize != 0 {
		t.Errorf("the reserve is %d", r.ReservePoolSize)
	}
	c.Listeners[0].ReservePoolTimeout = 1
	if r, _ := c.Resolve(&c.Listeners[0], "d", "u"); r.ReservePoolSize != 4 {
		t.Errorf("the reserve is %d", r.ReservePoolSize)
	}
}

func TestResolveUnknownDatabase(t *testing.T) {
	c := mustLoad(t, minimal+"[databases.a]\n")
	if _, ok := c.Resolve(&c.Listeners[0], "b", "u"); ok {
		t.Error("b is not named, yet allowed")
	}
	if _, ok := c.Resolve(&c.Listeners[0], "a", "u"); !ok {
		t.Error("a is named, yet refused")
	}
	c = mustLoad(t, minimal)
	r, ok := c.Resolve(&c.Listeners[0], "b", "u")
	if !ok || r.DBName != "b" || r.ServerUser != "u" || r.ServerPassword != "" {
		t.Errorf("without [databases]: %v %v", r, ok)
	}
}
