package proxy

import (
	"slices"

	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// A client of a transaction pool that listens. Its LISTEN runs on the server that it is linked to, where PostgreSQL judges it; when it has
// been committed the client hears the shared connection (notifier.go), and the server forgets it.
//
// Before a LISTEN is sent the shared connection listens to the channel already, where there is one: so nothing is missed that is committed
// later. Where there is none, the server itself is listening when the LISTEN has been committed, and becomes the shared connection. The
// ReadyForQuery of the commit is kept back until all this is in order.

// listens is what a client that listens has; nil for all others.
type listens struct {
	on      map[string]*subscription // by channel
	queue   []heard                  // what waits until the client is between transactions
	own     [][]byte                 // notifications of its server's own, which come before those
	queued  int                      // bytes in both
	slow    bool                     // too many: it is being closed
	lossy   bool                     // it may have missed something, and has not been told
	unnamed bool                     // it listens to something that nobody here knows

	linking bool // its server has to get the client's settings first
	awaits  bool // an answer of the notifier is on its way, and reads are paused
	ready   bool // it is owed a ReadyForQuery that has been kept back
	fresh   bool // and has been sent all that was committed before that

	// of the transactions that have ended, until they are dealt with
	changes  []relay.Listening
	doubtful []string // channels about which its server is to be asked
	asked    []string // and has been
	gained   []string // channels that its server listens to for it now
}

// Why a server cannot be kept to listen for a client.
const (
	listenNeedsTwo      = "the server that listens would be the only one (default_pool_size, max_db_connections and max_user_connections have to be 2 at least)"
	listenOtherEncoding = "its client_encoding is another than that of the clients that listen already"
	listenUnnamed       = "the name of its channel cannot be read in this client_encoding"
)

// shares reports whether a shared connection listens for the client.
func (c *Client) shares() bool { return c.relay.Session.Tracked && c.pool.mode != relay.Session }

// inUTF8 reports that the client speaks UTF-8, as its database does: then the names of its channels are what they seem.
func (c *Client) inUTF8(settings sqltext.Settings) bool {
	encoding, _ := settings.Get("client_encoding")
	return encoding == "UTF8" && c.relay.Session.Shares && c.pool.welcome.reported()["server_encoding"] == encoding
}

// listensOf finds or makes it.
func (c *Client) listensOf() *listens {
	if c.listens == nil {
		c.listens = &listens{}
	}
	return c.listens
}

// share lets the shared connection hear first of what the client is about to say. Reads stop, what it has sent is kept, and the answer
// resumes it.
func (w *worker) share(c *Client) {
	c.conn.PauseReads()
	if c.server.relay.Injecting() {
		c.listensOf().linking = true // PostgreSQL may not have said yet what the client's encoding is called
		c.held = true
		return
	}
	l := c.listensOf()
	l.linking = false
	if l.awaits {
		return
	}
	l.awaits = true
	channels, known := c.relay.Session.Wanted()
	if !known {
		w.loop.Later(func() { w.shared(c, attendedUnnamed) })
		return
	}
	for _, name := range channels {
		w.audienceOf(c.pool).add(c, name)
	}
	c.relay.Session.Listening = len(l.on) > 0
	c.relay.Session.Reserved = c.relay.Session.Reserved || len(channels) > 0
	w.attend(c, attendance{channels: channels, done: func(how attended) { w.shared(c, how) }})
}

// attend asks the notifier.
func (w *worker) attend(c *Client, a attendance) {
	a.from = w
	a.encoding, _ = c.settings.Get("client_encoding")
	w.reach(c.pool, func(n *notifier) { n.attend(a) })
}

// shared is the answer to share.
func (w *worker) shared(c *Client, how attended) {
	l := c.listens
	if c.state == clientClosing || l == nil {
		return
	}
	l.awaits = false
	session := &c.relay.Session
	switch how {
	case attendedHeard:
		l.forgetReserved()
		session.Cleared, session.Hears = true, false
	case attendedAbsent:
		session.Cleared, session.Hears = true, true
	default:
		w.dropReserved(c)
		if !session.Promotes {
			w.refuseListen(c, how)
			return
		}
		session.Shares = false // it gets a server of its own
	}
	if l.ready { // what was judged was skipped behind an error, and its batch has ended meanwhile
		session.Cleared = false
		w.settle(c.server)
		w.act()
		return
	}
	if c.state != clientWaiting {
		c.conn.ResumeReads()
	}
}

// refuseListen answers a LISTEN that is not possible.
func (w *worker) refuseListen(c *Client, how attended) {
	why := listenNeedsTwo
	switch how {
	case attendedEncoding:
		why = listenOtherEncoding
	case attendedUnnamed:
		why = listenUnnamed
	}
	err := protocol.ErrListenImpossible(why)
	switch c.state {
	case clientActive:
		c.releaseReady()
		c.server.wants = relay.StateListen
		w.stayUnpromotedInQueue(c, stats.ClientListenImpossible, err)
	case clientWaiting:
		w.leaveQueue(c)
		w.refuse(c, stats.ClientListenImpossible, err)
	default:
		w.refuse(c, stats.ClientListenImpossible, err)
	}
	w.act()
}

// dropReserved takes back what the client was about to listen to.
func (w *worker) dropReserved(c *Client) {
	for _, sub := range c.listens.on {
		if !sub.active {
			w.audienceOf(c.pool).remove(sub)
		}
	}
	c.relay.Session.Reserved = false
	c.relay.Session.Listening = len(c.listens.on) > 0
}

// silence ends all that a client that goes away listens to.
func (w *worker) silence(c *Client) {
	if c.listens == nil {
		return
	}
	for _, sub := range c.listens.on {
		w.audienceOf(c.pool).remove(sub)
	}
	c.listens.queue = nil
}

// listened notes what the transactions that have ended did to what the client listens to.
func (c *Client) listened(s *Server, out *relay.Listened) {
	if len(out.Listenings) > 0 || len(out.Doubtful) > 0 {
		l := c.listensOf()
		l.changes, l.doubtful = append(l.changes, out.Listenings...), out.Doubtful
	}
	if out.Unnamed {
		c.listensOf().unnamed = true
	}
	s.listens = s.listens || out.Listens
}

// readied keeps a ReadyForQuery back. settle sees to it: nothing else is owed to a client that listens.
func (s *Server) readied() {
	l := s.client.listensOf()
	l.ready, l.fresh = true, false
	if s.client.relay.Session.Hears {
		l.forgetReserved() // of what another has heard so far, the server has heard what came behind the LISTEN
	}
}

// inform brings a client that listens up to date, when it is between transactions and its server settled: it sends the ReadyForQuery that
// has been kept back, behind what is to be heard first. It reports false when that has to wait, or the server has been sent something; the
// two come here again. ends: the client is going away.
func (w *worker) inform(c *Client, s *Server, ends bool) bool {
	l := c.listensOf()
	switch {
	case ends:
		w.activate(c, l.changes) // so that it hears nothing on what it no longer listens to
		l.changes = nil
	case l.unnamed && c.relay.Session.Shares:
		c.close(stats.ClientListenImpossible, protocol.ErrListenImpossible(listenUnnamed))
		return false
	case l.awaits:
		return false
	case l.linking && !l.ready: // it has them now, and keeps its client
		l.linking, c.held = false, false
		c.conn.ResumeReads()
		return false
	case len(l.doubtful) > 0:
		w.askListens(c, s)
		return false
	case len(l.changes) > 0 || c.relay.Session.Reserved:
		if w.subscribe(c, s) {
			return false
		}
		return w.inform(c, s, ends)
	case l.ready && !l.fresh && len(l.on) > 0:
		w.awaitRound(c)
		return false
	}
	l.release(c)
	if s.listens && !ends {
		s.listens = false
		s.inject("UNLISTEN *")
		return false
	}
	if !ends && c.waiter == nil {
		c.held = false
		c.conn.ResumeReads()
	}
	if len(l.on) == 0 {
		c.listens, c.relay.Session.Listening, c.relay.Session.Hears = nil, false, false
	}
	return true
}

// releaseReady sends a ReadyForQuery that has been kept back, if there is one.
func (c *Client) releaseReady() {
	if c.listens != nil && c.listens.ready {
		c.listens.release(c)
	}
}

// release sends what waits for the place where the client is now, and the ReadyForQuery behind it.
func (l *listens) release(c *Client) {
	c.deliverQueue()
	if l.ready {
		l.ready, l.fresh, l.linking, c.relay.Session.Withheld = false, false, false, false
		c.server.reply(readyIdle, 1)
	}
}

// askListens asks the server to which of the doubtful channels it listens.
func (w *worker) askListens(c *Client, s *Server) {
	l := c.listens
	l.asked, l.doubtful = l.doubtful, nil
	w.sql = sqltext.AppendListensQuestion(w.sql[:0], l.asked)
	s.relay.Ask()
	s.sendQuery(string(w.sql))
	c.held = true
	c.conn.PauseReads()
}

// answeredListens takes the answer: what it does not listen to is as it was before.
func (c *Client) answeredListens(row []byte) (ok bool) {
	l := c.listens
	names := l.asked
	l.asked = nil
	return protocol.Columns(row, func(i int, value []byte) {
		if i < len(names) && value != nil {
			l.changes = append(l.changes, relay.Listening{Channel: names[i]})
		}
	})
}

// subscribe carries out what was committed, and takes back what was reserved for more. It reports true when the shared connection has to be
// waited for.
func (w *worker) subscribe(c *Client, s *Server) (waits bool) {
	l, session := c.listens, &c.relay.Session
	changes, hears := l.changes, session.Hears
	l.changes = nil
	reserved := w.activate(c, changes)
	w.dropReserved(c)
	if len(l.gained) == 0 || !hears && reserved {
		session.Hears = false
		return false
	}
	w.awaitGained(c, w.mayGive(c, s))
	return true
}

// activate carries out LISTEN and UNLISTEN. It reports whether the shared connection has been asked before to listen to all channels that
// the client has gained.
func (w *worker) activate(c *Client, changes []relay.Listening) (reserved bool) {
	l, audience := c.listens, w.audienceOf(c.pool)
	l.gained, reserved = nil, true
	for _, change := range changes {
		sub := l.on[change.Channel]
		switch {
		case change.Stops && change.Channel == "":
			for _, sub := range l.on {
				audience.remove(sub)
			}
			l.gained = nil
		case change.Stops, !c.relay.Session.Shares: // on a server of its own the client hears from that
			if sub != nil {
				audience.remove(sub)
			}
			l.gained = slices.DeleteFunc(l.gained, func(name string) bool { return name == change.Channel })
		default:
			reserved = reserved && sub != nil
			audience.add(c, change.Channel).active = true
			l.gained = append(l.gained, change.Channel)
		}
	}
	c.relay.Session.Listening = len(l.on) > 0
	return reserved
}

// awaitRound keeps the client back until it has been sent what was committed so far.
func (w *worker) awaitRound(c *Client) {
	w.await(c, attendance{done: func(attended) { w.attended(c, attendedHeard) }})
}

// awaitGained keeps the client back until the shared connection listens to what its server listens to now.
func (w *worker) awaitGained(c *Client, offers bool) {
	w.await(c, attendance{
		channels: c.listens.gained, must: true, offers: offers,
		done: func(how attended) { w.attended(c, how) },
	})
}

// await keeps the client back until the notifier has answered.
func (w *worker) await(c *Client, a attendance) {
	c.listens.awaits = true
	c.conn.PauseReads()
	w.attend(c, a)
}

// attended is the answer to await.
func (w *worker) attended(c *Client, how attended) {
	l := c.listens
	gone := c.state == clientClosing || l == nil || c.server == nil
	switch {
	case how == attendedGive:
		w.give(c, gone)
	case gone:
	case how == attendedTimeout:
		c.close(stats.ClientQueryWaitTimeout, protocol.ErrListenTimeout(c.pool.limits.Load().pool.WaitTimeout))
	case how == attendedSize, how == attendedEncoding:
		why := listenNeedsTwo
		if how == attendedEncoding {
			why = listenOtherEncoding
		}
		c.close(stats.ClientListenImpossible, protocol.ErrListenImpossible(why))
	default:
		l.awaits, l.fresh, c.relay.Session.Hears = false, true, false
		w.settle(c.server)
	}
	w.act()
}

// mayGive reports that the client's server can become the shared connection: it counts in this pool, and nothing is left on it.
func (w *worker) mayGive(c *Client, s *Server) bool {
	return s.pool == c.pool && !s.relay.Kept && !s.dirty && !s.closing && s.cancels == 0 && s.parting == nil && c.waiter == nil && !w.draining &&
		s.relay.Settled() && !c.relay.MidMessage() && !s.conn.Unread() && s.facts().Clean()
}

// give makes the client's server the shared connection. The client takes another for what it says next.
func (w *worker) give(c *Client, gone bool) {
	s := c.server
	if gone || !w.mayGive(c, s) {
		w.reach(c.pool, func(n *notifier) { n.keep() })
		if !gone {
			w.awaitGained(c, false)
		}
		return
	}
	l := c.listens
	l.awaits = false
	l.release(c)
	s.listens, c.relay.Session.Hears = false, false
	w.unlink(c, s)
	home, has := w.proxy.workers[0], l.gained
	if home == w {
		w.notifierOf(c.pool).take(s, has)
		return
	}
	sp := c.pool
	s.transit = true
	src := s.conn.Detach()
	w.servers.remove(s)
	home.loop.Post(func() {
		if home.arrive(s, src) {
			home.notifierOf(sp).take(s, has)
		} else {
			home.notifierOf(sp).keep()
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
