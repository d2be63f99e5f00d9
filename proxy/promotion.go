package proxy

import (
	"fmt"
	"net"
	"time"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// Promotion: the two pools are one hybrid. A link whose transaction lasts takes its server along from the budget of the transaction pool
// to that of a session pool, so that those who come for a quick query do not wait behind it. Nothing reconnects and the client notices
// nothing; when its transaction is over the server stays where it counts, and the client comes back for another.
//
// A client that is about to make something which only a connection can hold (a temporary table, a session's advisory lock, LISTEN where no
// shared connection can listen for it) is promoted for good: the server is its own until it leaves or says DISCARD ALL. With
// promotion = "error" the statement is refused instead, and no transaction is promoted.

// sessionPool is the pool that a transaction pool's links are promoted to; nil when there is none. Whoever calls it has to release it. The
// loop's thread.
func (p *Proxy) sessionPool(sp *serverPool) *serverPool {
	limits := sp.limits.Load()
	if limits.promoteTo == "" {
		return nil
	}
	l := p.listenerNamed(limits.promoteTo)
	if l == nil {
		return nil
	}
	to, ok := p.poolFor(l, sp.key.Database, sp.key.User)
	if !ok {
		return nil
	}
	return to
}

func (p *Proxy) listenerNamed(name string) *listener {
	for _, l := range p.listeners {
		if l.name == name {
			return l
		}
	}
	return nil
}

// tickPromotion promotes a link whose transaction has lasted for long_transaction, while other clients wait for a server of its pool. One
// that sits idle in its transaction stays: its age counts at its next statement. Where the session pool has no room it is asked again at the
// next tick.
func (w *worker) tickPromotion(s *Server, now, long time.Duration) {
	c := s.client
	if long == 0 || s.clocks.Transaction == 0 || now-s.clocks.Transaction < long || s.pool != c.pool || c.pool.mode != relay.Transaction ||
		c.waiter != nil || !s.relay.Answering() {
		return
	}
	to := w.proxy.sessionPool(c.pool)
	if to == nil {
		return
	}
	defer w.proxy.release(to)
	var promoted bool
	w.pools(func() {
		promoted = c.pool.pool.Promote(s.ps, to.pool, now)
	})
	if promoted {
		w.countPromotion(s, stats.PromotedLongTransaction)
		w.moved(s)
	}
}

// promote makes its server the client's own, because the statement at the start of b makes what only a connection can hold. It reports
// false when the client has to wait for room in the session pool: reads stop, what it has sent is kept, and ActPromoted resumes it. On a
// listener that refuses such statements the client goes on without it.
func (w *worker) promote(c *Client, kind relay.StateKind, b []byte) (ready bool) {
	s, limits := c.server, c.pool.limits.Load()
	if c.lends { // it has its server, and will not lend it any more
		s.relay.Kept = true
		return true
	}
	c.application.Forces(kind, b, c.relay.Session.Dialect)
	if limits.refusesState {
		w.stayUnpromoted(c, b, kind, stats.ClientStateRefused, protocol.ErrStateRefused(kind.What(), c.pool.key.Listener, w.proxy.sessionListener(limits)))
		return true
	}
	if s.pool != c.pool { // its transaction is long already
		w.pools(func() { c.pool.pool.Pin(s.ps, s.ps.Pool(), nil, w.loop.Now()) })
		w.keep(s)
		return true
	}
	to := w.proxy.sessionPool(c.pool)
	if to == nil {
		c.relay.Session.Promotes = false
		return true
	}
	defer w.proxy.release(to)
	wt := w.newWaiter(c)
	w.pools(func() {
		ready = c.pool.pool.Pin(s.ps, to.pool, wt, w.loop.Now())
	})
	if ready {
		w.freeWaiter(wt)
		w.keep(s)
		return true
	}
	c.waiter, s.wants, s.givesBack = wt, kind, relay.OneBatch(b) && !c.conn.Unread()
	c.conn.PauseReads()
	w.act()
	if c.server == s && c.waiter == wt && s.relay.Settled() {
		w.settle(s) // outside a transaction it holds nothing while it waits
	}
	return false
}

// waitWithout has a client that waits for room give its server back meanwhile: it is between transactions. It reports false when the room is on
// its way, and for a client that has sent more than the one batch: what stands behind a batch that is refused needs a server to answer it.
func (w *worker) waitWithout(c *Client, s *Server) bool {
	if !s.givesBack {
		return false
	}
	wt, waits := c.waiter, false
	w.pools(func() {
		waits = w.proxy.set.Detach(wt)
	})
	if !waits {
		return false
	}
	c.waiter = nil
	w.unlink(c, s)
	c.waiter, c.state, c.seeksRoom = wt, clientWaiting, true
	c.conn.PauseReads()
	w.checkin(s)
	w.act()
	return true
}

// sessionListener names the session listener that a pool's clients may use, as a person would: with its port.
func (p *Proxy) sessionListener(limits *poolSettings) string {
	l := p.listenerNamed(limits.sessionListener)
	if l == nil {
		return ""
	}
	for _, address := range l.addresses() {
		if _, port, err := net.SplitHostPort(address); err == nil {
			return fmt.Sprintf("%q (port %s)", l.name, port)
		}
	}
	return fmt.Sprintf("%q", l.name)
}

// admitted lets a client go on whose server has found room in the session pool.
func (w *worker) admitted(a pool.Action) {
	c, waits := a.Waiter.Owner.(*Client)
	if !waits {
		w.freeWaiter(a.Waiter) // it has left the queue
		return
	}
	if c.waiter != a.Waiter {
		return // it has given up in the meantime
	}
	c.waiter = nil
	c.counters.Wait.Observe(w.loop.Now() - a.Waiter.EnqueuedAt)
	w.freeWaiter(a.Waiter)
	w.keep(c.server)
	c.conn.ResumeReads()
}

// stayUnpromoted refuses the statement at the start of b that there is no room for, or that its listener does not want. Between
// transactions the client goes on without it; otherwise the server is made to fail in its place, so that the transaction has failed and
// the rest of the batch is skipped, as PostgreSQL would have it.
func (w *worker) stayUnpromoted(c *Client, b []byte, kind relay.StateKind, why stats.ClientClose, err *protocol.Error) {
	s := c.server
	if err.Fatal() || s.parting != nil {
		c.close(why, err)
		return
	}
	c.application.Refuses(kind)
	if _, tell := c.application.RefusalLog.Allows(w.loop.Now(), applicationLogEvery); tell {
		w.proxy.logRefusal(c, why, err)
	}
	if !s.relay.Fresh() || c.conn.Unread() || !c.relay.RefuseAlone(b) {
		c.relay.Reject(err)
		return
	}
	w.scratch = err.Append(w.scratch[:0])
	c.conn.Send(w.scratch) // the rest of the batch is dropped when it is read; then the server goes back
}

// stayUnpromotedInQueue is stayUnpromoted for a client that has waited for room: its reads are paused, and what it has sent is kept.
func (w *worker) stayUnpromotedInQueue(c *Client, why stats.ClientClose, err *protocol.Error) {
	c.conn.KeptBytes(func(b []byte) { w.stayUnpromoted(c, b, c.server.wants, why, err) })
	c.conn.ResumeReads()
}

// keep makes a server its client's own, whichever pool it counts in.
func (w *worker) keep(s *Server) {
	s.relay.Kept = true
	w.countPromotion(s, stats.PromotedSessionState)
	w.moved(s)
}

func (w *worker) countPromotion(s *Server, why stats.Promotion) {
	c := s.client
	c.counters.Promotions[why]++
	c.application.Promoted(why)
	s.promotedAt = w.loop.Now()
	w.logPromotion(c, why)
}

// applicationLogEvery is how often the log tells of promotions and of refused statements of one application: a busy one on the wrong port
// would fill it. The report counts them all.
const applicationLogEvery = time.Minute

func (w *worker) logPromotion(c *Client, why stats.Promotion) {
	untold, tell := c.application.PromotionLog.Allows(w.loop.Now(), applicationLogEvery)
	if !tell {
		return
	}
	attrs := append(c.logAttrs(), "reason", why.String(), "session_listener", c.pool.limits.Load().sessionListener)
	if untold > 0 {
		attrs = append(attrs, "promotions_since_last_line", untold)
	}
	w.proxy.log.Info("a client has got a server to itself for longer than a quick transaction; its application is better off on the session port", attrs...)
}

// moved notes that a server may count in another pool than before. A guest of the session pool is cleaned before it serves a session, even
// where sessions inherit what the last one left.
func (w *worker) moved(s *Server) {
	w.proxy.mu.Lock()
	to := s.ps.Pool().Owner.(*serverPool)
	w.proxy.mu.Unlock()
	if to == s.pool {
		return
	}
	s.pool = to
	if c := s.client; c != nil && to != c.pool {
		s.dirty, s.foreign = true, true
		to.welcome.learnFrom(&c.pool.welcome)
	}
}
