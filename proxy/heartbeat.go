package proxy

import (
	"sync/atomic"
	"time"
)

// heartbeatEvery is how often each loop is asked for a sign of life.
const heartbeatEvery = time.Second

// heartbeat tells whether a loop comes round.
type heartbeat struct {
	asked  atomic.Int64 // when the last question was posted, in nanoseconds since Proxy.born; 0: none is open
	answer func()
}

// watchHeartbeats asks every loop for a sign of life. A goroutine of the cold world.
func (p *Proxy) watchHeartbeats() {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-p.life.Done():
			return
		}
		for _, w := range p.workers {
			if w.heartbeat.asked.CompareAndSwap(0, int64(time.Since(p.born))) {
				w.loop.Post(w.heartbeat.answer)
			}
		}
	}
}

// Stuck returns how long the slowest loop has owed a sign of life. It waits for nothing. It returns 0 once the process ends.
func (p *Proxy) Stuck() time.Duration {
	if p.life.Err() != nil {
		return 0
	}
	now, longest := time.Since(p.born), time.Duration(0)
	for _, w := range p.workers {
		if asked := w.heartbeat.asked.Load(); asked != 0 {
			longest = max(longest, now-time.Duration(asked))
		}
	}
	return longest
}
