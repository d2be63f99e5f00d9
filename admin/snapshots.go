package admin

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// answerMax is how long the event loops may take for a Snapshot. They answer between two turns, which is microseconds; one that
// needs longer than this does not carry its clients either. It is shorter than the time after which Proxy.Snapshot leaves out a loop
// that does not answer (2 s): a Snapshot with numbers missing is never shown, and counters never go backwards.
const answerMax = 1500 * time.Millisecond

// errLoops is the answer of every view while no Snapshot can be had.
var errLoops = errors.New("the event loops did not answer within " + answerMax.String())

// snapshots takes Snapshots, one at a time: requests that come while one is under way share it. So a crowd of scrapers costs the loops
// no more than one, and a Source that hangs holds one goroutine, not one per request.
type snapshots struct {
	take func() stats.Snapshot // immutable

	mu      sync.Mutex
	current *flight // guarded by mu; nil: none under way
}

// flight is one Snapshot under way.
type flight struct {
	begun time.Time     // immutable
	done  chan struct{} // closed when snap and err are written; after that both are only read
	snap  *stats.Snapshot
	err   error
}

// get returns a Snapshot that ended after the call, or errLoops, or why the asker does not want it any more. It is shared: read it
// only.
func (s *snapshots) get(ctx context.Context) (*stats.Snapshot, error) {
	s.mu.Lock()
	f := s.current
	if f == nil {
		f = &flight{begun: time.Now(), done: make(chan struct{})}
		s.current = f
		go s.run(f)
	}
	s.mu.Unlock()

	late := time.NewTimer(answerMax - time.Since(f.begun))
	defer late.Stop()
	select {
	case <-f.done:
		return f.snap, f.err
	case <-late.C:
		return nil, errLoops
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run takes the Snapshot of a flight. A panic of the Source becomes an error: the endpoint must not end the process.
func (s *snapshots) run(f *flight) {
	defer func() {
		if v := recover(); v != nil {
			f.snap, f.err = nil, fmt.Errorf("gathering the numbers failed: %v\n%s", v, debug.Stack())
		}
		s.mu.Lock()
		s.current = nil
		close(f.done)
		s.mu.Unlock()
	}()
	snap := s.take()
	if time.Since(f.begun) > answerMax {
		f.err = errLoops
		return
	}
	f.snap = &snap
}

// wait waits until no Snapshot is under way, at most limit, and says whether that came true.
func (s *snapshots) wait(limit time.Duration) bool {
	s.mu.Lock()
	f := s.current
	s.mu.Unlock()
	if f == nil {
		return true
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-f.done:
		return true
	case <-late.C:
		return false
	}
}
