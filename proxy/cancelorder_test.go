package proxy_test

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/proxy"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
)

// launchCanceling runs a pooler with one server whose cancel requests the test delivers.
func launchCanceling(t *testing.T, c *pgtest.Cluster) (*pooler, chan lateCancel) {
	t.Helper()
	requests := make(chan lateCancel, 100)
	env := proxy.Environment{Cancel: func(target dial.CancelTarget, done func(bool)) { requests <- lateCancel{target, done} }}
	cfg := configuration(t, serverAt(c), "default_pool_size = 1\n", "")
	return launchIn(t, c, cfg, slog.New(slog.DiscardHandler), env), requests
}

// TestCancelGivenUpOn: a server that a cancel request may still reach goes to nobody else. Its client may keep it to the end of the transaction.
func TestCancelGivenUpOn(t *testing.T) {
	for _, linked := range []bool{true, false} {
		t.Run(fmt.Sprintf("while its client has the server: %v", linked), func(t *testing.T) {
			c := pgtest.Shared(t)
			p, requests := launchCanceling(t, c)
			w, other := p.login(t, p.transaction), p.login(t, p.transaction)
			pid := one(t, w, "select pg_backend_pid()")
			run(t, w, "begin")
			w.Query("select pg_sleep(0.2)")
			cancelled(t, p, w)
			request := <-requests
			if linked {
				request.done(true)
			}
			w.ReceiveReady()
			if got := one(t, w, "select pg_backend_pid()"); got != pid {
				t.Errorf("the transaction goes on at %s, not at %s", got, pid)
			}
			run(t, w, "commit")
			other.Query("select pg_backend_pid()")
			if !linked {
				request.done(true)
			}
			got := other.ReceiveReady()
			if s := pgtest.Describe(got[1]); s == "" || s == "DataRow "+pid {
				t.Errorf("another client has the server that a cancel request may still reach: %s", s)
			}
			if n := p.pool(t, "transaction").ServerCloses["doubt"]; n != 1 {
				t.Errorf("%d servers were closed for doubt", n)
			}
		})
	}
}

// TestCancelsCoalesced: PostgreSQL gets one request of a client's at a time, and one more for all that came meanwhile. A client that asks more
// often than it may wait is let go.
func TestCancelsCoalesced(t *testing.T) {
	c := pgtest.Shared(t)
	p, requests := launchCanceling(t, c)
	w := p.login(t, p.transaction)
	w.Query("select pg_sleep(100)")
	waitFor(t, "the query", func() bool { return activeQueries(t, c) == 1 })
	first := cancelled(t, p, w)
	request := <-requests
	var waiting []chan struct{}
	for range 40 {
		waiting = append(waiting, cancelled(t, p, w))
	}
	waitFor(t, "the other requests", func() bool { return p.Snapshot().Cancels == 41 })
	waitFor(t, "those that are too many", func() bool { return ended(waiting) >= 40-16 })
	select {
	case <-first:
		t.Error("the first requester was let go")
	case r := <-requests:
		t.Errorf("two at a time for %d", r.target.Key.ProcessID)
	default:
	}
	request.done(false) // it has not reached anything
	<-first
	(<-requests).arrive(t)
	w.Expect("RowDescription pg_sleep", "ErrorResponse 57014", "ReadyForQuery I")
	for _, done := range waiting {
		<-done
	}
	if len(requests) > 0 {
		t.Errorf("%d more requests", len(requests))
	}
}

// ended counts the channels that are closed.
func ended(all []chan struct{}) (n int) {
	for _, done := range all {
		select {
		case <-done:
			n++
		default:
		}
	}
	return n
}

// activeQueries is how many long sleeps PostgreSQL carries out.
func activeQueries(t *testing.T, c *pgtest.Cluster) int {
	t.Helper()
	rows, err := c.Query("select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(100)'")
	if err != nil {
		t.Fatal(err)
	}
	return len(rows)
}

// TestCloseCancels: when Close returns, PostgreSQL works for no client any more, although the clients have not closed their sockets.
func TestCloseCancels(t *testing.T) {
	c := pgtest.Shared(t)
	p := start(t, c, "", "")
	for _, address := range []string{p.transaction, p.session} {
		p.login(t, address).Query("select pg_sleep(100)")
	}
	waitFor(t, "the queries", func() bool { return activeQueries(t, c) == 2 })
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if n := activeQueries(t, c); n != 0 {
		t.Errorf("%d queries run on", n)
	}
	if n := p.Snapshot().CancelsForwarded; n != 2 {
		t.Errorf("%d requests were delivered", n)
	}
}
