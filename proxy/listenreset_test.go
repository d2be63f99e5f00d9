package proxy_test

import (
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestListenBehindReset: RESET ALL does not change the encoding of a client whose session began with another than its server: it goes on hearing
// what it notifies itself ahead of the reply, and may begin to listen in the same transaction.
func TestListenBehindReset(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	w := p.enter(t, p.transaction, map[string]string{"client_encoding": "LATIN1"})
	run(t, w, "listen news")
	for range 20 {
		w.Query("notify news, 'x'; reset all")
		if got := payloads(w.ReceiveReady()); len(got) != 1 {
			t.Fatalf("heard %q", got)
		}
		w.Query("listen more; notify more, 'x'; reset all")
		if got := payloads(w.ReceiveReady()); len(got) != 1 {
			t.Fatalf("heard %q", got)
		}
		run(t, w, "unlisten more")
	}
}

// TestListenEncodingChanges: a client that listens and changes its encoding goes on hearing what it notifies itself ahead of the reply, also where
// it does both in one transaction.
func TestListenEncodingChanges(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	w, other := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, other, "listen other")
	for range 20 {
		for _, sql := range []string{"set client_encoding to 'UTF8'", "begin", "listen news", "set client_encoding to 'LATIN1'", "commit"} {
			run(t, w, sql)
		}
		w.Query("notify news, 'x'")
		if got := payloads(w.ReceiveReady()); len(got) != 1 {
			t.Fatalf("heard %q", got)
		}
		run(t, w, "unlisten *")
	}
}
