package proxy

import (
	"sync/atomic"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// serverPool is a pool with what the proxy knows of it. It is made at the first login to (listener, database, user), and forgotten when
// nobody has used it for pool_idle_timeout.
type serverPool struct {
	// immutable
	key      pool.Key
	mode     relay.Mode
	listener *listener

	pool    *pool.Pool // guarded by Proxy.mu
	welcome welcome
	limits  atomic.Pointer[poolSettings] // replaced by Reload
	place   atomic.Pointer[place]        // replaced by Reload, after limits
	dials   dialCounts
	numbers stats.Pool // names the pool in the counters
	// relievedAt is when an idle transaction was last ended for the sake of a waiter; any loop.
	relievedAt atomic.Int64
	// catalogue is that of the pool's database; nil: it has no use for one. Set by the first login.
	catalogue atomic.Pointer[databaseCatalogue]
}

// dialCounts are written by dialling goroutines.
type dialCounts struct {
	connects, failures atomic.Uint64
}

// poolSettings is what the configuration says of one pool.
type poolSettings struct {
	resolved   config.Resolved
	location   location
	pool       pool.Limits
	link       relay.Limits
	clientIdle time.Duration
	resetQuery string
	checkQuery string
	isolation  isolation

	longTransaction time.Duration // 0: never promoted
	idlePressure    time.Duration // idle_transaction_pressure_timeout; 0: never
	promoteTo       string        // listener whose pool takes promoted servers; empty: none
	sessionListener string        // the same, also where nothing is promoted
	refusesState    bool          // what only a connection can hold is refused

	// statementsMax is max_prepared_statements; 0 where they are not tracked.
	statementsMax int

	defersBegin bool
	lends       bool // session clients lend their servers while they are idle
}

// discardAll takes back everything that a session has set or made (manual, DISCARD).
const discardAll = "DISCARD ALL"

// resetQuery is what cleans a dirty server; empty: nobody wants it clean.
func (s *Server) resetQuery() string {
	if s.foreign || s.pool.mode != relay.Session {
		return discardAll
	}
	return s.pool.limits.Load().resetQuery
}

// setLimits puts settings in force. moved tells that the pool's servers are elsewhere now. One goroutine at a time calls it for a pool.
func (sp *serverPool) setLimits(limits *poolSettings) (moved bool) {
	sp.limits.Store(limits)
	sp.numbers.SetLongTransaction(limits.longTransaction)
	before := sp.place.Load()
	if before != nil && before.at == limits.location {
		return false
	}
	sp.place.Store(newPlace(limits.location))
	if before == nil {
		return false
	}
	before.leave()
	return true
}

func (sp *serverPool) checkQuery() string { return sp.limits.Load().checkQuery }

// ownShare is the part of a session pool, in per cent, that clients of the transaction port leave to those of the session port.
const ownShare = 50

// dialsMax is how many logins to PostgreSQL one pool has under way at once: enough to fill a pool in a moment, few enough not to storm
// a server that has just come up.
const dialsMax = 3

// poolFor finds or makes the pool of a client that has logged in. ok is false when the configuration has no such database. Whoever calls it
// holds the pool, and has to release it. Any goroutine may.
func (p *Proxy) poolFor(l *listener, database, user string) (sp *serverPool, ok bool) {
	key := pool.Key{Listener: l.name, Database: database, User: user}
	if !p.settings.Load().knows(key) {
		return nil, false
	}
	if sp = p.findPool(key); sp != nil {
		return sp, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	made := p.set.Lookup(key)
	if made == nil { // nobody was faster
		// Behind the lock: a reload that comes now finds either these settings changed already, or the pool.
		limits, ok := p.settings.Load().resolve(l.name, database, user)
		if !ok {
			return nil, false
		}
		sp = &serverPool{key: key, mode: l.mode, listener: l}
		sp.numbers = stats.Pool{Listener: key.Listener, Database: key.Database, User: key.User, PoolMode: l.mode.String()}
		sp.setLimits(limits)
		p.setBudgets(limits.resolved, key)
		made = p.set.Open(key, limits.pool, p.workers[0].clock())
		made.Owner, sp.pool = sp, made
	}
	made.Hold()
	return made.Owner.(*serverPool), true
}

// followsSessions reports that the clients of a pool are followed from server to server.
func followsSessions(sp *serverPool, limits *poolSettings) bool {
	return sp.mode != relay.Session && limits.isolation != isolationOff
}

// findPool finds a pool and holds it; nil if there is none.
func (p *Proxy) findPool(key pool.Key) *serverPool {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := p.set.Lookup(key)
	if found == nil {
		return nil
	}
	found.Hold()
	return found.Owner.(*serverPool)
}

// hold keeps a pool, which the caller holds already, for longer than that. Any goroutine.
func (p *Proxy) hold(sp *serverPool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sp.pool.Hold()
}

// release takes back what poolFor or hold has done. Any goroutine.
func (p *Proxy) release(sp *serverPool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sp.pool.Release()
}

// forget drops what the loops have counted for a pool that is no more.
func (p *Proxy) forget(sp *serverPool) {
	for _, w := range p.workers {
		w.loop.Post(func() {
			if counters := w.counters[sp]; counters != nil {
				w.applications.Forget(counters)
				delete(w.counters, sp)
			}
			w.forgetListening(sp)
		})
	}
}

// proofsKept is how long what a login has proved is kept although there is no pool for it yet, or no more.
const proofsKept = time.Minute

// forgetProofs drops what logins to pools that are no more have proved.
func (p *Proxy) forgetProofs() {
	type login struct{ database, user string }
	used := make(map[login]bool)
	for _, sp := range p.allPools() {
		used[login{sp.key.Database, sp.key.User}] = true
	}
	p.verifier.Forget(proofsKept, func(database, user string) bool { return used[login{database, user}] })
}

// setBudgets tells the pools what they share. The caller holds mu.
func (p *Proxy) setBudgets(r config.Resolved, key pool.Key) {
	p.set.SetDatabaseMax(key.Database, r.MaxDBConnections)
	p.set.SetUserMax(key.User, r.MaxUserConnections)
	p.set.SetUserWeight(key.User, p.settings.Load().cfg.Users[key.User].Weight)
}

// allPools is a copy that may be walked without the lock.
func (p *Proxy) allPools() []*serverPool {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*serverPool, 0, len(p.set.Pools()))
	for _, one := range p.set.Pools() {
		all = append(all, one.Owner.(*serverPool))
	}
	return all
}

// settings is a configuration made ready for the hot path. Immutable; Reload replaces it as a whole.
type settings struct {
	cfg                *config.Config
	clientIdleTimeouts bool // some pool has time-outs for clients without a server
}

func newSettings(cfg *config.Config) *settings {
	s := &settings{cfg: cfg}
	for i := range cfg.Listeners {
		s.clientIdleTimeouts = s.clientIdleTimeouts || cfg.Listeners[i].ClientIdleTimeout > 0
	}
	for _, u := range cfg.Users {
		s.clientIdleTimeouts = s.clientIdleTimeouts || u.ClientIdleTimeout > 0
	}
	return s
}

// knows reports whether the configuration has the database. A listener that is gone from it serves the pools that it has until a restart.
func (s *settings) knows(key pool.Key) bool {
	l := s.cfg.Listener(key.Listener)
	if l == nil {
		return true
	}
	_, ok := s.cfg.Resolve(l, key.Database, key.User)
	return ok
}

// resolve works out the settings of one pool. ok is false when there is no such database, or no such listener any more.
func (s *settings) resolve(listener, database, user string) (*poolSettings, bool) {
	l := s.cfg.Listener(listener)
	if l == nil {
		return nil, false
	}
	r, ok := s.cfg.Resolve(l, database, user)
	if !ok {
		return nil, false
	}
	checkDelay := r.ServerCheckDelay
	if l.ServerCheckQuery == "" {
		checkDelay = 0 // nothing to check with
	}
	return &poolSettings{
		resolved: r,
		location: locationOf(&r, &s.cfg.Server),
		pool: pool.Limits{
			Size: r.PoolSize, MinSize: r.MinPoolSize, Reserve: r.ReservePoolSize, ReserveTimeout: r.ReservePoolTimeout,
			WaitTimeout: r.QueryWaitTimeout, WaitNotify: l.QueryWaitNotify,
			Lifetime: r.ServerLifetime, IdleTimeout: l.ServerIdleTimeout, PoolIdleTimeout: l.PoolIdleTimeout,
			LoginRetry: s.cfg.Server.LoginRetry, CheckDelay: checkDelay,
			RoundRobin: l.ServerRoundRobin, DialsMax: dialsMax, OwnShare: ownShare, LendAfter: l.LendIdleAfter,
		},
		link: relay.Limits{
			IdleTransaction: r.IdleTransactionTimeout, Transaction: r.TransactionTimeout, Query: r.QueryTimeout,
		},
		clientIdle: r.ClientIdleTimeout,
		resetQuery: l.ServerResetQuery,
		isolation:  parseIsolation(l.Isolation),
		checkQuery: checkQueryText(l.ServerCheckQuery),

		longTransaction: l.LongTransaction,
		idlePressure:    l.IdleTransactionPressureTimeout,
		promoteTo:       s.cfg.PromotionTarget(l),
		sessionListener: s.cfg.SessionListener(l),
		refusesState:    l.PoolMode == relay.Transaction.String() && l.Promotion == "error",

		statementsMax: statementsMax(l),
		defersBegin:   defersBegin(l),
		lends:         lendsIdle(l),
	}, true
}

// statementsMax: the statements of a session that keeps its server are PostgreSQL's business.
func statementsMax(l *config.Listener) int {
	if l.PoolMode == relay.Session.String() && !lendsIdle(l) {
		return 0
	}
	return l.MaxPreparedStatements
}

// checkQueryText knows PgBouncer's word for the cheapest query there is.
func checkQueryText(q string) string {
	if q == "<empty>" {
		return ""
	}
	return q
}
