package proxy_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// startTurns starts a pooler that gives each transaction of a client another of so many servers.
func startTurns(t *testing.T, servers int, listener string) *pooler {
	t.Helper()
	p := start(t, pgtest.Shared(t), fmt.Sprintf("default_pool_size = %d\nmin_pool_size = %d\nserver_round_robin = true\n", servers, servers)+listener, "")
	p.login(t, p.transaction)
	waitFor(t, "the servers", func() bool { return p.pool(t, "transaction").ServersIdle == servers })
	return p
}

// altering makes a table, and says what changes it behind the pooler's back.
func altering(t *testing.T, c *pgtest.Cluster, table, columns string) (alter func(string)) {
	t.Helper()
	direct := pgtest.Login(t, c.Address(), "postgres", "postgres", "")
	run(t, direct, "drop table if exists "+table+"; create table "+table+" ("+columns+")")
	return func(sql string) {
		t.Helper()
		run(t, direct, "alter table "+table+" "+sql)
	}
}

var execute = []pgproto3.FrontendMessage{&pgproto3.Execute{}, &pgproto3.Sync{}}

// expectChanged is PostgreSQL's error for a result that has changed, with all that drivers look for.
func expectChanged(t *testing.T, w *pgtest.Wire, status string) {
	t.Helper()
	e := w.ExpectError("0A000")
	if e.Severity != "ERROR" || e.Message != "cached plan must not change result type" || e.File != "plancache.c" || e.Routine != "RevalidateCachedQuery" {
		t.Errorf("%+v", e)
	}
	w.Expect("ReadyForQuery " + status)
}

// TestColumnsChanged: who was told of a statement's columns never gets others, on whatever server it is prepared anew; it is told as on a
// direct connection that they have changed. What did not change costs a round trip where it is prepared anew, and nothing afterwards.
func TestColumnsChanged(t *testing.T) {
	c := pgtest.Shared(t)
	p := startTurns(t, 3, "")
	alter := altering(t, c, "shaped", "a int")
	run(t, pgtest.Login(t, c.Address(), "postgres", "postgres", ""), "insert into shaped values (1)")
	bind := func(name string) []pgproto3.FrontendMessage {
		return append([]pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: name}}, execute...)
	}
	tell := []pgproto3.FrontendMessage{&pgproto3.Parse{Name: "s", Query: "select * from shaped"}, &pgproto3.Describe{ObjectType: 'S', Name: "s"}, &pgproto3.Flush{}}

	// asyncpg prepares in one go and executes in the next.
	w := p.login(t, p.transaction)
	w.Send(tell...)
	w.Expect("ParseComplete", "ParameterDescription", "RowDescription a")
	for range 7 {
		w.Send(bind("s")...)
		w.Expect("BindComplete", "DataRow 1", "CommandComplete SELECT 1", "ReadyForQuery I")
	}
	if n := p.pool(t, "transaction").StatementsCompared; n != 2 {
		t.Errorf("%d statements compared for three servers", n)
	}
	alter("add b int default 2")
	other := p.login(t, p.transaction) // one of the servers has the statement as it is now
	other.Send(append(tell[:2:2], &pgproto3.Sync{})...)
	other.ReceiveReady()
	for range 4 {
		w.Send(bind("s")...)
		expectChanged(t, w, "I")
	}
	run(t, w, "begin")
	w.Send(append(bind("s"), bind("s")...)...)
	expectChanged(t, w, "E")
	w.ExpectError("25P02")
	w.Expect("ReadyForQuery E")
	run(t, w, "rollback")
	w.Send(append([]pgproto3.FrontendMessage{&pgproto3.Close{ObjectType: 'S', Name: "s"}}, tell...)...)
	w.Expect("CloseComplete", "ParseComplete", "ParameterDescription", "RowDescription a b")
	for range 4 {
		for _, side := range []*pgtest.Wire{w, other} {
			side.Send(bind("s")...)
			side.Expect("BindComplete", "DataRow 1 2", "CommandComplete SELECT 1", "ReadyForQuery I")
		}
	}

	// JDBC asks for the columns of the first portal only.
	j := p.login(t, p.transaction)
	j.Send(append([]pgproto3.FrontendMessage{
		&pgproto3.Parse{Name: "S_1", Query: "select * from shaped where $1::int > 0"},
		&pgproto3.Bind{PreparedStatement: "S_1", Parameters: [][]byte{[]byte("1")}}, &pgproto3.Describe{ObjectType: 'P'},
	}, execute...)...)
	j.Expect("ParseComplete", "BindComplete", "RowDescription a b", "DataRow 1 2", "CommandComplete SELECT 1", "ReadyForQuery I")
	alter("alter b type text")
	for range 3 {
		j.Send(append([]pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: "S_1", Parameters: [][]byte{[]byte("1")}}}, execute...)...)
		expectChanged(t, j, "I")
	}
	// psycopg asks for them each time, and need not know.
	for range 4 {
		j.Send(append([]pgproto3.FrontendMessage{
			&pgproto3.Bind{PreparedStatement: "S_1", Parameters: [][]byte{[]byte("1")}}, &pgproto3.Describe{ObjectType: 'P'},
		}, execute...)...)
		j.Expect("BindComplete", "RowDescription a b", "DataRow 1 2", "CommandComplete SELECT 1", "ReadyForQuery I")
	}
	// lib/pq describes the unnamed statement in one transaction and runs it in the next.
	l := p.login(t, p.transaction)
	l.Send(&pgproto3.Parse{Query: "select * from shaped"}, &pgproto3.Describe{ObjectType: 'S'}, &pgproto3.Sync{})
	l.Expect("ParseComplete", "ParameterDescription", "RowDescription a b", "ReadyForQuery I")
	l.Send(bind("")...)
	l.Expect("BindComplete", "DataRow 1 2", "CommandComplete SELECT 1", "ReadyForQuery I")
	alter("drop column b")
	l.Send(bind("")...)
	expectChanged(t, l, "I")
}

// TestParametersChanged: who was told that a parameter is an integer of four bytes goes on sending that when the column has another type of four
// bytes. The statement's parameters stay what they were until the client prepares it anew.
func TestParametersChanged(t *testing.T) {
	c := pgtest.Shared(t)
	p := startTurns(t, 2, "")
	alter := altering(t, c, "widened", "id int")
	w := p.login(t, p.transaction)
	prepare := []pgproto3.FrontendMessage{
		&pgproto3.Parse{Name: "s", Query: "insert into widened values ($1)"}, &pgproto3.Describe{ObjectType: 'S', Name: "s"}, &pgproto3.Sync{},
	}
	insert := func(value ...byte) {
		w.Send(append([]pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: "s", ParameterFormatCodes: []int16{1}, Parameters: [][]byte{value}}}, execute...)...)
	}
	w.Send(prepare...)
	w.Expect("ParseComplete", "ParameterDescription", "NoData", "ReadyForQuery I")
	alter("alter id type real") // of four bytes too: without a word it would be another number
	insert(0, 0, 0, 7)
	w.Expect("BindComplete", "CommandComplete INSERT 0 1", "ReadyForQuery I")
	w.Send(append([]pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: "s", Parameters: [][]byte{[]byte("7")}}}, execute...)...)
	w.Expect("BindComplete", "CommandComplete INSERT 0 1", "ReadyForQuery I")
	w.Send(append([]pgproto3.FrontendMessage{&pgproto3.Close{ObjectType: 'S', Name: "s"}}, prepare...)...)
	w.Expect("CloseComplete", "ParseComplete", "ParameterDescription", "NoData", "ReadyForQuery I")
	for range 3 {
		insert(binary.BigEndian.AppendUint32(nil, 0x40e00000)...) // 7 as a real
		w.Expect("BindComplete", "CommandComplete INSERT 0 1", "ReadyForQuery I")
	}
	if got := one(t, w, "select string_agg(id::text, ' ') from widened"); got != "7 7 7 7 7" {
		t.Errorf("inserted %s", got)
	}
}

// TestManyColumns: a description longer than what is looked at is not compared.
func TestManyColumns(t *testing.T) {
	p := startTurns(t, 2, "")
	w := p.login(t, p.transaction)
	var text strings.Builder
	text.WriteString("select 1 as first")
	for i := range 1500 {
		fmt.Fprintf(&text, ", 1 as %s%d", strings.Repeat("x", 50), i)
	}
	w.Send(&pgproto3.Parse{Name: "s", Query: text.String()}, &pgproto3.Describe{ObjectType: 'S', Name: "s"}, &pgproto3.Sync{})
	w.ReceiveReady()
	for range 4 {
		w.Send(append([]pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: "s"}}, execute...)...)
		if got := w.ReceiveReady(); len(got) != 4 {
			t.Fatalf("%d messages", len(got))
		}
	}
}

// TestColumnsChangeAllTheTime: clients of all habits use a table that another keeps altering, over servers that hold few statements. Whatever
// they read has the columns that they were last told.
func TestColumnsChangeAllTheTime(t *testing.T) {
	c := pgtest.Shared(t)
	p := startTurns(t, 3, "max_prepared_statements = 3\n")
	alter := altering(t, c, "restless", "a int")
	run(t, pgtest.Login(t, c.Address(), "postgres", "postgres", ""), "insert into restless values (1)")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var users sync.WaitGroup
	for i := range 6 {
		users.Go(func() {
			u := &columnUser{w: p.login(t, p.transaction), rnd: rand.New(rand.NewPCG(uint64(i), 1)), told: map[string]int{}}
			for range 150 {
				if err := u.round(); err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
			}
		})
	}
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeDescribeExec} {
		users.Go(func() {
			if err := readRestless(ctx, p, mode); err != nil {
				t.Error(err)
			}
		})
	}
	done := make(chan struct{})
	go func() { users.Wait(); close(done) }()
	for i := 0; ; i++ {
		select {
		case <-done:
			ps := p.pool(t, "transaction")
			if ps.StatementsChanged == 0 || ps.StatementsCompared <= ps.StatementsChanged {
				t.Errorf("%d compared, %d changed", ps.StatementsCompared, ps.StatementsChanged)
			}
			return
		default:
			alter(fmt.Sprintf("add c%d int", i))
			alter(fmt.Sprintf("drop c%d", i))
		}
	}
}

// columnUser is a client that remembers how many columns it was told of a statement.
type columnUser struct {
	w    *pgtest.Wire
	rnd  *rand.Rand
	told map[string]int
}

// round uses a statement, and prepares it first if need be.
func (u *columnUser) round() error {
	name := []string{"", "s1", "s2", "s3", "s4"}[u.rnd.IntN(5)]
	if _, ok := u.told[name]; !ok {
		u.w.Send(&pgproto3.Close{ObjectType: 'S', Name: name}, &pgproto3.Parse{Name: name, Query: "select restless.*, '" + name + "' from restless"},
			&pgproto3.Describe{ObjectType: 'S', Name: name}, &pgproto3.Sync{})
		return u.hear(name, name)
	}
	messages := []pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: name}}
	if u.rnd.IntN(3) == 0 {
		messages = append(messages, &pgproto3.Describe{ObjectType: 'P'})
	}
	u.w.Send(append(messages, execute...)...)
	return u.hear(name, name)
}

func (u *columnUser) hear(name, value string) error {
	for {
		m, err := u.w.TryReceive()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.RowDescription:
			u.told[name] = len(m.Fields)
		case *pgproto3.DataRow:
			if len(m.Values) != u.told[name] || string(m.Values[len(m.Values)-1]) != value {
				return fmt.Errorf("%d columns, %d told; %q", len(m.Values), u.told[name], m.Values)
			}
		case *pgproto3.ErrorResponse:
			if m.Code != "0A000" {
				return fmt.Errorf("%s %s", m.Code, m.Message)
			}
			delete(u.told, name)
		case *pgproto3.ReadyForQuery:
			return nil
		}
	}
}

// readRestless reads the table as pgx does, which decodes rows by the columns it was told.
func readRestless(ctx context.Context, p *pooler, mode pgx.QueryExecMode) error {
	c, err := connect(ctx, p, mode)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	for range 150 {
		rows, err := c.Query(ctx, "select * from restless")
		if err != nil {
			return err
		}
		_, err = pgx.CollectRows(rows, pgx.RowToMap)
		var e *pgconn.PgError
		if err != nil && (!errors.As(err, &e) || e.Code != "0A000") {
			return err
		}
	}
	return nil
}
