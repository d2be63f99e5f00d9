package proxy

import (
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

// cancel carries out a CancelRequest and returns when that is done, so that the requester's socket closes only then: as on a direct
// connection, whoever waits for it knows that nothing sent afterwards is hit. Called by login goroutines.
func (p *Proxy) cancel(key protocol.CancelKey) {
	p.counts.cancels.Add(1)
	c := p.cancels.find(key)
	if c == nil {
		return // PostgreSQL says nothing either
	}
	done := make(chan struct{})
	finish := sync.OnceFunc(func() { close(done) })
	// The client may move between loops: each one passes the request on until it finds its owner.
	p.cancelOn(c, p.workers[0], finish)
	select {
	case <-done:
	case <-p.life.Done():
	}
}

// cancelOn posts the request to a worker; if the client is not there it goes on to the next.
func (p *Proxy) cancelOn(c *Client, w *worker, done func()) {
	w.loop.Post(func() {
		if c.info.home.Load() == int32(w.index) {
			w.cancelClient(c, done)
			return
		}
		if next := w.index + 1; next < len(p.workers) {
			p.cancelOn(c, p.workers[next], done)
			return
		}
		done() // it is between two loops, idle: there is nothing to cancel
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
	case c.state == clientActive && c.server.relay.Owed() > 0:
		s := c.server
		switch own, behind := s.relay.RunsOwn(); {
		case !own:
			s.cancel(done)
		case behind:
			s.cancelsLate = append(s.cancelsLate, done) // what the client has asked for has not begun
		default:
			done() // for the client, nothing runs
		}
	default:
		done()
	}
}

// cancel has PostgreSQL cancel what the server does. The server stays on this loop until canceled: the gate keeps it from being lent.
func (s *Server) cancel(done func()) {
	w := s.worker
	s.cancels++
	w.proxy.env.Cancel(s.cancelTarget(), func() {
		w.loop.Post(func() { s.canceled(); done() })
	})
}

// cancelLate carries out the cancel requests that came while a statement of the proxy's own ran; forget: there is nothing left to cancel.
func (s *Server) cancelLate(forget bool) {
	late := s.cancelsLate
	s.cancelsLate = nil
	for _, done := range late {
		if forget {
			done()
		} else {
			s.cancel(done)
		}
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

// canceled: the request has been delivered, or could not be. A server that was kept back for it is free now, and a client goes on.
func (s *Server) canceled() {
	w := s.worker
	s.cancels--
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
func (p *Proxy) cancelServer(s *Server) { p.env.Cancel(s.cancelTarget(), func() {}) }

// cancelDialMax bounds one cancel request where cancel_wait_timeout does not; PostgreSQL closes the socket when it has sent the signal.
const cancelDialMax = 5 * time.Second

// deliverCancel is the real Environment.Cancel: done is called from a goroutine of its own.
func (p *Proxy) deliverCancel(target dial.CancelTarget, done func()) {
	p.spawn(func() {
		defer done()
		p.requestCancel(target)
	})
}

// requestCancel sends a CancelRequest to PostgreSQL and waits until it closes the socket: by then the signal has been sent, and a
// query that is started afterwards is safe.
func (p *Proxy) requestCancel(target dial.CancelTarget) {
	limit := cancelDialMax
	if l := p.settings.Load().cfg.Listener(target.Pool.Listener); l != nil && l.CancelWaitTimeout > 0 {
		limit = l.CancelWaitTimeout
	}
	ctx, cancel := p.context(limit)
	defer cancel()
	if p.cancelSlots.Acquire(ctx, 1) != nil {
		return
	}
	defer p.cancelSlots.Release(1)
	if err := dial.Cancel(ctx, target); err != nil {
		p.log.Warn("a cancel request could not be delivered", "listener", target.Pool.Listener, "database", target.Pool.Database,
			"user", target.Pool.User, "error", err)
		return
	}
	p.counts.cancelsForwarded.Add(1)
}

// cancelSlotsMax bounds the cancel requests under way to PostgreSQL at once; further ones wait, up to cancel_wait_timeout.
const cancelSlotsMax = 32
