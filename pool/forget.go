package pool

import (
	"slices"
	"time"
)

// A pool comes into being when a client asks for a database as a user, and any client that can log in can make names up. So an unused pool
// is forgotten: after PoolIdleTimeout if it has had servers, and soon if it never had any.

// bareIdleMax is how long a pool is kept that no server was ever opened for. Until then clients that come again and again for a database
// that does not exist meet the same pool, whose pauses between logins to PostgreSQL grow.
const bareIdleMax = 10 * time.Second

// Hold says that a login or a client may yet come for a server. Until the Release that belongs to it the pool is not forgotten.
func (p *Pool) Hold() {
	p.set.guarded()
	p.held++
}

// Release takes a Hold back.
func (p *Pool) Release() {
	p.set.guarded()
	if p.held--; p.held < 0 {
		panic("bug: a pool was released more often than held")
	}
}

// forget drops the pools that nobody has used for long enough. A client that wants one of them makes it anew.
func (s *Set) forget(now time.Duration) {
	s.pools = slices.DeleteFunc(s.pools, func(p *Pool) bool {
		if !p.unused(now) {
			return false
		}
		delete(s.byKey, p.Key)
		p.database.disown(s.database, p.Key.Database)
		p.user.disown(s.user, p.Key.User)
		s.act(Action{Kind: ActForget, Pool: p})
		return true
	})
}

// unused reports whether the pool may be forgotten. One with a minimum size has work to do even if PostgreSQL is down just now, and while a
// login has failed a moment ago its words are remembered.
func (p *Pool) unused(now time.Duration) bool {
	if p.held > 0 || p.open > 0 || p.waiting > 0 || p.wanted && p.limits.MinSize > 0 || now < p.retryAt {
		p.usedAt = now
		return false
	}
	if p.bare && now-p.usedAt >= bareIdleMax {
		return true
	}
	return p.limits.PoolIdleTimeout > 0 && now-p.usedAt >= p.limits.PoolIdleTimeout
}
