package pool

import (
	"time"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Server is the pool's record of one connection to PostgreSQL.
type Server struct {
	Owner any // the owner's own record
	Loop  int // index of the loop that owns the socket
	// Session is what its parameters are, as far as the owner knows: who wants the same is served by it first.
	Session sqltext.Session
	// Dedicated is that of the waiter it is opened for; nil: it serves whoever comes. Immutable.
	Dedicated any

	pool     *Pool
	state    ServerState
	borrower *Waiter // for Verify: whom it was lent to; nil for one lent without a queue
	wants    *Waiter // in the queue of another pool, to be promoted; nil otherwise
	opensFor *Waiter // in the queue, with Dedicated; nil: lent, or that one has left
	listens  bool    // see Pool.Listen
	bornAt   time.Duration
	usedAt   time.Duration // when it last became idle
	expireAt time.Duration // lifetime with its jitter; 0: never

	next, prev *Server
}

// State is where the server is.
func (s *Server) State() ServerState { return s.state }

// Pool is the pool it counts in.
func (s *Server) Pool() *Pool { return s.pool }

// serverList is an intrusive list, most recently added first.
type serverList struct {
	first, last *Server
	n           int
	dedicated   int // of them
}

func (l *serverList) pushFront(s *Server) { l.insert(s, nil) }

// pushByUse puts one that comes from another pool behind those used later: the first idle server is the one used last.
func (l *serverList) pushByUse(s *Server) {
	behind := l.last
	for behind != nil && behind.usedAt < s.usedAt {
		behind = behind.prev
	}
	l.insert(s, behind)
}

// insert puts a server behind one of the list; nil: at its front.
func (l *serverList) insert(s, behind *Server) {
	s.prev, s.next = behind, l.first
	if behind != nil {
		s.next = behind.next
		behind.next = s
	} else {
		l.first = s
	}
	if s.next != nil {
		s.next.prev = s
	} else {
		l.last = s
	}
	l.n++
	if s.Dedicated != nil {
		l.dedicated++
	}
}

func (l *serverList) remove(s *Server) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		l.last = s.prev
	}
	s.next, s.prev = nil, nil
	l.n--
	if s.Dedicated != nil {
		l.dedicated--
	}
}
