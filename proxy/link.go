package proxy

import (
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// checkout takes a server for a client and links them. Otherwise the client has to wait: reads stop, what it has sent is kept, and the grant
// resumes it. waits reports that it stands in the queue: no server was free.
func (w *worker) checkout(c *Client) (linked, waits bool) {
	wt := w.newWaiter(c)
	c.returns(wt)
	wt.Session = sqltext.Session{Reported: c.settings, Own: c.relay.Own}
	var ps *pool.Server
	w.pools(func() {
		ps = c.pool.pool.Checkout(wt, w.loop.Now())
	})
	defer w.act()
	if ps != nil && ps.Loop == w.index {
		w.freeWaiter(wt)
		c.counters.Wait.Observe(0)
		w.link(c, serverOf(ps))
		return true, false
	}
	c.waiter = wt
	c.state = clientWaiting
	c.conn.PauseReads()
	if ps != nil {
		w.lend(serverOf(ps), wt) // it comes over from another loop
	}
	return false, ps == nil
}

// lend brings a server to the waiter it was granted to, from loop to loop if need be.
func (w *worker) lend(s *Server, wt *pool.Waiter) {
	to, from := w.proxy.workers[wt.Loop], w.proxy.workers[s.ps.Loop]
	switch {
	case from != w:
		from.loop.Post(func() { from.lend(s, wt); from.act() })
	case to == w:
		w.granted(s, wt)
	default:
		s.transit = true
		src := s.conn.Detach()
		w.servers.remove(s)
		to.loop.Post(func() { to.receive(s, src, wt); to.act() })
	}
}

// receive takes over a server that another loop has let go of. Ownership of src passes here.
func (w *worker) receive(s *Server, src eventloop.Source, wt *pool.Waiter) {
	s.transit = false
	s.worker = w
	w.servers.add(s)
	w.proxy.mu.Lock()
	s.ps.Loop = w.index
	w.proxy.mu.Unlock()
	err := w.loop.Adopt(&s.conn, src, s)
	if err != nil || s.lost {
		w.lostOnTheWay(s, wt, err)
		return
	}
	w.granted(s, wt)
}

// lostOnTheWay: the server died between two loops. Nothing of the client's has been sent: it queues again.
func (w *worker) lostOnTheWay(s *Server, wt *pool.Waiter, err error) {
	owner := wt.Owner
	w.freeWaiter(wt)
	s.gone(err)
	switch owner := owner.(type) {
	case *listenHost:
		owner.lostOnTheWay(wt)
	case *loginWait:
		w.queueLogin(owner)
	case *Client:
		if owner.state == clientWaiting && owner.waiter == wt {
			owner.waiter = nil
			owner.state = clientIdle
			if owner.info.replication != nil {
				owner.close(stats.ClientServerLost, protocol.ErrServerLost())
				return
			}
			owner.conn.ResumeReads()
		}
	}
}

// granted links a server to the client that has waited for it, and lets the client go on where it stopped.
func (w *worker) granted(s *Server, wt *pool.Waiter) {
	if h, ok := wt.Owner.(*listenHost); ok {
		h.obtained(s, wt)
		return
	}
	if wt.Owner == nil { // the client left the queue while the server was on its way
		w.freeWaiter(wt)
		w.checkin(s)
		return
	}
	waited := w.loop.Now() - wt.EnqueuedAt
	c, isClient := wt.Owner.(*Client)
	if !isClient {
		login := wt.Owner.(*loginWait)
		w.countersOf(login.pool).Wait.Observe(waited)
		w.freeWaiter(wt)
		if login.pool.welcome.trusted() == nil {
			s.asks = login // whether it is still in recovery
			w.checkServer(s)
			return
		}
		login.resolve(nil)
		w.checkin(s)
		return
	}
	w.freeWaiter(wt)
	if c.state != clientWaiting || c.waiter != wt {
		w.checkin(s) // it left while the server was on its way
		return
	}
	c.waiter = nil
	c.counters.Wait.Observe(waited)
	if s.replication != nil {
		w.linkReplication(c, s)
		return
	}
	w.link(c, s)
	if c.seeksRoom {
		c.seeksRoom = false
		w.moved(s) // it may be one of the session pool's
	}
	c.conn.ResumeReads()
}

// link joins a client and a server. What the server's settings lack goes ahead of the client's first bytes.
func (w *worker) link(c *Client, s *Server) {
	c.server, s.client, s.pool = s, c, c.pool
	c.state = clientActive
	c.counters.Active++
	c.held = false
	s.relay.Parts = c.pool.mode != relay.Session
	limits := c.pool.limits.Load()
	s.relay.Link(&c.relay, &c.counters.Tally, &w.desk, limits.statementsMax)
	c.relay.Session.Promotes = limits.refusesState || (limits.promoteTo != "" || c.lends) && c.relay.Session.Tracked
	s.clocks = relay.Clocks{Progress: w.loop.Now()}
	s.linkedAt, s.promotedAt = s.clocks.Progress, 0
	s.parting, s.rolledBack, s.drained = nil, false, 0
	c.conn.SetReadMax(0)
	w.watch()
	c.rebase(s)
	s.settled = c.settings
	c.relay.Session.Begun = c.info.base != (sqltext.Session{Reported: s.base})
	c.relay.Session.Restores = c.info.restores && c.relay.Session.Begun && s.replication == nil
	if c.relay.Session.Tracked {
		d := c.pool.catalogue.Load()
		known := d.get()
		c.relay.Session.SetCatalogue(known, d != nil && known == nil)
	}
	s.relay.Watch(&c.relay, &w.lexer)
	reset := c.resets(s)
	s.dirty, s.lastID = c.pool.mode == relay.Session && !c.lends, c.info.id
	if c.settings != s.settings || c.relay.Own != s.own || reset {
		w.applySettings(c, s, reset)
	}
	if c.relay.Deferred() {
		w.begin(c, s)
	}
}

// inject sends a statement of the proxy's own; its replies are dropped.
func (s *Server) inject(sql string) {
	s.relay.Inject()
	s.sendQuery(sql)
}

func (s *Server) sendQuery(sql string) {
	w := s.worker
	w.scratch = appendQuery(w.scratch[:0], sql)
	s.conn.Send(w.scratch)
}

func appendQuery(dst []byte, sql string) []byte {
	n := 4 + len(sql) + 1
	dst = append(dst, protocol.ClientQuery, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	dst = append(dst, sql...)
	return append(dst, 0)
}

// unlink parts a client and a server. Neither is closed.
func (w *worker) unlink(c *Client, s *Server) {
	if c.waiter != nil {
		w.leaveQueue(c)
	}
	s.cancelLate(true)
	c.torn = s.relay.Torn()
	c.application.Released(s.use(w.loop.Now()))
	c.server, s.client = nil, nil
	s.dirty, s.listens, s.resting = s.dirty || s.listens || c.lends && !c.returning, false, false
	s.relay.Unwatch()
	s.relay.Kept = false
	s.relay.Unlink()
	c.counters.Active--
	if c.state == clientActive {
		c.state = clientIdle
		c.idleSince = w.loop.Now()
		c.conn.SetReadMax(unlinkedReadMax)
		c.conn.ResumeReads()
	}
	s.conn.ResumeReads()
}

// settle is called when nothing is outstanding between a client and its server: the server goes back, unless it is the client's own, or
// the client waits for room to make it that.
func (w *worker) settle(s *Server) {
	c, parting := s.client, s.parting
	ends := parting != nil || w.draining
	if s.saysMore() || s.relay.MidMessage() {
		return // come again when that has been read
	}
	if s.awaitsCancel() {
		return // come again when that has been delivered
	}
	if (c.relay.Session.Pending() || c.settings != s.settled && c.relay.Session.Tracked) && !w.conclude(c, s, ends) {
		return // the server has been asked, and is settled again when it has answered
	}
	if (c.listens != nil || s.listens) && !w.settleListens(c, s, ends) {
		return
	}
	keeps := c.pool.mode == relay.Session || s.relay.Kept || c.waiter != nil
	if keeps && !ends {
		if c.waiter == nil || s.relay.Kept || !w.waitWithout(c, s) {
			w.stay(c, s)
		}
		return
	}
	w.unlink(c, s)
	w.checkin(s)
	switch {
	case w.draining:
		c.close(stats.ClientShutdown, protocol.ErrShutdown())
	case parting != nil:
		c.close(parting.why, parting.err)
	}
	w.act()
}

// stay lets a client go on that keeps its server, with what a RESET should have given it back.
func (w *worker) stay(c *Client, s *Server) {
	if c.waiter == nil && c.relay.Session.Tracked && (c.relay.Own != s.own || c.settings != s.settings) && !s.applying {
		w.applySettings(c, s, false)
	}
	c.goOn()
	if c.lends && c.waiter == nil {
		w.restServer(c, s)
	}
}

// facts are what the gate wants to know of a server.
func (s *Server) facts() pool.Facts {
	return pool.Facts{
		TxStatus: s.relay.TxStatus, RepliesOwed: s.relay.Owed(), InCopy: s.relay.InCopy(),
		MidMessage: s.relay.MidMessage() || s.conn.Backlog() > 0 || s.relay.BatchOpen(),
		Unread:     s.partialBytes > 0 || s.conn.Kept() > 0, Doubt: s.relay.Doubtful() || s.relay.Confused(), Lost: s.relay.SaidFatal() || s.relay.Leaving(),
		CancelsInFlight: s.cancels, Dirty: s.dirty && s.resetQuery() != "",
	}
}

// checkin gives a server back through the pool's gate.
func (w *worker) checkin(s *Server) {
	if s.place.left.Load() {
		s.retire(pool.CloseStale)
	}
	if s.outdated {
		w.closeServer(s, s.outdatedBy)
		return
	}
	if w.calm(s) {
		return
	}
	facts := s.facts()
	s.relay.Released()
	s.deadline, s.cancelAt = 0, 0
	var out pool.Outcome
	w.pools(func() {
		s.ps.Session = sqltext.Session{Reported: s.settings, Own: s.own}
		out = s.ps.Pool().Checkin(s.ps, facts, w.loop.Now())
		s.pool = s.ps.Pool().Owner.(*serverPool) // it may have been traded for one that is promoted
	})
	w.follow(s, out)
}

// follow carries out what the gate decided.
func (w *worker) follow(s *Server, out pool.Outcome) {
	switch out.Kind {
	case pool.Lent:
		w.lend(s, out.Waiter)
	case pool.Idle, pool.BeingCanceled:
	case pool.Tested:
		w.cleanServer(s)
	case pool.Closing:
		w.closeServer(s, out.Reason)
	}
}

// cleanServer sends server_reset_query. rest checks the server in when it is through.
func (w *worker) cleanServer(s *Server) {
	sql := s.resetQuery()
	s.dirty, s.foreign, s.own, s.lastID = false, false, sqltext.Settings{}, 0
	s.resetting = strings.EqualFold(sql, discardAll)
	s.deadline = w.loop.Now() + checkMax
	w.watch()
	s.inject(sql)
}

// checkServer sends server_check_query to a server that nobody has used for server_check_delay.
func (w *worker) checkServer(s *Server) {
	s.deadline = w.loop.Now() + checkMax
	w.watch()
	s.inject(s.pool.checkQuery())
}

// abandon parts a client that is gone from its server, and brings the server to rest. A query that goes on is canceled after goneGrace, or at
// once if the client has had that time.
func (w *worker) abandon(c *Client) {
	s := c.server
	now := w.loop.Now()
	s.cancelAt = now + goneGrace
	if p := s.parting; p != nil && p.until > 0 && now >= p.until {
		s.cancelAt = now
	}
	if c.relay.Session.Pending() || s.asked != nil || s.applying {
		s.dirty, s.asked, s.applying = true, nil, false // nobody will know what it has
		s.doubtOwn(c)
	}
	w.unlink(c, s)
	send, ok := s.relay.Abandon(&c.relay)
	if s.replication != nil {
		w.closeServer(s, pool.CloseDedicated)
		return
	}
	if !ok {
		w.closeServer(s, pool.CloseClientGone)
		return
	}
	s.conn.Send(send)
	s.deadline = s.cancelAt + drainMax
	w.cancelAbandoned(s, now)
	w.rest(s)
}

// cancelAgain is the pause before the next query in the pipeline of a client that is gone is canceled too.
const cancelAgain = 200 * time.Millisecond

// cancelAbandoned cancels the query of a client that is gone when its time is over, so that its server is free and PostgreSQL does not work
// on for nobody.
func (w *worker) cancelAbandoned(s *Server, now time.Duration) {
	if s.cancelAt > 0 && now >= s.cancelAt && s.cancels == 0 && !s.relay.Quiet() {
		s.cancelAt = now + cancelAgain
		s.cancel(nil)
	}
}

// rest is called whenever a server without a client may have come to rest: after its client left, or when a statement of the proxy's
// own is through.
func (w *worker) rest(s *Server) {
	switch {
	case s.relay.SaidFatal() || s.relay.Leaving():
		w.closeServer(s, pool.CloseLost)
		return
	case s.drained > drainBytesMax:
		w.closeServer(s, pool.CloseClientGone)
		return
	}
	switch {
	case s.deadline == 0 && s.partialBytes > 0 && s.hub == nil:
		w.closeServer(s, pool.CloseUnreadBytes) // it is idle: whoever got it next would get the rest of this
		return
	case s.deadline == 0 && s.outdated && s.hub == nil:
		w.closeServer(s, s.outdatedBy)
		return
	case s.deadline == 0 || !s.relay.Quiet() || s.saysMore():
		return // idle, or not there yet
	case s.cancels > 0 && s.relay.TxStatus != relay.StatusIdle:
		return // a cancel request on its way would hit the ROLLBACK: canceled comes here again
	}
	if s.relay.TxStatus != relay.StatusIdle {
		if s.rolledBack {
			w.closeServer(s, pool.CloseInTransaction)
			return
		}
		s.rolledBack = true
		s.inject("ROLLBACK")
		return
	}
	if s.resetting {
		s.resetting = false
		s.beginsAnew()
	}
	if s.asks != nil {
		s.pool.welcome.verify()
		s.asks.resolve(nil)
		s.asks = nil
	}
	w.checkin(s)
	w.act()
}

// closeServer says goodbye to a server. Its slot is free only when PostgreSQL has closed the socket (invariant 3), or after
// goodbyeMax.
func (w *worker) closeServer(s *Server, reason pool.CloseReason) {
	if s.closing {
		return
	}
	if c := s.client; c != nil {
		w.unlink(c, s)
		defer c.close(stats.ClientServerLost, protocol.ErrServerLost())
	}
	s.closing = true
	s.closeReason = reason
	now := w.loop.Now()
	w.pools(func() {
		if s.ps.State() != pool.ServerClosing {
			s.ps.Pool().Close(s.ps, now)
		}
	})
	s.leaveHub()
	if !s.relay.Quiet() {
		w.proxy.cancelServer(s)
	}
	if s.conn.Backlog() > 0 || s.relay.Doubtful() {
		s.gone(nil) // half a message is on its way: a goodbye would be taken for its rest
		return
	}
	s.conn.ResumeReads()
	s.conn.Send(terminateMessage)
	s.deadline = now + goodbyeMax
	w.watch()
}

var terminateMessage = []byte{protocol.ClientTerminate, 0, 0, 0, 4}

// tickServers looks at the clocks of linked, resting and closing servers. It reports whether there is anything to watch.
func (w *worker) tickServers(now time.Duration) (watched bool) {
	w.walk(func() {
		for s := w.servers.first; s != nil; {
			next := s.next
			if s.client != nil {
				watched = true
				w.tickLink(s, now)
			} else if s.deadline != 0 {
				watched = true
				w.tickDeadline(s, now)
			}
			s = next
		}
	})
	return watched
}

func (w *worker) tickLink(s *Server, now time.Duration) {
	c := s.client
	if s.replication != nil {
		return // a stream has no end, and a base backup may take its time
	}
	limits := c.pool.limits.Load()
	if p := s.parting; p != nil && p.until > 0 && now >= p.until {
		c.close(p.why, p.err)
		return
	}
	if c.waiter != nil {
		s.clocks.Progress = now // it waits for room in the session pool: it is not idle
	}
	partial := c.conn.Kept() > 0 && !c.conn.ReadsPaused()
	stalled := s.conn.Backlog() > 0 || c.conn.Backlog() > 0
	switch s.relay.Expired(now, &s.clocks, &limits.link, partial, stalled) {
	case relay.NoTimeout:
		if s.conn.Kept() > 0 && s.relay.Settled() && !s.conn.ReadsPaused() && now-s.clocks.Progress > drainMax {
			s.distrusted(protocol.ErrServerLost().WithDetail("the server began a message and did not end it; its connection was closed."))
			return
		}
		if w.idlesUnderPressure(s, now, limits.idlePressure) && !stalled {
			c.close(stats.ClientIdleTransaction, protocol.ErrIdleTransactionPressure(limits.idlePressure))
			return
		}
		w.tickPromotion(s, now, limits.longTransaction)
	case relay.IdleTransactionTimeout:
		c.close(stats.ClientIdleTransaction, protocol.ErrIdleTransaction(limits.link.IdleTransaction))
	case relay.TransactionTimeout:
		w.interrupt(c, stats.ClientTransactionTimeout, pool.CloseTransactionTimeout, protocol.ErrTransactionTimeout(limits.link.Transaction))
	case relay.QueryTimeout:
		w.interrupt(c, stats.ClientQueryTimeout, pool.CloseQueryTimeout, protocol.ErrQueryTimeout(limits.link.Query))
	}
}

// idlesUnderPressure reports whether a transaction has to end because it is idle for long while another client waits for a server of its pool. It
// ends one in each tick: its server may be all that is needed.
func (w *worker) idlesUnderPressure(s *Server, now, limit time.Duration) (ends bool) {
	if limit == 0 || s.relay.TxStatus == relay.StatusIdle || !s.relay.Quiet() || now-s.clocks.Progress < limit ||
		now-time.Duration(s.pool.relievedAt.Load()) < tickInterval {
		return false
	}
	w.pools(func() {
		ends = s.ps.Pool().Pressed(now)
	})
	if ends {
		s.pool.relievedAt.Store(int64(now))
	}
	return ends
}

// interrupt closes a client and, because its server may be busy for long, the server with it.
func (w *worker) interrupt(c *Client, why stats.ClientClose, whyServer pool.CloseReason, err *protocol.Error) {
	s := c.server
	w.unlink(c, s)
	w.closeServer(s, whyServer)
	c.close(why, err)
}

func (w *worker) tickDeadline(s *Server, now time.Duration) {
	w.cancelAbandoned(s, now)
	if now < s.deadline {
		return
	}
	if s.closing {
		s.gone(nil)
		return
	}
	w.closeServer(s, pool.CloseUnresponsive)
}
