package proxy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

const refusing = single + "promotion = \"error\"\n"

// state is a statement that makes what only a connection can hold.
const state = "create temp table mine (i int)"

// batchOf is a statement in the extended protocol.
func batchOf(sql string) []pgproto3.FrontendMessage {
	return []pgproto3.FrontendMessage{
		&pgproto3.Parse{Query: sql}, &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{},
	}
}

// ways are the two protocols in which a statement can be sent.
var ways = map[string]func(sql string) []pgproto3.FrontendMessage{
	"simple": func(sql string) []pgproto3.FrontendMessage {
		return []pgproto3.FrontendMessage{&pgproto3.Query{String: sql}}
	},
	"extended": batchOf,
}

// TestStateRefused: with promotion = "error" a statement that makes what only a connection can hold is refused: outside a transaction,
// where the client then goes on, and inside one, which has failed then.
func TestStateRefused(t *testing.T) {
	for _, more := range []string{"", "max_prepared_statements = 0\n", "isolation = \"off\"\n", "isolation = \"strict\"\n"} {
		p := start(t, pgtest.Shared(t), refusing+more, "")
		for way, encode := range ways {
			t.Run(way+"/"+more, func(t *testing.T) {
				name := "refused " + way
				a := p.loginAs(t, p.transaction, name)
				a.Send(encode(state)...)
				e := a.ExpectError("0A000")
				for _, want := range []string{`a temporary table needs a connection of its own`, `"transaction"`, `promotion = "error"`} {
					if !strings.Contains(e.Message, want) {
						t.Errorf("the message has no %s: %s", want, e.Message)
					}
				}
				if _, port, _ := strings.Cut(p.session, ":"); e.Severity != "ERROR" || !strings.Contains(e.Hint, `"session" (port `+port+`)`) {
					t.Errorf("%s, hint %q", e.Severity, e.Hint)
				}
				a.Expect("ReadyForQuery I")

				run(t, a, "begin")
				a.Send(encode(state)...)
				a.ExpectError("0A000")
				a.Expect("ReadyForQuery E")
				a.Send(encode(state)...) // as any other statement in a failed transaction
				a.ExpectError("25P02")
				a.Expect("ReadyForQuery E")
				a.Query("rollback; " + state) // which would not have met the failed transaction
				a.ExpectError("0A000")
				a.Expect("ReadyForQuery E")
				a.Query("commit")
				a.Expect("CommandComplete ROLLBACK", "ReadyForQuery I")
				if s := statements(p.application("transaction", name), "temporary_table"); s.Forced != 3 || s.Refused != 3 {
					t.Errorf("%d statements, %d refused", s.Forced, s.Refused)
				}

				if got := one(t, a, "select coalesce(to_regclass('mine')::text, 'none')"); got != "none" {
					t.Error("the table is there")
				}
				a.Query("select 1; load 'plpgsql'") // one of several
				a.ExpectError("0A000")
				a.Expect("ReadyForQuery I")
			})
		}
	}
}

// TestStateRefusedAsksNoServer: a statement that is refused outside a transaction reaches no server, and leaves none behind.
func TestStateRefusedAsksNoServer(t *testing.T) {
	p := start(t, pgtest.Shared(t), refusing, "")
	a := p.login(t, p.transaction)
	pid := one(t, a, "select pg_backend_pid()")
	watch := pgtest.Login(t, p.postgres.Address(), "postgres", "postgres", "")
	last := func() string {
		return one(t, watch, "select query || query_start from pg_stat_activity where pid = "+pid)
	}
	before := last()
	for _, encode := range ways {
		a.Send(encode(state)...)
		a.ExpectError("0A000")
		a.Expect("ReadyForQuery I")
	}
	if after := last(); after != before {
		t.Errorf("the server was asked: %s, before %s", after, before)
	}
	if ps := p.pool(t, "transaction"); ps.ServersIdle != 1 || ps.ServersActive != 0 {
		t.Errorf("%d idle, %d active", ps.ServersIdle, ps.ServersActive)
	}
}

// TestErrorPromotesNothing: promotion = "error" leaves a long transaction where it is.
func TestErrorPromotesNothing(t *testing.T) {
	p := start(t, pgtest.Shared(t), refusing+"long_transaction = \"100ms\"\nquery_wait_timeout = \"1s\"\n", "")
	long, quick := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, long, "begin")
	quick.Query("select 1")
	quick.ExpectError("53300") // the one server is still the transaction pool's
	quick.Expect("ReadyForQuery I")
	if ps := p.pool(t, "transaction"); len(ps.Promotions) > 0 && ps.Promotions["long_transaction"] > 0 {
		t.Error("promoted")
	}
}

// TestRefusedInBatch: a Query inside an open batch is refused in its place; what comes behind it is answered as ever.
func TestRefusedInBatch(t *testing.T) {
	p := start(t, pgtest.Shared(t), refusing, "")
	a := p.login(t, p.transaction)
	a.Send(append(batchOf("select 'before'")[:4], &pgproto3.Query{String: state}, &pgproto3.Sync{}, &pgproto3.Query{String: "select 'behind'"})...)
	a.Expect("ParseComplete", "BindComplete", "RowDescription ?column?", "DataRow before", "CommandComplete SELECT 1", "ErrorResponse 0A000", "ReadyForQuery I",
		"ReadyForQuery I", "RowDescription ?column?", "DataRow behind", "CommandComplete SELECT 1", "ReadyForQuery I")
	// A batch that has failed skips the Query, as it would any.
	a.Send(&pgproto3.Parse{Query: "select 1/0"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Query{String: state}, &pgproto3.Sync{})
	a.Expect("ParseComplete", "ErrorResponse 22012", "ReadyForQuery I")
}

// TestNoRoomInTransaction: with no room in the session pool the statement is refused inside a transaction too, and the client stays: the
// transaction has failed.
func TestNoRoomInTransaction(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+"query_wait_timeout = \"1s\"\n", "")
	session := p.login(t, p.session)
	run(t, session, "select 1") // has the only server
	for way, encode := range ways {
		t.Run(way, func(t *testing.T) {
			a := p.login(t, p.transaction)
			run(t, a, "create table if not exists kept (i int)")
			run(t, a, "begin")
			run(t, a, "insert into kept values (1)")
			a.Send(encode(state)...)
			if e := a.ExpectError("53300"); !strings.Contains(e.Message, "query_wait_timeout") || e.Severity != "ERROR" {
				t.Errorf("%s: %s", e.Severity, e.Message)
			}
			a.Expect("ReadyForQuery E")
			a.Query("insert into kept values (2)")
			a.ExpectError("25P02")
			a.Expect("ReadyForQuery E")
			a.Query("commit")
			a.Expect("CommandComplete ROLLBACK", "ReadyForQuery I")
			if got := one(t, a, "select count(*) from kept"); got != "0" {
				t.Errorf("%s rows", got)
			}
		})
	}
	ps := p.pool(t, "session")
	if ps.ClientsWaiting != 0 || ps.ServersActive != 1 {
		t.Errorf("%+v", ps)
	}
}

// TestNoRoomInPipeline: what was pipelined behind a statement that finds no room is answered as behind any error.
func TestNoRoomInPipeline(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+"query_wait_timeout = \"1s\"\n", "")
	session := p.login(t, p.session)
	run(t, session, "select 1")
	a := p.login(t, p.transaction)
	a.Send(&pgproto3.Query{String: "begin"}, &pgproto3.Query{String: state}, &pgproto3.Query{String: "select 1"}, &pgproto3.Query{String: "commit"})
	a.Expect("CommandComplete BEGIN", "ReadyForQuery T", "ErrorResponse 53300", "ReadyForQuery E", "ErrorResponse 25P02", "ReadyForQuery E",
		"CommandComplete ROLLBACK", "ReadyForQuery I")
	a.Send(append(batchOf(state), batchOf("select 'behind'")...)...)
	a.Expect("ErrorResponse 53300", "ReadyForQuery I", "ParseComplete", "BindComplete", "RowDescription ?column?", "DataRow behind",
		"CommandComplete SELECT 1", "ReadyForQuery I")
}

// TestCanceledInTransactionQueue: a cancel of a client that waits for room inside a transaction ends its wait, and the client stays.
func TestCanceledInTransactionQueue(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	session, a := p.login(t, p.session), p.login(t, p.transaction)
	run(t, session, "select 1")
	run(t, a, "begin")
	a.Query(state)
	waitFor(t, "the queue", func() bool { return p.pool(t, "session").ClientsWaiting == 1 })
	pgtest.Cancel(t, p.transaction, a.Key)
	a.ExpectError("57014")
	a.Expect("ReadyForQuery E")
	a.Query("rollback")
	a.Expect("CommandComplete ROLLBACK", "ReadyForQuery I")
	if n := p.pool(t, "session").ClientsWaiting; n != 0 {
		t.Errorf("%d wait", n)
	}
}

// TestRefusalIsAnError: scripts at random, with statements that are refused anywhere in them, are answered as PostgreSQL answers the same
// scripts with statements that fail in their places.
func TestRefusalIsAnError(t *testing.T) {
	c := pgtest.Shared(t)
	p := start(t, c, refusing, "")
	const fails = "select * from no_such_table"
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			var got [2][]string
			for i, to := range []struct{ address, statement string }{{p.transaction, state}, {c.Address(), fails}} {
				w := pgtest.Login(t, to.address, "postgres", "postgres", "")
				rnd := rand.New(rand.NewPCG(seed, 4))
				for range 12 {
					messages, readies := randomStep(rnd, to.statement)
					w.Send(messages...)
					if rnd.IntN(3) > 0 {
						got[i] = append(got[i], pgtest.DescribeAll(w.ReceiveReadies(readies))...)
						readies = 0
					}
					if readies > 0 {
						got[i] = append(got[i], "later")
						w.Send(&pgproto3.Query{String: "select 'and'"})
						got[i] = append(got[i], pgtest.DescribeAll(w.ReceiveReadies(readies+1))...)
					}
				}
				w.Close()
			}
			for i, line := range got[1] {
				got[1][i] = strings.ReplaceAll(line, "ErrorResponse 42P01", "ErrorResponse 0A000")
			}
			if !slices.Equal(got[0], got[1]) {
				t.Errorf("refused:\n  %s\nfailed:\n  %s", strings.Join(got[0], "\n  "), strings.Join(got[1], "\n  "))
			}
		})
	}
}

// randomStep is a few messages that end in so many ReadyForQuery.
func randomStep(rnd *rand.Rand, statement string) (messages []pgproto3.FrontendMessage, readies int) {
	texts := []string{"begin", "commit", "rollback", "savepoint s", "rollback to s", "select 1", "select 1/0", statement, statement}
	text := func() string { return texts[rnd.IntN(len(texts))] }
	name := func() string { return []string{"", "", "p", "q"}[rnd.IntN(4)] }
	for range 1 + rnd.IntN(3) {
		readies++
		if rnd.IntN(2) == 0 {
			messages = append(messages, &pgproto3.Query{String: text()})
			continue
		}
		for range 1 + rnd.IntN(4) {
			switch rnd.IntN(5) {
			case 0, 1:
				messages = append(messages, &pgproto3.Parse{Name: name(), Query: text()})
			case 2:
				messages = append(messages, &pgproto3.Bind{PreparedStatement: name()}, &pgproto3.Execute{})
			case 3:
				messages = append(messages, &pgproto3.Describe{ObjectType: 'S', Name: name()})
			case 4:
				messages = append(messages, &pgproto3.Close{ObjectType: 'S', Name: name()})
			}
		}
		messages = append(messages, &pgproto3.Sync{})
	}
	return messages, readies
}
