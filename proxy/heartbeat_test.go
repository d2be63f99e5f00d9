package proxy_test

import (
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestStuckLoop: a loop that does not come round is noticed without an answer from it, and so is its return.
func TestStuckLoop(t *testing.T) {
	p := start(t, pgtest.Shared(t), "", "")
	release := make(chan struct{})
	p.OccupyLoop(release)
	pgtest.WaitFor(t, 20*time.Second, "the loop to be missed", func() bool { return p.Stuck() > time.Second })
	close(release)
	pgtest.WaitFor(t, 20*time.Second, "the loop to be back", func() bool { return p.Stuck() < time.Second })
}
