package proxy_test

import (
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestBaselineIsTheServers: of the parameters that servers report, a client carries only those that it has set itself. The DBA's changes by
// ALTER SYSTEM and reload, and by ALTER ROLE, reach every client, the old ones and the new.
func TestBaselineIsTheServers(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	p := start(t, c, "default_pool_size = 2\nreserve_pool_size = 0\n", "")
	dba := pgtest.Login(t, c.Address(), "postgres", "postgres", "")
	for _, address := range []string{p.transaction, p.session} {
		clients := make([]*pgtest.Wire, 2)
		for i := range clients {
			clients[i] = p.login(t, address)
			run(t, clients[i], "select 1")
		}
		own := clients[0]
		run(t, own, "set datestyle = 'German, DMY'")
		run(t, dba, "alter system set datestyle = 'SQL, MDY'")
		run(t, dba, "alter system set default_transaction_read_only = on")
		run(t, dba, "select pg_reload_conf()")
		waitFor(t, "the reload", func() bool { return one(t, dba, "show datestyle") == "SQL, MDY" })
		for round := range 3 {
			for i, w := range clients {
				want := [...]string{"German, DMY", "SQL, MDY"}[i]
				if got := one(t, w, "show datestyle"); got != want {
					t.Errorf("round %d: client %d has datestyle %s, not %s", round, i, got, want)
				}
				if got := one(t, w, "show default_transaction_read_only"); got != "on" {
					t.Errorf("round %d: client %d would go on writing", round, i)
				}
			}
		}
		for _, w := range clients {
			w.Close()
		}
		fresh := p.login(t, address)
		if got := one(t, fresh, "show datestyle"); got != "SQL, MDY" {
			t.Errorf("a new client has datestyle %s", got)
		}
		fresh.Close()
		run(t, dba, "alter system reset all")
		run(t, dba, "select pg_reload_conf()")
		waitFor(t, "the reload", func() bool { return one(t, dba, "show datestyle") == "ISO, MDY" })
	}
}

// TestUnexplainedSettingFollows: a reported parameter that a function has set, which no text shows, is its client's, and nobody else's.
func TestUnexplainedSettingFollows(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	p := start(t, c, "default_pool_size = 1\nreserve_pool_size = 0\n", "")
	dba := pgtest.Login(t, c.Address(), "postgres", "postgres", "")
	run(t, dba, "create function german() returns void language plpgsql as 'begin set datestyle = ''German, DMY''; end'")
	first, second := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, first, "select german()")
	for round := range 3 {
		for w, want := range map[*pgtest.Wire]string{first: "German, DMY", second: "ISO, MDY"} {
			if got := one(t, w, "show datestyle"); got != want {
				t.Errorf("round %d: datestyle is %s, not %s", round, got, want)
			}
		}
	}
	run(t, first, "begin; set local application_name = 'for a while'; commit")
	if got := one(t, second, "show application_name"); got == "for a while" {
		t.Error("SET LOCAL reached another client")
	}
}
