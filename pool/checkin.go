package pool

import "time"

// Facts are what the owner knows of a server that is given back.
type Facts struct {
	TxStatus        byte // of the last ReadyForQuery
	RepliesOwed     int
	InCopy          bool
	MidMessage      bool // half a message is on its way, in either direction
	Unread          bool // bytes of the server's have not been looked at
	Doubt           bool // its stream can no longer be trusted
	Lost            bool // it has said that it ends
	CancelsInFlight int
	Dirty           bool // must be cleaned before anybody else gets it
}

// Clean reports that nothing of what the gate looks at speaks against a server.
func (f Facts) Clean() bool { return f == Facts{TxStatus: 'I'} }

// OutcomeKind is what became of a server at the gate.
type OutcomeKind uint8

// The outcomes. The owner carries out what they ask for; no Action repeats it.
const (
	Idle          OutcomeKind = iota // lendable
	Lent                             // it is the Waiter's now
	Tested                           // send the reset query, then Checkin
	BeingCanceled                    // wait for the cancel requests, then CancelDone
	Closing                          // close it, then Closed
)

// Outcome is what became of a server.
type Outcome struct {
	Kind   OutcomeKind
	Waiter *Waiter     // Lent
	Reason CloseReason // Closing
}

// Checkin is the gate: the only way a server becomes reusable. Its conditions are invariant 1, in order.
func (p *Pool) Checkin(s *Server, f Facts, now time.Duration) Outcome {
	p.set.guarded()
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
		if s.state != ServerBeingCanceled {
			s.moveTo(ServerBeingCanceled)
		}
		return Outcome{Kind: BeingCanceled}
	case s.Dedicated != nil:
		return p.refuse(s, CloseDedicated, now)
	case p.stale(s):
		return p.refuse(s, CloseStale, now)
	case p.expired(s, now):
		return p.refuse(s, CloseLifetime, now)
	case p.excess():
		return p.refuse(s, CloseOverSize, now)
	case f.Dirty:
		if s.state != ServerTested {
			s.moveTo(ServerTested)
		}
		return Outcome{Kind: Tested}
	}
	return p.release(s, now)
}

// CancelDone brings a server whose cancel requests have all been delivered through the gate again.
func (p *Pool) CancelDone(s *Server, f Facts, now time.Duration) Outcome { return p.Checkin(s, f, now) }

// release hands a clean server straight to the next waiter; without one it is idle.
func (p *Pool) release(s *Server, now time.Duration) Outcome {
	s.usedAt = now
	if w := p.next(now); w != nil {
		if w.Dedicated != nil {
			return p.refuse(s, CloseEvicted, now) // it wants the place
		}
		if w = p.waiters.pick(w, s.Loop); w.promotes != nil {
			return p.trade(s, w, now)
		}
		p.lend(s, w)
		p.letIn(now)
		return Outcome{Kind: Lent, Waiter: w}
	}
	s.moveTo(ServerIdle)
	return Outcome{Kind: Idle}
}

// refuse closes a server at the gate. A waiter may have counted on it.
func (p *Pool) refuse(s *Server, r CloseReason, now time.Duration) Outcome {
	s.moveTo(ServerClosing)
	p.revive(now)
	return Outcome{Kind: Closing, Reason: r}
}

// Close says that a server is being closed, whatever it was doing. It counts until Closed.
func (p *Pool) Close(s *Server, _ CloseReason, now time.Duration) {
	p.set.guarded()
	if s.state != ServerClosing {
		s.moveTo(ServerClosing)
		p.revive(now)
	}
}

// close closes an idle server by an Action.
func (p *Pool) close(s *Server, r CloseReason) {
	s.moveTo(ServerClosing)
	p.set.act(Action{Kind: ActClose, Pool: p, Server: s, Reason: r})
}

// Closed says that a server is gone: its place is free.
func (p *Pool) Closed(s *Server, now time.Duration) {
	p.set.guarded()
	p.bury(s)
	p.set.feed(p, now)
}

// bury forgets a server.
func (p *Pool) bury(s *Server) {
	p.states[s.state].remove(s)
	p.open--
	for _, b := range []*budget{p.database, p.user} {
		b.open--
		if s.state == ServerClosing {
			b.closing--
		}
	}
}
