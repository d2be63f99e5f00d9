package proxy_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// succession is two clients that get the same server, one after the other.
func succession(t *testing.T, isolation string) (first, second *pgtest.Wire) {
	t.Helper()
	p := start(t, pgtest.Shared(t), fmt.Sprintf("default_pool_size = 1\npromotion = \"off\"\nisolation = %q", isolation), "")
	return p.login(t, p.transaction), p.login(t, p.transaction)
}

// TestLeftovers: without promotion, what only a connection can hold is gone before another client gets the server, but not with isolation = "off".
func TestLeftovers(t *testing.T) {
	for _, c := range []struct{ leave, look, left string }{
		{"create temp table lying_about (a int)", "select count(*) from pg_class where relname = 'lying_about'", "1"},
		{"prepare lying_about as select 1", "select count(*) from pg_prepared_statements", "1"},
		{"select pg_advisory_lock(815)", "select count(*) from pg_locks where locktype = 'advisory' and objid = 815", "1"},
		{"declare lying_about cursor with hold for select 1", "select count(*) from pg_cursors where is_holdable", "1"},
		{"do $$begin perform set_config('lying.about', 'x', false); end$$", "select coalesce(current_setting('lying.about', true), '')", "x"},
		{"listen lying_about", "select count(*) from pg_listening_channels()", "1"},
		{"begin; create temp table dropped (a int) on commit drop; commit", "select count(*) from pg_class where relname = 'dropped'", "0"},
	} {
		for _, isolation := range []string{"tracked", "strict", "off"} {
			first, second := succession(t, isolation)
			run(t, first, c.leave)
			want := map[string]string{"1": "0", "0": "0", "x": ""}[c.left]
			if isolation == "off" {
				want = c.left
			}
			if have := one(t, second, c.look); have != want {
				t.Errorf("%s: after %s, %s is %q, want %q", isolation, c.leave, c.look, have, want)
			}
		}
	}
}

// TestHiddenSetter: no text tells what a function sets inside. The next client does not see it all the same, unless isolation is off.
func TestHiddenSetter(t *testing.T) {
	for isolation, want := range map[string]string{"strict": "", "off": "secret", "tracked": ""} {
		first, second := succession(t, isolation)
		run(t, first, "create or replace function sets_inside() returns text language sql as $$select set_config('hidden.value', 'secret', false)$$")
		run(t, first, "select sets_inside()")
		if have := one(t, second, "select coalesce(current_setting('hidden.value', true), '')"); have != want {
			t.Errorf("%s: the next client sees %q, want %q", isolation, have, want)
		}
	}
}

// TestSettingsFollow: a value goes with its client, a client that never set it does not see it, and equal values send nothing.
func TestSettingsFollow(t *testing.T) {
	first, second := succession(t, "tracked")
	const look = "select coalesce(current_setting('app.tenant_id', true), '')"
	run(t, first, "set app.tenant_id = 'first'")
	if have := one(t, second, look); have != "" {
		t.Errorf("a client that set nothing has %q", have)
	}
	run(t, second, "set app.tenant_id = 'second'")
	for range 3 {
		if a, b := one(t, first, look), one(t, second, look); a != "first" || b != "second" {
			t.Errorf("%q and %q", a, b)
		}
	}
	run(t, second, "reset app.tenant_id")
	if a, b := one(t, first, look), one(t, second, look); a != "first" || b != "" {
		t.Errorf("%q and %q", a, b)
	}
}

// TestSettingsLeftInMidTransaction: a client that goes away inside a transaction takes what it set with it.
func TestSettingsLeftInMidTransaction(t *testing.T) {
	first, second := succession(t, "tracked")
	run(t, first, "set app.a = 'left'")
	run(t, first, "begin; set app.a = 'never'; set app.b = 'never'")
	first.Reset()
	if have := one(t, second, "select coalesce(current_setting('app.a', true), '') || coalesce(current_setting('app.b', true), '')"); have != "" {
		t.Errorf("the next client sees %q", have)
	}
}

// TestEncodingFollows: values that are not ASCII, set in an encoding that is not the database's.
func TestEncodingFollows(t *testing.T) {
	first, second := succession(t, "tracked")
	run(t, first, "set client_encoding = latin1")
	run(t, first, "set app.name = 'J\xf6rg'")
	run(t, second, "select 1")
	if have := one(t, first, "select current_setting('app.name')"); have != "J\xf6rg" {
		t.Errorf("%q", have)
	}
	run(t, first, "set client_encoding = sjis")
	run(t, first, "set app.name = '\x83\x5c'; set app.other = 'x'") // the second byte is a backslash
	if have := one(t, second, "select coalesce(current_setting('app.other', true), '')"); have != "" {
		t.Errorf("the next client sees %q", have)
	}
}

// enter logs in with startup parameters.
func (p *pooler) enter(t *testing.T, address string, parameters map[string]string) *pgtest.Wire {
	t.Helper()
	w := pgtest.Dial(t, address)
	parameters["user"], parameters["database"] = "postgres", "postgres"
	w.Startup(parameters)
	w.Authenticate("postgres", "")
	return w
}

// TestResetGoesBack: RESET gives a client what its session began with: its startup parameters, what the role says, or nothing.
func TestResetGoesBack(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	if err := c.Exec("alter role postgres set app.role = 'of the role'"); err != nil {
		t.Fatal(err)
	}
	p := start(t, c, "default_pool_size = 1\n", "")
	w := p.enter(t, p.transaction, map[string]string{"options": "-c app.begun=begun", "timezone": "Asia/Tokyo", "datestyle": "SQL"})
	other := p.login(t, p.transaction)
	const look = "select concat_ws('|', current_setting('app.begun', true), current_setting('app.role', true), current_setting('app.new', true), " +
		"current_setting('timezone'), current_setting('datestyle'))"
	const begun = "begun|of the role||Asia/Tokyo|SQL, MDY"
	run(t, other, "set datestyle = 'iso, ymd'")
	if got := one(t, w, "show datestyle"); got != "SQL, MDY" {
		t.Errorf("half of a date style was left by another: %s", got)
	}
	for _, reset := range [][]string{
		{"reset app.begun; reset app.role; reset app.new; reset timezone; set datestyle to default"},
		{"reset all"},
		{"discard all"},
		{"begin", "reset all", "commit"},
		{"begin; reset all", "savepoint a", "set app.begun = 'x'", "rollback to a", "commit"},
	} {
		for _, holds := range []bool{false, true} {
			run(t, w, "set app.begun = 'a'; set app.role = 'b'; set app.new = 'c'; set timezone = 'UTC'; set datestyle = 'german, dmy'")
			if got := one(t, w, look); got != "a|b|c|UTC|German, DMY" {
				t.Fatalf("set: %s", got)
			}
			if holds {
				run(t, w, "create temp table if not exists held (i int)") // from here on it keeps its server
			}
			for _, sql := range reset {
				run(t, w, sql)
			}
			if got := one(t, w, look); got != begun {
				t.Errorf("%s, holding %v: %s", reset, holds, got)
			}
			run(t, w, "discard all")
			run(t, other, "set app.role = 'x'; set timezone = 'UTC'; set datestyle = 'iso, ymd'")
			if got := one(t, w, look); got != begun {
				t.Errorf("%s, on the server of another: %s", reset, got)
			}
			if w.Parameters["DateStyle"] != "SQL, MDY" || w.Parameters["TimeZone"] != "Asia/Tokyo" {
				t.Errorf("%s: told %v", reset, w.Parameters)
			}
		}
	}
}

// TestResetInPipeline: what is pipelined behind a RESET waits until the client has what its session began with.
func TestResetInPipeline(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 1\n", "")
	w := p.enter(t, p.transaction, map[string]string{"options": "-c app.begun=begun", "timezone": "Asia/Tokyo"})
	for _, transaction := range []bool{false, true} {
		if transaction {
			run(t, w, "begin")
		}
		run(t, w, "set app.begun = 'a'; set timezone = 'UTC'")
		w.Send(&pgproto3.Query{String: "reset all"}, &pgproto3.Query{String: "select current_setting('app.begun')"}, &pgproto3.Query{String: "show timezone"})
		var got []string
		for _, m := range w.ReceiveReadies(3) {
			if row, ok := m.(*pgproto3.DataRow); ok {
				got = append(got, string(row.Values[0]))
			}
		}
		if fmt.Sprint(got) != "[begun Asia/Tokyo]" {
			t.Errorf("in a transaction %v: %v", transaction, got)
		}
	}
}

// TestResetThatFails leaves a parameter as it was set, also where that is what the server began with.
func TestResetThatFails(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 1\n", "")
	w := p.enter(t, p.transaction, map[string]string{"datestyle": "SQL, DMY"})
	run(t, w, "set datestyle = 'ISO, MDY'")
	w.Send(&pgproto3.Query{String: "begin"}, &pgproto3.Query{String: "discard all"}, &pgproto3.Query{String: "rollback"})
	w.ReceiveReadies(3)
	if got := one(t, w, "show datestyle"); got != "ISO, MDY" || w.Parameters["DateStyle"] != got {
		t.Errorf("%s, told %v", got, w.Parameters)
	}
}

// TestSetBehindReset: what is set behind a RESET holds, also where that is what the server began with.
func TestSetBehindReset(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 1\n", "")
	w := p.enter(t, p.transaction, map[string]string{"datestyle": "SQL, DMY"})
	const set, local = "set datestyle = 'ISO, MDY'", "set local datestyle = 'ISO, MDY'"
	for _, behind := range [][]string{{"reset all", set}, {"reset all; " + set}, {"reset all", local}} {
		run(t, w, "begin")
		for _, sql := range behind {
			run(t, w, sql)
		}
		if got := one(t, w, "show datestyle"); got != "ISO, MDY" || w.Parameters["DateStyle"] != got {
			t.Errorf("%q: %s, told %v", behind, got, w.Parameters)
		}
		run(t, w, "rollback")
		if got := one(t, w, "show datestyle"); got != "SQL, DMY" || w.Parameters["DateStyle"] != got {
			t.Errorf("%q, rolled back: %s, told %v", behind, got, w.Parameters)
		}
	}
}

// TestForbiddenParameter: one that the client may not set, and has not, is not set for it on its next server.
func TestForbiddenParameter(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	if err := c.Exec("create role plain login"); err != nil {
		t.Fatal(err)
	}
	p := start(t, c, "default_pool_size = 1\n", "")
	first, second := pgtest.Login(t, p.transaction, "plain", "postgres", ""), pgtest.Login(t, p.transaction, "plain", "postgres", "")
	for _, sql := range []string{
		"select set_config('log_statement', 'all', false) where false", "with x as (select set_config('log_statement', 'all', false)) select * from x",
		"begin; savepoint a; set log_statement = 'all'", "rollback to a; commit", "select set_config('hba_file', 'x', false) where false", "set log_statement = 'all'",
	} {
		run(t, first, sql)
		if first.TxStatus != 'I' {
			continue
		}
		run(t, second, "set app.x = 'x'")
		if got := one(t, first, "select 'still here'"); got != "still here" {
			t.Errorf("%s: %q", sql, got)
		}
		run(t, second, "reset app.x")
	}
}

// TestKeptAndAsked: a client that keeps its server goes on when the server has been asked what it set.
func TestKeptAndAsked(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 1\n", "")
	w := p.login(t, p.transaction)
	run(t, w, "create temp table mine (i int)")
	run(t, w, "select set_config('app.x', upper('asked'), false)")
	if got := one(t, w, "select current_setting('app.x')"); got != "ASKED" {
		t.Error(got)
	}
}

// TestResetBehindAnError: a RESET that comes while it is not certain what went before it gives back what the session began with.
func TestResetBehindAnError(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 1\n", "")
	w := p.enter(t, p.transaction, map[string]string{"options": "-c app.begun=begun"})
	for _, failing := range []string{
		"select set_config('app.x', 'y', true); set statement_timeout to 'bad'",
		"deallocate all; select set_config('standard_conforming_strings', 'off', true); set statement_timeout to 'bad'",
		"set app.begun = 'b'; set statement_timeout to 'bad'",
	} {
		run(t, w, "set app.begun = 'a'")
		w.Send(
			&pgproto3.Query{String: failing}, &pgproto3.Parse{Query: "reset all"}, &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'},
			&pgproto3.Execute{}, &pgproto3.Flush{}, &pgproto3.Sync{},
		)
		w.ReceiveReadies(2)
		if got := one(t, w, "show app.begun"); got != "begun" {
			t.Errorf("behind %q: %q", failing, got)
		}
	}
}

// TestSetterComesBack: a prepared statement that sets something is known as what it is, although its client has sent another text under its
// name, as long as PostgreSQL has not taken that.
func TestSetterComesBack(t *testing.T) {
	parse := func(name, sql string) pgproto3.FrontendMessage { return &pgproto3.Parse{Name: name, Query: sql} }
	run := func(name string) []pgproto3.FrontendMessage {
		return []pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: name}, &pgproto3.Execute{}}
	}
	gone := &pgproto3.Close{ObjectType: 'S', Name: "setter"}
	fails := append([]pgproto3.FrontendMessage{parse("", "select 1/0")}, run("")...)
	for name, between := range map[string][]pgproto3.FrontendMessage{
		"a name that is taken":              {parse("setter", "select 1")},
		"a text with a fault":               {gone, parse("other", "selec"), parse("setter", "select 1")},
		"skipped behind an error":           append(fails, gone, parse("setter", "select 1")),
		"skipped and closed":                append(fails, gone, parse("setter", "select 1"), gone),
		"skipped, twice":                    append(fails, gone, parse("setter", "select 1"), gone, parse("setter", "select 2")),
		"an error in the transaction block": append(append([]pgproto3.FrontendMessage{parse("", "begin")}, run("")...), append(fails, gone, parse("setter", "select 1"))...),
	} {
		for _, waits := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, waits %t", name, waits), func(t *testing.T) {
				first, second := succession(t, "tracked")
				batches := [][]pgproto3.FrontendMessage{
					{parse("setter", "set app.tenant_id = '7'")}, between, append([]pgproto3.FrontendMessage{parse("", "rollback")}, run("")...), run("setter"),
				}
				for _, batch := range batches {
					first.Send(append(batch, &pgproto3.Sync{})...)
					if waits {
						first.ReceiveReady()
					}
				}
				if !waits {
					first.ReceiveReadies(len(batches))
				}
				if have := one(t, second, "select coalesce(current_setting('app.tenant_id', true), '')"); have != "" {
					t.Errorf("another client sees %q", have)
				}
			})
		}
	}
}
