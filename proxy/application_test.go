package proxy_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// loginAs is login with an application_name.
func (p *pooler) loginAs(t *testing.T, address, application string) *pgtest.Wire {
	t.Helper()
	w := pgtest.Dial(t, address)
	w.Startup(map[string]string{"user": "postgres", "database": "postgres", "application_name": application})
	w.Authenticate("postgres", "")
	return w
}

// application is the snapshot of one; nil when there is none.
func (p *pooler) application(listener, name string) *stats.ApplicationSnapshot {
	for _, a := range p.Snapshot().Applications {
		if a.Listener == listener && a.Name == name && !a.Others {
			return &a
		}
	}
	return nil
}

// statements of a kind that an application is known for.
func statements(a *stats.ApplicationSnapshot, kind string) stats.StatementSnapshot {
	for _, s := range a.Statements {
		if s.Kind == kind {
			return s
		}
	}
	return stats.StatementSnapshot{}
}

// TestApplications: what clients do that belongs on the other port is counted by the application_name they have at the time.
func TestApplications(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 3\nlong_transaction = \"100ms\"\n", "")
	jobs := p.loginAs(t, p.transaction, "embedder")
	run(t, jobs, "begin")
	p.promoteLong(t, jobs)
	if a := p.application("transaction", "embedder"); a.LongOpen != 1 || a.LongTransactions != 0 || a.Longest < a.LongFrom || a.Promotions["long_transaction"] != 1 {
		t.Errorf("in the transaction: %+v", a)
	}
	run(t, jobs, "commit")
	a := p.application("transaction", "embedder")
	if a.LongOpen != 0 || a.LongTransactions != 1 || a.Transactions != 1 || a.InLong != a.Longest || a.Held < a.InTransaction || a.Promoted <= 0 || a.Promoted >= a.Held {
		t.Errorf("behind it: %+v", a)
	}

	other := p.loginAs(t, p.transaction, "reports")
	run(t, other, "set statement_timeout = '5s'")
	run(t, other, "set application_name = 'nightly'")
	run(t, other, "create temp table t_4711 as select 'of Jane Doe' as name -- secret")
	if a := p.application("transaction", "reports"); a.Sets != 1 || a.Clients != 0 {
		t.Errorf("before it had another name: %+v", a)
	}
	a = p.application("transaction", "nightly")
	if s := statements(a, "temporary_table"); a.Clients != 1 || s.Forced != 1 || s.Refused != 0 || s.Sample != "create temp table t_? as select ? as ?" {
		t.Errorf("behind it: %+v", a)
	}

	gone := p.loginAs(t, p.transaction, "gone")
	run(t, gone, "begin")
	p.promoteLong(t, gone)
	gone.Close()
	waitFor(t, "its transaction to count", func() bool { return p.application("transaction", "gone").LongTransactions == 1 })
}

// TestStateOfSessions: on a session listener a client that makes what only a connection can hold is told from one that does not.
func TestStateOfSessions(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 5\n", "")
	for i, c := range []struct{ sql, kind string }{
		{"select 1", ""}, {"set app.tenant_id = '7'", ""}, {state, "temporary_table"}, {"do $$ begin end $$", "other"}, {"select pg_advisory_lock(1)", "advisory_lock"},
	} {
		w := p.loginAs(t, p.session, fmt.Sprint("client ", i))
		for range 2 {
			w.Send(batchOf(c.sql)...)
			w.ReceiveReady()
			run(t, w, c.sql)
		}
		a := p.application("session", fmt.Sprint("client ", i))
		if a.Transactions != 4 {
			t.Errorf("%s: %d transactions", c.sql, a.Transactions)
		}
		switch {
		case c.kind == "" && len(a.Statements) > 0, c.kind != "" && statements(a, c.kind).Forced != 1:
			t.Errorf("%s: %+v", c.sql, a.Statements)
		}
		w.Close()
	}
}

// TestHostileApplicationNames: a name is the client's own text: it is bounded, in length and in number, and fit to be shown.
func TestHostileApplicationNames(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 3\n", "")
	kept := p.loginAs(t, p.transaction, "kept")
	run(t, kept, state)
	w := p.loginAs(t, p.transaction, "evil\x01\xc3\xa4\n"+strings.Repeat("x", 500))
	run(t, w, "select 1")
	want := "evil????" + strings.Repeat("x", 63-8)
	if p.application("transaction", want) == nil {
		for _, a := range p.Snapshot().Applications {
			t.Errorf("%q", a.Name)
		}
	}
	const names = 3 * stats.ApplicationsMax
	var sets []pgproto3.FrontendMessage
	for i := range names {
		sets = append(sets, &pgproto3.Query{String: fmt.Sprintf("set application_name = 'name %d'", i)})
	}
	w.Send(sets...)
	w.ReceiveReadies(names)
	all := p.Snapshot().Applications
	transactions, others := uint64(0), uint64(0)
	for _, a := range all {
		if a.Listener == "transaction" {
			transactions += a.Transactions
		}
		if a.Others {
			others += a.Transactions
		}
	}
	if len(all) > stats.ApplicationsMax+1 || transactions != names+2 || others < names-stats.ApplicationsMax {
		t.Errorf("%d applications with %d transactions, of others %d", len(all), transactions, others)
	}
	if a := p.application("transaction", "kept"); a == nil || a.Clients != 1 {
		t.Errorf("an application with a client was folded: %+v", a)
	}
	kept.Close()
	waitFor(t, "it to be gone", func() bool { return p.application("transaction", "kept").Clients == 0 })
	w.Send(sets...)
	w.ReceiveReadies(names)
	if a := p.application("transaction", "kept"); a == nil || statements(a, "temporary_table").Forced != 1 {
		t.Error("an application that there is something to say about went before those that there is nothing to say about")
	}
}

// TestManyApplicationsAtOnce: where all names have clients the next one is one of the others, until there is room again.
func TestManyApplicationsAtOnce(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 3\nmax_client_conn = 1000\n", "")
	var all []*pgtest.Wire
	for i := range stats.ApplicationsMax {
		all = append(all, p.loginAs(t, p.transaction, fmt.Sprint("name ", i)))
	}
	late := p.loginAs(t, p.transaction, "late")
	run(t, late, state)
	if p.application("transaction", "late") != nil {
		t.Error("one more than there may be")
	}
	others := func() (n uint64) {
		for _, a := range p.Snapshot().Applications {
			if a.Others {
				n += statements(&a, "temporary_table").Forced
				if s := statements(&a, "temporary_table").Sample; s != "" {
					t.Errorf("a sample of nobody's: %s", s)
				}
			}
		}
		return n
	}
	if others() != 1 {
		t.Errorf("%d statements of others", others())
	}
	all[0].Close()
	waitFor(t, "one to be gone", func() bool { return p.application("transaction", "name 0").Clients == 0 })
	run(t, late, "set application_name = 'in time'")
	if a := p.application("transaction", "in time"); a == nil || a.Clients != 1 || p.application("transaction", "name 0") != nil {
		t.Errorf("%+v", a)
	}
}

// TestPromotionLog: the log tells of an application's promotions, though not of each.
func TestPromotionLog(t *testing.T) {
	log := &logged{}
	p := launchLogging(t, pgtest.Shared(t), configuration(t, serverAt(pgtest.Shared(t)), single, ""), slog.New(slog.NewTextHandler(log, nil)))
	for _, name := range []string{"one", "two"} {
		for range 5 {
			w := p.loginAs(t, p.transaction, name)
			run(t, w, state)
			run(t, w, "discard all")
			waitFor(t, "the server to be back", func() bool { return p.pool(t, "session").ServersIdle == 1 })
			w.Close()
		}
		if got := p.application("transaction", name); statements(got, "temporary_table").Forced != 5 {
			t.Errorf("%+v", got)
		}
	}
	for _, name := range []string{"one", "two"} {
		n := 0
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "a server to itself") && strings.Contains(line, "application_name="+name+" ") {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d lines about %s", n, name)
		}
	}
}
