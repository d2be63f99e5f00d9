package pool

import "time"

// budget is a limit that several pools share.
type budget struct {
	open      int // servers of all states
	closing   int // of those, the ones told goodbye
	max       int // 0: no limit
	pools     int // how many share it
	listening int // of the open ones, those that listen; see listening.go
}

func budgetOf(m map[string]*budget, key string) *budget {
	b := m[key]
	if b == nil {
		b = &budget{}
		m[key] = b
	}
	return b
}

// leave takes a pool away. With the last one the budget is forgotten.
func (b *budget) leave(m map[string]*budget, key string) {
	if b.pools--; b.pools == 0 {
		delete(m, key)
	}
}

func (b *budget) full() bool { return b.max > 0 && b.open >= b.max }

// excess reports whether there are more servers than there may be, and too few of them are going.
func (b *budget) excess() bool { return b.max > 0 && b.open-b.closing > b.max }

// room is how many servers the pool itself may have now: its size, and the reserve while the first waiter has waited for long.
func (p *Pool) room(now time.Duration) int {
	if p.limits.Reserve > 0 {
		if w := p.waiters.unopened(); w != nil && now-w.EnqueuedAt >= p.limits.ReserveTimeout {
			return p.limits.Size + p.limits.Reserve
		}
	}
	return p.limits.Size
}

// excess reports whether the pool has more servers than it may ever have: it, or what it shares, was made smaller.
func (p *Pool) excess() bool {
	return p.open-p.states[ServerClosing].n > p.limits.Size+p.limits.Reserve || p.database.excess() || p.user.excess()
}

// grow opens servers for the waiters, as far as the budgets, the pause after failed logins and DialsMax allow.
func (p *Pool) grow(now time.Duration) {
	p.revive(now)
	for ; p.waiters.n > 0 && p.open < p.room(now); p.letIn(now) {
		w := p.unserved()
		if w == nil || !p.mayDial(w, now) || !p.shared() {
			return
		}
		p.dial(w, now)
	}
}

// mayDial reports whether one more login may be under way, for a waiter or, with nil, for nobody yet.
func (p *Pool) mayDial(w *Waiter, now time.Duration) bool {
	paused := now < p.retryAt && (w == nil || w.Dedicated == nil)
	return !paused && (p.limits.DialsMax == 0 || p.states[ServerNew].n < p.limits.DialsMax)
}

// shared reports whether the budgets of the database and the user have room. If not, the longest idle server of another pool has to go;
// its place is taken when it is Closed.
func (p *Pool) shared() bool {
	if !p.database.full() && !p.user.full() {
		return true
	}
	var victim *Server
	for _, other := range p.set.pools {
		if other == p || !p.relieves(other) {
			continue
		}
		if other.states[ServerClosing].n > 0 {
			return false // a place is on its way
		}
		if s := other.states[ServerIdle].last; s != nil && (victim == nil || s.usedAt < victim.usedAt) {
			victim = s
		}
	}
	if victim != nil {
		victim.pool.close(victim, CloseEvicted)
	}
	return false
}

// relieves reports whether a server less in other would make room in every budget that is full.
func (p *Pool) relieves(other *Pool) bool {
	return (!p.database.full() || other.database == p.database) && (!p.user.full() || other.user == p.user)
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
	p.states[ServerNew].pushFront(s)
	p.open++
	p.database.open++
	p.user.open++
	p.set.act(Action{Kind: ActDial, Pool: p, Server: s})
}

// feed lets the pools that share a budget with p, p first, use a place that has become free.
func (s *Set) feed(p *Pool, now time.Duration) {
	p.grow(now)
	for _, other := range s.pools {
		if other != p && (other.database == p.database || other.user == p.user) {
			other.grow(now)
		}
	}
}

// Dialed says that a new server is ready; it goes to the first waiter, or is idle.
func (p *Pool) Dialed(s *Server, loop int, now time.Duration) Outcome {
	p.set.guarded()
	s.Loop = loop
	p.bare = false
	if s.state == ServerClosing {
		return Outcome{Kind: Closing, Reason: CloseShutdown}
	}
	if s.Dedicated != nil {
		return p.dedicate(s, now)
	}
	p.pause, p.retryAt, p.lastErr = 0, 0, nil
	if p.stale(s) {
		return p.refuse(s, CloseStale, now)
	}
	out := p.release(s, now)
	p.grow(now)
	return out
}

// pauseFirst is the pause after a first failed login; it doubles up to LoginRetry.
const pauseFirst = 100 * time.Millisecond

// DialFailed says that a server could not be opened. The next try waits; the clients waiting hear of it when the pool has no server at
// all, unless err says that it is Transient.
func (p *Pool) DialFailed(s *Server, err error, now time.Duration) {
	p.set.guarded()
	p.bury(s)
	if s.Dedicated != nil {
		p.dedicatedFailed(s, err, now)
		return
	}
	p.pause = min(max(2*p.pause, pauseFirst), max(p.limits.LoginRetry, pauseFirst))
	p.retryAt = now + p.pause - time.Duration(p.set.rnd.Int64N(int64(p.pause)/5+1))
	p.lastErr = err
	transient, ok := err.(interface{ Transient() bool }) //nolint:errorlint // asked of the error itself
	if p.usable() == 0 && (!ok || !transient.Transient()) {
		p.fail(err, now)
	}
	p.set.feed(p, now)
}

// fail tells all who wait for a server that there will be none.
func (p *Pool) fail(err error, now time.Duration) {
	for w := p.waiters.first; w != nil; {
		next := w.next
		if w.promotes == nil && w.Dedicated == nil {
			p.waiters.remove(w)
			p.set.act(Action{Kind: ActFail, Pool: p, Waiter: w, Err: err, Waited: now - w.EnqueuedAt})
		}
		w = next
	}
}

// usable are the servers that may yet serve any waiter.
func (p *Pool) usable() int {
	return p.open - p.states[ServerClosing].n - p.Dedicated()
}
