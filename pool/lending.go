package pool

import "time"

// In session mode a client keeps its server until it leaves. While the client is between transactions, and the owner knows that it holds
// nothing which needs this connection, the server is lendable: nobody else gets it as long as nobody waits. When somebody waits whom no
// other server can help, the longest lendable one is called back as soon as it has been so for LendAfter. Its client gets another when it
// goes on, and waits then, as a returning one, ahead of those that never had a server.

// Rest says that the client of a lent server is between transactions and holds nothing that needs this connection.
func (p *Pool) Rest(s *Server, now time.Duration) {
	p.set.guarded()
	if p.limits.LendAfter == 0 || s.listens || s.Dedicated != nil || s.wants != nil {
		return
	}
	s.lendableAt = now
	s.moveTo(ServerLendable)
}

// Resume says that the client of a server that rests, or was called back, goes on. It costs nothing for a server that does not rest.
func (p *Pool) Resume(s *Server, now time.Duration) {
	p.set.guarded()
	switch s.state {
	case ServerLendable:
		s.moveTo(ServerActive)
	case ServerRecalled:
		s.moveTo(ServerActive)
		p.grow(now) // somebody counted on it
	}
}

// nextLendable is the server that has been lendable for longest, if that is LendAfter; nil otherwise.
func (p *Pool) nextLendable(now time.Duration) *Server {
	s := p.states[ServerLendable].Last()
	if s == nil || p.limits.LendAfter == 0 || now-s.lendableAt < p.limits.LendAfter {
		return nil
	}
	return s
}

// recall asks the owner to give a lendable server back.
func (s *Server) recall() {
	s.moveTo(ServerRecalled)
	s.pool.set.act(Action{Kind: ActRecall, Pool: s.pool, Server: s})
}

// recallLendable calls back lendable servers for the waiters for which no server is on its way.
func (p *Pool) recallLendable(now time.Duration) {
	for p.short(now) {
		s := p.nextLendable(now)
		if s == nil {
			return
		}
		s.recall()
	}
}
