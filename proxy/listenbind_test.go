package proxy_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// extended sends a statement by the extended protocol.
func extended(w *pgtest.Wire, name, sql string) []pgproto3.BackendMessage {
	w.Send(&pgproto3.Parse{Name: name, Query: sql}, &pgproto3.Bind{PreparedStatement: name}, &pgproto3.Execute{}, &pgproto3.Sync{})
	return w.ReceiveReady()
}

// TestListenBoundPromoted: a LISTEN by the extended protocol is promoted where no shared connection can listen for its client: in a pool of one
// server, or in another encoding, or when its statement has been prepared before that was so.
func TestListenBoundPromoted(t *testing.T) {
	for _, of := range []struct{ size, encoding, channel string }{{single, "UTF8", "news"}, {three, "LATIN1", "news"}, {three, "UTF8", `U&"news"`}} {
		for _, name := range []string{"", "named"} {
			p := start(t, pgtest.Shared(t), of.size, "")
			w, other := p.enter(t, p.transaction, map[string]string{"client_encoding": of.encoding}), p.login(t, p.transaction)
			if of.size == three {
				run(t, other, "listen other")
			}
			extended(w, name, "listen "+of.channel)
			for range 2 {
				run(t, other, "notify news, 'x'")
				w.Query("notify news, 'itself'")
				if got := payloads(w.ReceiveReady()); len(got) != 2 || got[0] != "x" || got[1] != "itself" {
					t.Errorf("%+v, %q: heard %q", of, name, got)
				}
			}
			if ps := p.pool(t, "transaction"); ps.Promotions["session_state"] != 1 {
				t.Errorf("%+v, %q: %v promotions", of, name, ps.Promotions)
			}
		}
	}
}
