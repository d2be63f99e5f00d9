package pool

import "time"

// How many servers there may be. Four budgets bound a pool: its own size, those of its database and of its user, and the total. As long as
// there is room in all of them a waiter for whom no server is on its way has one opened. Where a shared budget has none, the pool starves:
//
//   - An idle server of another pool makes room at once, the longest idle one first. A pool keeps its minimum size while another has more.
//   - Where none is idle, a server that is given back makes room when that is fair: the roles (users) that wait get equal shares, by weight,
//     of what the others give back, and so do the pools of one role. See outranks.
//
// So a starving role is served when the next server is given back by a role that has more than its share. When every role has its share,
// each is served by the servers that it gives back itself.

// budget is a limit that several pools share.
type budget struct {
	open      int // servers of all states
	closing   int // of those, the ones told goodbye
	max       int // unlimited: no limit
	weight    int // of a user's budget: its share is in proportion; at least 1
	pools     int // how many share it
	listening int // of the open ones, those that listen; see listening.go
}

func budgetOf(m map[string]*budget, key string) *budget {
	b := m[key]
	if b == nil {
		b = &budget{max: unlimited, weight: 1}
		m[key] = b
	}
	return b
}

// disown takes a pool away. With the last one the budget is forgotten.
func (b *budget) disown(m map[string]*budget, key string) {
	if b.pools--; b.pools == 0 {
		delete(m, key)
	}
}

func (b *budget) limit(most int) {
	if b.max = most; most <= 0 {
		b.max = unlimited
	}
}

// SetDatabaseMax bounds the servers of all pools of a database; 0: no limit.
func (s *Set) SetDatabaseMax(db string, n int) { budgetOf(s.database, db).limit(n) }

// SetUserMax bounds the servers of all pools of a user; 0: no limit.
func (s *Set) SetUserMax(user string, n int) { budgetOf(s.user, user).limit(n) }

// SetUserWeight sets the share of a user among those that wait for servers of a budget they share; at least 1.
func (s *Set) SetUserWeight(user string, weight int) { budgetOf(s.user, user).weight = max(weight, 1) }

func (b *budget) full() bool { return b.open >= b.max }

// held is how many servers of it will be there when those that are closing have ended.
func (b *budget) held() int { return b.open - b.closing }

// excess reports whether there are more servers than there may be, and too few of them are going.
func (b *budget) excess() bool { return b.held() > b.max }

// budgets are those that the pool shares with others.
func (p *Pool) budgets() [3]*budget { return [3]*budget{p.database, p.user, &p.set.total.budget} }

// affordable reports whether all the shared budgets have room for one more server.
func (p *Pool) affordable() bool {
	return !p.database.full() && !p.user.full() && !p.set.total.full()
}

// room is how many servers the pool itself may have now: its size, and the reserve while the oldest waiter has waited for long.
func (p *Pool) room(now time.Duration) int {
	if p.limits.Reserve > 0 && p.waiting > 0 {
		if w := p.oldest(now); w != nil && now-w.EnqueuedAt >= p.limits.ReserveTimeout {
			return p.limits.Size + p.limits.Reserve
		}
	}
	return p.limits.Size
}

// excess reports whether the pool has more servers than it may ever have: it, or a budget that it shares, was made smaller.
func (p *Pool) excess() bool {
	if p.open-p.states[ServerClosing].Len() > p.limits.Size+p.limits.Reserve {
		return true
	}
	for _, b := range p.budgets() {
		if b.excess() {
			return true
		}
	}
	return false
}

// grow finds servers for the waiters: idle ones, new ones as far as the budgets, the pause after failed logins and DialsMax allow, and then
// what others can give up; see squeeze.
func (p *Pool) grow(now time.Duration) {
	for again := true; again; again = p.squeeze(now) {
		p.revive(now)
		for p.waiting > 0 && p.open < p.room(now) {
			w := p.undialed(now)
			if w == nil {
				break
			}
			if !p.affordable() {
				p.starve(now)
				break
			}
			p.dial(w, now)
			p.letIn(now)
		}
	}
}

// mayDial reports whether one more login may be under way, for a waiter or, with nil, for nobody yet.
func (p *Pool) mayDial(w *Waiter, now time.Duration) bool {
	paused := now < p.retryAt && (w == nil || w.Dedicated == nil)
	return !paused && (p.limits.DialsMax == 0 || p.states[ServerNew].Len() < p.limits.DialsMax)
}

// dial opens one server, for a waiter or, with nil, for nobody yet; it counts from now on.
func (p *Pool) dial(w *Waiter, now time.Duration) {
	s := &Server{pool: p, bornAt: now, usedAt: now}
	if w != nil && w.Dedicated != nil {
		s.Dedicated, s.opensFor, w.opening = w.Dedicated, w, s
	}
	if p.limits.Lifetime > 0 {
		// Up to a tenth earlier: servers opened together must not end together.
		s.expireAt = now + p.limits.Lifetime - time.Duration(p.set.rnd.Int64N(int64(p.limits.Lifetime)/10+1))
	}
	s.join()
	p.set.act(Action{Kind: ActDial, Pool: p, Server: s})
}

// starve notes that a shared budget keeps the pool from opening a server that it has a waiter for, and has idle servers make room.
func (p *Pool) starve(now time.Duration) {
	if !p.starves.Linked() {
		p.set.starving.PushBack(&p.starves, p)
	}
	p.set.makeRoom(now)
}

// lacks is how many servers the pool would open now if the shared budgets had room.
func (p *Pool) lacks(now time.Duration) (n int) {
	most := p.room(now) - p.open
	if p.limits.DialsMax > 0 {
		most = min(most, p.limits.DialsMax-p.states[ServerNew].Len())
	}
	if p.waiting == 0 || most <= 0 {
		return 0
	}
	p.eachUndialed(now, func(*Waiter) bool {
		n++
		return n < most
	})
	return n
}

// eachStarving calls f for the pools that starve, and how many servers each lacks, until f returns false. Those that no longer starve are
// forgotten.
func (s *Set) eachStarving(now time.Duration, f func(q *Pool, lacks int) bool) {
	for q := s.starving.First(); q != nil; {
		next := q.starves.Next()
		switch n := q.lacks(now); {
		case n == 0:
			s.starving.Remove(&q.starves)
		case !f(q, n):
			return
		}
		q = next
	}
}

// makeRoom closes idle servers for the pools that starve, as many as these lack and no more.
func (s *Set) makeRoom(now time.Duration) {
	claimed := 0
	s.eachStarving(now, func(q *Pool, lacks int) bool {
		claimed += lacks
		for places := q.placesComing(); places < claimed; places++ {
			if !s.evictFor(q, now) {
				break
			}
		}
		return true
	})
}

// placesComing is how many servers end, or are called back from idle clients, whose places the pool could use.
func (p *Pool) placesComing() (n int) {
	for _, other := range p.set.pools {
		if other == p || p.relieves(other) {
			n += other.states[ServerClosing].Len()
		}
		if other != p && p.relieves(other) && other.waiting == 0 {
			n += other.states[ServerRecalled].Len()
		}
	}
	return n
}

// evictFor closes the longest idle server whose end makes room for q, or calls back the longest lendable one. It reports false when there is
// none.
func (s *Set) evictFor(q *Pool, now time.Duration) bool {
	var spare, least, lendable *Server
	for _, other := range s.pools {
		if other == q || !q.relieves(other) {
			continue
		}
		idle, lends := other.states[ServerIdle].Last(), other.nextLendable(now)
		switch {
		case idle == nil:
			if lends != nil && (lendable == nil || lends.lendableAt < lendable.lendableAt) {
				lendable = lends
			}
		case other.usable() > other.limits.MinSize:
			if spare == nil || idle.usedAt < spare.usedAt {
				spare = idle
			}
		case least == nil || idle.usedAt < least.usedAt:
			least = idle
		}
	}
	switch {
	case spare != nil:
		spare.pool.close(spare, CloseEvicted)
	case least != nil:
		least.pool.close(least, CloseEvicted)
	case lendable != nil:
		lendable.recall()
	default:
		return false
	}
	return true
}

// relieves reports whether a server less in other would make room in every budget that is full.
func (p *Pool) relieves(other *Pool) bool {
	return (!p.database.full() || other.database == p.database) && (!p.user.full() || other.user == p.user)
}

// yields reports whether a server of p that has become free makes room for a pool that starves, although somebody waits for it in p.
func (p *Pool) yields(now time.Duration) (yields bool) {
	claimed := 0
	p.set.eachStarving(now, func(q *Pool, lacks int) bool {
		claimed += lacks
		yields = q != p && q.relieves(p) && q.placesComing() < claimed && q.outranks(p, now)
		return !yields
	})
	return yields
}

// outranks reports whether it is fair that other gives a server up for p, given that both want one: p would have the better claim to the place.
func (p *Pool) outranks(other *Pool, now time.Duration) bool { return p.precedes(other, 1, now) }

// precedes reports whether p has a better claim to a free place than other, when that one has given up so many servers. Roles are compared by
// the servers that each would have then for each unit of its weight, and pools of one role by their servers. One without any goes before one
// that has some. Where the claims are equal, the one whose client has waited for longer goes first; but no server is given up for that, unless
// neither would have any.
func (p *Pool) precedes(other *Pool, gives int, now time.Duration) bool {
	mine, theirs, weight, weightTheirs := p.user.held(), other.user.held()-gives, p.user.weight, other.user.weight
	if p.user == other.user {
		mine, theirs, weight, weightTheirs = p.staying(), other.staying()-gives, 1, 1
	}
	switch {
	case mine == 0 && theirs > 0:
		return true
	case mine > 0 && theirs == 0:
		return false
	case mine > 0 && (mine+1)*weightTheirs != (theirs+1)*weight:
		return (mine+1)*weightTheirs < (theirs+1)*weight
	}
	if mine > 0 && gives > 0 {
		return false // to change places would cost a server each time
	}
	w, theirsOldest := p.oldest(now), other.oldest(now)
	return w != nil && (theirsOldest == nil || w.EnqueuedAt < theirsOldest.EnqueuedAt)
}

// staying is how many servers the pool will have when those that are closing have ended.
func (p *Pool) staying() int { return p.open - p.states[ServerClosing].Len() }

// feed lets the pools that starve, and p, use the places that have become free: the one with the least of its share first. p may be nil.
func (s *Set) feed(p *Pool, now time.Duration) {
	for s.starving.Len() > 0 {
		var neediest *Pool
		s.eachStarving(now, func(q *Pool, _ int) bool {
			if q.affordable() && (neediest == nil || q.precedes(neediest, 0, now)) {
				neediest = q
			}
			return true
		})
		if neediest == nil {
			break
		}
		neediest.dial(neediest.undialed(now), now)
		neediest.letIn(now)
	}
	if p != nil {
		p.grow(now)
	}
	s.makeRoom(now)
}

// Dialed says that a new server is ready; it goes to the first waiter, or is idle.
func (p *Pool) Dialed(s *Server, loop int, now time.Duration) Outcome {
	p.set.guarded()
	s.Loop = loop
	p.bare = false
	if s.state == ServerClosing {
		return Outcome{Kind: Closing, Reason: CloseShutdown}
	}
	p.set.total.admitted(now)
	var out Outcome
	if s.Dedicated != nil {
		out = p.dedicate(s, now)
	} else {
		p.pause, p.retryAt, p.lastErr = 0, 0, nil
		out = p.release(s, now)
	}
	p.set.feed(p, now)
	return out
}

// pauseFirst is the pause after a first failed login; it doubles up to LoginRetry.
const pauseFirst = 100 * time.Millisecond

// DialFailed says that a server could not be opened. The next try waits. The waiters hear of it when the pool has no server at all, unless
// err says that it is Transient. An err that is Full says that PostgreSQL has no place for another server: then the total is lowered, and the
// waiters go on waiting, as for any budget.
func (p *Pool) DialFailed(s *Server, err error, now time.Duration) {
	p.set.guarded()
	s.leave()
	full, ok := err.(interface{ Full() bool }) //nolint:errorlint // asked of the error itself
	switch {
	case ok && full.Full() && s.Dedicated == nil:
		p.set.total.refused(err, p.limits.LoginRetry, now)
	case s.Dedicated != nil:
		p.dedicatedFailed(s, err, now)
	default:
		p.pause = min(max(2*p.pause, pauseFirst), max(p.limits.LoginRetry, pauseFirst))
		p.retryAt = now + p.pause - time.Duration(p.set.rnd.Int64N(int64(p.pause)/5+1))
		p.lastErr = err
		transient, ok := err.(interface{ Transient() bool }) //nolint:errorlint // asked of the error itself
		if p.usable() == 0 && (!ok || !transient.Transient()) {
			p.fail(err, now)
		}
	}
	p.set.feed(p, now)
}

// fail tells all that wait for a server that there will be none.
func (p *Pool) fail(err error, now time.Duration) {
	for c := range p.queues {
		for w := p.queues[c].First(); w != nil; {
			next := w.link.Next()
			if w.promotes == nil && w.Dedicated == nil {
				w.dequeue()
				p.set.act(Action{Kind: ActFail, Pool: p, Waiter: w, Err: err, Waited: now - w.EnqueuedAt})
			}
			w = next
		}
	}
}

// usable is how many servers may yet serve any waiter.
func (p *Pool) usable() int {
	return p.open - p.states[ServerClosing].Len() - p.Dedicated()
}
