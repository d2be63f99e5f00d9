package relay

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// pairing is a client linked to a server that is played by the test.
type pairing struct {
	client Client
	server Server
	tally  Tally
	desk   Desk
}

func newPairing(statementsMax int) *pairing {
	p := &pairing{client: NewClient(true), server: NewServer(), desk: Desk{Table: prepared.NewTable(64 << 20)}}
	p.client.Session.Tracked = true
	p.server.Watch(&p.client, new(sqltext.Lexer))
	p.server.Link(&p.client, &p.tally, &p.desk, statementsMax)
	return p
}

// send passes b through, and returns how much of it was taken.
func (p *pairing) send(t testing.TB, b []byte) (sent int) {
	for sent < len(b) {
		step := p.client.FromClient(b[sent:], &p.server)
		switch step.Verdict {
		case Forward, Rewrite, Drop:
			sent += step.N
		case More, Hold:
			return sent
		default:
			t.Fatal(step.Verdict, step.Err)
		}
	}
	return sent
}

func (p *pairing) receive(t testing.TB, b []byte) {
	for len(b) > 0 {
		step := p.server.FromServer(b)
		switch step.Verdict {
		case Forward, Rewrite, Drop:
			b = b[step.N:]
		default:
			t.Fatal(step.Verdict, step.Err)
		}
	}
}

func replies(t testing.TB, messages ...pgproto3.BackendMessage) (b []byte) {
	for _, m := range messages {
		var err error
		if b, err = m.Encode(b); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// rounds are what drivers do over and over, with the answers.
func rounds(t testing.TB) map[string][2][]byte {
	answer := []pgproto3.BackendMessage{
		&pgproto3.BindComplete{}, &pgproto3.DataRow{Values: [][]byte{[]byte("1")}},
		&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'},
	}
	columns := &pgproto3.RowDescription{}
	for _, name := range []string{"aid", "bid", "abalance", "filler", "updated_at"} {
		columns.Fields = append(columns.Fields, pgproto3.FieldDescription{Name: []byte(name), DataTypeOID: 23, TypeModifier: -1})
	}
	return map[string][2][]byte{
		"prepared": {
			pgtest.Encode(t, &pgproto3.Bind{PreparedStatement: "P0_1", Parameters: [][]byte{[]byte("17")}}, &pgproto3.Execute{}, &pgproto3.Sync{}),
			replies(t, answer...),
		},
		"unnamed": {
			pgtest.Encode(t, &pgproto3.Parse{Query: "select abalance from pgbench_accounts where aid = $1"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}),
			replies(t, append([]pgproto3.BackendMessage{&pgproto3.ParseComplete{}}, answer...)...),
		},
		"prepared and described": {
			pgtest.Encode(t, &pgproto3.Bind{PreparedStatement: "P0_1"}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{}),
			replies(t, append([]pgproto3.BackendMessage{answer[0], columns}, answer[1:]...)...),
		},
		"unnamed and described": {
			pgtest.Encode(t, &pgproto3.Parse{Query: "select abalance from pgbench_accounts where aid = $1"}, &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'},
				&pgproto3.Execute{}, &pgproto3.Sync{}),
			replies(t, append([]pgproto3.BackendMessage{&pgproto3.ParseComplete{}, answer[0], columns}, answer[1:]...)...),
		},
		"unnamed and asked for its types": {
			pgtest.Encode(t, &pgproto3.Parse{Query: "select abalance from pgbench_accounts where aid = $1"}, &pgproto3.Describe{ObjectType: 'S'}, &pgproto3.Bind{},
				&pgproto3.Execute{}, &pgproto3.Sync{}),
			replies(t, append([]pgproto3.BackendMessage{&pgproto3.ParseComplete{}, &pgproto3.ParameterDescription{ParameterOIDs: []uint32{23}}, columns}, answer...)...),
		},
		"simple": {pgtest.Encode(t, &pgproto3.Query{String: "select 1"}), replies(t, answer[1:]...)},
	}
}

func (p *pairing) prepare(t testing.TB, name, sql string) {
	p.send(t, pgtest.Encode(t, &pgproto3.Parse{Name: name, Query: sql}, &pgproto3.Sync{}))
	p.receive(t, replies(t, &pgproto3.ParseComplete{}, &pgproto3.ReadyForQuery{TxStatus: 'I'}))
}

// TestRoundsAllocateNothing: once it is prepared, a statement costs no memory, nor does one that is prepared each time without a name.
func TestRoundsAllocateNothing(t *testing.T) {
	for name, round := range rounds(t) {
		p := newPairing(200)
		p.prepare(t, "P0_1", "select abalance from pgbench_accounts where aid = $1")
		if n := testing.AllocsPerRun(1000, func() {
			p.send(t, round[0])
			p.receive(t, round[1])
		}); n != 0 {
			t.Errorf("%s: %v", name, n)
		}
		if !p.server.Settled() {
			t.Errorf("%s: not settled", name)
		}
	}
}

// TestRoundsOfDeclared: a statement whose types the client was told costs no more, be it prepared with them or where they were inferred.
func TestRoundsOfDeclared(t *testing.T) {
	round := rounds(t)["prepared"]
	p := newPairing(200)
	p.prepare(t, "P0_1", "select abalance from pgbench_accounts where aid = $1")
	told := []pgproto3.BackendMessage{&pgproto3.ParameterDescription{ParameterOIDs: []uint32{23}}, &pgproto3.RowDescription{}}
	p.send(t, pgtest.Encode(t, &pgproto3.Describe{ObjectType: 'S', Name: "P0_1"}, &pgproto3.Sync{}))
	p.receive(t, replies(t, append(told, &pgproto3.ReadyForQuery{TxStatus: 'I'})...))
	rounds := func(statements int) {
		t.Helper()
		if n := testing.AllocsPerRun(1000, func() {
			p.send(t, round[0])
			p.receive(t, round[1])
		}); n != 0 || !p.server.Settled() || p.server.cache.Len() != statements {
			t.Errorf("%v allocations, %d statements", n, p.server.cache.Len())
		}
	}
	rounds(1)
	origin := p.client.own.names["P0_1"].statement.Origin()
	p.server.cache.Find(origin).Declared = 0 // where others were inferred
	if n := p.send(t, round[0]); n != 0 {
		t.Fatal("bound to what it was not told of")
	}
	p.receive(t, replies(t, append([]pgproto3.BackendMessage{&pgproto3.ParseComplete{}}, told...)...))
	rounds(2)
}

// TestTypesOfBefore: what a server has had from before the client's Parse is prepared anew when the client asks for its types, although it is
// the first that either server has been given.
func TestTypesOfBefore(t *testing.T) {
	p, before := newPairing(200), newPairing(200)
	before.desk.Table = p.desk.Table
	for _, q := range []*pairing{before, p} {
		q.prepare(t, "s", "select $1")
		q.server.Unlink()
	}
	describe := pgtest.Encode(t, &pgproto3.Describe{ObjectType: 'S', Name: "s"}, &pgproto3.Sync{})
	before.server.Link(&p.client, &p.tally, &p.desk, 200)
	if step := p.client.FromClient(describe, &before.server); step.N != len(describe) || !strings.HasPrefix(types(p.desk.ToServer, true), "C(hb_1) P(hb_1) D(hb_1)") {
		t.Errorf("sent %s", types(p.desk.ToServer, true))
	}
}

// TestNoRoomForTypes: where the table is full the types a client was told are compared, as those of too many parameters are.
func TestNoRoomForTypes(t *testing.T) {
	p := newPairing(200)
	p.prepare(t, "s", "select $1")
	_, bytes := p.desk.Table.Numbers()
	if !p.desk.Table.Reserve(64<<20 - bytes) {
		t.Fatal("full already")
	}
	p.send(t, pgtest.Encode(t, &pgproto3.Describe{ObjectType: 'S', Name: "s"}, &pgproto3.Sync{}))
	p.receive(t, replies(t, &pgproto3.ParameterDescription{ParameterOIDs: []uint32{23}}, &pgproto3.NoData{}, &pgproto3.ReadyForQuery{TxStatus: 'I'}))
	if own := p.client.own.names["s"]; own.statement.Name() != "hb_1" || own.clientSignature.Parameters == 0 {
		t.Errorf("%+v", own)
	}
}

func BenchmarkRounds(b *testing.B) {
	for name, round := range rounds(b) {
		b.Run(name, func(b *testing.B) {
			p := newPairing(200)
			p.prepare(b, "P0_1", "select abalance from pgbench_accounts where aid = $1")
			for b.Loop() {
				p.send(b, round[0])
				p.receive(b, round[1])
			}
		})
	}
}
