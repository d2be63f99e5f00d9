package proxy_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// lender is a session client of a pool of one server that is idle, and another session client that has just waited for that server.
func lender(t *testing.T, p *pooler, prepares ...string) (w, other *pgtest.Wire) {
	t.Helper()
	w, other = p.login(t, p.session), p.login(t, p.session)
	for _, sql := range prepares {
		run(t, w, sql)
	}
	w.Send(&pgproto3.Parse{Name: "s", Query: "select current_setting('app.tenant_id')"}, &pgproto3.Sync{})
	w.ReceiveReady()
	return w, other
}

// TestLending: an idle session client lends its server to one that waits, and goes on with its parameters and its prepared statements; the other
// client finds nothing of them.
func TestLending(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	w, other := lender(t, p, "set app.tenant_id = '7'", "set time zone 'Asia/Tokyo'")
	for range 3 {
		if got := one(t, other, "select coalesce(current_setting('app.tenant_id', true), '') || current_setting('timezone')"); got == "7Asia/Tokyo" {
			t.Fatalf("the other client has %q", got)
		}
		w.Send(&pgproto3.Bind{PreparedStatement: "s"}, &pgproto3.Execute{}, &pgproto3.Sync{})
		w.Expect("BindComplete", "DataRow 7", "CommandComplete SELECT 1", "ReadyForQuery I")
		if got := one(t, w, "show time zone"); got != "Asia/Tokyo" {
			t.Errorf("time zone %s", got)
		}
	}
	if ps := p.pool(t, "session"); ps.ServersActive+ps.ServersIdle+ps.ServersClosing > 1 {
		t.Errorf("%+v", ps)
	}
}

// TestNoLending: a client keeps its server in a transaction, while it has state that only its connection can hold, and where lending is off.
func TestNoLending(t *testing.T) {
	for name, c := range map[string]struct{ settings, sql string }{
		"in a transaction": {"", "begin"},
		"temporary table":  {"", "create temp table mine (i int)"},
		"advisory lock":    {"", "select pg_advisory_lock(4712)"},
		"cursor":           {"", "declare c cursor with hold for select 1"},
		"unknown code":     {"", "do $$ begin perform set_config('app.hidden', '1', false); end $$"},
		"listen":           {"", "listen news"},
		"switched off":     {"lend_idle_after = \"0s\"\n", "select 1"},
		"isolation off":    {"isolation = \"off\"\n", "select 1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, pgtest.Shared(t), single+"query_wait_timeout = \"700ms\"\n"+c.settings, "")
			w, other := lender(t, p, "select 1", c.sql)
			server := one(t, w, "select pg_backend_pid()")
			other.Query("select 1")
			other.ExpectError("53300")
			other.ReceiveReady()
			if got := one(t, w, "select pg_backend_pid()"); got != server {
				t.Error("it has another server")
			}
		})
	}
}

// TestLendsAgain: a client that has said DISCARD ALL lends its server.
func TestLendsAgain(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	w, other := lender(t, p, "create temp table mine (i int)")
	run(t, w, "discard all")
	if got := one(t, other, "select coalesce(to_regclass('mine')::text, '')"); got != "" {
		t.Errorf("the other client sees %q", got)
	}
	if got := one(t, w, "select 7"); got != "7" {
		t.Error(got)
	}
}
