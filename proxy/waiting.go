package proxy

import (
	"errors"
	"time"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// leaveQueue takes a client out of the queue it waits in, for a server or, linked, for room in the session pool. When that is on its way
// already, granted or admitted finds it gone.
func (w *worker) leaveQueue(c *Client) {
	wt := c.waiter
	c.waiter = nil
	var left bool
	w.pools(func() {
		left = w.proxy.set.Leave(wt, w.loop.Now())
	})
	if left {
		w.freeWaiter(wt)
		return
	}
	wt.Owner = nil // what is on its way to it finds nobody: by then the client may be on another loop
}

// tellWaiter brings a waiter the news of its queue.
func (w *worker) tellWaiter(a pool.Action) {
	switch a.Kind {
	case pool.ActPromoted:
		w.admitted(a)
	case pool.ActNotify:
		w.notifyWaiter(a)
	case pool.ActFail:
		w.failWaiter(a, stats.ClientServerLogin, serverLoginError(a.Err))
	default: // ActExpire
		sp := a.Pool.Owner.(*serverPool)
		if c, ok := a.Waiter.Owner.(*Client); ok && c.pool != sp {
			w.failWaiter(a, stats.ClientQueryWaitTimeout, w.proxy.noRoomError(sp, a.Waited))
			return
		}
		w.tallyHolders(sp, func(h holders) {
			w.failWaiter(a, stats.ClientQueryWaitTimeout, w.proxy.waitError(sp, a, &h))
		})
	}
}

// notifyWaiter tells a client that it waits.
func (w *worker) notifyWaiter(a pool.Action) {
	if c, ok := a.Waiter.Owner.(*Client); ok && c.waiter == a.Waiter {
		w.scratch = protocol.NoticeQueryWait(a.Waited).AppendNotice(w.scratch[:0])
		c.conn.Send(w.scratch)
	}
}

// failWaiter tells a waiter that it gets no server.
func (w *worker) failWaiter(a pool.Action, why stats.ClientClose, err *protocol.Error) {
	switch owner := a.Waiter.Owner.(type) {
	case *listenHost:
		owner.notObtained(a.Waiter)
		return
	case *loginWait:
		w.countersOf(owner.pool).Wait.Observe(a.Waited)
		owner.resolve(err)
	case *Client:
		if owner.waiter == a.Waiter { // otherwise it has left in the meantime
			owner.waiter = nil
			owner.counters.Wait.Observe(a.Waited)
			if owner.state == clientActive {
				w.stayUnpromotedInQueue(owner, why, err)
			} else {
				w.refuse(owner, why, err)
			}
		}
	}
	w.freeWaiter(a.Waiter)
}

// waitError tells a waiter that has waited for too long how many servers are busy, and with what.
func (p *Proxy) waitError(sp *serverPool, a pool.Action, h *holders) *protocol.Error {
	p.mu.Lock()
	busy, holding := sp.pool.Open()-sp.pool.Count(pool.ServerIdle), sp.pool.Holding()
	p.mu.Unlock()
	shortage := protocol.Shortage{
		Listener: sp.key.Listener, Session: sp.mode == relay.Session, Waited: a.Waited, Timeout: sp.limits.Load().pool.WaitTimeout,
		Busy: busy, Size: holding.Max, Running: h.running, IdleInTransaction: h.idleInTransaction, Idle: h.idle,
		Oldest: h.oldest, Application: h.application,
	}
	if a.Err != nil {
		shortage.PostgreSQL = serverLoginError(a.Err).Message
	} else if holding.TotalMax > 0 && holding.TotalOpen >= holding.TotalMax && busy < holding.Max {
		shortage.Budget, shortage.Others = holding.TotalMax, holding.TotalOpen-busy
	}
	return protocol.ErrQueryWaitTimeout(shortage)
}

// noRoomError is what a client is told whose server finds no room in a session pool.
func (p *Proxy) noRoomError(sp *serverPool, waited time.Duration) *protocol.Error {
	p.mu.Lock()
	busy := sp.pool.Open() - sp.pool.Count(pool.ServerIdle)
	p.mu.Unlock()
	limits := sp.limits.Load().pool
	return protocol.ErrNoRoomForSession(waited, limits.WaitTimeout, busy, limits.Size+limits.Reserve, sp.key.Listener)
}

// serverLoginError turns a failed dial into what a client is told: PostgreSQL's own words if it spoke, otherwise that it could not be
// reached.
func serverLoginError(err error) *protocol.Error {
	var refused *dial.Error
	if errors.As(err, &refused) && refused.Server != nil {
		return protocol.ErrServerLogin(*refused.Server)
	}
	return protocol.ErrServerUnreachable("")
}

// refuse answers a client that has waited in vain. Where nothing is pipelined behind the refused batch the client stays; otherwise, for
// FATAL errors, during a shutdown and in the middle of a login, it is closed: the rest of its pipeline never reaches a server.
func (w *worker) refuse(c *Client, why stats.ClientClose, err *protocol.Error) {
	c.state = clientIdle
	c.idleSince = w.loop.Now()
	if err.Fatal() || w.draining || c.conn.Unread() || c.info.replication != nil {
		c.close(why, err)
		return
	}
	keep := false
	c.conn.KeptBytes(func(b []byte) { keep = c.relay.Refuse(b) })
	if !keep {
		c.close(why, err)
		return
	}
	w.proxy.logRefusal(c, why, err)
	w.scratch = err.Append(w.scratch[:0])
	c.conn.Send(w.scratch)
	c.conn.ResumeReads()
}

// logRefusal writes a line about a client that was told an error and stays.
func (p *Proxy) logRefusal(c *Client, why stats.ClientClose, err *protocol.Error) {
	if !p.settings.Load().cfg.Log.PoolerErrors {
		return
	}
	p.log.Warn("client refused", append(c.logAttrs(), "reason", why.String(), "sqlstate", err.Code, "error", err.Message)...)
}

// holders tells what the clients do that have the servers of a pool.
type holders struct {
	running, idleInTransaction, idle int
	oldest                           time.Duration // age of the oldest transaction; 0: there is none
	application                      string        // that began it
}

// tallyHolders asks loop after loop what the clients do that have the servers of a pool, and then calls told on w. With one loop that is at
// once.
func (w *worker) tallyHolders(sp *serverPool, told func(holders)) {
	w.proxy.workers[0].addHolders(sp, holders{}, w, told)
}

// addHolders adds those of this loop to those of the loops before it. Called on any loop.
func (w *worker) addHolders(sp *serverPool, h holders, asker *worker, told func(holders)) {
	if len(w.proxy.workers) == 1 {
		w.holdersOf(sp, &h)
		told(h)
		return
	}
	w.loop.Post(func() {
		w.holdersOf(sp, &h)
		if next := w.index + 1; next < len(w.proxy.workers) {
			w.proxy.workers[next].addHolders(sp, h, asker, told)
			return
		}
		asker.loop.Post(func() { told(h); asker.act() })
	})
}

func (w *worker) holdersOf(sp *serverPool, h *holders) {
	now := w.loop.Now()
	for s := w.servers.first; s != nil; s = s.next {
		if s.pool != sp || s.client == nil {
			continue
		}
		switch {
		case s.relay.Answering():
			h.running++
		case s.relay.Settled():
			h.idle++
		default:
			h.idleInTransaction++
		}
		if age := now - s.clocks.Transaction; s.clocks.Transaction > 0 && age > h.oldest {
			h.oldest, h.application = age, s.client.applicationName()
		}
	}
}
