package pool

import (
	"time"

	"github.com/hybridbouncer/hybridbouncer/internal/list"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Server is the pool's record of one connection to PostgreSQL.
type Server struct {
	// set by the owner
	Owner any // the owner's own record
	Loop  int // index of the loop that owns the socket
	// Session is what its parameters are, as far as the owner knows. A client that wants the same gets it first.
	Session sqltext.Session

	// immutable after dial
	// Dedicated is that of the waiter it is opened for; nil: it serves any client.
	Dedicated any
	bornAt    time.Duration
	expireAt  time.Duration // lifetime with its jitter; 0: never

	// changed by moveTo, enter and use alone
	pool  *Pool
	state ServerState
	place list.Node[Server] // in the list of its state
	role  list.Node[Server] // in Pool.guests or Pool.slow

	// of a linked server
	borrower *Waiter // for Verify; nil for a server lent without a queue
	home     *Pool   // the pool of the client that has it; another than pool: it is a guest there
	use      Use
	refuge   *Pool // the pool that it may be promoted to while it is pinned

	wants      *Waiter // in the queue of another pool, to be promoted; nil otherwise
	opensFor   *Waiter // in the queue, with Dedicated; nil: lent, or that waiter has left
	listens    bool    // see Pool.Listen
	usedAt     time.Duration
	lendableAt time.Duration // when it last became lendable
}

// Use says what a client needs its server for.
type Use uint8

// The uses.
const (
	UseQuick  Use = iota // one transaction, as far as anybody knows
	UseLong              // a transaction that is known to be long before it begins
	UsePinned            // state that only this connection can hold
)

// State is where the server is.
func (s *Server) State() ServerState { return s.state }

// Pool is the pool it counts in.
func (s *Server) Pool() *Pool { return s.pool }

// Use is what its client needs it for.
func (s *Server) Use() Use { return s.use }

// useFor changes what a linked server is needed for.
func (s *Server) useFor(u Use) {
	s.count(-1)
	s.use = u
	s.count(1)
}

// serverList holds the servers of one state: the most recently added first, idle ones by when they were used.
type serverList struct {
	list.List[Server]
	dedicated int // of them
}

// insert puts a server at the front, or behind those that were used later. The first idle server is the one used last.
func (l *serverList) insert(s *Server) {
	before := l.First()
	if s.state != ServerIdle || before == nil || before.usedAt <= s.usedAt {
		l.PushFront(&s.place, s)
	} else {
		before = l.Last()
		for before.usedAt < s.usedAt {
			before = before.place.Prev()
		}
		l.InsertAfter(&s.place, s, &before.place)
	}
	if s.Dedicated != nil {
		l.dedicated++
	}
}

func (l *serverList) remove(s *Server) {
	l.Remove(&s.place)
	if s.Dedicated != nil {
		l.dedicated--
	}
}
