package pool

import "time"

// A dedicated server is opened for one waiter, with what only that one wants of it (a replication connection), and closed after it: it is
// lent once, and no idle server can take its place. It counts as any other (invariant 3), and who waits for one stands in the same queue as
// the others (invariant 5). What comes to it there is a place, not a server: where the budgets are full, a server that becomes free is
// closed for it, and so is one that is idle.
//
// The waiter stays in the queue until its server is ready: it may still expire or leave. Then the server, when it comes, is closed unused.

// next is the first waiter whom a server that is free now can help. Those are passed over whose own server is being opened, or will find a
// place without it.
func (p *Pool) next(now time.Duration) *Waiter {
	places := -1 // not counted yet
	for w := p.waiters.first; w != nil; w = w.next {
		switch {
		case w.Dedicated == nil:
			return w
		case w.opening != nil:
			continue
		case places < 0:
			places = p.places(now)
		}
		if places == 0 {
			return w
		}
		places--
	}
	return nil
}

// places is how many servers may be opened when those that are closing have ended.
func (p *Pool) places(now time.Duration) int {
	free := p.room(now) - p.open
	if p.database.max > 0 {
		free = min(free, p.database.max-p.database.open)
	}
	if p.user.max > 0 {
		free = min(free, p.user.max-p.user.open)
	}
	return max(0, free+p.states[ServerClosing].n)
}

// coming is how many servers are on their way to whoever waits.
func (p *Pool) coming() int {
	return p.states[ServerNew].n - p.states[ServerNew].dedicated + p.states[ServerTested].n
}

// short reports that fewer servers are on their way than there are waiters for any.
func (p *Pool) short() bool { return p.waiters.n-p.waiters.dedicated > p.coming() }

// unserved is the first waiter for whom no server is on its way.
func (p *Pool) unserved() *Waiter {
	coming := p.coming()
	for w := p.waiters.first; w != nil; w = w.next {
		switch {
		case w.opening != nil:
		case w.Dedicated == nil && coming > 0:
			coming--
		default:
			return w
		}
	}
	return nil
}

// evict closes an idle server, so that a dedicated one finds a place. It reports false when none is idle.
func (p *Pool) evict() bool {
	s := p.states[ServerIdle].last
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
	w.givesUp()
	p.waiters.remove(w)
	p.lend(s, w)
	p.grow(now)
	return Outcome{Kind: Lent, Waiter: w}
}

// dedicatedFailed tells the one that a server was being opened for why there is none. Nobody else hears of it, and no pause follows: what
// PostgreSQL says to such a login it does not say to others. It asked for one connection, as it would have without a pool.
func (p *Pool) dedicatedFailed(s *Server, err error, now time.Duration) {
	if w := s.opensFor; w != nil {
		w.givesUp()
		p.waiters.remove(w)
		p.set.act(Action{Kind: ActFail, Pool: p, Waiter: w, Err: err, Waited: now - w.EnqueuedAt})
	}
	p.set.feed(p, now)
}
