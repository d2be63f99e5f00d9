package pool

import "fmt"

// Verify walks every invariant that holds between two calls. For tests and the simulation.
func (s *Set) Verify() error {
	s.guarded()
	want := make(map[*budget]budget)
	if len(s.byKey) != len(s.pools) {
		return fmt.Errorf("%d pools can be found, there are %d", len(s.byKey), len(s.pools))
	}
	for _, p := range s.pools {
		if s.byKey[p.Key] != p || s.database[p.Key.Database] != p.database || s.user[p.Key.User] != p.user {
			return fmt.Errorf("pool %v cannot be found, or shares its budgets with nobody", p.Key)
		}
		if err := p.verify(); err != nil {
			return fmt.Errorf("pool %v: %w", p.Key, err)
		}
		for _, b := range p.budgets() {
			w := want[b]
			w.open, w.closing, w.listening = w.open+p.open, w.closing+p.states[ServerClosing].Len(), w.listening+p.listening
			want[b] = w
		}
	}
	for b, w := range want {
		if b.open != w.open || b.closing != w.closing || b.listening != w.listening {
			return fmt.Errorf("a budget counts %d servers, %d closing and %d that listen; its pools have %d, %d and %d",
				b.open, b.closing, b.listening, w.open, w.closing, w.listening)
		}
	}
	return nil
}

func (p *Pool) verify() error {
	if err := p.verifyServers(); err != nil {
		return err
	}
	waiting := 0
	for c := range p.queues {
		q := &p.queues[c]
		for w := q.First(); w != nil; w = w.link.Next() {
			waiting++
			if err := p.verifyWaiter(w); err != nil {
				return err
			}
			if w.queue != q || w.class() != Class(c) {
				return fmt.Errorf("a waiter of class %d is in queue %d", w.class(), c)
			}
			if next := w.link.Next(); next != nil && next.EnqueuedAt < w.EnqueuedAt {
				return fmt.Errorf("queue %d is out of order", c)
			}
		}
		if q.Len() == 0 && q.passed != 0 {
			return fmt.Errorf("queue %d is empty and was passed over", c)
		}
	}
	if waiting != p.waiting {
		return fmt.Errorf("the queues count %d waiters and have %d", p.waiting, waiting)
	}
	if n := p.waitingForAny(); n > p.coming() && p.states[ServerIdle].Len() > 0 {
		return fmt.Errorf("%d wait while %d servers are idle and %d on their way", n, p.states[ServerIdle].Len(), p.coming())
	}
	return nil
}

// waitingForAny counts the waiters that any server would help, whatever the time is.
func (p *Pool) waitingForAny() (n int) {
	for _, c := range [...]Class{ClassReturning, ClassQuick} {
		for w := p.queues[c].First(); w != nil; w = w.link.Next() {
			if w.Dedicated == nil && w.home == p {
				n++
			}
		}
	}
	return n
}

// verifyServers counts the servers anew.
func (p *Pool) verifyServers() error {
	n, listening, quick, slow, guests := 0, 0, 0, 0, 0
	for st := range serverStates {
		walked, dedicated := 0, 0
		for sv := p.states[st].First(); sv != nil; sv = sv.place.Next() {
			walked++
			if err := sv.verify(); err != nil {
				return err
			}
			if sv.Dedicated != nil {
				dedicated++
			}
			if sv.listens {
				listening++
			}
			switch {
			case sv.state != st || sv.pool != p:
				return fmt.Errorf("a server of state %s is in list %s", sv.state, st)
			case !st.linked():
			case sv.home != p:
				guests++
			case sv.use == UseQuick:
				quick++
			default:
				slow++
			}
		}
		if walked != p.states[st].Len() || dedicated != p.states[st].dedicated {
			return fmt.Errorf("list %s counts %d servers and has %d", st, p.states[st].Len(), walked)
		}
		n += walked
	}
	switch {
	case listening != p.listening || listening > 1:
		return fmt.Errorf("%d servers listen, %d are counted", listening, p.listening)
	case n != p.open:
		return fmt.Errorf("%d servers are counted, %d are in lists", p.open, n)
	case quick != p.quick || slow != p.slow.Len() || guests != p.guests.Len():
		return fmt.Errorf("%d quick, %d slow clients and %d guests are counted; there are %d, %d and %d",
			p.quick, p.slow.Len(), p.guests.Len(), quick, slow, guests)
	}
	return nil
}

// verify checks one server by itself.
func (s *Server) verify() error {
	switch {
	case !s.state.linked() && (s.home != nil || s.borrower != nil || s.use != UseQuick || s.refuge != nil || s.wants != nil):
		return fmt.Errorf("a server that is %s has a client", s.state)
	case s.state.linked() && s.home == nil:
		return fmt.Errorf("a server that is %s has no client", s.state)
	case s.wants != nil && s.wants.promotes != s:
		return fmt.Errorf("a server wants to move by a waiter that does not know of it")
	case s.Dedicated == nil:
		return nil
	case s.state != ServerNew && s.state != ServerActive && s.state != ServerBeingCanceled && s.state != ServerClosing:
		return fmt.Errorf("a dedicated server is %s", s.state)
	case s.opensFor != nil && s.opensFor.opening != s:
		return fmt.Errorf("a dedicated server is opened for a waiter that does not know of it")
	}
	return nil
}

func (p *Pool) verifyWaiter(w *Waiter) error {
	if s := w.opening; s != nil && (w.Dedicated == nil || s.opensFor != w || s.state != ServerNew || s.pool != p) {
		return fmt.Errorf("a waiter's own server is %s and does not know of it", s.state)
	}
	if s := w.promotes; s != nil && (s.wants != w || s.state != ServerActive || s.pool == p) {
		return fmt.Errorf("a waiter has a server that is %s and does not know of it", s.state)
	}
	if w.home == nil {
		return fmt.Errorf("a waiter comes from no pool")
	}
	return nil
}
