package proxy_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/proxy"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
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

// lateCancel is a cancel request that the pooler has asked for and that is still on its way to PostgreSQL.
type lateCancel struct {
	target dial.CancelTarget
	done   func(late bool)
}

// arrive lets it reach PostgreSQL.
func (l lateCancel) arrive(t *testing.T) {
	t.Helper()
	pgtest.Cancel(t, l.target.Address.String(), pgproto3.BackendKeyData{ProcessID: l.target.Key.ProcessID, SecretKey: l.target.Key.Secret})
	l.done(false)
}

// TestCancelArrivesLate: a cancel request that reaches PostgreSQL behind the reply to the query that it was for hits nothing else. Until it has
// arrived the server is sent no statement of the pooler's own, neither the question what a client has set nor what gives back what RESET took,
// and no other client's. Its own client is answered meanwhile.
func TestCancelArrivesLate(t *testing.T) {
	for name, test := range map[string]struct {
		before, canceled string // the last is answered before its cancel request arrives
		tag              string
		next             string // of the pooler's statement that waits; "": the other client's
		after            string
	}{
		"question": {"", "select set_config('app.begun', upper('asked'), false)", "SELECT 1", "getdatabaseencoding", "ASKED"},
		"repair":   {"begin", "reset app.begun", "RESET", "app.begun", "begun"},
		"gate":     {"", "select 'of one'", "SELECT 1", "", "begun"},
	} {
		t.Run(name, func(t *testing.T) {
			c := pgtest.Shared(t)
			fault := pgtest.NewFaultProxy(t, c.Address())
			late := make(chan lateCancel, 1)
			env := proxy.Environment{Cancel: func(target dial.CancelTarget, done func(bool)) { late <- lateCancel{target, done} }}
			cfg := configuration(t, fmt.Sprintf("host = %q\nport = %d\n", fault.Host(), fault.Port()), "default_pool_size = 1\n", "")
			p := launchIn(t, c, cfg, slog.New(slog.DiscardHandler), env)
			w, other := p.enter(t, p.transaction, map[string]string{"options": "-c app.begun=begun"}), p.login(t, p.transaction)
			run(t, w, "select 1")
			if test.before != "" {
				run(t, w, test.before)
			}
			reply := fault.Plant(pgtest.Fault{Side: pgtest.FromPostgreSQL, Type: 'C', Match: func(b []byte) bool { return bytes.Contains(b, []byte(test.tag)) }, Stall: true})
			w.Query(test.canceled)
			<-reply.Struck
			done := cancelled(t, p, w)
			request := <-late
			next := fault.Plant(pgtest.Fault{Side: pgtest.FromPooler, Type: 'Q', Match: func(b []byte) bool {
				return test.next == "" && bytes.Contains(b, []byte("of another")) || test.next != "" && bytes.Contains(b, []byte(test.next))
			}})
			reply.Release()
			for _, m := range w.ReceiveReady() {
				if e, ok := m.(*pgproto3.ErrorResponse); ok {
					t.Fatalf("%+v", e)
				}
			}
			w.Query("select current_setting('app.begun')")
			if test.before == "" {
				other.Query("select 'of another'")
			}
			select {
			case <-next.Struck:
				t.Error("the server was sent something else while the request could still hit it")
			case <-done:
				t.Error("the requester was told too early")
			case <-time.After(100 * time.Millisecond):
			}
			request.arrive(t)
			<-done
			if got := w.ReceiveReady(); len(got) < 2 || fmt.Sprintf("%s", got[1].(*pgproto3.DataRow).Values) != "["+test.after+"]" {
				t.Errorf("%s", pgtest.Describe(got[1]))
			}
			if test.before == "" {
				other.ReceiveReady()
			}
		})
	}
}
