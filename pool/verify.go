package pool

import "fmt"

// Verify walks every invariant that holds between two calls. For tests and the simulation.
func (s *Set) Verify() error {
	s.guarded()
	open, closing := make(map[*budget]int), make(map[*budget]int)
	listening := make(map[*budget]int)
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
		for _, b := range []*budget{p.database, p.user} {
			open[b] += p.open
			closing[b] += p.states[ServerClosing].n
			listening[b] += p.listening
		}
	}
	for b, n := range open {
		if b.listening != listening[b] {
			return fmt.Errorf("a budget counts %d servers that listen, its pools have %d", b.listening, listening[b])
		}
		if b.open != n || b.closing != closing[b] {
			return fmt.Errorf("a budget counts %d servers and %d closing, its pools have %d and %d", b.open, b.closing, n, closing[b])
		}
	}
	return nil
}

func (p *Pool) verify() error {
	n, listening := 0, 0
	for st := range serverStates {
		walked := 0
		for sv := p.states[st].first; sv != nil; sv = sv.next {
			walked++
			if err := sv.verifyDedicated(); err != nil {
				return err
			}
			if sv.listens {
				listening++
			}
			if sv.state != st || sv.pool != p {
				return fmt.Errorf("a server of state %s is in list %s", sv.state, st)
			}
		}
		if walked != p.states[st].n {
			return fmt.Errorf("list %s counts %d servers and has %d", st, p.states[st].n, walked)
		}
		n += walked
	}
	if listening != p.listening || listening > 1 {
		return fmt.Errorf("%d servers listen, %d are counted", listening, p.listening)
	}
	if n != p.open {
		return fmt.Errorf("%d servers are counted, %d are in lists", p.open, n)
	}
	waiting := 0
	for w := p.waiters.first; w != nil; w = w.next {
		waiting++
		if s := w.opening; s != nil && (w.Dedicated == nil || s.opensFor != w || s.state != ServerNew || s.pool != p) {
			return fmt.Errorf("a waiter's own server is %s and does not know of it", s.state)
		}
		if s := w.promotes; s != nil && (s.wants != w || s.state != ServerActive || s.pool == p) {
			return fmt.Errorf("a waiter brings a server that is %s and does not know of it", s.state)
		}
		if w.next != nil && w.next.EnqueuedAt < w.EnqueuedAt {
			return fmt.Errorf("the queue is out of order")
		}
	}
	if waiting != p.waiters.n {
		return fmt.Errorf("the queue counts %d waiters and has %d", p.waiters.n, waiting)
	}
	w := p.waiters.unopened()
	if w == nil {
		return nil
	}
	stuck := p.short()
	if w.Dedicated != nil {
		stuck = p.open >= p.limits.Size+p.limits.Reserve && p.states[ServerClosing].n == 0
	}
	if stuck && p.states[ServerIdle].n > 0 {
		return fmt.Errorf("%d wait while %d servers are idle", waiting, p.states[ServerIdle].n)
	}
	if w.promotes != nil && p.open < p.limits.Size {
		return fmt.Errorf("a server waits for a place although there are %d of %d", p.open, p.limits.Size)
	}
	return nil
}

// verifyDedicated: such a server is never idle, and waits for nobody but the one it is opened for.
func (s *Server) verifyDedicated() error {
	switch {
	case s.Dedicated == nil:
		return nil
	case s.state != ServerNew && s.state != ServerActive && s.state != ServerBeingCanceled && s.state != ServerClosing:
		return fmt.Errorf("a dedicated server is %s", s.state)
	case s.opensFor != nil && s.opensFor.opening != s:
		return fmt.Errorf("a dedicated server is opened for a waiter that does not know of it")
	}
	return nil
}
