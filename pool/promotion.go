package pool

import "time"

// A server that is lent can move to another pool of the same database and user: promotion, from a transaction pool to a session pool.
// Nothing reconnects. Where the other pool has room the server is counted there from now on, and its old pool may open another; where it
// has a server that nobody uses the two swap places. Neither pool ever exceeds its size by it (invariant 3), and those who wait to move
// stand in the same queue as those who wait for a server (invariant 5).

// Promote moves a lent server to another pool at once, or puts w into the queue of that pool and returns false; then an ActPromoted, an
// expiry or a failure follows, unless Leave comes first or the server changes its state. With a nil w it does not wait. A pool that
// servers are promoted to is never one that they are promoted from.
func (p *Pool) Promote(s *Server, to *Pool, w *Waiter, now time.Duration) bool {
	p.set.guarded()
	p.promotes, to.takesIn = true, true
	if s.pool != p || s.state != ServerActive || s.Dedicated != nil || to.database != p.database || to.user != p.user || p.takesIn || to.promotes {
		panic("bug: only a lent server can be promoted, and only to a session pool of its database and user")
	}
	if to.waiters.n == 0 && to.admit(s, now) {
		return true
	}
	if w == nil {
		return false
	}
	w.EnqueuedAt, w.overtaken, w.notified = now, 0, false
	w.promotes, s.wants = s, w
	to.waiters.push(w)
	to.grow(now)
	return false
}

// admit takes in a lent server of another pool, if there is room for it or a server to swap it for.
func (p *Pool) admit(s *Server, now time.Duration) bool {
	other := s.pool
	if p.open < p.room(now) {
		s.enter(p)
		other.grow(now) // it may open one in its place
		return true
	}
	for spare := p.states[ServerIdle].last; spare != nil; spare = p.states[ServerIdle].last {
		if p.expired(spare, now) {
			p.close(spare, CloseLifetime)
			continue
		}
		s.enter(p)
		spare.enter(other)
		p.set.act(Action{Kind: ActMoved, Pool: other, Server: spare})
		other.revive(now)
		return true
	}
	return false
}

// enter changes the pool that a server counts in; its state stays.
func (s *Server) enter(to *Pool) {
	s.pool.states[s.state].remove(s)
	s.pool.open--
	s.pool = to
	to.states[s.state].pushByUse(s)
	to.open++
	to.bare = false
}

// let tells a waiter that its own server has been taken in.
func (p *Pool) let(w *Waiter) {
	s := w.promotes
	w.promotes, s.wants = nil, nil
	p.set.act(Action{Kind: ActPromoted, Pool: p, Server: s, Waiter: w})
}

// letIn takes in what those at the head of the queue bring, as far as there is room.
func (p *Pool) letIn(now time.Duration) {
	for w := p.waiters.unopened(); w != nil && w.promotes != nil; w = p.waiters.unopened() {
		if !p.admit(w.promotes, now) {
			return
		}
		p.waiters.remove(w)
		p.let(w)
	}
}

// trade gives a server that has become free for the one that a waiter brings. It goes on in the other's pool.
func (p *Pool) trade(s *Server, w *Waiter, now time.Duration) Outcome {
	other := w.promotes.pool
	w.promotes.enter(p)
	p.let(w)
	s.enter(other)
	return other.release(s, now)
}

// stays takes a server whose state changes out of the queue it may stand in: it no longer wants to move.
func (s *Server) stays() {
	if w := s.wants; w != nil {
		s.wants, w.promotes = nil, nil
		w.queue.remove(w)
	}
}

// givesUp: a waiter that leaves its queue no longer wants a place for the server it brings, nor the one that is being opened for it.
func (w *Waiter) givesUp() {
	if w.opening != nil {
		w.opening.opensFor, w.opening = nil, nil
	}
	if w.promotes != nil {
		w.promotes.wants, w.promotes = nil, nil
	}
}
