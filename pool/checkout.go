package pool

import "time"

// Checkout lends an idle server to w at once, or puts w into its queue and returns nil. Then a grant, an expiry or a failure follows as an
// Action, unless Leave comes first.
func (p *Pool) Checkout(w *Waiter, now time.Duration) *Server {
	p.set.guarded()
	w.use, w.home, w.refuge = UseQuick, p, nil
	return p.checkout(w, now)
}

// checkout lends a server of p to w, or puts w into a queue of p.
func (p *Pool) checkout(w *Waiter, now time.Duration) *Server {
	w.EnqueuedAt, w.overtaken, w.notified, w.promotes, w.opening = now, 0, false, nil, nil
	if w.Dedicated == nil {
		p.wanted = true
	}
	if w.home == p {
		p.ownAt = now
	}
	if p.waiting == 0 && w.Dedicated == nil && p.eligible(w, now) {
		if s := p.idle(w, now); s != nil {
			p.lend(s, w)
			return s
		}
	}
	p.enqueue(w)
	if w.Dedicated == nil && p.refused(now) {
		p.fail(p.lastErr, now)
		return nil
	}
	p.grow(now)
	return nil
}

// refused reports whether PostgreSQL has said that it does not let this pool in. Asking again before the pause is over would only make every
// waiter wait for the same words. A PostgreSQL that cannot be reached may be back at the next try: that is worth waiting for.
func (p *Pool) refused(now time.Duration) bool {
	refused, ok := p.lastErr.(interface{ Refused() bool }) //nolint:errorlint // asked of the error itself
	return ok && refused.Refused() && now < p.retryAt && p.usable() == 0
}

// idle finds a server to lend. One that nobody has used for CheckDelay is sent to be checked and another is looked for; when all are
// like that, grow has as many checked as there are waiters. A checked server comes back through Checkin.
func (p *Pool) idle(w *Waiter, now time.Duration) *Server {
	idle := &p.states[ServerIdle]
	for idle.Len() > 0 {
		s := p.choose(w)
		switch {
		case s.expired(now):
			p.close(s, CloseLifetime)
		case !p.unsure(s, now):
			return s
		case p.unsure(idle.First(), now):
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
	for p.letIn(now); p.waiting > 0; p.letIn(now) {
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
			w = p.pick(w, s.Loop)
			p.lend(s, w)
			p.set.act(Action{Kind: ActGrant, Pool: p, Server: s, Waiter: w})
		case p.states[ServerIdle].Len() > 0 && p.short(now):
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
	first := idle.First()
	if p.limits.RoundRobin {
		first = idle.Last()
	}
	if first.Loop == w.Loop && first.Session == w.Session {
		return first
	}
	var near *Server
	if first.Loop == w.Loop {
		near = first
	}
	for s, i := idle.First(), 0; s != nil && i < searchMax; s, i = s.place.Next(), i+1 {
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

// lend gives a server to a waiter, which is in no queue any more.
func (p *Pool) lend(s *Server, w *Waiter) {
	s.moveTo(ServerActive)
	s.count(-1)
	s.borrower, s.home, s.use, s.refuge = w, w.home, w.use, w.refuge
	s.count(1)
	p.peak.note(p.quick)
}

// Leave takes a waiter out of the queue it is in. It reports false when it is in none: it has been granted what it waited for, or has
// expired.
func (s *Set) Leave(w *Waiter, now time.Duration) bool {
	s.guarded()
	if w.queue == nil {
		return false
	}
	p := w.queue.pool
	w.dequeue()
	w.giveUp()
	p.revive(now)
	return true
}

// expired reports whether a server is not to be lent any more: it has reached its lifetime, or is stale.
func (s *Server) expired(now time.Duration) bool {
	return s.expireAt > 0 && now >= s.expireAt || s.stale()
}

// stale reports whether a server was opened before the pool was last told that it is somewhere else.
func (s *Server) stale() bool { return s.bornAt <= s.pool.staleAt }
