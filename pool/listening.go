package pool

// A server of a transaction pool may be kept to listen for the clients of all others (LISTEN). It is lent like any other, and counts like
// any other, for as long as some client listens. So there must be places left for clients that come for a query.

// MayListen reports whether a server of the pool may be kept for listening: the pool has none, and it leaves a place in every budget.
func (p *Pool) MayListen() bool {
	p.set.guarded()
	return p.listening == 0 && p.spares(1)
}

// MayGoOnListening is MayListen for a pool that has one: the settings may have changed.
func (p *Pool) MayGoOnListening() bool {
	p.set.guarded()
	return p.spares(0)
}

// spares reports whether so many more servers for listening leave a place for others.
func (p *Pool) spares(more int) bool {
	for _, b := range p.budgets() {
		if b.listening+more >= b.max {
			return false
		}
	}
	return p.limits.Size > 1
}

// Listen keeps a lent server for listening, until it changes its state. The caller has asked MayListen.
func (p *Pool) Listen(s *Server) {
	p.set.guarded()
	if s.pool != p || s.state != ServerActive || s.listens || !p.MayListen() {
		panic("bug: only a lent server can be kept for listening, and one for a pool")
	}
	s.listens = true
	p.countListening(1)
}

func (p *Pool) countListening(n int) {
	p.listening += n
	for _, b := range p.budgets() {
		b.listening += n
	}
}

// stopListening is called when a server changes its state.
func (s *Server) stopListening() {
	if s.listens {
		s.listens = false
		s.pool.countListening(-1)
	}
}
