package pool

// A server of a transaction pool may be kept to listen for the clients of all others (LISTEN). It is lent like any other, and counts like
// any other, for as long as somebody listens; so there must be places left for those who come for a query.

// MayListen reports whether a server of the pool may be kept for listening: the pool has none, and it leaves a place in every budget.
func (p *Pool) MayListen() bool {
	p.set.guarded()
	return p.listening == 0 && p.limits.Size > 1 && p.database.spares(1) && p.user.spares(1)
}

// MayGoOnListening is MayListen for a pool that has one: the settings may have changed.
func (p *Pool) MayGoOnListening() bool {
	p.set.guarded()
	return p.limits.Size > 1 && p.database.spares(0) && p.user.spares(0)
}

// spares reports whether so many more servers for listening leave a place for others.
func (b *budget) spares(more int) bool { return b.max == 0 || b.listening+more < b.max }

// Listen keeps a lent server for listening, until it changes its state. The caller has asked MayListen.
func (p *Pool) Listen(s *Server) {
	p.set.guarded()
	if s.pool != p || s.state != ServerActive || s.listens || !p.MayListen() {
		panic("bug: only a lent server can be kept for listening, and one for a pool")
	}
	s.listens = true
	p.listens(1)
}

func (p *Pool) listens(n int) {
	p.listening += n
	p.database.listening += n
	p.user.listening += n
}

// leavesListening is called when a server changes its state.
func (s *Server) leavesListening() {
	if s.listens {
		s.listens = false
		s.pool.listens(-1)
	}
}
