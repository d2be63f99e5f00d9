package proxy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// held are scripts about what only a connection can hold; %d is the client's number.
var held = map[string][]string{
	"temporary table": {
		"create temp table mine (i int)", "insert into mine values (%d), (%d)", "select * from mine", "begin", "truncate mine", "rollback",
		"create temp table mine (j int)", "select count(*), min(i) from mine", "drop table mine", "select * from mine",
	},
	"cursor": {
		"declare c cursor with hold for select n * %d from generate_series(1, 5) n", "fetch 2 from c", "begin", "fetch 1 from c", "rollback",
		"fetch 1 from c", "select name, is_holdable from pg_cursors", "close c", "fetch 1 from c",
	},
	"prepared by SQL": {
		"prepare p (int) as select $1 * %d", "execute p(3)", "select name, statement from pg_prepared_statements", "execute q(1)", "execute p(4)",
		"prepare p as select 1", "deallocate p", "execute p(5)",
	},
	"advisory lock": {
		"select pg_advisory_lock(%d)", "select pg_advisory_lock(1000 + %d)", "select pg_try_advisory_lock((%d + 1) %% 10)",
		"select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", "select pg_advisory_unlock(%d)",
		"select pg_advisory_unlock(%d)", "select pg_advisory_unlock_all()", "select pg_advisory_unlock(1000 + %d)",
	},
}

// TestManyHold: sixteen clients of the transaction port, as many as 60 per cent of its pool and the session pool have room for, hold what only a
// connection can hold, all at once, and are told at each step what they would be told on direct connections. One more waits until one of them
// leaves, or is refused.
func TestManyHold(t *testing.T) {
	const room = 16
	full := func(p *pooler) bool {
		tx, session := p.pool(t, "transaction"), p.pool(t, "session")
		return session.ServersActive == 10 && tx.ServersActive == 6 && session.ClientsWaiting == 0
	}
	c := pgtest.New(t, pgtest.Options{})
	if err := c.Exec("create database directly"); err != nil {
		t.Fatal(err)
	}
	const listener = "default_pool_size = 10\nquery_wait_timeout = \"%s\"\n"
	p := start(t, c, fmt.Sprintf(listener, "1m"), "")
	for name, script := range held {
		t.Run(name, func(t *testing.T) {
			pooled, direct := make([]*pgtest.Wire, room), make([]*pgtest.Wire, room)
			for i := range room {
				pooled[i] = p.login(t, p.transaction)
				direct[i] = pgtest.Login(t, c.Address(), "postgres", "directly", "")
			}
			for _, line := range script {
				for i := range room {
					sql := numbered(line, i)
					have, want := answers(pooled[i], sql), answers(direct[i], sql)
					if !slices.Equal(have, want) {
						t.Fatalf("client %d: %s:\nthrough the pooler %q\ndirectly %q", i, sql, have, want)
					}
				}
			}
			if !full(p) {
				t.Fatalf("the session pool has %+v", p.pool(t, "session"))
			}
			next := p.login(t, p.transaction)
			next.Query(numbered(script[0], room))
			waitFor(t, "the next in the queue", func() bool { return p.pool(t, "session").ClientsWaiting == 1 })
			run(t, pooled[0], "discard all")
			next.ReceiveReady()
			if !full(p) {
				t.Fatalf("the session pool has %+v", p.pool(t, "session"))
			}
			refusedForRoom(t, p, pooled[0], fmt.Sprintf(listener, "1s"), numbered(script[0], 0))
			if _, err := p.Reload(configuration(t, serverAt(c), fmt.Sprintf(listener, "1m"), "")); err != nil {
				t.Fatal(err)
			}
			for _, w := range append(pooled, next) {
				w.Close()
			}
			waitFor(t, "all to be gone", func() bool {
				return p.pool(t, "session").ServersActive == 0 && p.pool(t, "transaction").ServersActive == 0
			})
		})
	}
}

// refused: without room, the statement is refused after query_wait_timeout in words that say so, and the client goes on.
func refusedForRoom(t *testing.T, p *pooler, w *pgtest.Wire, listener, sql string) {
	t.Helper()
	if _, err := p.Reload(configuration(t, serverAt(p.postgres), listener, "")); err != nil {
		t.Fatal(err)
	}
	w.Query(sql)
	e := w.ExpectError("53300")
	if e.Severity != "ERROR" || !strings.Contains(e.Message+e.Detail+e.Hint, "query_wait_timeout") || !strings.Contains(e.Message+e.Detail+e.Hint, "10 of 10") {
		t.Errorf("%+v", e)
	}
	w.ReceiveReady()
	if got := one(t, w, "select 'still here'"); got != "still here" {
		t.Error(got)
	}
}

// numbered is a line of a script for a client.
func numbered(line string, client int) string {
	n := strings.Count(line, "%d")
	if n == 0 {
		return line
	}
	numbers := make([]any, n)
	for i := range numbers {
		numbers[i] = client
	}
	return fmt.Sprintf(line, numbers...)
}

// answers is all that a query is answered.
func answers(w *pgtest.Wire, sql string) []string {
	w.Query(sql)
	var lines []string
	for _, m := range w.ReceiveReady() {
		line := pgtest.Describe(m)
		if e, ok := m.(*pgproto3.ErrorResponse); ok {
			line += " " + e.Message
		}
		lines = append(lines, line)
	}
	return lines
}
