package proxy

import (
	"slices"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/listen"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// A client of a transaction pool that listens. Its LISTEN runs on the server that it is linked to, where PostgreSQL judges it. When the LISTEN
// has been committed the client gets its notifications from the shared connection (package listen), and its own server forgets the channel.
//
// Where there is a shared connection, it listens to the channel before the client's LISTEN is sent. So nothing is missed that is committed
// later. Where there is none, the client's server is listening when the LISTEN has been committed, and becomes the shared connection. The
// ReadyForQuery of the commit is withheld until all this is in order.

// listenState is the state of a client that listens; nil for all others.
type listenState struct {
	subscriber        listen.Subscriber
	unreadableChannel bool // it listens to a channel whose name cannot be read

	awaitsSettings bool // its server has to get the client's settings first
	awaitsHub      bool // an answer of the Hub is on its way, and reads are paused
	owesReady      bool // a ReadyForQuery has been withheld from the client
	caughtUp       bool // and the client has been sent all notifications that were committed before that

	// of the transactions that have ended, until they are dealt with
	committed []relay.Listening
	doubtful  []string // channels about which its server is to be asked
	asked     []string // and has been
	added     []string // channels that its server listens to for it now
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
func (c *Client) listensOf() *listenState {
	if c.listens == nil {
		c.listens = &listenState{subscriber: listen.NewSubscriber((*listeningClient)(c), c.worker.subscribersOf(c.pool))}
	}
	return c.listens
}

// between reports that a client is between transactions and that nothing of a reply is outstanding.
func (c *Client) between() bool {
	s := c.server
	return s == nil && !c.relay.Deferred() || s != nil && s.relay.Settled() && !c.relay.MidMessage()
}

// deliverUnlinked sends the notifications that waited for the end of a transaction that no server knew of.
func (c *Client) deliverUnlinked() {
	if c.listens != nil && c.server == nil && c.between() {
		c.listens.subscriber.DeliverQueue()
	}
}

// announceListen lets the shared connection listen to the channels of a LISTEN before the client's server gets it. Reads stop, what the client
// has sent is kept, and the answer resumes it.
func (w *worker) announceListen(c *Client) {
	c.conn.PauseReads()
	l := c.listensOf()
	if c.server.relay.Injecting() {
		l.awaitsSettings = true // PostgreSQL may not have said yet what the client's encoding is called
		c.held = true
		return
	}
	l.awaitsSettings = false
	if l.awaitsHub {
		return
	}
	l.awaitsHub = true
	channels, known := c.relay.Session.Wanted()
	if !known {
		w.loop.Later(func() { w.announced(c, listen.Unreadable) })
		return
	}
	for _, name := range channels {
		l.subscriber.Reserve(name)
	}
	c.relay.Session.Listening = l.subscriber.Channels() > 0
	c.relay.Session.Reserved = c.relay.Session.Reserved || len(channels) > 0
	w.ensureListening(c, listen.Request{Channels: channels, Done: func(a listen.Answer) { w.announced(c, a) }})
}

// ensureListening asks the Hub of the client's pool.
func (w *worker) ensureListening(c *Client, r listen.Request) {
	r.Loop = w.index
	r.Encoding, _ = c.settings.Get("client_encoding")
	w.withHub(c.pool, func(h *listen.Hub) { h.Ensure(r) })
}

// announced takes the Hub's answer to announceListen.
func (w *worker) announced(c *Client, a listen.Answer) {
	l := c.listens
	if c.state == clientClosing || l == nil {
		return
	}
	l.awaitsHub = false
	session := &c.relay.Session
	switch a {
	case listen.Listens:
		l.subscriber.DropReserved()
		session.Cleared, session.Hears = true, false
	case listen.NoConnection:
		session.Cleared, session.Hears = true, true
	default:
		c.removeReserved()
		if !session.Promotes {
			w.refuseListen(c, a)
			return
		}
		session.Shares = false // it gets a server of its own
	}
	if l.owesReady { // the LISTEN was skipped behind an error, and its batch has ended meanwhile
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
func (w *worker) refuseListen(c *Client, a listen.Answer) {
	err := listenError(a)
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

// listenError says why the Hub does not listen for a client.
func listenError(a listen.Answer) *protocol.Error {
	switch a {
	case listen.OtherEncoding:
		return protocol.ErrListenImpossible(listenOtherEncoding)
	case listen.Unreadable:
		return protocol.ErrListenImpossible(listenUnnamed)
	default: // TooSmall
		return protocol.ErrListenImpossible(listenNeedsTwo)
	}
}

// removeReserved takes back what the client was about to listen to.
func (c *Client) removeReserved() {
	c.listens.subscriber.RemoveReserved()
	c.relay.Session.Reserved = false
	c.relay.Session.Listening = c.listens.subscriber.Channels() > 0
}

// stopListening ends all that a client that goes away listens to.
func (c *Client) stopListening() {
	if c.listens != nil {
		c.listens.subscriber.RemoveAll()
		c.listens.subscriber.DropQueue()
	}
}

// noteListens notes what the transactions that have ended did to what the client listens to.
func (c *Client) noteListens(s *Server, out *relay.Listened) {
	if len(out.Listenings) > 0 || len(out.Doubtful) > 0 {
		l := c.listensOf()
		l.committed, l.doubtful = append(l.committed, out.Listenings...), out.Doubtful
	}
	if out.Unnamed {
		c.listensOf().unreadableChannel = true
	}
	s.listens = s.listens || out.Listens
}

// withholdReady keeps a ReadyForQuery back. settle sends it: nothing else is owed to a client that listens.
func (c *Client) withholdReady() {
	l := c.listensOf()
	l.owesReady, l.caughtUp = true, false
	if c.relay.Session.Hears {
		l.subscriber.DropReserved() // of what the shared connection has received so far, the server received what came behind the LISTEN
	}
}

// settleListens brings a client that listens up to date, when it is between transactions and its server settled. It sends the ReadyForQuery
// that was withheld, behind the notifications that come first. It reports false when that has to wait, or the server has been sent something:
// then it is called again. ends: the client is going away.
func (w *worker) settleListens(c *Client, s *Server, ends bool) bool {
	l := c.listensOf()
	switch {
	case ends:
		c.applyListens(l.committed) // so that it gets nothing on a channel that it no longer listens to
		l.committed = nil
	case l.unreadableChannel && c.relay.Session.Shares:
		c.close(stats.ClientListenImpossible, protocol.ErrListenImpossible(listenUnnamed))
		return false
	case l.awaitsHub:
		return false
	case l.awaitsSettings && !l.owesReady: // it has them now, and keeps its client
		l.awaitsSettings, c.held = false, false
		c.conn.ResumeReads()
		return false
	case len(l.doubtful) > 0:
		w.askListens(c, s)
		return false
	case len(l.committed) > 0 || c.relay.Session.Reserved:
		if w.subscribe(c, s) {
			return false
		}
		return w.settleListens(c, s, ends)
	case l.owesReady && !l.caughtUp && l.subscriber.Channels() > 0:
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
	if l.subscriber.Channels() == 0 {
		c.listens, c.relay.Session.Listening, c.relay.Session.Hears = nil, false, false
	}
	return true
}

// releaseReady sends a ReadyForQuery that was withheld, if there is one.
func (c *Client) releaseReady() {
	if c.listens != nil && c.listens.owesReady && !c.server.relay.Torn() { // else settle sends it
		c.listens.release(c)
	}
}

// release sends the notifications that wait for the place where the client is now, and the ReadyForQuery behind them.
func (l *listenState) release(c *Client) {
	l.subscriber.DeliverQueue()
	if l.owesReady {
		l.owesReady, l.caughtUp, l.awaitsSettings, c.relay.Session.Withheld = false, false, false, false
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

// answeredListens takes the answer: a channel that the server does not listen to is as it was before.
func (c *Client) answeredListens(row []byte) (ok bool) {
	l := c.listens
	names := l.asked
	l.asked = nil
	return protocol.Columns(row, func(i int, value []byte) {
		if i < len(names) && value != nil {
			l.committed = append(l.committed, relay.Listening{Channel: names[i]})
		}
	})
}

// subscribe carries out what was committed, and takes back what was reserved for more. It reports true when the Hub has to be waited for.
func (w *worker) subscribe(c *Client, s *Server) (waits bool) {
	l, session := c.listens, &c.relay.Session
	committed, hears := l.committed, session.Hears
	l.committed = nil
	reserved := c.applyListens(committed)
	c.removeReserved()
	if len(l.added) == 0 || !hears && reserved {
		session.Hears = false
		return false
	}
	w.awaitAdded(c, w.mayGive(c, s))
	return true
}

// applyListens carries out LISTEN and UNLISTEN. It reports whether the shared connection was asked before to listen to all channels that the
// client has added.
func (c *Client) applyListens(committed []relay.Listening) (reserved bool) {
	l := c.listens
	l.added, reserved = nil, true
	for _, change := range committed {
		switch {
		case change.Stops && change.Channel == "":
			l.subscriber.RemoveAll()
			l.added = nil
		case change.Stops, !c.relay.Session.Shares: // on a server of its own the client gets its notifications from that
			l.subscriber.Remove(change.Channel)
			l.added = slices.DeleteFunc(l.added, func(name string) bool { return name == change.Channel })
		default:
			reserved = reserved && l.subscriber.Has(change.Channel)
			l.subscriber.Commit(change.Channel, c.relay.Session.Hears)
			l.added = append(l.added, change.Channel)
		}
	}
	c.relay.Session.Listening = l.subscriber.Channels() > 0
	return reserved
}

// awaitRound keeps the client waiting until it has been sent what was committed so far. The Hub's answer does not matter.
func (w *worker) awaitRound(c *Client) {
	w.awaitHub(c, listen.Request{Done: func(listen.Answer) { w.hubAnswered(c, listen.Listens) }})
}

// awaitAdded keeps the client waiting until the shared connection listens to what its server listens to now.
func (w *worker) awaitAdded(c *Client, offers bool) {
	w.awaitHub(c, listen.Request{
		Channels: c.listens.added, Must: true, Offers: offers,
		Done: func(a listen.Answer) { w.hubAnswered(c, a) },
	})
}

// awaitHub keeps the client waiting until the Hub has answered.
func (w *worker) awaitHub(c *Client, r listen.Request) {
	c.listens.awaitsHub = true
	c.conn.PauseReads()
	w.ensureListening(c, r)
}

// hubAnswered takes the answer to awaitHub.
func (w *worker) hubAnswered(c *Client, a listen.Answer) {
	l := c.listens
	gone := c.state == clientClosing || l == nil || c.server == nil
	switch {
	case a == listen.Give:
		w.giveServer(c, gone)
	case gone:
	case a == listen.TimedOut:
		c.close(stats.ClientQueryWaitTimeout, protocol.ErrListenTimeout(c.pool.limits.Load().pool.WaitTimeout))
	case a == listen.TooSmall, a == listen.OtherEncoding:
		c.close(stats.ClientListenImpossible, listenError(a))
	default:
		w.hubListens(c, c.server)
	}
	w.act()
}

// hubListens lets a client go on for which the shared connection listens now. If its own server listens, too, that is stopped first, and the
// client waits for one round more: by then the shared connection has received all that the server has sent, and nothing comes twice.
func (w *worker) hubListens(c *Client, s *Server) {
	l := c.listens
	l.awaitsHub = false
	l.subscriber.ServerDone()
	if s.listens && c.relay.Session.Hears && l.owesReady {
		s.listens = false
		s.inject("UNLISTEN *")
		return // settled again when it has been answered
	}
	l.caughtUp, c.relay.Session.Hears = true, false
	w.settle(s)
}

// mayGive reports that the client's server can become the shared connection: it counts in this pool, and nothing is left on it.
func (w *worker) mayGive(c *Client, s *Server) bool {
	return s.pool == c.pool && !s.relay.Kept && !s.dirty && !s.closing && !s.outdated && s.cancels == 0 && s.parting == nil &&
		c.waiter == nil && !w.draining &&
		s.relay.Settled() && !c.relay.MidMessage() && !s.conn.Unread() && s.facts().Clean()
}

// giveServer makes the client's server the shared connection. The client takes another for what it says next.
func (w *worker) giveServer(c *Client, gone bool) {
	s := c.server
	if gone || !w.mayGive(c, s) {
		w.withHub(c.pool, (*listen.Hub).NotGiven)
		if !gone {
			w.awaitAdded(c, false)
		}
		return
	}
	l := c.listens
	l.awaitsHub = false
	l.subscriber.ServerDone()
	l.release(c)
	s.listens, c.relay.Session.Hears = false, false
	w.unlink(c, s)
	w.give(s, c.pool, l.added)
}
