package pool

import "time"

// Facts tells the gate in which condition the owner gives a server back.
type Facts struct {
	TxStatus        byte // of the last ReadyForQuery
	RepliesOwed     int
	InCopy          bool
	MidMessage      bool // half a message is on its way, in either direction
	Unread          bool // bytes of the server's have not been looked at
	Doubt           bool // its stream can no longer be trusted
	Lost            bool // it has said that it ends
	CancelsInFlight int
	Dirty           bool // must be cleaned before another client gets it
}

// Clean reports that no fact speaks against lending the server to any client.
func (f Facts) Clean() bool { return f == Facts{TxStatus: 'I'} }

// OutcomeKind says where the gate has sent a server.
type OutcomeKind uint8

// The outcomes. The owner carries out what they ask for; no Action repeats it.
const (
	Idle          OutcomeKind = iota // ready for any client
	Lent                             // it is the Waiter's now
	Tested                           // send the reset query, then Checkin
	BeingCanceled                    // wait for the cancel requests, then CancelDone
	Closing                          // close it, then Closed
)

// Outcome says where the gate has sent a server, and what the owner has to do.
type Outcome struct {
	Kind   OutcomeKind
	Waiter *Waiter     // Lent
	Reason CloseReason // Closing
}

// Checkin is the gate: the only way a server becomes reusable. Its conditions are invariant 1, in order.
func (p *Pool) Checkin(s *Server, f Facts, now time.Duration) Outcome {
	p.set.guarded()
	if s.home == p {
		p.ownAt = now
	}
	switch {
	case s.state == ServerClosing:
		return Outcome{Kind: Closing, Reason: CloseDoubt}
	case f.Lost:
		return p.refuse(s, CloseLost, now)
	case f.Doubt:
		return p.refuse(s, CloseDoubt, now)
	case f.MidMessage:
		return p.refuse(s, CloseMidMessage, now)
	case f.InCopy:
		return p.refuse(s, CloseInCopy, now)
	case f.RepliesOwed != 0:
		return p.refuse(s, CloseRepliesOwed, now)
	case f.Unread:
		return p.refuse(s, CloseUnreadBytes, now)
	case f.TxStatus != 'I':
		return p.refuse(s, CloseInTransaction, now)
	case f.CancelsInFlight > 0:
		p.keepBack(s, ServerBeingCanceled, now)
		return Outcome{Kind: BeingCanceled}
	case s.Dedicated != nil:
		return p.refuse(s, CloseDedicated, now)
	case s.stale():
		return p.refuse(s, CloseStale, now)
	case s.expired(now):
		return p.refuse(s, CloseLifetime, now)
	case p.excess():
		return p.refuse(s, CloseOverSize, now)
	case f.Dirty:
		p.keepBack(s, ServerTested, now)
		return Outcome{Kind: Tested}
	}
	return p.release(s, now)
}

// CancelDone brings a server whose cancel requests have all been delivered through the gate again.
func (p *Pool) CancelDone(s *Server, f Facts, now time.Duration) Outcome { return p.Checkin(s, f, now) }

// keepBack changes the state of a server that nobody may have yet. A waiter may have counted on it.
func (p *Pool) keepBack(s *Server, st ServerState, now time.Duration) {
	if s.state != st {
		s.moveTo(st)
		p.grow(now)
	}
}

// limited reports whether waiters may have to wait for the end of its client's use, whatever is free: there may be so many of its kind only.
func (s *Server) limited() bool {
	return s.state.linked() && (s.home != s.pool || s.use != UseQuick)
}

// release hands a clean server straight to the next waiter; without one it is idle. A pool that starves may get its place instead.
func (p *Pool) release(s *Server, now time.Duration) Outcome {
	s.usedAt = now
	limited := s.limited()
	w := p.next(now)
	switch {
	case w == nil:
		s.moveTo(ServerIdle)
		if limited {
			p.grow(now)
		}
		if p.set.starving.Len() > 0 {
			p.set.makeRoom(now)
		}
		return Outcome{Kind: Idle}
	case w.Dedicated != nil, w.promotes == nil && p.set.starving.Len() > 0 && p.yields(now):
		return p.refuse(s, CloseEvicted, now)
	}
	if w = p.pick(w, s.Loop); w.promotes != nil {
		return p.trade(s, w, now)
	}
	p.lend(s, w)
	if limited {
		p.grow(now)
	} else {
		p.letIn(now)
	}
	return Outcome{Kind: Lent, Waiter: w}
}

// refuse closes a server at the gate. A waiter may have counted on it.
func (p *Pool) refuse(s *Server, r CloseReason, now time.Duration) Outcome {
	s.moveTo(ServerClosing)
	p.grow(now)
	return Outcome{Kind: Closing, Reason: r}
}

// Close says that the owner closes a server, whatever it was doing. It counts until Closed.
func (p *Pool) Close(s *Server, now time.Duration) {
	p.set.guarded()
	if s.state != ServerClosing {
		s.moveTo(ServerClosing)
		p.grow(now)
	}
}

// close closes an idle server by an Action.
func (p *Pool) close(s *Server, r CloseReason) {
	s.moveTo(ServerClosing)
	p.set.act(Action{Kind: ActClose, Pool: p, Server: s, Reason: r})
}

// Closed says that a server is gone: PostgreSQL has freed its place.
func (p *Pool) Closed(s *Server, now time.Duration) {
	p.set.guarded()
	s.leave()
	p.set.feed(p, now)
}
