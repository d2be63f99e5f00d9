package proxy_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestExecutedInSQL: what a statement of the protocol does to the session it also does when a text runs it, EXECUTE.
func TestExecutedInSQL(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	w, other := p.enter(t, p.transaction, tenant("7")), p.login(t, p.transaction)
	for name, sql := range map[string]string{
		"l": "listen news", "s": "set app.tenant to '9'", "r": "reset search_path", "a": "reset app.tenant", "c": "select set_config($1, $2, false)",
	} {
		w.Send(&pgproto3.Parse{Name: name, Query: sql}, &pgproto3.Sync{})
		w.ReceiveReady()
	}
	for _, do := range []func(sql string){func(sql string) { run(t, w, sql) }, func(sql string) { extended(w, "", sql) }} {
		run(t, w, "set search_path to x")
		for _, step := range [][2]string{
			{"execute s", "x|9|begun"},
			{"execute r", "tenant_7|9|begun"},
			{"execute a", "tenant_7|7|begun"},
			{"execute c('app.tenant', '8')", "tenant_7|8|begun"},
		} {
			do(step[0])
			for range 4 { // on another server each
				if got := one(t, w, tenantNow); got != step[1] {
					t.Errorf("behind %s: %s", step[0], got)
				}
				if got := one(t, other, "select current_setting('app.tenant', true)"); got != "" {
					t.Errorf("behind %s another client has %s", step[0], got)
				}
			}
		}
		for _, sql := range []string{"begin", "execute s", "execute l", "rollback", "execute l"} {
			do(sql)
		}
		if got := one(t, w, tenantNow); got != "tenant_7|8|begun" {
			t.Errorf("behind a ROLLBACK: %s", got)
		}
		for range 4 {
			run(t, other, "notify news, 'x'")
			if got := payload(t, w); got != "x" {
				t.Errorf("heard %q", got)
			}
		}
		run(t, w, "unlisten *")
		run(t, w, "select 1")
	}
}
