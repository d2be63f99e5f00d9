package proxy_test

import (
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestSettingsRefusedElsewhere: a server that refuses a client's settings because of what others have done there is closed. The client gets
// another, and is not closed; nor is a client that has set nothing.
func TestSettingsRefusedElsewhere(t *testing.T) {
	const load = "do $$ begin end $$" // loads PL/pgSQL, which claims its prefix
	for name, test := range map[string]struct {
		set    string   // by a client, before
		others []string // by another, or by the same
		same   bool
		ask    string
		want   string
	}{
		"a name that a library has claimed":         {set: "set plpgsql.nosuch = '1'", others: []string{load}, ask: "select 'on'", want: "on"},
		"a name that a library takes away":          {set: "set plpgsql.nosuch = '1'", others: []string{load}, same: true, ask: "select 'on'", want: "on"},
		"temp_buffers behind a temporary table":     {set: "set temp_buffers = '64MB'", others: []string{"create temp table held (i int)", "insert into held values (1)", "discard all"}, ask: "show temp_buffers", want: "64MB"},
		"a name of the client's own goes with it":   {set: "set app.own = 'mine'", others: []string{"select 1"}, ask: "show app.own", want: "mine"},
		"a library's own name goes with its client": {set: "set plpgsql.extra_errors = 'all'", others: []string{load}, ask: "show plpgsql.extra_errors", want: "all"},
	} {
		t.Run(name, func(t *testing.T) {
			c := pgtest.Shared(t)
			p := start(t, c, single, "")
			w, other := p.login(t, p.transaction), p.login(t, p.transaction)
			run(t, w, test.set)
			who := other
			if test.same {
				who = w
			}
			for _, sql := range test.others {
				run(t, who, sql)
			}
			for range 2 {
				if got := one(t, other, "select 'innocent'"); got != "innocent" {
					t.Errorf("a client that has set nothing gets %s", got)
				}
				if got := one(t, w, test.ask); got != test.want {
					t.Errorf("%s: %s", test.ask, got)
				}
			}
		})
	}
}
