package pool

import "time"

// A dedicated server is opened for one waiter, with what only that one wants of it (a replication connection), and closed after it. It is
// lent once, and no idle server can take its place. It counts as any other (invariant 3), and its waiter stands in the same queue as the
// others of its class (invariant 5). There it waits for a place, not for a server: where the budgets are full, a server that becomes free is
// closed for it, and so is an idle one.
//
// The waiter stays in the queue until its server is ready: it may still expire or leave. Then the server, when it comes, is closed unused.

// next is the first waiter that a server which is free now can help. Those are passed over whose own server is being opened, or will find a
// place without it.
func (p *Pool) next(now time.Duration) (first *Waiter) {
	if p.waiting == 0 {
		return nil
	}
	places := -1 // not counted yet
	p.each(now, func(w *Waiter) bool {
		switch {
		case w.Dedicated == nil:
			first = w
		case w.opening != nil:
			return true
		default:
			if places < 0 {
				places = p.places(now)
			}
			if places == 0 {
				first = w
			}
			places--
		}
		return first == nil
	})
	return first
}

// places is how many servers may be opened when those that are closing have ended.
func (p *Pool) places(now time.Duration) int {
	free := p.room(now) - p.open
	for _, b := range p.budgets() {
		free = min(free, b.max-b.open)
	}
	return max(0, free+p.states[ServerClosing].Len())
}

// coming is how many servers are on their way to the waiters.
func (p *Pool) coming() int {
	return p.states[ServerNew].Len() - p.states[ServerNew].dedicated + p.states[ServerTested].Len() + p.states[ServerRecalled].Len()
}

// eachUnserved calls f for the waiters for which no server is on its way, in the order in which they would be served, until f returns false.
func (p *Pool) eachUnserved(now time.Duration, f func(w *Waiter) bool) {
	coming := p.coming()
	p.each(now, func(w *Waiter) bool {
		switch {
		case w.opening != nil:
		case w.Dedicated == nil && w.promotes == nil && coming > 0:
			coming--
		default:
			return f(w)
		}
		return true
	})
}

// unserved is the first waiter for which no server is on its way; nil if there is none.
func (p *Pool) unserved(now time.Duration) (first *Waiter) {
	if p.waiting == 0 {
		return nil
	}
	p.eachUnserved(now, func(w *Waiter) bool {
		first = w
		return false
	})
	return first
}

// eachUndialed calls f for those of eachUnserved for which one may be opened now, as far as the pool alone has a say.
func (p *Pool) eachUndialed(now time.Duration, f func(w *Waiter) bool) {
	p.eachUnserved(now, func(w *Waiter) bool { return w.promotes != nil || !p.mayDial(w, now) || f(w) })
}

// undialed is the first of eachUndialed; nil if there is none.
func (p *Pool) undialed(now time.Duration) (first *Waiter) {
	p.eachUndialed(now, func(w *Waiter) bool {
		first = w
		return false
	})
	return first
}

// short reports that fewer servers are on their way than there are waiters that any server would help.
func (p *Pool) short(now time.Duration) (short bool) {
	if p.waiting == 0 {
		return false
	}
	p.eachUnserved(now, func(w *Waiter) bool {
		short = w.Dedicated == nil && w.promotes == nil
		return !short
	})
	return short
}

// evict closes an idle server, so that a dedicated one finds a place. It reports false when none is idle.
func (p *Pool) evict() bool {
	s := p.states[ServerIdle].Last()
	if s == nil {
		return false
	}
	p.close(s, CloseEvicted)
	return true
}

// dedicate hands a server that is ready to the waiter it was opened for, if that one is still there.
func (p *Pool) dedicate(s *Server, now time.Duration) Outcome {
	w := s.opensFor
	if w == nil {
		return p.refuse(s, CloseDedicated, now)
	}
	w.giveUp()
	w.serve()
	p.lend(s, w)
	return Outcome{Kind: Lent, Waiter: w}
}

// dedicatedFailed tells the waiter that a server was being opened for why there is none. No other waiter hears of it, and no pause follows:
// what PostgreSQL says to such a login it does not say to others. The client asked for one connection, as it would have without a pool.
func (p *Pool) dedicatedFailed(s *Server, err error, now time.Duration) {
	if w := s.opensFor; w != nil {
		w.giveUp()
		w.dequeue()
		p.set.act(Action{Kind: ActFail, Pool: p, Waiter: w, Err: err, Waited: now - w.EnqueuedAt})
	}
}
