package proxy_test

import (
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestSetAndResetAtOnce: what one text sets and resets is what the session began with, also where the value is one that PostgreSQL may spell anew.
func TestSetAndResetAtOnce(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	w, other := p.enter(t, p.transaction, tenant("7")), p.login(t, p.transaction)
	for _, sql := range []string{
		"set search_path to x; reset all", "set search_path to x, y; reset search_path", "set search_path to x; set app.tenant to '8'; reset all",
		"set role none; set search_path to x; reset all", "select set_config('search_path', 'x', false); reset all",
	} {
		run(t, w, sql)
		for range 4 {
			if got := one(t, w, tenantNow); got != "tenant_7|7|begun" {
				t.Errorf("%s: %s", sql, got)
			}
			if got := one(t, other, "show search_path"); got != `"$user", public` {
				t.Errorf("%s: another client has %s", sql, got)
			}
		}
	}
	run(t, w, "set search_path to x; reset all; set search_path to y")
	for range 4 {
		if got := one(t, w, "show search_path"); got != "y" {
			t.Error(got)
		}
	}
}
