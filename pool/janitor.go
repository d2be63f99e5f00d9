package pool

import "time"

// Tick looks at every clock: waiters that have waited long enough, the reserve, lifetimes, idle and lendable servers, the minimum size, the
// pause after failed logins and after PostgreSQL was full, and pools that nobody uses. The owner calls it several times a second.
func (s *Set) Tick(now time.Duration) {
	s.guarded()
	s.total.tick(now)
	for _, p := range s.pools {
		p.expireWaiters(now)
		p.retire(now)
		p.shrink()
		p.fill(now)
		p.peak.tick(now, p.quick)
		p.reroute(now)
		p.grow(now)
	}
	s.feed(nil, now)
	s.forget(now)
}

// expireWaiters lets those go that have waited WaitTimeout, and tells those that have waited WaitNotify.
func (p *Pool) expireWaiters(now time.Duration) {
	for c := range p.queues {
		for w := p.queues[c].First(); w != nil; {
			next, waited := w.link.Next(), now-w.EnqueuedAt
			switch {
			case p.limits.WaitTimeout > 0 && waited >= p.limits.WaitTimeout:
				w.dequeue()
				w.giveUp()
				p.set.act(Action{Kind: ActExpire, Pool: p, Waiter: w, Waited: waited, Err: p.obstacle()})
			case p.limits.WaitNotify > 0 && waited >= p.limits.WaitNotify && !w.notified:
				w.notified = true
				p.set.act(Action{Kind: ActNotify, Pool: p, Waiter: w, Waited: waited})
			case p.limits.WaitNotify <= 0 || waited < p.limits.WaitNotify:
				next = nil // those behind have waited less
			}
			w = next
		}
	}
}

// obstacle is what PostgreSQL said to the last login, if that keeps the pool from growing; nil otherwise.
func (p *Pool) obstacle() error {
	if p.open-p.states[ServerClosing].Len() >= p.limits.Size || p.lastErr != nil {
		return p.lastErr
	}
	return p.set.total.err
}

// retire closes idle servers that are past their lifetime, or idle for too long beyond the minimum size.
func (p *Pool) retire(now time.Duration) {
	for s := p.states[ServerIdle].Last(); s != nil; {
		prev := s.place.Prev()
		switch {
		case s.stale():
			p.close(s, CloseStale)
		case s.expired(now):
			p.close(s, CloseLifetime)
		case p.limits.IdleTimeout > 0 && now-s.usedAt >= p.limits.IdleTimeout && p.usable() > p.limits.MinSize:
			p.close(s, CloseIdleTimeout)
		}
		s = prev
	}
}

// shrink closes idle servers that a smaller size leaves no room for.
func (p *Pool) shrink() {
	for p.excess() && p.states[ServerIdle].Last() != nil {
		p.close(p.states[ServerIdle].Last(), CloseOverSize)
	}
}

// fill opens servers up to the minimum size, as long as no pool starves.
func (p *Pool) fill(now time.Duration) {
	for p.wanted && p.open < min(p.limits.MinSize, p.limits.Size) && p.mayDial(nil, now) && p.affordable() && p.set.starving.Len() == 0 {
		p.dial(nil, now)
	}
}

// MarkStale closes all servers as they become free, idle ones at once (RECONNECT). Failed logins count no more: the next is tried at once.
func (p *Pool) MarkStale(now time.Duration) {
	p.set.guarded()
	p.staleAt = now
	p.pause, p.retryAt, p.lastErr = 0, 0, nil
	p.retire(now)
}
