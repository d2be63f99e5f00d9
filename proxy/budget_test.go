package proxy_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// roles makes ordinary roles in a cluster.
func roles(t *testing.T, c *pgtest.Cluster, n int) (names []string) {
	t.Helper()
	for i := range n {
		name := fmt.Sprintf("role%d", i)
		if err := c.Exec("create role " + name + " login"); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// TestBudgetOfPostgreSQL: all pools together have no more servers than PostgreSQL has places for ordinary users, less one for others to log in and one for the
// catalogue. A
// role that comes when the servers of others fill the budget gets the place of an idle one. The question costs no connection of its own.
func TestBudgetOfPostgreSQL(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{MaxConnections: 11, Settings: map[string]string{"log_connections": "on"}})
	names := roles(t, c, 3)
	var log logged
	p := launchLogging(t, c, configuration(t, serverAt(c), "default_pool_size = 6\n", ""), slog.New(slog.NewTextHandler(&log, nil)))
	first := pgtest.Login(t, p.transaction, names[0], "postgres", "")
	run(t, first, "select 1")
	waitFor(t, "the budget", func() bool { return strings.Contains(log.String(), "servers=6 places_of_postgresql=8") })
	if n := strings.Count(c.Log(), "connection authorized: user=role0 database=postgres application_name=hybridbouncer\n"); n != 1 {
		t.Errorf("%d connections for one server\n%s", n, c.Log())
	}
	fill := func(name string, n int) {
		var all []*pgtest.Wire
		for range n {
			w := pgtest.Login(t, p.transaction, name, "postgres", "")
			run(t, w, "begin")
			run(t, w, "select 1")
			all = append(all, w)
		}
		for _, w := range all {
			run(t, w, "commit")
		}
	}
	servers := func() (n int) {
		for _, ps := range p.Snapshot().Pools {
			n += ps.ServersIdle + ps.ServersActive + ps.ServersOpening + ps.ServersClosing + ps.ServersTested
		}
		return n
	}
	fill(names[0], 6)
	fill(names[1], 6) // in the places of idle servers
	fill(names[2], 6)
	if n := servers(); n > 6 {
		t.Errorf("%d servers", n)
	}
	other := pgtest.Login(t, c.Address(), names[0], "postgres", "")
	if got := one(t, other, "select count(*) <= 8 from pg_stat_activity where usename like 'role%'"); got != "t" {
		t.Error("PostgreSQL has more servers than the budget")
	}
}

// TestMaxConnections: the setting bounds all pools of all listeners, and a reload changes it. A waiter is told the reason.
func TestMaxConnections(t *testing.T) {
	c := pgtest.Shared(t)
	const listeners = "query_wait_timeout = \"1s\"\n"
	p := start(t, c, listeners, "")
	if _, err := p.Reload(configuration(t, serverAt(c)+"max_connections = 3\n", listeners, "")); err != nil {
		t.Fatal(err)
	}
	a, b, w := p.login(t, p.session), p.login(t, p.session), p.login(t, p.transaction)
	run(t, a, "create temp table mine (i int)")
	run(t, b, "create temp table mine (i int)")
	w.Query("select 1")
	if e := w.ExpectError("53300"); !strings.Contains(e.Message, "no more than 2 servers (max_connections): others have 2") {
		t.Error(e.Message)
	}
	w.Expect("ReadyForQuery I")
	if _, err := p.Reload(configuration(t, serverAt(c)+"max_connections = 4\n", listeners, "")); err != nil {
		t.Fatal(err)
	}
	if got := one(t, w, "select 7"); got != "7" {
		t.Error(got)
	}
}

// TestPostgreSQLIsFull: where others have all the places of PostgreSQL, clients wait, and are served by the servers there are. Without any they are
// told what PostgreSQL said, and are served as soon as it has a place.
func TestPostgreSQLIsFull(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{MaxConnections: 8})
	name := roles(t, c, 1)[0]
	p := start(t, c, "query_wait_timeout = \"1500ms\"\n", "")
	login := func(address string) *pgtest.Wire { return pgtest.Login(t, address, name, "postgres", "") }
	first, second := login(p.transaction), login(p.transaction)
	run(t, first, "begin")
	run(t, first, "select 1")
	var others []*pgtest.Wire
	for range 3 { // of eight places three are reserved, and the pooler has one for a server and one for the catalogue
		others = append(others, login(c.Address()))
	}
	second.Query("select 2")
	waitFor(t, "it to wait", func() bool { return p.pool(t, "transaction").ClientsWaiting == 1 })
	run(t, first, "commit")
	second.ReceiveReady()
	run(t, first, "begin")
	run(t, first, "select 1")
	second.Query("select 2")
	if e := second.ExpectError("53300"); !strings.Contains(e.Message, "PostgreSQL has no place for another server: ") {
		t.Error(e.Message)
	}
	second.Expect("ReadyForQuery I")
	second.Query("select 2")
	waitFor(t, "it to wait", func() bool { return p.pool(t, "transaction").ClientsWaiting == 1 })
	others[0].Close()
	if got := second.ReceiveReady(); len(got) != 4 {
		t.Errorf("%v", got)
	}
}
