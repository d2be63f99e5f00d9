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
