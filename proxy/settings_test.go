package proxy_test

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestSetConfigToNull: set_config of NULL, bound or not, resets: the client has again what its session began with, on every server.
func TestSetConfigToNull(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	w := p.enter(t, p.transaction, tenant("7"))
	for value, parameters := range map[string][][]byte{"$1": {nil}, "null": nil} {
		run(t, w, "set app.tenant to '8'")
		w.Send(&pgproto3.Parse{Query: "select set_config('app.tenant', " + value + ", false)"}, &pgproto3.Bind{Parameters: parameters}, &pgproto3.Execute{}, &pgproto3.Sync{})
		w.ReceiveReady()
		for range 4 {
			if got := one(t, w, tenantNow); got != "tenant_7|7|begun" {
				t.Errorf("%s: %s", value, got)
			}
		}
	}
}

// TestSetConfigInLongBind: what a Bind sets whose other parameters are too long to be kept follows its client.
func TestSetConfigInLongBind(t *testing.T) {
	first, second := succession(t, "tracked")
	long := bytes.Repeat([]byte("x"), 1<<20) // more than the loop reads at once
	bind := &pgproto3.Bind{Parameters: [][]byte{[]byte("app.tenant_id"), []byte("7"), long}}
	first.Send(&pgproto3.Parse{Query: "select set_config($1, $2, false), length($3)"}, bind, &pgproto3.Execute{}, &pgproto3.Sync{})
	first.ReceiveReady()
	if have := one(t, second, "select coalesce(current_setting('app.tenant_id', true), '')"); have != "" {
		t.Errorf("another client sees %q", have)
	}
	if have := one(t, first, "select coalesce(current_setting('app.tenant_id', true), '')"); have != "7" {
		t.Errorf("the client has %q", have)
	}
}

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

// TestSameAgain: a setting that says how texts are read, and is set or reset to what it is, makes no text one that nobody can read: the server is
// not emptied behind it. Drivers send that when they take a connection out of their own pool, with the first query behind it.
func TestSameAgain(t *testing.T) {
	sync := &pgproto3.Sync{}
	for name, turns := range map[string][]turn{
		"RESET ALL":            {queries("reset all", `select 'ä\d'`)},
		"in front of a batch":  {{messages: append(queries("reset all").messages, batch(`select 'ä\d'`, sync).messages...)}},
		"of one":               {queries("reset standard_conforming_strings", `select '\d'`)},
		"set":                  {queries("begin"), queries("set standard_conforming_strings = on"), queries(`select '\d'`), queries("commit")},
		"for a transaction":    {queries("begin"), queries("set local client_encoding = 'utf8'"), queries(`select 'ä'`), queries("commit")},
		"by a bound parameter": {batch(&pgproto3.Parse{Query: "select set_config('client_encoding', $1, true)"}, &pgproto3.Bind{Parameters: [][]byte{[]byte("UTF8")}}, &pgproto3.Execute{}, `select 'ä'`, sync)},
	} {
		first, second := succession(t, "tracked")
		both := [2]*pgtest.Wire{first, second}
		batch(&pgproto3.Parse{Name: "plain", Query: "select 1"}, sync).play(both)
		for _, u := range turns {
			u.play(both)
		}
		if have := one(t, second, "select count(*) from pg_prepared_statements"); have == "0" {
			t.Errorf("%s: the server was emptied", name)
		}
	}
}

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
