package proxy

import (
	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
)

// Lending: on a session listener a client keeps its server between its transactions, and lends it when another waits. Its parameters and prepared
// statements are followed as on a transaction listener, so that it goes on with any server. What only its connection can hold ends that: from then
// on the server is the client's own (Kept, or dirty) until it leaves or says DISCARD ALL. A client with startup parameters that servers do not
// report does not lend: a RESET has to give them back at once, on its own server. The pool decides whose server is taken; see pool/lending.go.

// lendsIdle reports whether the clients of a listener may lend their servers.
func lendsIdle(l *config.Listener) bool {
	return l.PoolMode == relay.Session.String() && l.LendIdleAfter > 0 && l.MaxPreparedStatements > 0 && l.ServerResetQuery != "" &&
		parseIsolation(l.Isolation) != isolationOff
}

// restServer tells the pool that a client between transactions could do without its server.
func (w *worker) restServer(c *Client, s *Server) {
	if !c.lends || s.resting || s.relay.Kept || s.dirty || s.listens || c.listens != nil || s.applying || s.asked != nil || c.relay.MidMessage() {
		return
	}
	s.resting = true
	w.pools(func() {
		s.ps.Pool().Rest(s.ps, w.loop.Now())
	})
}

// resumeServer tells the pool that a client goes on, if its server rests.
func (w *worker) resumeServer(c *Client) {
	s := c.server
	if s == nil || !s.resting {
		return
	}
	s.resting = false
	w.pools(func() {
		s.ps.Pool().Resume(s.ps, w.loop.Now())
	})
	w.act()
}

// recalled gives the server of an idle client to another, unless the client has gone on meanwhile.
func (w *worker) recalled(s *Server) {
	c := s.client
	if c == nil || !s.resting {
		return
	}
	if c.conn.Unread() || s.saysMore() || s.parting != nil || s.awaitsCancel() {
		w.resumeServer(c)
		return
	}
	c.returning = true
	idleSince := s.clocks.Progress
	w.unlink(c, s)
	c.idleSince = idleSince
	w.checkin(s)
	w.act()
}

// returns marks the waiter of a client whose server was lent to another.
func (c *Client) returns(wt *pool.Waiter) {
	wt.Returning, c.returning = c.returning, false
}
