package proxy_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// typed is a client that sends parameters in binary in the types it was told, through the pooler and on a direct connection of its own at once.
type typed struct {
	t    *testing.T
	both [2]*pgtest.Wire
}

func newTyped(t *testing.T, p *pooler, c *pgtest.Cluster) typed {
	return typed{t, [2]*pgtest.Wire{p.login(t, p.transaction), pgtest.Login(t, c.Address(), "postgres", "postgres", "")}}
}

// do sends a batch both ways and expects the same answers, errors included.
func (c typed) do(batch ...pgproto3.FrontendMessage) {
	c.t.Helper()
	c.doAll(batch)
}

// doAll sends batches one way and then the other.
func (c typed) doAll(batches ...[]pgproto3.FrontendMessage) {
	c.t.Helper()
	var got [2][]string
	for i, w := range c.both {
		for _, batch := range batches {
			w.Send(append(batch, &pgproto3.Sync{})...)
			got[i] = append(got[i], heard(w)...)
		}
	}
	if !slices.Equal(got[0], got[1]) {
		c.t.Errorf("through the pooler %q, directly %q", got[0], got[1])
	}
}

// heard is what comes up to ReadyForQuery, with all types.
func heard(w *pgtest.Wire) (lines []string) {
	for _, m := range w.ReceiveReady() {
		line := pgtest.Describe(m)
		switch m := m.(type) {
		case *pgproto3.ParameterDescription:
			line += fmt.Sprint(m.ParameterOIDs)
		case *pgproto3.RowDescription:
			for _, f := range m.Fields {
				line += fmt.Sprint(" ", f.DataTypeOID)
			}
		case *pgproto3.ErrorResponse:
			line += m.Message
		}
		lines = append(lines, line)
	}
	return lines
}

func prepareAs(name, sql string) []pgproto3.FrontendMessage {
	return []pgproto3.FrontendMessage{&pgproto3.Parse{Name: name, Query: sql}, &pgproto3.Describe{ObjectType: 'S', Name: name}}
}

// prepare gives a name to a statement and asks for its types.
func (c typed) prepare(name, sql string) {
	c.t.Helper()
	c.do(prepareAs(name, sql)...)
}

// execute binds values, each in as many bytes as it has.
func (c typed) execute(name string, values ...[]byte) {
	c.t.Helper()
	c.do(&pgproto3.Bind{PreparedStatement: name, ParameterFormatCodes: []int16{1}, Parameters: values}, &pgproto3.Execute{})
}

func int4(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func int8(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// TestTypesStay: the types of a statement's parameters are those that its client was told, on whatever server it is prepared anew, and after
// its table has changed; who prepares the same text then gets the types of then. Two such clients share the servers in turns.
func TestTypesStay(t *testing.T) {
	c := pgtest.Shared(t)
	p := startTurns(t, 2, "")
	const (
		insert = "insert into typed values ($1)"
		find   = "select count(*), $1 from typed where id >= $1"
	)
	// The types, and a value in each.
	for _, change := range []struct {
		from, to     string
		first, later []byte
	}{
		{"int", "bigint", int4(7), int8(1 << 40)},
		{"int", "real", int4(8), int4(0x41100000)}, // four bytes too: 9
		{"bigint", "double precision", int8(9), int8(0x4022000000000000)},
		{"int", "numeric", int4(9), []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 9}},
		{"int", "text", int4(5), []byte("five")},
	} {
		t.Run(change.from+" becomes "+change.to, func(t *testing.T) {
			alter := altering(t, c, "typed", "id "+change.from)
			old := newTyped(t, p, c)
			prepare := func(c typed) {
				for _, name := range []string{"insert", ""} { // the unnamed statement too
					c.prepare(name, insert)
				}
				c.prepare("find", find)
				c.do(&pgproto3.Parse{Name: "apart", Query: insert}) // in a transaction of its own
				c.do(&pgproto3.Describe{ObjectType: 'S', Name: "apart"})
			}
			prepare(old)
			for range 2 {
				old.execute("insert", change.first)
				old.execute("find", change.first)
			}
			old.prepare("", insert)
			alter("alter id type " + change.to)
			for range 3 {
				old.execute("", change.first)
			}
			late := newTyped(t, p, c)
			prepare(late)
			for range 4 {
				late.execute("insert", change.later)
				late.execute("apart", change.later)
				old.execute("apart", change.first)
				old.execute("insert", change.first)
				old.execute("find", change.first)
				late.execute("find", change.later)
				newest := newTyped(t, p, c) // on either server
				prepare(newest)
				newest.execute("find", change.later)
				newest.do(&pgproto3.Describe{ObjectType: 'S', Name: "insert"})
				old.do(&pgproto3.Describe{ObjectType: 'S', Name: "insert"})
				old.do(&pgproto3.Bind{PreparedStatement: "insert", Parameters: [][]byte{[]byte("3")}}, &pgproto3.Execute{}) // as text
			}
			old.do(&pgproto3.Close{ObjectType: 'S', Name: "find"})
			old.prepare("find", find)
			old.execute("find", change.later)
			if odd := old.both[1].Rows("select id from typed group by id having count(*) % 2 = 1"); len(odd) > 0 {
				t.Errorf("inserted another number of times through the pooler than directly: %v", odd)
			}
		})
	}
	if ps := p.pool(t, "transaction"); ps.StatementsChanged != 0 {
		t.Errorf("%d statements taken for changed", ps.StatementsChanged)
	}
}

// TestTypesStayInOneBatch: who asks for the types, binds and executes in one batch, and who asks in a pipeline.
func TestTypesStayInOneBatch(t *testing.T) {
	c := pgtest.Shared(t)
	p := startTurns(t, 2, "")
	alter := altering(t, c, "batched", "id int")
	const insert = "insert into batched values ($1) returning id"
	use := func(name, value string) []pgproto3.FrontendMessage {
		return []pgproto3.FrontendMessage{
			&pgproto3.Parse{Name: name, Query: insert}, &pgproto3.Describe{ObjectType: 'S', Name: name},
			&pgproto3.Bind{PreparedStatement: name, Parameters: [][]byte{[]byte(value)}}, &pgproto3.Execute{},
		}
	}
	old := newTyped(t, p, c)
	old.do(use("a", "1")...)
	for range 3 {
		old.execute("a", int4(2))
	}
	alter("alter id type bigint")
	late := newTyped(t, p, c)
	late.do(use("a", "30000000000")...)
	late.do(append(use("b", "4"), use("c", "30000000000")...)...)
	for range 3 {
		old.execute("a", int4(3)) // "cached plan must not change result type", until it has been prepared anew
		for _, name := range []string{"a", "b", "c"} {
			late.execute(name, int8(1<<40))
		}
	}
	// An error behind the Describe, a transaction that fails, and one that comes to nothing.
	late.do(append(use("d", "5"), &pgproto3.Parse{Query: "selec"})...)
	late.execute("d", int8(6))
	late.do(&pgproto3.Parse{Query: "selec"}, &pgproto3.Parse{Name: "e", Query: insert}, &pgproto3.Describe{ObjectType: 'S', Name: "e"})
	late.execute("e", int8(7))
	query := func(sql string) []pgproto3.FrontendMessage {
		return []pgproto3.FrontendMessage{&pgproto3.Parse{Query: sql}, &pgproto3.Bind{}, &pgproto3.Execute{}}
	}
	const find = "select id from batched where id > $1"
	late.doAll(query("begin"), prepareAs("f", insert), prepareAs("g", find), query("alter table batched alter id type numeric"), prepareAs("h", find), query("rollback"))
	late.execute("f", int8(8))
	late.execute("g", int8(8))
	late.execute("h", []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 9})
}

// TestManyTypes: with more parameters than are declared, the client meets 0A000 where a server has inferred other types.
func TestManyTypes(t *testing.T) {
	c := pgtest.Shared(t)
	p := startTurns(t, 2, "")
	for _, n := range []int{256, 257} {
		alter := altering(t, c, "many", "id int")
		text, values := "insert into many values ($1)", [][]byte{int4(1)}
		for i := 2; i <= n; i++ {
			text, values = text+fmt.Sprintf(", ($%d)", i), append(values, int4(uint32(i)))
		}
		w := p.login(t, p.transaction)
		w.Send(&pgproto3.Parse{Name: "s", Query: text}, &pgproto3.Describe{ObjectType: 'S', Name: "s"}, &pgproto3.Sync{})
		w.ReceiveReady()
		alter("alter id type real")
		for range 3 {
			w.Send(append([]pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: "s", ParameterFormatCodes: []int16{1}, Parameters: values}}, execute...)...)
			got := w.ReceiveReady()
			if _, failed := got[0].(*pgproto3.ErrorResponse); n <= 256 && failed {
				t.Errorf("%d parameters: %s", n, pgtest.Describe(got[0]))
			}
		}
		if sum := one(t, w, "select coalesce(sum(id), 0) from many where id <> trunc(id)"); sum != "0" {
			t.Errorf("%d parameters: read as others", n)
		}
	}
}

// TestTypesChangeAllTheTime: clients insert in binary what they were told to, while the column goes back and forth between two types of the
// same size, over servers that hold few statements. No value is read as another.
func TestTypesChangeAllTheTime(t *testing.T) {
	c := pgtest.Shared(t)
	p := startTurns(t, 3, "max_prepared_statements = 4\n")
	alter := altering(t, c, "swaying", "id int")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var users sync.WaitGroup
	for i := range 6 {
		users.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			for range 15 {
				if err := insertTyped(ctx, p, rnd); err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { users.Wait(); close(done) }()
	for i := 0; ; i++ {
		select {
		case <-done:
			direct := pgtest.Login(t, c.Address(), "postgres", "postgres", "")
			if got := one(t, direct, "select count(*) filter (where id = 7) = count(*) and count(*) > 100 from swaying"); got != "t" {
				t.Errorf("inserted %v", direct.Rows("select id, count(*) from swaying group by id"))
			}
			return
		default:
			alter("alter id type " + []string{"real", "int"}[i%2])
		}
	}
}

// insertTyped is one connection of a program that lets pgx find out the types.
func insertTyped(ctx context.Context, p *pooler, rnd *rand.Rand) error {
	c, err := connect(ctx, p, pgx.QueryExecModeCacheStatement)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	for range 20 {
		if _, err := c.Exec(ctx, fmt.Sprintf("insert into swaying values ($1) -- %d", rnd.IntN(6)), 7); err != nil {
			return err
		}
	}
	return nil
}
