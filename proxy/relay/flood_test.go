package relay

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestDeallocateAllWalksNoFlood: when a DEALLOCATE ALL is answered, the requests behind it are looked at up to the last that changes a
// statement. Thousands of DEALLOCATE ALL in one pipeline would cost their square otherwise.
func TestDeallocateAllWalksNoFlood(t *testing.T) {
	p := newPairing(200)
	p.prepare(t, "s", "select 1")
	const many = 1000
	for range many {
		p.send(t, pgtest.Encode(t, &pgproto3.Query{String: "DEALLOCATE ALL"}))
	}
	if n, walked := p.server.ledger.len(), p.server.ledger.upToStatements(); n != many || walked != 0 {
		t.Errorf("%d of %d requests are walked", walked, n)
	}
	for range many {
		p.receive(t, replies(t, &pgproto3.CommandComplete{CommandTag: []byte("DEALLOCATE ALL")}, &pgproto3.ReadyForQuery{TxStatus: 'I'}))
	}
	if statements, bytes := p.desk.Table.Numbers(); statements != 0 || bytes != 0 || p.server.cache.Len() != 0 {
		t.Errorf("left: %d statements, %d bytes, %d on the server", statements, bytes, p.server.cache.Len())
	}
}
