package proxy_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// cancelled sends a client's cancel request; the channel is closed when it has been dealt with.
func cancelled(t *testing.T, p *pooler, w *pgtest.Wire) chan struct{} {
	t.Helper()
	request := pgtest.Dial(t, p.transaction)
	request.Send(&pgproto3.CancelRequest{ProcessID: w.Key.ProcessID, SecretKey: w.Key.SecretKey})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = request.TryReceive()
	}()
	return done
}

// TestCancelBehindSettings: a cancel request never hits the statement that gives a server its client's settings. It waits, and hits what
// the client has asked for.
func TestCancelBehindSettings(t *testing.T) {
	c := pgtest.Shared(t)
	fault := pgtest.NewFaultProxy(t, c.Address())
	p := launch(t, c, configuration(t, fmt.Sprintf("host = %q\nport = %d\n", fault.Host(), fault.Port()), "default_pool_size = 1\n", ""))
	w := p.enter(t, p.transaction, map[string]string{"options": "-c app.begun=begun"})
	plant := fault.Plant(pgtest.Fault{Side: pgtest.FromPostgreSQL, Type: 'C', Match: func(b []byte) bool { return bytes.Contains(b, []byte("COMMIT")) }, Stall: true})
	w.Query("select pg_sleep(100)")
	<-plant.Struck // the settings have been set, and nobody knows yet
	done := cancelled(t, p, w)
	waitFor(t, "the request", func() bool { return p.Snapshot().Cancels == 1 })
	select {
	case <-done:
		t.Fatal("the request has been dealt with")
	default:
	}
	if n := p.Snapshot().CancelsForwarded; n != 0 {
		t.Fatalf("%d were forwarded", n)
	}
	plant.Release()
	w.Expect("RowDescription pg_sleep", "ErrorResponse 57014", "ReadyForQuery I")
	<-done
	if got := one(t, w, "select current_setting('app.begun')"); got != "begun" {
		t.Error(got)
	}
}

// TestCancelBehindAnswer: a cancel request for a query that has been answered does not hit the pooler's question about what it set.
func TestCancelBehindAnswer(t *testing.T) {
	c := pgtest.Shared(t)
	fault := pgtest.NewFaultProxy(t, c.Address())
	p := launch(t, c, configuration(t, fmt.Sprintf("host = %q\nport = %d\n", fault.Host(), fault.Port()), "default_pool_size = 1\n", ""))
	w := p.login(t, p.transaction)
	run(t, w, "select 1")
	question := fault.Plant(pgtest.Fault{Side: pgtest.FromPooler, Type: 'Q', Match: func(b []byte) bool { return bytes.Contains(b, []byte("getdatabaseencoding")) }, Stall: true})
	run(t, w, "select set_config('app.x', upper('asked'), false)")
	<-question.Struck
	<-cancelled(t, p, w)
	question.Release()
	if got := one(t, w, "select current_setting('app.x')"); got != "ASKED" {
		t.Error(got)
	}
	if n := p.Snapshot().CancelsForwarded; n != 0 {
		t.Errorf("%d were forwarded", n)
	}
}
