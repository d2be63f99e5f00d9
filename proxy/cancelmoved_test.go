package proxy_test

import (
	"sync"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestCancelWhileMoved: cancel requests for clients that change loops look at no client that is on another loop, or on none. The race detector
// judges that. In the end a request still finds its client.
func TestCancelWhileMoved(t *testing.T) {
	c := pgtest.Shared(t)
	cfg := configuration(t, serverAt(c), "default_pool_size = 1\n", "")
	cfg.Loops = 2
	p := launch(t, c, cfg)
	w := p.login(t, p.transaction)
	run(t, w, "select 1")
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for range 500 {
				p.Cancel(w.Key.ProcessID, w.Key.SecretKey)
			}
		})
	}
	asking.Go(func() {
		for i := range 2000 {
			p.MoveClients(i % 2)
		}
	})
	for range 500 {
		run(t, w, "select 1") // or it is canceled
	}
	asking.Wait()
	w.Query("select pg_sleep(100)")
	waitFor(t, "the query", func() bool { return activeQueries(t, c) == 1 })
	cancelled(t, p, w)
	w.Expect("RowDescription pg_sleep", "ErrorResponse 57014", "ReadyForQuery I")
}
