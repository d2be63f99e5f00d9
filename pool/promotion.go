package pool

import "time"

// A server that a client has can move to another pool of the same database and user: promotion, from a transaction pool to a session pool,
// where it is a guest. Nothing reconnects. Where the other pool has room the server counts there from then on, and its old pool may open
// another; where the other pool has an idle server the two swap places. No pool ever exceeds its size by it (invariant 3). The rules:
//
//   - A server moves only while its own pool is short: somebody waits there, the pool has its size, and no server is on its way.
//   - Clients that need a server for long, for a transaction known to be long or for state, leave 40 per cent of their own pool to the
//     others. Those with a long transaction also leave as many servers as quick clients had at once in the last minute.
//   - Guests leave OwnShare of a pool to the pool's own clients, for as long as these use it.
//   - Guests go home when a client of the pool waits and their own pool has room.
//   - A client that waits for a place in the other pool is served by its own as soon as that has room.

// ownKept is how long the clients of a pool keep their share after they last used it.
const ownKept = time.Minute

// quickShare is the part of a pool, in per cent, that clients which need a server for long leave to the others.
const quickShare = 40

// eligible reports whether a waiter of p may be served by p now.
func (p *Pool) eligible(w *Waiter, now time.Duration) bool {
	if w.home != p || w.promotes != nil {
		return p.mayHost(now)
	}
	return w.use == UseQuick || p.mayKeep(w.use)
}

// mayHost reports whether the pool may have one more guest.
func (p *Pool) mayHost(now time.Duration) bool {
	if p.quick+p.slow.Len() == 0 && now-p.ownAt >= ownKept {
		return true
	}
	return p.guests.Len() < p.limits.Size-p.limits.Size*p.limits.OwnShare/100
}

// mayKeep reports whether one more client of the pool may have one of its servers for long.
func (p *Pool) mayKeep(u Use) bool {
	free := share(p.limits.Size, quickShare)
	if u == UseLong {
		free = max(free, p.peak.most())
	}
	return p.slow.Len() < p.limits.Size-free
}

// share is a part of a pool's size in per cent, rounded up.
func share(size, percent int) int { return (size*percent + 99) / 100 }

// peak is the most servers that quick clients of a pool had at once, in this minute and in the one before.
type peak struct {
	this, before int
	since        time.Duration
}

func (k *peak) note(n int) { k.this = max(k.this, n) }

func (k *peak) most() int { return max(k.this, k.before) }

func (k *peak) tick(now time.Duration, n int) {
	if now-k.since >= time.Minute {
		k.this, k.before, k.since = n, k.this, now
	}
}

// pressed reports whether the pool is short: somebody waits, it has its size, and no server is on its way.
func (p *Pool) pressed(now time.Duration) bool {
	return p.waiting > 0 && p.open >= p.room(now) && p.unserved(now) != nil
}

// Pressed reports whether somebody waits for a server of the pool that has its size, and no server is on its way.
func (p *Pool) Pressed(now time.Duration) bool {
	p.set.guarded()
	return p.pressed(now)
}

// spare reports whether the pool can serve one more waiter at once, or by opening a server.
func (p *Pool) spare(now time.Duration) bool {
	return p.waiting == 0 && (p.states[ServerIdle].Len() > 0 || p.open < p.room(now) && p.affordable())
}

// Promote moves the server of a transaction that lasts to another pool, if its own is short and the other has a place for it. A pool that
// servers are promoted to is never one that they are promoted from.
func (p *Pool) Promote(s *Server, to *Pool, now time.Duration) bool {
	p.set.guarded()
	p.judge(s, to)
	if s.pool != p || s.listens || s.wants != nil || !p.pressed(now) || !to.hosts(s, now) {
		return false
	}
	p.grow(now)
	return true
}

// Pin says that the client of a lent server is about to make state that only this connection can hold. It reports true when the client may go
// on: its server counts where it did, or has moved to the other pool. Otherwise w is in the queue of the other pool; then an ActPromoted, an
// expiry or a failure follows, unless Leave comes first or the server changes its state. With a nil w it does not wait.
func (p *Pool) Pin(s *Server, to *Pool, w *Waiter, now time.Duration) bool {
	p.set.guarded()
	p.judge(s, to)
	s.refuge = to
	switch {
	case s.use == UsePinned:
	case s.pool != p: // its transaction is long already
		s.useFor(UsePinned)
	case p.mayKeep(UsePinned) && !p.pressed(now):
		s.useFor(UsePinned)
	case to.hosts(s, now):
		s.useFor(UsePinned)
		p.grow(now)
	case w == nil:
		return false
	default:
		w.EnqueuedAt, w.overtaken, w.notified, w.opening = now, 0, false, nil
		w.home, w.use, w.refuge, w.promotes, s.wants = p, UsePinned, to, s, w
		to.enqueue(w)
		to.grow(now)
		return false
	}
	return true
}

// Detach lets a waiter that waits for a place for its server wait for another server instead, in the same queue: its client gives that one back.
// It reports false when the waiter is in no queue: it has its place, or has expired.
func (s *Set) Detach(w *Waiter) bool {
	s.guarded()
	if w.queue == nil {
		return false
	}
	if w.promotes != nil {
		w.promotes.wants, w.promotes = nil, nil
	}
	return true
}

// Unpin says that the state of a client is gone: it needs its server for no longer than its transaction.
func (p *Pool) Unpin(s *Server, now time.Duration) {
	p.set.guarded()
	if s.state.linked() && s.use == UsePinned {
		s.useFor(UseQuick)
		p.grow(now)
	}
}

// judge panics unless a server may be promoted from p to another pool, or is a guest already.
func (p *Pool) judge(s *Server, to *Pool) {
	if s.pool == to && s.home == p {
		return
	}
	p.sends, to.receives = true, true
	if s.pool != p || s.state != ServerActive || s.Dedicated != nil || to.database != p.database || to.user != p.user || p.receives || to.sends {
		panic("bug: only a lent server can be promoted, and only to a session pool of its database and user")
	}
}

// CheckoutFor is Checkout for a client of p that needs a server for long. Its own pool serves it while that is not short; otherwise to does,
// if not nil, and the client waits in the queue of that pool.
func (p *Pool) CheckoutFor(u Use, w *Waiter, to *Pool, now time.Duration) *Server {
	p.set.guarded()
	w.use, w.home, w.refuge = u, p, to
	if to == nil || p.mayKeep(u) && p.spare(now) {
		return p.checkout(w, now)
	}
	p.sends, to.receives = true, true
	p.ownAt = now
	return to.checkout(w, now)
}

// hosts takes in a server of another pool as a guest, or reports false.
func (p *Pool) hosts(s *Server, now time.Duration) bool {
	return p.mayHost(now) && p.unserved(now) == nil && p.admit(s, now)
}

// admit takes in a server of another pool that a client has, if there is room for it or an idle server to swap it for. The caller lets the
// other pool grow.
func (p *Pool) admit(s *Server, now time.Duration) bool {
	if p.open < p.room(now) {
		s.enter(p)
		return true
	}
	for spare := p.states[ServerIdle].Last(); spare != nil; spare = p.states[ServerIdle].Last() {
		if spare.expired(now) {
			p.close(spare, CloseLifetime)
			continue
		}
		other := s.pool
		s.enter(p)
		spare.enter(other)
		p.set.act(Action{Kind: ActMoved, Pool: other, Server: spare})
		return true
	}
	return false
}

// let tells a waiter that its own server has its place.
func (p *Pool) let(w *Waiter) {
	s := w.promotes
	w.promotes, s.wants = nil, nil
	s.useFor(UsePinned)
	p.set.act(Action{Kind: ActPromoted, Pool: s.pool, Server: s, Waiter: w})
}

// letIn takes in the servers of those waiters whose turn it is, as far as there is room.
func (p *Pool) letIn(now time.Duration) {
	for w := p.unserved(now); w != nil && w.promotes != nil; w = p.unserved(now) {
		other := w.promotes.pool
		if !p.admit(w.promotes, now) {
			return
		}
		w.serve()
		p.let(w)
		other.grow(now)
	}
}

// trade gives a server that has become free for the one that a waiter has. It goes on in the pool of that one.
func (p *Pool) trade(s *Server, w *Waiter, now time.Duration) Outcome {
	other := w.promotes.pool
	w.promotes.enter(p)
	p.let(w)
	s.stopListening()
	s.enter(other)
	return other.release(s, now)
}

// squeeze makes others give up servers or places for the waiters of p. It reports whether there is something for them now.
func (p *Pool) squeeze(now time.Duration) bool {
	if p.waiting == 0 {
		return false
	}
	p.recallLendable(now)
	return p.pressed(now) && (p.sendHome(now) || p.relieve(now))
}

// sendHome sends a guest back to its own pool for a waiter of this pool, if that pool has room; for an idle server of it if there is one.
func (p *Pool) sendHome(now time.Duration) bool {
	own := false
	p.eachUnserved(now, func(w *Waiter) bool {
		own = w.home == p && w.promotes == nil
		return !own
	})
	if !own {
		return false
	}
	for s := p.guests.First(); s != nil; s = s.role.Next() {
		home := s.home
		if s.listens || home.waiting > 0 || s.use != UseQuick && !home.mayKeep(s.use) {
			continue
		}
		spare := home.states[ServerIdle].First()
		if spare == nil && home.open >= home.room(now) {
			continue
		}
		s.enter(home)
		p.set.act(Action{Kind: ActMoved, Pool: home, Server: s})
		if spare != nil {
			spare.enter(p)
			p.set.act(Action{Kind: ActMoved, Pool: p, Server: spare})
		}
		return true
	}
	return false
}

// relieve moves a server with state to the other pool, because p is short.
func (p *Pool) relieve(now time.Duration) bool {
	for s := p.slow.First(); s != nil; s = s.role.Next() {
		if s.use == UsePinned && s.state == ServerActive && s.refuge != nil && !s.listens && s.refuge.hosts(s, now) {
			p.set.act(Action{Kind: ActMoved, Pool: s.pool, Server: s})
			return true
		}
	}
	return false
}

// reroute lets those waiters of p that two pools can serve change to the one that has room.
func (p *Pool) reroute(now time.Duration) {
	for _, c := range [...]Class{ClassLong, ClassPromotion} {
		for w := p.queues[c].First(); w != nil; {
			next := w.link.Next()
			if p.coming() == 0 || !p.eligible(w, now) {
				p.rerouteOne(w, now)
			}
			w = next
		}
	}
}

func (p *Pool) rerouteOne(w *Waiter, now time.Duration) {
	home := w.home
	switch {
	case w.promotes != nil:
		if home.mayKeep(UsePinned) && !home.pressed(now) {
			w.dequeue()
			p.let(w)
		}
	case home != p:
		if home.mayKeep(w.use) && home.spare(now) {
			w.dequeue()
			home.enqueue(w)
			home.grow(now)
		}
	case w.refuge != nil && w.refuge.mayHost(now) && w.refuge.spare(now):
		w.dequeue()
		w.refuge.enqueue(w)
		w.refuge.grow(now)
	}
}

// withdraw takes a server whose state changes out of the queue it may stand in: it no longer wants to move.
func (s *Server) withdraw() {
	if w := s.wants; w != nil {
		w.dequeue()
		s.wants, w.promotes = nil, nil
	}
}

// giveUp is called when a waiter leaves its queue in vain: it wants neither a place for the server it has nor the one that is being opened.
func (w *Waiter) giveUp() {
	if w.opening != nil {
		w.opening.opensFor, w.opening = nil, nil
	}
	if w.promotes != nil {
		w.promotes.wants, w.promotes = nil, nil
	}
}
