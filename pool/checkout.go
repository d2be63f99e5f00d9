package pool

import "time"

// Checkout lends an idle server to w at once, or puts w into the queue and returns nil; then a grant, an expiry or a failure follows as
// an Action, unless Leave comes first.
func (p *Pool) Checkout(w *Waiter, now time.Duration) *Server {
	p.set.guarded()
	w.EnqueuedAt, w.overtaken, w.notified, w.promotes, w.opening = now, 0, false, nil, nil
	if w.Dedicated == nil {
		p.wanted = true
	}
	if p.waiters.n == 0 && w.Dedicated == nil {
		if s := p.idle(w, now); s != nil {
			p.lend(s, w)
			return s
		}
	}
	p.waiters.push(w)
	if w.Dedicated == nil && p.refused(now) {
		p.fail(p.lastErr, now)
		return nil
	}
	p.grow(now)
	return nil
}

// refused reports whether PostgreSQL has said that it does not let this pool in, so that asking again before the pause is over would only
// make everybody wait for the same words. One that cannot be reached may be back at the next try: that is worth waiting for.
func (p *Pool) refused(now time.Duration) bool {
	refused, ok := p.lastErr.(interface{ Refused() bool }) //nolint:errorlint // asked of the error itself
	return ok && refused.Refused() && now < p.retryAt && p.usable() == 0
}

// idle finds a server to lend. One that nobody has used for CheckDelay is sent to be checked and another is looked for; when all are
// like that, grow has as many checked as there are waiters. A checked server comes back through Checkin.
func (p *Pool) idle(w *Waiter, now time.Duration) *Server {
	idle := &p.states[ServerIdle]
	for idle.n > 0 {
		s := p.choose(w)
		switch {
		case p.expired(s, now):
			p.close(s, CloseLifetime)
		case !p.unsure(s, now):
			return s
		case p.unsure(idle.first, now):
			return nil // it is the one used last
		default:
			p.check(s)
		}
	}
	return nil
}

// unsure reports whether a server has been idle for so long that it is checked before it is lent.
func (p *Pool) unsure(s *Server, now time.Duration) bool {
	return p.limits.CheckDelay > 0 && now-s.usedAt > p.limits.CheckDelay
}

func (p *Pool) check(s *Server) {
	s.moveTo(ServerTested)
	p.set.act(Action{Kind: ActCheck, Pool: p, Server: s})
}

// revive brings idle servers to the waiters: they are there because they have to be checked first, or because a check hangs.
func (p *Pool) revive(now time.Duration) {
	for p.letIn(now); p.waiters.n > 0; p.letIn(now) {
		w := p.next(now)
		switch {
		case w == nil, w.promotes != nil:
			return
		case w.Dedicated != nil:
			if !p.evict() {
				return
			}
			continue
		}
		s := p.idle(w, now)
		switch {
		case s != nil:
			w = p.waiters.pick(w, s.Loop)
			p.lend(s, w)
			p.set.act(Action{Kind: ActGrant, Pool: p, Server: s, Waiter: w})
		case p.states[ServerIdle].n > 0 && p.short():
			p.check(p.choose(w))
		default:
			return
		}
	}
}

// choose prefers a server of the same loop, among those one with the parameters that are wanted, then the most recently used (or, round
// robin, the longest idle).
func (p *Pool) choose(w *Waiter) *Server {
	idle := &p.states[ServerIdle]
	first := idle.first
	if p.limits.RoundRobin {
		first = idle.last
	}
	if first.Loop == w.Loop && first.Session == w.Session {
		return first
	}
	var near *Server
	if first.Loop == w.Loop {
		near = first
	}
	for s, i := idle.first, 0; s != nil && i < searchMax; s, i = s.next, i+1 {
		switch {
		case s.Loop != w.Loop:
		case s.Session == w.Session && i < matchMax:
			return s
		case near == nil:
			near = s
		}
		if near != nil && i >= matchMax {
			break
		}
	}
	if near != nil {
		return near
	}
	return first
}

// matchMax is how many idle servers are looked at for one with the right parameters: a SET in the same packet is cheaper than a long walk.
const matchMax = 16

func (p *Pool) lend(s *Server, w *Waiter) {
	s.moveTo(ServerActive)
	s.borrower = w
}

// Leave takes a waiter out of the queue it is in. It reports false when it is in none: it has been granted what it waited for, or has
// expired.
func (s *Set) Leave(w *Waiter, now time.Duration) bool {
	s.guarded()
	if w.queue == nil {
		return false
	}
	p := w.queue.pool
	p.waiters.remove(w)
	w.givesUp()
	p.revive(now)
	return true
}

// expired reports whether a server has reached its lifetime or is older than a RECONNECT.
func (p *Pool) expired(s *Server, now time.Duration) bool {
	return s.expireAt > 0 && now >= s.expireAt || p.stale(s)
}

func (p *Pool) stale(s *Server) bool { return p.hadStale && s.bornAt <= p.staleAt }
