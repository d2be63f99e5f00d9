package proxy

import (
	"slices"
	"time"

	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/listen"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// What package listen needs of loops, pools, servers and clients. What a client does around its LISTEN is in listenclient.go.

// listenHost is the listen.Host of one pool, on the first loop, which is always open.
type listenHost struct {
	worker *worker
	pool   *serverPool
	hub    *listen.Hub
	waiter *pool.Waiter // in the pool's queue; nil otherwise
}

// withHub runs f with the Hub of a pool, on the Hub's loop.
func (w *worker) withHub(sp *serverPool, f func(h *listen.Hub)) {
	home := w.proxy.workers[0]
	if home == w {
		f(home.hubOf(sp))
		return
	}
	home.loop.Post(func() { f(home.hubOf(sp)); home.act() })
}

// hubOf finds or makes the Hub of a pool.
func (w *worker) hubOf(sp *serverPool) *listen.Hub {
	for _, h := range w.listenHosts {
		if h.pool == sp {
			return h.hub
		}
	}
	h := &listenHost{worker: w, pool: sp}
	h.hub = listen.NewHub(h)
	w.listenHosts = append(w.listenHosts, h)
	return h.hub
}

// subscribersOf finds or makes the subscribers of a pool on this loop.
func (w *worker) subscribersOf(sp *serverPool) *listen.Subscribers {
	a := w.subscribers[sp]
	if a == nil {
		a = listen.NewSubscribers(func(channel string) {
			w.withHub(sp, func(h *listen.Hub) { h.Leave(channel, w.index) })
		})
		w.subscribers[sp] = a
	}
	return a
}

// forgetListening drops what the loop has for a pool that is no more: nobody listens there.
func (w *worker) forgetListening(sp *serverPool) {
	delete(w.subscribers, sp)
	w.listenHosts = slices.DeleteFunc(w.listenHosts, func(h *listenHost) bool { return h.pool == sp })
}

// stopListeningFor closes the server that listens for the clients of a pool, because the pool's servers are elsewhere now. The Hub takes
// another. Only the first loop has Hubs.
func (w *worker) stopListeningFor(sp *serverPool) {
	w.walk(func() {
		for s := w.servers.first; s != nil; {
			next := s.next
			if s.hub != nil && s.pool == sp {
				w.closeServer(s, pool.CloseStale)
			}
			s = next
		}
	})
}

// tickHubs lets every Hub look at the clocks.
func (w *worker) tickHubs(now time.Duration) {
	for _, h := range w.listenHosts {
		h.hub.Tick(now)
	}
	w.act()
}

// Loops implements listen.Host, as do the methods that follow.
func (h *listenHost) Loops() int { return len(h.worker.proxy.workers) }

func (h *listenHost) Now() time.Duration { return h.worker.loop.Now() }

func (h *listenHost) Post(loop int, f func()) {
	to := h.worker.proxy.workers[loop]
	if to == h.worker {
		to.loop.Later(f)
		return
	}
	to.loop.Post(func() { f(); to.act() })
}

func (h *listenHost) Subscribers(loop int) *listen.Subscribers {
	return h.worker.proxy.workers[loop].subscribersOf(h.pool)
}

func (h *listenHost) Draining() bool { return h.worker.draining }

func (h *listenHost) MayListen() (may bool) {
	h.worker.pools(func() { may = h.pool.pool.MayListen() })
	return may
}

func (h *listenHost) MayGoOnListening() (may bool) {
	h.worker.pools(func() { may = h.pool.pool.MayGoOnListening() })
	return may
}

func (h *listenHost) RetryMax() time.Duration { return h.pool.limits.Load().pool.LoginRetry }

func (h *listenHost) JoinQueue() {
	w := h.worker
	wt := w.newWaiter(h)
	var ps *pool.Server
	w.pools(func() { ps = h.pool.pool.Checkout(wt, w.loop.Now()) })
	h.waiter = wt
	if ps != nil {
		w.lend(serverOf(ps), wt)
	}
	w.act()
}

func (h *listenHost) LeaveQueue() {
	w, wt := h.worker, h.waiter
	h.waiter = nil
	var left bool
	w.pools(func() { left = w.proxy.set.Leave(wt, w.loop.Now()) })
	if left {
		w.freeWaiter(wt)
	}
}

// obtained: the pool has lent a server, perhaps to a waiter that has left the queue meanwhile.
func (h *listenHost) obtained(s *Server, wt *pool.Waiter) {
	left := h.waiter != wt
	h.worker.freeWaiter(wt)
	if left {
		h.worker.checkin(s)
		return
	}
	h.waiter = nil
	h.hub.Obtained((*listeningServer)(s))
}

// notObtained: the pool lends none.
func (h *listenHost) notObtained(wt *pool.Waiter) {
	left := h.waiter != wt
	h.worker.freeWaiter(wt)
	if !left {
		h.waiter = nil
		h.hub.NotObtained()
	}
}

// lostOnTheWay: the server that the pool has lent was lost before it arrived. The waiter has been freed.
func (h *listenHost) lostOnTheWay(wt *pool.Waiter) {
	if h.waiter == wt {
		h.waiter = nil
		h.hub.LostOnTheWay()
	}
}

func (h *listenHost) Adopt(c listen.Connection) {
	s := (*Server)(c.(*listeningServer))
	h.worker.pools(func() { h.pool.pool.Listen(s.ps) })
	s.hub = h.hub
	h.worker.proxy.log.Info("a server of the pool listens for its clients", "listener", h.pool.key.Listener, "database", h.pool.key.Database,
		"user", h.pool.key.User, "pid", s.key.ProcessID)
}

func (h *listenHost) ReportLoss() {
	h.worker.countersOf(h.pool).ListenLosses++
	h.worker.proxy.log.Warn("the server that listens for its pool's clients was lost; notifications may be lost until another listens",
		"listener", h.pool.key.Listener, "database", h.pool.key.Database, "user", h.pool.key.User)
}

// listeningServer is a Server as the listen.Connection that it is or may become.
type listeningServer Server

// Query implements listen.Connection, as do the methods that follow.
func (l *listeningServer) Query(sql string) {
	s := (*Server)(l)
	s.sendQuery(sql)
	s.deadline = s.worker.loop.Now() + checkMax
	s.worker.watch()
}

func (l *listeningServer) Rest() { l.deadline = 0 }

func (l *listeningServer) Closing() bool { return l.closing }

func (l *listeningServer) Report(frame []byte) { (*Server)(l).report(frame, true) }

func (l *listeningServer) Refused(frame []byte) { (*Server)(l).refused(frame) }

func (l *listeningServer) Distrusted(err *protocol.Error) { (*Server)(l).distrusted(err) }

func (l *listeningServer) Release() {
	l.hub, l.dirty = nil, true
	l.worker.checkin((*Server)(l))
}

// readListening hands what a shared connection says to its Hub.
func (s *Server) readListening(b []byte) (consumed int) {
	consumed = s.hub.Read(b)
	s.worker.act()
	return consumed
}

// leaveHub tells the Hub of a shared connection that it is lost.
func (s *Server) leaveHub() {
	if hub := s.hub; hub != nil {
		s.hub = nil
		hub.Lost((*listeningServer)(s))
	}
}

// give makes a client's server, which has been unlinked, the shared connection. has are the channels that it listens to.
func (w *worker) give(s *Server, sp *serverPool, has []string) {
	home := w.proxy.workers[0]
	if home == w {
		w.hubOf(sp).Take((*listeningServer)(s), has)
		return
	}
	s.transit = true
	src := s.conn.Detach()
	w.servers.remove(s)
	home.loop.Post(func() {
		if home.arrive(s, src) {
			home.hubOf(sp).Take((*listeningServer)(s), has)
		} else {
			home.hubOf(sp).GivenLost()
		}
		home.act()
	})
}

// arrive takes over a server from another loop. It reports false when it is lost. Ownership of src passes here.
func (w *worker) arrive(s *Server, src eventloop.Source) bool {
	s.transit = false
	s.worker = w
	w.servers.add(s)
	w.proxy.mu.Lock()
	s.ps.Loop = w.index
	w.proxy.mu.Unlock()
	if err := w.loop.Adopt(&s.conn, src, s); err != nil || s.lost {
		s.gone(err)
		return false
	}
	return true
}

// listeningClient is a Client as the listen.Client that it is.
type listeningClient Client

// Closing implements listen.Client, as do the methods that follow.
func (l *listeningClient) Closing() bool { return l.state == clientClosing }

func (l *listeningClient) Between() bool { return !l.listens.owesReady && (*Client)(l).between() }

func (l *listeningClient) Backlog() int { return l.conn.Backlog() }

func (l *listeningClient) SendNotification(frame []byte) {
	l.counters.Notifications++
	l.SendNotice(frame)
}

func (l *listeningClient) SendNotice(frame []byte) {
	l.counters.Sent += uint64(len(frame))
	l.conn.Send(frame)
}

func (l *listeningClient) Listens(is bool) {
	if is {
		l.counters.Listening++
	} else {
		l.counters.Listening--
	}
}

func (l *listeningClient) CloseSlow() {
	(*Client)(l).close(stats.ClientNotificationsUnread, protocol.ErrNotificationsUnread(listen.QueuedMax))
}

func (l *listeningClient) CloseTooSmall() {
	(*Client)(l).close(stats.ClientListenImpossible, protocol.ErrListenImpossible(listenNeedsTwo))
}
