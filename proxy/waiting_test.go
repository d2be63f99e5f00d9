package proxy_test

import (
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestOldestTransactionOnAnyLoop: who waits in vain hears of the oldest transaction, on whatever loop that is.
func TestOldestTransactionOnAnyLoop(t *testing.T) {
	c := pgtest.Shared(t)
	cfg := configuration(t, serverAt(c), single+"query_wait_timeout = \"400ms\"\nreserve_pool_size = 0\n", "")
	cfg.Loops = 2
	p := launch(t, c, cfg)
	holder := pgtest.Dial(t, p.transaction)
	holder.Startup(map[string]string{"user": "postgres", "database": "postgres", "application_name": "embedder"})
	holder.Authenticate("postgres", "")
	run(t, holder, "begin")
	var waiting []*pgtest.Wire
	for i := range 4 { // in turn on each loop
		waiting = append(waiting, p.login(t, p.transaction))
		waitFor(t, "the client to be on its loop", func() bool {
			loops := p.Snapshot().Loops
			return loops[0].Connections+loops[1].Connections == i+3 // the holder and its server beside these
		})
	}
	for _, w := range waiting {
		w.Query("select 1")
	}
	for _, w := range waiting {
		if e := w.ExpectError("53300"); !strings.Contains(e.Message, "1 of 1 busy (1 are idle in transactions), oldest transaction") || !strings.Contains(e.Message, "embedder") {
			t.Error(e.Message)
		}
		w.Expect("ReadyForQuery I")
	}
}

// TestWaitOfTheFirst: the first client of a pool waits for a server to be opened; that is a wait like any other.
func TestWaitOfTheFirst(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	p.login(t, p.transaction)
	waits := uint64(0)
	wait := p.pool(t, "transaction").WaitTime
	for _, n := range wait.Counts {
		waits += n
	}
	if waits != 1 || wait.Sum <= 0 {
		t.Errorf("%d waits, %v together", waits, wait.Sum)
	}
}
