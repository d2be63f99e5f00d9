package relay

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestLongBatch: a client that is held because too much is outstanding is let go again, whoever has to answer.
func TestLongBatch(t *testing.T) {
	p := newPairing(200)
	p.prepare(t, "other", "select 1")
	pair := pgtest.Encode(t, &pgproto3.Parse{Name: "s", Query: "select 1"}, &pgproto3.Close{ObjectType: 'S', Name: "s"})
	batch := pgtest.Encode(t, &pgproto3.Bind{PreparedStatement: "other"}, &pgproto3.Execute{})
	batch = append(batch, bytes.Repeat(pair, OwedMax)...)
	batch = append(batch, pgtest.Encode(t, &pgproto3.Sync{})...)
	answered := bytes.Count(p.desk.ToClient, parseComplete)
	asked := false // the server has been told to send
	for len(batch) > 0 {
		step := p.client.FromClient(batch, &p.server)
		batch = batch[step.N:]
		switch step.Verdict {
		case Forward:
		case Rewrite:
			asked = asked || bytes.HasSuffix(p.desk.ToServer, flushMessage)
			answered += bytes.Count(p.desk.ToClient, parseComplete)
		case Hold:
			if !asked {
				t.Fatal("held, and the server sits on its answers")
			}
			asked = false
			step := p.server.FromServer(replies(t, &pgproto3.BindComplete{}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}))
			if step.Verdict != Rewrite {
				t.Fatal(step.Verdict)
			}
			answered += bytes.Count(p.desk.ToClient, parseComplete)
		default:
			t.Fatal(step.Verdict)
		}
	}
	p.receive(t, replies(t, &pgproto3.ReadyForQuery{TxStatus: 'I'}))
	if answered += bytes.Count(p.desk.ToClient, parseComplete); !p.server.Settled() || answered != OwedMax {
		t.Errorf("%d answers of %d, settled %t", answered, OwedMax, p.server.Settled())
	}
}

// TestLinkedInTheMiddle: a client does not get the rest of what its server has begun to say before they were linked.
func TestLinkedInTheMiddle(t *testing.T) {
	p := newPairing(200)
	p.server.Unlink()
	notice := replies(t, &pgproto3.NoticeResponse{Message: "mind what you have asked for"})
	if step := p.server.FromServer(notice[:12]); step.N != 12 {
		t.Fatalf("%+v", step)
	}
	p.server.Link(&p.client, &p.tally, &p.desk, 200)
	p.send(t, pgtest.Encode(t, &pgproto3.Query{String: "select 1"}))
	b := append(notice[12:], replies(t, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})...)
	if step := p.server.FromServer(b); step.Verdict != Drop || step.N != len(notice)-12 {
		t.Errorf("%v of %d bytes, not the %d of the notice", step.Verdict, step.N, len(notice)-12)
	}
}
