package proxy_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestListenUnseenInPipeline: a LISTEN for which nothing that was sent before has waited, because it stands in a long text or its client has a
// server of its own for it, costs those before it nothing: each gets its ReadyForQuery, also while the batch of the LISTEN is still open.
func TestListenUnseenInPipeline(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	long := "listen unseen /*" + strings.Repeat(" ", 40<<10) + "*/"
	utf8, latin1 := p.login(t, p.transaction), p.enter(t, p.transaction, map[string]string{"client_encoding": "LATIN1"})
	run(t, utf8, "listen other")
	run(t, latin1, "listen other") // it is promoted: the server that listens speaks another encoding
	for who, w := range map[string]*pgtest.Wire{"a long text": p.login(t, p.transaction), "a server of its own": latin1} {
		listen := "listen unseen"
		if w != latin1 {
			listen = long
		}
		w.Send(&pgproto3.Query{String: "select 1"}, &pgproto3.Query{String: listen}, &pgproto3.Query{String: "notify unseen, 'x'"})
		w.ReceiveReady()
		w.ReceiveReady()
		if got := payloads(w.ReceiveReady()); len(got) != 1 || got[0] != "x" {
			t.Errorf("%s: heard %q", who, got)
		}
		run(t, w, "unlisten *")
		run(t, w, "select 1")
		w.Send(&pgproto3.Query{String: "select 1"}, &pgproto3.Parse{Query: listen}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Flush{})
		w.ReceiveReady()
		w.Expect("ParseComplete", "BindComplete", "CommandComplete LISTEN")
		w.Send(&pgproto3.Sync{})
		w.ReceiveReady()
		run(t, w, "unlisten *")
	}
}

// extended sends a statement by the extended protocol.
func extended(w *pgtest.Wire, name, sql string) []pgproto3.BackendMessage {
	w.Send(&pgproto3.Parse{Name: name, Query: sql}, &pgproto3.Bind{PreparedStatement: name}, &pgproto3.Execute{}, &pgproto3.Sync{})
	return w.ReceiveReady()
}

// TestListenBoundPromoted: a LISTEN by the extended protocol is promoted where no shared connection can listen for its client: in a pool of one
// server, or in another encoding, or when its statement has been prepared before that was so.
func TestListenBoundPromoted(t *testing.T) {
	for _, of := range []struct{ size, encoding, channel string }{{single, "UTF8", "news"}, {three, "LATIN1", "news"}, {three, "UTF8", `U&"news" /**/ uescape '!'`}} {
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
