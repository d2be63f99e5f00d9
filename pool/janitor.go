package pool

import "time"

// Tick looks at every clock: waiters that have waited long enough, the reserve, lifetimes, idle servers, the minimum size, the pause after
// failed logins, and pools that nobody uses. The owner calls it several times a second.
func (s *Set) Tick(now time.Duration) {
	s.guarded()
	for _, p := range s.pools {
		p.expireWaiters(now)
		p.retire(now)
		p.shrink(now)
		p.fill(now)
		p.grow(now)
	}
	s.forget(now)
}

// expireWaiters lets those go that have waited WaitTimeout, and tells those that have waited WaitNotify.
func (p *Pool) expireWaiters(now time.Duration) {
	for w := p.waiters.first; w != nil; {
		next, waited := w.next, now-w.EnqueuedAt
		switch {
		case p.limits.WaitTimeout > 0 && waited >= p.limits.WaitTimeout:
			p.waiters.remove(w)
			w.givesUp()
			p.set.act(Action{Kind: ActExpire, Pool: p, Waiter: w, Waited: waited})
		case p.limits.WaitNotify > 0 && waited >= p.limits.WaitNotify && !w.notified:
			w.notified = true
			p.set.act(Action{Kind: ActNotify, Pool: p, Waiter: w, Waited: waited})
		case p.limits.WaitNotify <= 0 || waited < p.limits.WaitNotify:
			return // those behind have waited less
		}
		w = next
	}
}

// retire closes idle servers that are past their lifetime, or idle for too long beyond the minimum size.
func (p *Pool) retire(now time.Duration) {
	for s := p.states[ServerIdle].last; s != nil; {
		prev := s.prev
		switch {
		case p.stale(s):
			p.close(s, CloseStale)
		case p.expired(s, now):
			p.close(s, CloseLifetime)
		case p.limits.IdleTimeout > 0 && now-s.usedAt >= p.limits.IdleTimeout && p.usable() > p.limits.MinSize:
			p.close(s, CloseIdleTimeout)
		}
		s = prev
	}
}

// shrink closes idle servers that a smaller size leaves no room for.
func (p *Pool) shrink(time.Duration) {
	for p.excess() && p.states[ServerIdle].last != nil {
		p.close(p.states[ServerIdle].last, CloseOverSize)
	}
}

// fill opens servers up to the minimum size.
func (p *Pool) fill(now time.Duration) {
	for p.wanted && p.open < min(p.limits.MinSize, p.limits.Size) && p.mayDial(nil, now) && !p.database.full() && !p.user.full() {
		p.dial(nil, now)
	}
}

// MarkStale closes all servers as they become free, idle ones at once (RECONNECT). Failed logins count no more: the next is tried at once.
func (p *Pool) MarkStale(now time.Duration) {
	p.set.guarded()
	p.hadStale, p.staleAt = true, now
	p.pause, p.retryAt, p.lastErr = 0, 0, nil
	p.retire(now)
}
