package proxy_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestDiscardedInPipeline: DISCARD ALL ends a promotion also where other statements were sent in front of it, unless it failed or what only a
// connection can hold was made behind it.
func TestDiscardedInPipeline(t *testing.T) {
	sync := &pgproto3.Sync{}
	const look = `select concat_ws('|', current_setting('search_path'), coalesce(current_setting('app.tenant', true), ''), current_setting('application_name'),
		current_user, current_setting('lock_timeout'), to_regclass('pg_temp.held'), to_regclass('pg_temp.again'))`
	c := pgtest.New(t, pgtest.Options{})
	if err := c.Exec("create role discarder; grant temp on database postgres to discarder"); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		turns []turn
		keeps bool
	}{
		"alone":                     {turns: []turn{queries("discard all")}},
		"behind a SET":              {turns: []turn{queries("set lock_timeout = 77", "discard all")}},
		"behind SET ROLE":           {turns: []turn{queries("set role discarder", "discard all")}},
		"between two SET":           {turns: []turn{queries("set app.tenant = '8'", "discard all", "set lock_timeout = 77")}},
		"behind a SELECT":           {turns: []turn{queries("select 1", "discard all")}},
		"behind an error":           {turns: []turn{queries("select 1/0", "discard all")}},
		"behind a transaction":      {turns: []turn{queries("begin", "set lock_timeout = 77", "commit", "discard all")}},
		"behind a rollback":         {turns: []turn{queries("begin", "set lock_timeout = 77", "rollback", "discard all")}},
		"in batches":                {turns: []turn{batch("set lock_timeout = 77", sync, "discard all", sync)}},
		"twice":                     {turns: []turn{queries("discard all", "discard all")}},
		"behind another temp table": {turns: []turn{queries("create temp table again (a int)", "discard all")}},
		"in a transaction":          {turns: []turn{queries("begin", "discard all", "rollback")}, keeps: true},
		"in a failed one":           {turns: []turn{queries("begin", "select 1/0", "discard all"), queries("rollback")}, keeps: true},
		"in front of a temp table":  {turns: []turn{queries("discard all", "create temp table again (a int)")}, keeps: true},
		"behind a SET of one batch": {turns: []turn{batch("set lock_timeout = 77", "discard all", sync)}, keeps: true},
		"failed, behind a good one": {turns: []turn{queries("discard all", "create temp table held (a int)", "begin", "discard all", "rollback")}, keeps: true},
		"skipped behind its own":    {turns: []turn{batch("select 1/0", "discard all", sync)}, keeps: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, c, single, "")
			direct, w := p.enter(t, c.Address(), tenant("7")), p.enter(t, p.transaction, tenant("7"))
			for _, client := range []*pgtest.Wire{direct, w} {
				run(t, client, "set role discarder")
				run(t, client, "set search_path to own")
				run(t, client, "set lock_timeout = 55")
				run(t, client, "create temp table held (a int)")
				for _, u := range test.turns {
					u.play([2]*pgtest.Wire{client, client})
				}
			}
			if !test.keeps {
				waitFor(t, "the end of the promotion", func() bool { return p.pool(t, "session").ServersIdle == 1 })
			}
			for range 2 {
				if want, have := one(t, direct, look), one(t, w, look); have != want {
					t.Errorf("%s, not %s", have, want)
				}
			}
			if n := p.pool(t, "session").ServersActive; test.keeps != (n == 1) {
				t.Errorf("%d servers are kept", n)
			}
			w.Close()
			waitFor(t, "its server", func() bool { return p.pool(t, "session").ServersActive == 0 })
			for _, port := range []string{p.transaction, p.session} {
				if have := one(t, p.login(t, port), look); have != `"$user", public||hybridbouncer|postgres|0` {
					t.Errorf("another client has %s", have)
				}
			}
		})
	}
}
