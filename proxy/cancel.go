package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// cancelTable finds the client that a CancelRequest means.
type cancelTable struct {
	mu      sync.Mutex
	clients map[uint32]*Client
}

// add gives a client its cancel key: a process id that no other client of this process has, and a random secret.
func (t *cancelTable) add(c *Client, id uint32, secretBytes int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id == 0 || id > 1<<31-1 || t.clients[id] != nil {
		id = (id + 1) & (1<<31 - 1) // process ids are positive for every driver
	}
	key, err := protocol.NewCancelKey(id, secretBytes)
	if err != nil {
		return err
	}
	c.info.id, c.info.key = id, key
	t.clients[id] = c
	return nil
}

func (t *cancelTable) remove(c *Client) {
	t.mu.Lock()
	delete(t.clients, c.info.id)
	t.mu.Unlock()
}

func (t *cancelTable) find(key protocol.CancelKey) *Client {
	t.mu.Lock()
	c := t.clients[key.ProcessID]
	t.mu.Unlock()
	if c == nil || !c.info.key.Equal(key) {
		return nil
	}
	return c
}

// cancelsMax is how many cancel requests of one client may wait at once. One more is covered by those, and its requester is let go.
const cancelsMax = 16

// cancel carries out a CancelRequest and returns when that is done, so that the requester's socket closes only then: as on a direct
// connection, whoever waits for it knows that nothing sent afterwards is hit. Called by login goroutines.
func (p *Proxy) cancel(key protocol.CancelKey) {
	p.counts.cancels.Add(1)
	c := p.cancels.find(key)
	if c == nil {
		return // PostgreSQL says nothing either
	}
	defer c.info.cancels.Add(-1)
	if c.info.cancels.Add(1) > cancelsMax {
		return
	}
	done := make(chan struct{})
	p.cancelOn(c, p.workers[0], p.cancelHops(), sync.OnceFunc(func() { close(done) }))
	select {
	case <-done:
	case <-p.life.Done():
	}
}

// cancelHops is how many loops a cancel request asks for its client before it gives up. The client may move while the request goes round,
// but it seldom does so twice.
func (p *Proxy) cancelHops() int { return 3 * len(p.workers) }

// cancelOn posts the request to a worker. If the client is not there it goes on to the next, for at most hops times.
func (p *Proxy) cancelOn(c *Client, w *worker, hops int, done func()) {
	w.loop.Post(func() {
		switch {
		case c.info.home.Load() == int32(w.index):
			w.cancelClient(c, done)
		case hops > 1:
			p.cancelOn(c, p.workers[(w.index+1)%len(p.workers)], hops-1, done)
		default:
			done() // it is between two loops, idle: there is nothing to cancel
		}
	})
}

// cancelClient decides what a cancel request means for the client now: nothing while it is idle, its place in the queue while it
// waits, its query while a server answers. The server is not lent to anybody else before the request has been delivered
// (invariant 1).
func (w *worker) cancelClient(c *Client, done func()) {
	switch {
	case c.state == clientWaiting:
		w.leaveQueue(c)
		w.refuse(c, stats.ClientCanceled, protocol.ErrCanceledWaiting())
		w.act()
		done()
	case c.state == clientActive && c.waiter != nil:
		w.leaveQueue(c)
		w.stayUnpromotedInQueue(c, stats.ClientCanceled, protocol.ErrCanceledWaiting())
		w.act()
		done()
	case c.state == clientActive:
		c.server.cancelFor([]func(){done})
	default:
		done()
	}
}

// cancelFor carries out cancel requests of the server's client. All of them are one request to PostgreSQL. While one is on its way, or a
// statement of the proxy's own runs, they wait: PostgreSQL gets one request after another.
func (s *Server) cancelFor(done []func()) {
	own, behind := s.relay.RunsOwn()
	switch {
	case s.client == nil || s.closing || s.relay.Owed() == 0 || own && !behind: // for the client, nothing runs
		callAll(done)
	case own || s.cancels > 0:
		s.cancelsLate = append(s.cancelsLate, done...)
	default:
		s.cancel(done)
	}
}

func callAll(all []func()) {
	for _, f := range all {
		f()
	}
}

// cancel has PostgreSQL cancel what the server does, and calls done when that is over. The server stays on this loop until canceled: the
// gate keeps it from being lent.
func (s *Server) cancel(done []func()) {
	w := s.worker
	s.cancels++
	w.proxy.env.Cancel(s.cancelTarget(), func(late bool) {
		w.loop.Post(func() { s.canceled(late); callAll(done) })
	})
}

// cancelLate carries out the cancel requests that have waited for a statement of the proxy's own, or for another request. forget: there is
// nothing left to cancel.
func (s *Server) cancelLate(forget bool) {
	waiting := s.cancelsLate
	s.cancelsLate = nil
	switch {
	case len(waiting) == 0:
	case forget:
		callAll(waiting)
	default:
		s.cancelFor(waiting)
	}
}

// awaitsCancel holds a client back while a cancel request of its own may still arrive and a statement of the proxy's own is due, which it
// would hit.
func (s *Server) awaitsCancel() bool {
	c := s.client
	if s.cancels == 0 || c == nil || !c.relay.Session.Pending() || !s.relay.Quiet() {
		return false
	}
	c.held = true
	c.conn.PauseReads()
	return true
}

// canceled is called when a cancel request has been delivered, or could not be. A server that was kept back for it is free now, and a client
// goes on. late: the request may arrive yet, and would hit whatever runs then. So nobody else gets this server.
func (s *Server) canceled(late bool) {
	w := s.worker
	s.cancels--
	if late {
		s.retire(pool.CloseDoubt)
	}
	s.cancelLate(s.closing)
	if s.cancels > 0 || s.closing {
		return
	}
	if c := s.client; c != nil {
		if c.held {
			s.afterRead()
		}
		return
	}
	if s.deadline != 0 {
		w.rest(s)
		return
	}
	if late {
		w.closeServer(s, pool.CloseDoubt)
		w.act()
		return
	}
	if w.calm(s) {
		return
	}
	out := pool.Outcome{Kind: pool.Idle}
	w.pools(func() {
		if s.ps.State() == pool.ServerBeingCanceled {
			out = s.ps.Pool().CancelDone(s.ps, s.facts(), w.loop.Now())
		}
	})
	w.follow(s, out)
	w.act()
}

func (s *Server) cancelTarget() dial.CancelTarget {
	return dial.CancelTarget{Pool: s.pool.key, Key: s.key, Address: s.address, TLS: s.tls}
}

// cancelServer stops a query whose server is being closed, so that PostgreSQL does not work on for nobody.
func (p *Proxy) cancelServer(s *Server) { p.env.Cancel(s.cancelTarget(), func(bool) {}) }

// cancelDialMax bounds one cancel request where cancel_wait_timeout does not; PostgreSQL closes the socket when it has sent the signal.
const cancelDialMax = 5 * time.Second

// deliverCancel is the real Environment.Cancel: done is called from a goroutine of its own. Only loops call it: Close waits for the loops
// first, and then for the requests that they have made.
func (p *Proxy) deliverCancel(target dial.CancelTarget, done func(late bool)) {
	p.canceling.Go(func() { done(p.requestCancel(target)) })
}

// requestCancel sends a CancelRequest to PostgreSQL and waits until it closes the socket: by then the signal has been sent, and a
// query that is started afterwards is safe. late: the request was given up on, and may arrive yet.
func (p *Proxy) requestCancel(target dial.CancelTarget) (late bool) {
	limit := cancelDialMax
	if l := p.settings.Load().cfg.Listener(target.Pool.Listener); l != nil && l.CancelWaitTimeout > 0 {
		limit = l.CancelWaitTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	// What has been asked for is delivered even when the proxy ends.
	defer context.AfterFunc(p.life, func() { time.AfterFunc(closeMax, cancel) })()
	if p.cancelSlots.Acquire(ctx, 1) != nil {
		return false
	}
	defer p.cancelSlots.Release(1)
	late, err := dial.Cancel(ctx, target)
	if err != nil {
		p.log.Warn("a cancel request could not be delivered", "listener", target.Pool.Listener, "database", target.Pool.Database,
			"user", target.Pool.User, "error", err, "may_arrive_late", late)
		return late
	}
	p.counts.cancelsForwarded.Add(1)
	return false
}

// cancelSlotsMax bounds the cancel requests under way to PostgreSQL at once; further ones wait, up to cancel_wait_timeout. They are served in
// order, and a server has one of them at most, so that nobody waits behind many of another client's.
const cancelSlotsMax = 32
