package proxy

import (
	"errors"
	"time"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// leaveQueue takes a client out of the queue it waits in. When a server is on its way to it already, granted finds it gone.
func (w *worker) leaveQueue(c *Client) {
	wt := c.waiter
	c.waiter = nil
	var left bool
	w.pools(func() {
		left = c.pool.pool.Leave(wt, w.loop.Now())
	})
	if left {
		w.freeWaiter(wt)
	}
}

// tellWaiter brings a waiter the news of its queue.
func (w *worker) tellWaiter(a pool.Action) {
	switch owner := a.Waiter.Owner.(type) {
	case *loginWait:
		if a.Kind == pool.ActNotify {
			return
		}
		w.freeWaiter(a.Waiter)
		owner.resolve(w.waitError(a, owner.pool))
	case *Client:
		if owner.waiter != a.Waiter {
			return // it left in the meantime
		}
		if a.Kind == pool.ActNotify {
			w.scratch = protocol.NoticeQueryWait(a.Waited).AppendNotice(w.scratch[:0])
			owner.conn.Send(w.scratch)
			return
		}
		owner.waiter = nil
		w.freeWaiter(a.Waiter)
		why := closeQueryWaitTimeout
		if a.Kind == pool.ActFail {
			why = closeServerLogin
		}
		owner.counters.wait.Observe(a.Waited)
		w.refuse(owner, why, w.waitError(a, owner.pool))
	}
}

// waitError is what a waiter that left the queue in vain is told.
func (w *worker) waitError(a pool.Action, sp *serverPool) *protocol.Error {
	if a.Kind == pool.ActFail {
		return serverLoginError(a.Err)
	}
	busy, oldest, application := w.proxy.oldestTransaction(sp)
	limits := sp.limits.Load().pool
	return protocol.ErrQueryWaitTimeout(a.Waited, limits.WaitTimeout, busy, limits.Size+limits.Reserve, oldest, application)
}

// serverLoginError turns a failed dial into what a client is told: PostgreSQL's own words if it spoke, otherwise that it could not be
// reached.
func serverLoginError(err error) *protocol.Error {
	var refused *dialError
	if errors.As(err, &refused) && refused.server != nil {
		return protocol.ErrServerLogin(*refused.server)
	}
	return protocol.ErrServerUnreachable("")
}

// refuse answers a client that has waited in vain. Where nothing is pipelined behind the refused batch the client stays; otherwise, and
// for FATAL errors, it is closed: the rest of its pipeline never reaches a server.
func (w *worker) refuse(c *Client, why closeReason, err *protocol.Error) {
	c.state = clientIdle
	c.idleSince = w.loop.Now()
	if err.Fatal() || c.conn.Unread() {
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
func (p *Proxy) logRefusal(c *Client, why closeReason, err *protocol.Error) {
	if !p.settings.Load().cfg.Log.PoolerErrors {
		return
	}
	p.log.Warn("client refused", append(c.logAttrs(), "reason", why.String(), "sqlstate", err.Code, "error", err.Message)...)
}

// oldestTransaction describes who holds the servers of a pool: how many are busy, and the oldest transaction seen from this loop.
func (p *Proxy) oldestTransaction(sp *serverPool) (busy int, age time.Duration, application string) {
	p.mu.Lock()
	busy = sp.pool.Open() - sp.pool.Count(pool.ServerIdle)
	p.mu.Unlock()
	for _, w := range p.workers {
		if !w.loop.OnLoop() && len(p.workers) > 1 {
			continue
		}
		now := w.loop.Now()
		for s := w.servers.first; s != nil; s = s.next {
			if s.pool != sp || s.client == nil || s.clocks.Transaction == 0 {
				continue
			}
			if a := now - s.clocks.Transaction; a > age {
				age, application = a, s.client.info.application
			}
		}
	}
	return busy, age, application
}
