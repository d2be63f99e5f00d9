package proxy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// tenant are the startup parameters of a client whose rows depend on them.
func tenant(number string) map[string]string {
	return map[string]string{"application_name": "begun", "search_path": "tenant_" + number, "options": "-c app.tenant=" + number}
}

// tenantNow shows what the client has of them.
const tenantNow = "select concat_ws('|', current_setting('search_path'), current_setting('app.tenant', true), current_setting('application_name'))"

// said is what a client hears of n queries, as far as it may differ: rows, parameters, errors and how each ends.
func said(w *pgtest.Wire, n int) string {
	var lines []string
	for _, m := range w.ReceiveReadies(n) {
		switch m := m.(type) {
		case *pgproto3.DataRow:
			lines = append(lines, fmt.Sprintf("row %s", m.Values))
		case *pgproto3.ParameterStatus:
			lines = append(lines, fmt.Sprintf("%s=%s", m.Name, m.Value))
		case *pgproto3.ErrorResponse:
			lines = append(lines, "error "+m.Code)
		case *pgproto3.ReadyForQuery:
			lines = append(lines, "ready "+string(m.TxStatus))
		}
	}
	return strings.Join(lines, "\n")
}

// TestRestored: RESET in a session, and by a client that keeps its server, gives back the startup parameters, and the client is told what a
// direct connection tells. Each line is sent at once.
func TestRestored(t *testing.T) {
	c := pgtest.Shared(t)
	lines := [][]string{
		{"set search_path to x; set app.tenant to '8'; set application_name to 'x'", tenantNow},
		{"reset search_path", tenantNow, "reset app.tenant", tenantNow, "reset application_name", tenantNow},
		{"set search_path to x; set app.tenant to '8'; set application_name to 'x'", "select 1; reset all", tenantNow},
		{"set search_path to default", "set time zone default", tenantNow},
		{"set application_name to 'y'", "begin", "reset all", tenantNow, "set search_path to y", "rollback", tenantNow},
		{"begin; set app.tenant to '9'; savepoint s; reset all", tenantNow, "rollback to s", tenantNow, "select 1/0", "commit", tenantNow},
		{"begin; reset all; savepoint s; select 1/0", "rollback to s", tenantNow, "commit", tenantNow},
		{"set search_path to z", "reset all; select 1/0", tenantNow, "reset all; set search_path to 'own'", tenantNow},
	}
	for _, isolation := range []string{"tracked", "strict"} {
		p := start(t, c, single+fmt.Sprintf("isolation = %q", isolation), "")
		for _, port := range []string{p.session, p.transaction} {
			former := p.enter(t, p.session, tenant("1")) // the server has had another client
			run(t, former, "set app.tenant to 'nobody''s'")
			former.Send(&pgproto3.Terminate{})
			direct, w := p.enter(t, c.Address(), tenant("7")), p.enter(t, port, tenant("7"))
			for _, client := range []*pgtest.Wire{direct, w} {
				run(t, client, "create temp table held (i int)") // from here on it keeps its server
			}
			for _, line := range append(lines, []string{"discard all", tenantNow}) {
				for _, client := range []*pgtest.Wire{direct, w} {
					messages := make([]pgproto3.FrontendMessage, len(line))
					for i, sql := range line {
						messages[i] = &pgproto3.Query{String: sql}
					}
					client.Send(messages...)
				}
				if want, got := said(direct, len(line)), said(w, len(line)); got != want {
					t.Errorf("%s, session %v: %q\n%s\n\nPostgreSQL says\n%s", isolation, port == p.session, line, got, want)
				}
			}
			w.Send(&pgproto3.Terminate{})
		}
	}
}

// TestRestoredNot: with isolation = "off" RESET goes back to what the server began with, as with PgBouncer.
func TestRestoredNot(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+`isolation = "off"`, "")
	w := p.enter(t, p.session, tenant("7"))
	run(t, w, "reset search_path")
	if got := one(t, w, "show search_path"); got != `"$user", public` {
		t.Error(got)
	}
}

// TestRestoredBehindLongText: a RESET that nobody has read shows itself by its tag.
func TestRestoredBehindLongText(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	for _, sql := range []string{"reset all", "reset search_path; reset app.tenant"} {
		w := p.enter(t, p.session, tenant("7"))
		run(t, w, "set search_path to own; set app.tenant to '8'")
		run(t, w, "/*"+strings.Repeat(" ", 100<<10)+"*/"+sql)
		if got := one(t, w, tenantNow); got != "tenant_7|7|begun" {
			t.Errorf("%s: %s", sql, got)
		}
		run(t, w, "set search_path to own; set app.tenant to '8'")
		w.Send(&pgproto3.Parse{Name: "r", Query: strings.Repeat(" ", 40<<10) + "reset statement_timeout"}, &pgproto3.Bind{PreparedStatement: "r"}, &pgproto3.Execute{}, &pgproto3.Sync{})
		w.ReceiveReady()
		if got := one(t, w, tenantNow); got != "own|8|begun" {
			t.Errorf("what was set is lost: %s", got)
		}
		w.Send(&pgproto3.Parse{Query: "reset all"}, &pgproto3.Sync{})
		w.ReceiveReady()
		w.Send(&pgproto3.Parse{Query: strings.Repeat(" ", 40<<10) + "select 1"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{})
		w.ReceiveReady()
		if got := one(t, w, tenantNow); got != "own|8|begun" {
			t.Errorf("what was set is lost behind a text that took the place of a RESET: %s", got)
		}
		w.Send(&pgproto3.Terminate{})
	}
}

// TestRestoredForTheNext: a client that leaves behind its RESET, before or after the answer, leaves nothing to the next of the same parameters,
// even where sessions inherit what the last one left.
func TestRestoredForTheNext(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+`server_reset_query = ""`, "")
	for i, leave := range []func(w *pgtest.Wire){
		func(w *pgtest.Wire) { w.Send(&pgproto3.Query{String: "reset all"}, &pgproto3.Terminate{}) },
		func(w *pgtest.Wire) { w.Query("reset all"); w.Close() },
		func(w *pgtest.Wire) { w.Query("select pg_sleep(0.1); reset all"); w.Reset() },
		func(w *pgtest.Wire) { w.Query("begin; reset all"); w.ReceiveReady(); w.Close() },
		func(w *pgtest.Wire) { w.Query("reset all"); w.ReceiveReady(); w.Send(&pgproto3.Terminate{}) },
	} {
		w := p.enter(t, p.session, tenant("7"))
		run(t, w, "select 1")
		leave(w)
		next := p.enter(t, p.session, tenant("7"))
		if got := one(t, next, tenantNow); got != "tenant_7|7|begun" {
			t.Errorf("%d: %s", i, got)
		}
		next.Send(&pgproto3.Terminate{})
	}
}

// TestRestoredRefused: a client that may not set any more what its session began with is closed, and nothing that it has sent behind its RESET
// runs without.
func TestRestoredRefused(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	if err := c.Exec("create role plain"); err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("create table ran (what text); grant all on ran to plain"); err != nil {
		t.Fatal(err)
	}
	p := start(t, c, single, "")
	for _, before := range []string{"select 1", "begin"} {
		parameters := tenant("7")
		parameters["options"] = "-c log_min_duration_statement=54321"
		w := p.enter(t, p.session, parameters)
		run(t, w, before)
		w.Send(&pgproto3.Query{String: "set role plain"}, &pgproto3.Query{String: "reset all"}, &pgproto3.Query{String: "insert into public.ran values ('" + before + "')"})
		var codes []string
		for {
			m, err := w.TryReceive()
			if err != nil {
				break
			}
			if e, ok := m.(*pgproto3.ErrorResponse); ok {
				codes = append(codes, e.Severity+" "+e.Code)
			}
		}
		if !slices.Equal(codes, []string{"FATAL 42501"}) {
			t.Errorf("behind %s: %v", before, codes)
		}
	}
	if rows, err := c.Query("select count(*) from ran"); err != nil || rows[0][0] != "0" {
		t.Error(rows, err)
	}
	if got := one(t, p.enter(t, p.session, tenant("8")), tenantNow); got != "tenant_8|8|begun" {
		t.Error(got)
	}
}

// TestNotifiedBehindReset: what a session is notified of is heard, also in front of the answer to what restores its startup parameters.
func TestNotifiedBehindReset(t *testing.T) {
	const rounds = 200
	c := pgtest.Shared(t)
	p := start(t, c, single, "")
	for _, port := range []string{p.session, p.transaction} {
		w, other := p.enter(t, port, tenant("7")), p.enter(t, c.Address(), map[string]string{})
		run(t, w, "create temp table held (i int)") // from here on it keeps its server
		run(t, w, "listen news")
		heard := 0
		for range rounds {
			w.Query("reset all")
			other.Query("notify news")
			heard += notifications(w)
			other.ReceiveReady()
		}
		w.Query("select 1") // PostgreSQL tells all it knows of before it says that it is ready
		if heard += notifications(w); heard != rounds {
			t.Errorf("session %v: %d of %d notifications", port == p.session, heard, rounds)
		}
		w.Send(&pgproto3.Terminate{})
	}
}

// notifications counts those that come up to a ReadyForQuery.
func notifications(w *pgtest.Wire) (n int) {
	for _, m := range w.ReceiveReady() {
		if _, ok := m.(*pgproto3.NotificationResponse); ok {
			n++
		}
	}
	return n
}
