package proxy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestHalfClosedInMidReply: a client that sends no more, without a Sync, while the last reply that it has asked for is half there, gets the
// rest of it.
func TestHalfClosedInMidReply(t *testing.T) {
	c := pgtest.Shared(t)
	faults := pgtest.NewFaultProxy(t, c.Address())
	p := launch(t, c, configuration(t, fmt.Sprintf("host = %q\nport = %d\n", faults.Host(), faults.Port()), "default_pool_size = 1\n", ""))
	w := p.login(t, p.transaction)
	run(t, w, "select 1") // so that nothing but its batch is on the server
	stall := faults.Plant(pgtest.Fault{Side: pgtest.FromPostgreSQL, Type: 'C', Stall: true, CutAt: 8})
	w.Send(&pgproto3.Parse{Query: "select 'all of it'"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Flush{})
	<-stall.Struck
	<-time.After(50 * time.Millisecond) // what has come of it is with the client
	halfClose(t, w)
	<-time.After(50 * time.Millisecond) // the pooler has seen that
	stall.Release()
	for _, message := range []string{"ParseComplete", "BindComplete", "DataRow all of it", "CommandComplete SELECT 1"} {
		w.Expect(message)
	}
	w.ExpectClosed()
}

// TestVanishedClients: the servers of clients that die in the middle of their queries are free within seconds, however they die and however
// much they have pipelined, and PostgreSQL does not work on for nobody. The servers are used again.
func TestVanishedClients(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	p := start(t, c, "default_pool_size = 2\nreserve_pool_size = 0\n", "")
	deaths := map[string]func(w *pgtest.Wire){
		"closed": func(w *pgtest.Wire) { w.Query("select pg_sleep(600)"); p.busy(t, c, 1); w.Close() },
		"reset":  func(w *pgtest.Wire) { w.Query("select pg_sleep(600)"); p.busy(t, c, 1); w.Reset() },
		"in a transaction": func(w *pgtest.Wire) {
			run(t, w, "begin; select 1")
			w.Query("select pg_sleep(600)")
			p.busy(t, c, 1)
			w.Close()
		},
		"with a pipeline": func(w *pgtest.Wire) {
			for range 4 {
				w.Query("select pg_sleep(600)")
			}
			p.busy(t, c, 1)
			w.Close()
		},
		"in a batch without Sync": func(w *pgtest.Wire) {
			w.Send(&pgproto3.Parse{Query: "select pg_sleep(600)"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Flush{})
			p.busy(t, c, 1)
			w.Close()
		},
	}
	for _, address := range []string{p.transaction, p.session} {
		for name, die := range deaths {
			t.Run(name, func(t *testing.T) {
				die(p.login(t, address))
				p.busy(t, c, 0)
				w := p.login(t, address)
				run(t, w, "select 1")
				w.Close()
			})
		}
	}
	for _, listener := range []string{"transaction", "session"} {
		if ps := p.pool(t, listener); len(ps.ServerCloses) > 0 {
			t.Errorf("%s: servers that the dead left were closed instead of used again: %v", listener, ps.ServerCloses)
		}
	}
}

// busy waits until so many servers of the pooler run a query in PostgreSQL.
func (p *pooler) busy(t *testing.T, c *pgtest.Cluster, n int) {
	t.Helper()
	direct := pgtest.Login(t, c.Address(), "postgres", "postgres", "")
	defer direct.Close()
	waitFor(t, fmt.Sprintf("%d queries to run", n), func() bool {
		return one(t, direct, "select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and query like '%pg_sleep%'") == fmt.Sprint(n)
	})
}

// TestTerminateBehindStatement: a client that says goodbye behind a statement has it run to its end, as on a direct connection.
func TestTerminateBehindStatement(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	p := start(t, c, "", "")
	direct := pgtest.Login(t, c.Address(), "postgres", "postgres", "")
	run(t, direct, "create table done (at text)")
	for _, address := range []string{p.transaction, p.session} {
		w := p.login(t, address)
		w.Send(&pgproto3.Query{String: "select pg_sleep(3); insert into done values ('here')"}, &pgproto3.Terminate{})
		w.Close()
	}
	waitFor(t, "both statements", func() bool { return one(t, direct, "select count(*) from done") == "2" })
}
