package pgtest

import (
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

func TestWireScript(t *testing.T) {
	w := Login(t, Shared(t).Address(), "postgres", "postgres", "")
	w.Query("select 1 as n, null as m; set application_name = 'x'; select * from missing")
	w.Expect("RowDescription n m", "DataRow 1 NULL", "CommandComplete SELECT 1", "CommandComplete SET", "ErrorResponse 42P01",
		"ReadyForQuery I")
	if w.Parameters["application_name"] != "x" {
		// The statement was rolled back with the rest of the implicit transaction, but had been reported.
		t.Logf("application_name is %q", w.Parameters["application_name"])
	}
	w.Send(&pgproto3.Parse{Query: "select $1::int"}, &pgproto3.Bind{Parameters: [][]byte{[]byte("7")}}, &pgproto3.Execute{},
		&pgproto3.Sync{})
	w.Expect("ParseComplete", "BindComplete", "DataRow 7", "*", "ReadyForQuery I")
	if rows := w.Rows("select 'a', 2"); len(rows) != 1 || rows[0][0] != "a" || rows[0][1] != "2" {
		t.Errorf("rows %q", rows)
	}
	// Byte by byte, and an answer too long to keep: 8 lines of header and 5000 characters in a DataRow.
	for _, b := range Encode(t, &pgproto3.Query{String: "begin"}) {
		w.Raw([]byte{b})
	}
	w.Expect("CommandComplete BEGIN", "ReadyForQuery T")
	w.Query("select repeat('x', 5000) as c")
	w.Expect("RowDescription c")
	w.Discard(1 + 4 + 2 + 4 + 5000)
	w.Expect("CommandComplete SELECT 1")
	w.ReceiveReady()
	w.ExpectSilence(10 * time.Millisecond)
	w.Send(&pgproto3.Terminate{})
	w.ExpectClosed()
}

func TestWireFailures(t *testing.T) {
	address := Shared(t).Address()
	session := func(script func(*Wire)) string {
		return failure(func(tb TB) { script(Login(tb, address, "postgres", "postgres", "")) })
	}
	silence := func(script func(*Wire)) string {
		return session(func(w *Wire) { w.SetLimit(50 * time.Millisecond); script(w) })
	}
	wantFailure(t, session(func(w *Wire) { w.Query("select 1"); w.Expect("RowDescription nope") }), `got "RowDescription ?column?"`)
	wantFailure(t, session(func(w *Wire) { w.Rows("select 1/0") }), "22012")
	wantFailure(t, silence(func(w *Wire) { w.Receive() }), "timeout")
	wantFailure(t, silence(func(w *Wire) { w.ExpectClosed() }), "stayed open")
	wantFailure(t, session(func(w *Wire) { w.Query("select 1"); w.ExpectClosed() }), "got RowDescription")
	wantFailure(t, session(func(w *Wire) { w.Query("select 1"); w.ExpectSilence(5 * time.Second) }), "expected nothing")
	wantFailure(t, session(func(w *Wire) { w.Query("select 1"); w.ExpectError("42P01") }), "expected an error 42P01")
	wantFailure(t, session(func(w *Wire) { w.Query("select 1/0"); w.ExpectError("42P01") }), "22012")
	wantFailure(t, session(func(w *Wire) {
		w.SetLimit(time.Second)
		w.Query("select")
		w.ReceiveUntil(func(pgproto3.BackendMessage) bool { return false })
	}),
		"before it came: RowDescription | DataRow | CommandComplete SELECT 1 | ReadyForQuery I")
	wantFailure(t, failure(func(tb TB) { Login(tb, address, "nobody_here", "postgres", "") }), "28000")
}

func TestWireCancelAndReset(t *testing.T) {
	c := Shared(t)
	w := Login(t, c.Address(), "postgres", "postgres", "")
	w.Query("select pg_sleep(60)")
	WaitFor(t, 10*time.Second, "the query runs", func() bool {
		rows, err := c.Query("select 1 from pg_stat_activity where query like 'select pg_sleep(6%' and state = 'active'")
		return err == nil && len(rows) == 1
	})
	Cancel(t, c.Address(), w.Key)
	w.ReceiveUntil(func(m pgproto3.BackendMessage) bool { return Describe(m) == "ErrorResponse 57014" })
	w.Expect("ReadyForQuery I")
	w.Reset()
	if _, err := w.TryReceive(); err == nil {
		t.Error("received from a socket that was reset")
	}
}

func TestWireOverAnOpenSocket(t *testing.T) {
	ours, theirs := net.Pipe()
	w := NewWire(t, ours)
	go func() {
		_, _ = theirs.Write([]byte("N"))
		_, _ = theirs.Write([]byte{'Z', 0, 0}) // and no more of it
		_ = theirs.Close()
	}()
	if b := w.RawByte(); b != 'N' {
		t.Errorf("got %q", b)
	}
	if _, err := w.TryReceive(); err == nil {
		t.Error("half a message was received as one")
	}
}
