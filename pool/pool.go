// Package pool owns the servers as countable things: which are idle, lent, being cleaned or closed, which waiter gets the next one, and how
// many there may be. Their number never exceeds the budgets, at any instant. It must not know clients, sockets, clocks or goroutines: a
// borrower is a Waiter, time is an argument, and Actions tell the owner what to do in the world (dial, close, grant).
//
// Nothing here locks: the owner calls every method of a Set and of its Pools under one lock of its own.
//
// Read checkout.go and checkin.go; the conditions in Checkin are the reason this package exists. Then budget.go (how many servers there may
// be, and which pool gets the next place), waiter.go (in which order waiters are served), promotion.go (servers that move to another pool)
// and lending.go (servers of clients that are idle).
package pool

import (
	"math/rand/v2"
	"time"

	"github.com/hybridbouncer/hybridbouncer/internal/list"
)

// Key names a pool.
type Key struct{ Listener, Database, User string }

// Limits are the settings of one pool. 0 switches a time-out off.
type Limits struct {
	Size, MinSize, Reserve int
	ReserveTimeout         time.Duration // a waiter older than this may use the reserve
	WaitTimeout            time.Duration // query_wait_timeout
	WaitNotify             time.Duration // query_wait_notify
	Lifetime, IdleTimeout  time.Duration // of servers
	PoolIdleTimeout        time.Duration // of the pool itself, when it has neither servers nor anybody who may want one
	LoginRetry             time.Duration // the longest pause between failed logins
	CheckDelay             time.Duration // a server idle for longer is checked before it is lent
	RoundRobin             bool          // lend the longest idle server, not the most recent
	DialsMax               int           // logins under way at once; 0: no limit
	LendAfter              time.Duration // a lendable server idle for as long goes to a waiter; 0: none does
	OwnShare               int           // per cent of Size that guests leave to the pool's own clients while these use it
}

// Set is all pools with the budgets they share.
type Set struct {
	// Guard panics unless the owner holds its lock. With the build tag checks every method that reads or changes servers and waiters
	// calls it; nil: not checked.
	Guard func()

	pools    []*Pool
	byKey    map[Key]*Pool
	database map[string]*budget
	user     map[string]*budget
	total    total
	starving list.List[Pool] // see starve
	actions  []Action
	rnd      *rand.Rand
}

// Pool is the servers of one (listener, database, user) and the waiters for them.
type Pool struct {
	Key   Key
	Owner any // the owner's own

	set       *Set
	limits    Limits
	states    [serverStates]serverList
	open      int // servers of all states: what counts against Size
	listening int // of the open ones; see listening.go
	database  *budget
	user      *budget
	starves   list.Node[Pool] // in Set.starving

	// of the open ones, the linked servers by the client that has them; see promotion.go
	quick  int               // own clients with UseQuick
	slow   list.List[Server] // own clients with another use
	guests list.List[Server] // clients of other pools
	peak   peak
	ownAt  time.Duration // when a client of the pool itself last asked for a server or gave one back

	queues  [classes]waiterQueue
	waiting int // in all queues

	retryAt  time.Duration // no dial before
	pause    time.Duration // the last pause after a failed login; 0: the last login succeeded
	staleAt  time.Duration // servers born then or before are closed when next free; below 0: none is stale
	lastErr  error
	sends    bool // its servers may be promoted to another pool
	receives bool // servers of others are promoted to it
	wanted   bool // somebody has asked for a server that is not dedicated: until then there is no minimum

	held   int           // by those that may come for a server
	usedAt time.Duration // when it was last of any use
	bare   bool          // no server was ever opened
}

// NewSet makes an empty set. The seed decides the jitter of lifetimes and pauses.
func NewSet(seed uint64) *Set {
	return &Set{
		byKey: make(map[Key]*Pool), database: make(map[string]*budget), user: make(map[string]*budget), total: newTotal(),
		rnd: rand.New(rand.NewPCG(seed, seed)),
	}
}

// Open makes a pool, or returns the one there is.
func (s *Set) Open(k Key, l Limits, now time.Duration) *Pool {
	s.guarded()
	if p := s.byKey[k]; p != nil {
		return p
	}
	p := &Pool{
		Key: k, set: s, limits: l, database: budgetOf(s.database, k.Database), user: budgetOf(s.user, k.User), usedAt: now, bare: true,
		ownAt: never, staleAt: never,
	}
	p.database.pools++
	p.user.pools++
	for c := range p.queues {
		p.queues[c].pool = p
	}
	s.byKey[k] = p
	s.pools = append(s.pools, p)
	return p
}

// Lookup finds a pool; nil if there is none.
func (s *Set) Lookup(k Key) *Pool { return s.byKey[k] }

// Pools are all pools in the order of their opening. Valid until the next call of Open or Tick.
func (s *Set) Pools() []*Pool { return s.pools }

// SetLimits changes the settings of a pool while it lives. Servers beyond a smaller size are closed as they become free.
func (s *Set) SetLimits(p *Pool, l Limits, now time.Duration) {
	s.guarded()
	p.limits = l
	p.shrink()
	p.fill(now)
}

// Actions are what the owner must carry out, in order. They are handed over: the next call begins anew. Valid until the next call of any
// method.
func (s *Set) Actions() []Action {
	s.guarded()
	a := s.actions
	s.actions = s.actions[:0]
	return a
}

func (s *Set) act(a Action) { s.actions = append(s.actions, a) }

// ActionKind says what the owner has to do.
type ActionKind uint8

// The actions.
const (
	ActDial     ActionKind = iota // open Server (state new); answer with Dialed or DialFailed
	ActGrant                      // Server is Waiter's now
	ActClose                      // close Server (state closing), then call Closed
	ActCheck                      // send the check query to Server (state tested), then Checkin
	ActRecall                     // part Server (state recalled) from its client and Checkin, unless the client has gone on: then Resume
	ActExpire                     // Waiter has waited WaitTimeout and left the queue; Err: what PostgreSQL said to the last login, if that was no
	ActFail                       // Waiter left the queue: the pool cannot log in, Err says why
	ActNotify                     // Waiter has waited WaitNotify and goes on waiting
	ActPromoted                   // Waiter's own Server has its place, in Pool; it is still lent
	ActMoved                      // Server counts in Pool now; its state is as before
	ActForget                     // Pool is no more; Open makes another
)

// Action is something the owner must do.
type Action struct {
	Kind   ActionKind
	Pool   *Pool
	Server *Server
	Waiter *Waiter
	Err    error
	Reason CloseReason
	Waited time.Duration
}

// Limits are the pool's settings.
func (p *Pool) Limits() Limits { return p.limits }

// Count is how many servers are in a state.
func (p *Pool) Count(st ServerState) int {
	p.set.guarded()
	return p.states[st].Len()
}

// Open is how many servers count against the size, those being opened and closed included.
func (p *Pool) Open() int {
	p.set.guarded()
	return p.open
}

// Dedicated is how many of them serve, or will serve, one waiter alone; those that are closing no longer do.
func (p *Pool) Dedicated() int {
	p.set.guarded()
	return p.states[ServerNew].dedicated + p.states[ServerActive].dedicated
}

// Waiting is the length of the queue.
func (p *Pool) Waiting() int {
	p.set.guarded()
	return p.waiting
}

// OldestWait is the age of the oldest waiter; 0 when nobody waits.
func (p *Pool) OldestWait(now time.Duration) (age time.Duration) {
	p.set.guarded()
	for c := range p.queues {
		if w := p.queues[c].First(); w != nil {
			age = max(age, now-w.EnqueuedAt)
		}
	}
	return age
}

// Holding counts what the servers of a pool do, for an error that says why there is none.
type Holding struct {
	Max                    int // size and reserve
	Opening, Idle, Closing int
	Quick, Long, Pinned    int // servers of the pool's own clients, by use; lendable ones included
	Guests                 int // servers of clients of other pools
	Lendable               int // of the ones above, those whose client is idle and would lend them
	Dedicated              int // of the ones above, those opened for one client alone
	TotalOpen, TotalMax    int // servers of all pools and how many there may be; TotalMax 0: no limit
	DatabaseFull, UserFull bool
	PostgreSQLFull         error // what PostgreSQL said when it had no place for another; nil: it has
}

// Holding counts what the pool's servers do.
func (p *Pool) Holding() Holding {
	p.set.guarded()
	h := Holding{
		Max: p.limits.Size + p.limits.Reserve, Opening: p.states[ServerNew].Len(), Idle: p.states[ServerIdle].Len() + p.states[ServerTested].Len(),
		Closing: p.states[ServerClosing].Len() + p.states[ServerBeingCanceled].Len(), Quick: p.quick, Guests: p.guests.Len(),
		Lendable: p.states[ServerLendable].Len(), Dedicated: p.Dedicated(), TotalOpen: p.set.total.open,
		DatabaseFull: p.database.full(), UserFull: p.user.full(), PostgreSQLFull: p.set.total.err,
	}
	for s := p.slow.First(); s != nil; s = s.role.Next() {
		if s.use == UseLong {
			h.Long++
		} else {
			h.Pinned++
		}
	}
	if m := p.set.total.max; m != unlimited {
		h.TotalMax = m
	}
	return h
}
