package proxy

import (
	"net"
	"time"

	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
	"github.com/hybridbouncer/hybridbouncer/proxy/listen"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Server is a connection to PostgreSQL, from its login until its last byte. The pool's record of it is ps; the two live and die
// together.
//
// All fields but ps are owned by the loop of s.worker. ps is guarded by Proxy.mu.
type Server struct {
	conn   eventloop.Conn
	relay  relay.Server
	worker *worker
	pool   *serverPool
	client *Client // linked; nil otherwise
	ps     *pool.Server

	settings sqltext.Settings // as reported by it
	own      sqltext.Settings // what it has of others; for a session's server only what it began with
	base     sqltext.Settings // as reported at its login: what RESET goes back to
	settled  sqltext.Settings // what its client had of the reported parameters when nothing was outstanding last
	listens  bool             // UNLISTEN is due before anybody else gets it
	hub      *listen.Hub      // of which it is the shared connection; nil otherwise
	asked    []string         // the parameters whose values it has been asked for
	// askedDoubts is the last argument of the question; questions counts how often it was asked in vain, and repeats tells that it is due again.
	askedDoubts, repeats bool
	questions            int
	// resetPerhaps are the changes that made it necessary to ask.
	resetPerhaps []relay.Change
	lastID       uint32 // of the client that had it last
	key          protocol.CancelKey
	address      net.Addr // nil in the simulation
	tls          *dial.TLS
	// replication: it is a walsender, opened for one client; nil: any client's.
	replication *replication
	place       *place            // where it was opened
	reported    map[string]string // with replication: its parameters, until its client has been greeted
	clocks      relay.Clocks

	linkedAt   time.Duration   // when it was lent to its client
	promotedAt time.Duration   // when it was promoted since; 0: it was not
	wants      relay.StateKind // what its client waits for room for

	next, prev *Server // worker.servers

	cancels     int           // cancel requests on their way to it
	cancelsLate []func()      // its client's cancel requests that wait for cancelFor; each is called when it has been carried out
	deadline    time.Duration // of draining, checking, cleaning or closing; 0: none
	cancelAt    time.Duration // when the query of a client that is gone is canceled; 0: not, or it has been
	drained     int           // bytes dropped since its client left
	// partialBytes is the length of the message that has begun in the bytes that OnRead has before it. The Conn keeps it when OnRead returns.
	partialBytes int
	parting      *parting   // its client sends no more, and is closed when its replies are out; nil otherwise
	dirty        bool       // resetQuery is due before anybody else gets it
	foreign      bool       // it was promoted, and not cleaned since
	rolledBack   bool       // ROLLBACK has been sent after its client left
	closing      bool       // told goodbye; only its EOF is awaited
	transit      bool       // lent to a client on another loop, and not there yet
	lost         bool       // it broke while in transit
	applying     bool       // replies to applySettings are on their way
	outdated     bool       // it is not lent again; see retire
	givesBack    bool       // its client may wait for room without it
	resting      bool       // its client is idle and would lend it
	resetting    bool       // DISCARD ALL is on its way, sent to clean it
	asks         *loginWait // the login for which the server has been asked whether it is in recovery; nil: none
	inRecovery   bool       // in_hot_standby as reported at its login
	outdatedBy   pool.CloseReason
	closeReason  pool.CloseReason
}

const (
	// drainBytesMax and drainMax bound what is read for a client that is gone: a new connection is cheaper than much more.
	drainBytesMax = 1 << 20
	drainMax      = 5 * time.Second
	// goodbyeMax is how long a server may take to end after Terminate. Its slot counts until then (invariant 3).
	goodbyeMax = 5 * time.Second
	// checkMax bounds server_check_query and server_reset_query.
	checkMax = 15 * time.Second
)

// OnRead is the walk of a query, second half: what a server has sent goes to its client; when nothing is owed any more, the server
// goes back to its pool.
func (s *Server) OnRead(b []byte) (consumed int) {
	total := len(b)
	if s.transit {
		return 0 // its next loop will read it
	}
	if s.hub != nil {
		return s.readListening(b)
	}
	for len(b) > 0 && !s.closing {
		step := s.relay.FromServer(b)
		switch step.Verdict {
		case relay.Forward:
			s.reply(b[:step.N], step.Finished)
		case relay.Drop:
			s.drained += step.N
			s.dropped()
		case relay.Rewrite:
			s.rewritten(step)
			s.dropped()
		case relay.Overheard:
			s.client.listensOf().subscriber.KeepOwn(b[:step.N])
		case relay.Ready:
			s.client.withholdReady()
		case relay.Told:
			s.answered(b[:step.N])
		case relay.Report:
			s.report(b[:step.N], step.Injected)
		case relay.Refused:
			s.refused(b[:step.N])
		case relay.Distrust:
			s.distrusted(step.Err)
		default: // More
			s.partialBytes = len(b)
			s.afterRead()
			s.partialBytes = 0
			return total - len(b)
		}
		b = b[min(step.N, len(b)):]
	}
	if !s.closing {
		s.afterRead()
	}
	return total
}

// saysMore reports that a part of a message has arrived, or bytes that have not been looked at. Whatever they are, they belong to the client
// that the server has now, or to nobody: no other client may get the server before the rest has come.
func (s *Server) saysMore() bool { return s.partialBytes > 0 || s.conn.Kept() > 0 || s.conn.Unread() }

// afterRead decides what becomes of the link when all that has arrived has been passed on.
func (s *Server) afterRead() {
	c := s.client
	if c != nil && c.relay.Session.Pending() && s.parting == nil && s.relay.TxStatus == relay.StatusActive && s.relay.Quiet() {
		if s.awaitsCancel() {
			return
		}
		s.worker.restore(c, s)
	}
	switch {
	case c == nil:
		s.worker.rest(s)
	case s.relay.Settled() && !c.relay.MidMessage():
		s.worker.settle(s)
	case s.worker.draining && s.relay.StreamPauses(): // it has no end of its own
		c.close(stats.ClientShutdown, protocol.ErrShutdown())
	case c.held && s.relay.Asking(): // the answer to the proxy's own question comes first
	case s.parting != nil && !s.relay.Answering() && !s.relay.MidMessage(): // what it waits for may never come: a Sync, the end of a COPY
		c.close(s.parting.why, s.parting.err)
	case s.pool.mode == relay.Statement && s.relay.TxStatus != relay.StatusIdle && s.relay.Quiet():
		c.close(stats.ClientStatementMode, protocol.ErrStatementMode())
	default:
		c.goOn()
		if c.conn.Backlog() > 0 {
			s.conn.PauseReads() // until the client has taken it
		}
	}
}

// dropped is called when what no client is to see may have come to its end.
func (s *Server) dropped() {
	s.repeatQuestion()
	if s.applying && !s.relay.Hidden() {
		s.applied()
		s.cancelLate(false)
	}
}

// rewritten sends what stands for a part of what the server has said.
func (s *Server) rewritten(step relay.Step) {
	if b := s.worker.desk.ToClient; len(b) > 0 {
		s.reply(b, step.Finished)
	}
	if b := s.worker.desk.ToServer; len(b) > 0 {
		s.conn.Send(b)
	}
}

// forward sends a client's bytes to the server and starts the clocks that they start. received is how many there were before any of
// them was rewritten.
func (s *Server) forward(b []byte, received int) {
	now := s.worker.loop.Now()
	s.clocks.Progress = now
	if s.replication == nil {
		s.startClocks(now)
	}
	s.client.counters.Received += uint64(received)
	s.conn.Send(b)
}

// startClocks starts those that do not run yet. Commands of streaming replication are no queries.
func (s *Server) startClocks(now time.Duration) {
	if s.clocks.Query == 0 {
		s.clocks.Query = now
	}
	if s.clocks.Transaction == 0 {
		s.clocks.Transaction = now
	}
}

// reply sends a server's bytes to the client. finished counts the ReadyForQuery among them.
func (s *Server) reply(b []byte, finished int) {
	c := s.client
	if c == nil {
		return // an idle server has nothing to say but that it ends
	}
	now := s.worker.loop.Now()
	s.clocks.Progress = now
	if finished > 0 && s.replication == nil {
		s.measure(c, finished, now)
	}
	c.counters.Sent += uint64(len(b))
	c.conn.Send(b)
}

// measure records the times of what has just been answered.
func (s *Server) measure(c *Client, finished int, now time.Duration) {
	for range finished {
		c.counters.Query.Observe(now - s.clocks.Query)
	}
	s.clocks.Query = 0
	if s.relay.Owed() > 0 {
		s.clocks.Query = now
	}
	if s.relay.TxStatus == relay.StatusIdle {
		c.counters.Transaction.Observe(now - s.clocks.Transaction)
		c.application.Transacted(now - s.clocks.Transaction)
		if kind, made := c.relay.Session.Made(); made {
			c.application.Observes(kind)
		}
		s.clocks.Transaction, s.clocks.Deferred = 0, 0
		if s.relay.Owed() > 0 {
			s.clocks.Transaction = now
		}
	}
}

// use tells how long the linked client has had the server.
func (s *Server) use(now time.Duration) stats.ServerUse {
	u := stats.ServerUse{Held: now - s.linkedAt}
	if s.promotedAt > 0 {
		u.Promoted = now - s.promotedAt
	}
	if s.clocks.Transaction > 0 {
		u.Transaction = now - s.clocks.Transaction
	}
	return u
}

const messageHeader = 5

// report folds a ParameterStatus into what is known of the server and of its client, and passes it on unless the proxy caused it.
func (s *Server) report(frame []byte, injected bool) {
	c := s.client
	name, value, ok := protocol.ParseParameterStatus(frame)
	if ok && !injected && s.relay.Owed() == 0 && tracked(name) {
		s.reloaded(name, value)
	}
	if ok && name == "in_hot_standby" {
		s.leftRecovery(value)
	}
	if ok && tracked(name) {
		s.settings = s.settings.With(name, value)
		if c != nil && !injected && c.relay.Session.Resetting(name) {
			value = s.begun(c, name, value)
			c.hasSet(name, value)
			c.tell(c.settings.With(name, value))
			return
		}
		if c != nil && !injected {
			c.hasSet(name, value)
			c.setSettings(c.settings.With(name, value))
		}
	}
	if c != nil && !injected {
		c.counters.Sent += uint64(len(frame))
		c.conn.Send(frame)
	}
}

// reloaded is called when the server reports a parameter that no statement has set: PostgreSQL has read its configuration again, or a standby
// has been promoted. The linked client is told, as on a direct connection. The server is not lent again, because it no longer is what its
// login showed: one that is opened anew shows what holds for everybody.
func (s *Server) reloaded(name, value string) {
	s.retire(pool.CloseStale)
	s.pool.welcome.changed(name, value)
	if c := s.client; c != nil {
		c.base = sqltext.Settings{} // its settings rest on this server no more: rebase makes them anew
	}
}

// retire marks a server that its client may still use and nobody else may have. It is closed when it comes back.
func (s *Server) retire(why pool.CloseReason) {
	if !s.outdated {
		s.outdated, s.outdatedBy = true, why
	}
}

// beginsAnew is called when DISCARD ALL has taken back everything that sessions have set: what the server reports now is what it begins with.
func (s *Server) beginsAnew() {
	if s.settings == s.base {
		return
	}
	s.settings.Each(func(name, value string) {
		if had, _ := s.base.Get(name); had != value {
			s.pool.welcome.changed(name, value)
		}
	})
	s.base, s.relay.Base = s.settings, s.settings
}

// leftRecovery is called when the server reports in_hot_standby: its PostgreSQL has been promoted. New clients are greeted with that.
func (s *Server) leftRecovery(value string) {
	s.inRecovery = value == "on"
	s.pool.welcome.changed("in_hot_standby", value)
	if c := s.client; c != nil {
		c.inRecovery = s.inRecovery
	}
}

// begun is the value that a parameter has for the client when it has been reset and the server now reports value.
func (s *Server) begun(c *Client, name, value string) string {
	if has, _ := s.base.Get(name); has == value {
		value, _ = c.info.base.Reported.Get(name)
	}
	return value
}

// refused: the server answered a statement of the proxy's own with an error. It is closed; a client that is waiting behind the
// statement hears PostgreSQL's words about the setting it asked for. Who ends the connection (57P01, 57P05) has not refused anything: these words
// pass as they are.
func (s *Server) refused(frame []byte) {
	e := protocol.ParseError(frame[messageHeader:])
	if s.asksAgain(e.Code) {
		return
	}
	if protocol.Fatal(frame) {
		if c := s.client; c != nil {
			c.close(stats.ClientServerLost, &e)
		}
		s.worker.closeServer(s, pool.CloseLost)
		return
	}
	if c := s.client; c != nil {
		c.close(stats.ClientSettingRefused, protocol.ErrSettingRefused(e))
	}
	s.worker.proxy.log.Warn("a server refused a statement of the pooler's own and is closed",
		"listener", s.pool.key.Listener, "database", s.pool.key.Database, "user", s.pool.key.User, "error", e.Message, "sqlstate", e.Code)
	s.worker.closeServer(s, pool.CloseRefusedStatement)
}

// distrusted: the server said something that cannot be. Nothing it says from here on may reach anybody (invariant 2).
func (s *Server) distrusted(err *protocol.Error) {
	event := "a server broke the protocol and is closed"
	if err.Code == protocol.ErrSettingTooLong(0).Code {
		event = "a server is closed that was asked for more than it can be: a client has set very long parameters"
	}
	s.worker.proxy.log.Error(event,
		"listener", s.pool.key.Listener, "database", s.pool.key.Database, "user", s.pool.key.User, "error", err.Detail)
	if c := s.client; c != nil {
		c.close(stats.ClientServerLost, err)
	}
	s.worker.closeServer(s, pool.CloseDoubt)
}

// OnEOF: PostgreSQL has closed the connection.
func (s *Server) OnEOF() { s.gone(nil) }

// OnHangup: the same, noticed while reads are paused. What is unread is read first: the reason may be in it.
func (s *Server) OnHangup() {
	if s.closing || s.client == nil {
		s.gone(nil)
	}
}

// OnDrained: the server has taken what its client sent; read on.
func (s *Server) OnDrained() {
	if s.client != nil && !s.client.held {
		s.client.conn.ResumeReads()
	}
}

// OnBroken: the socket is dead.
func (s *Server) OnBroken(err error) { s.gone(err) }

// gone ends a server whose socket has ended.
func (s *Server) gone(err error) {
	w, c := s.worker, s.client
	if s.transit {
		s.lost = true // the loop it is on its way to will be told
		return
	}
	s.conn.Close()
	s.cancelLate(true)
	if c != nil && c.waiter != nil {
		w.leaveQueue(c)
	}
	if !s.closing {
		s.closing = true
		s.closeReason = pool.CloseLost
		w.pools(func() {
			s.ps.Pool().Close(s.ps, w.loop.Now())
		})
	}
	s.leaveHub()
	if c != nil {
		c.torn = s.relay.Torn()
		c.application.Released(s.use(w.loop.Now()))
		c.server, s.client = nil, nil
		c.state = clientIdle
		c.counters.Active--
		if s.relay.SaidFatal() { // the client knows already
			c.close(stats.ClientServerLost, nil)
		} else {
			c.close(stats.ClientServerLost, protocol.ErrServerLost())
		}
	}
	w.buried(s, err)
	w.act()
}

// buried gives the slot of a server back, when the last is known of it.
func (w *worker) buried(s *Server, err error) {
	w.servers.remove(s)
	s.relay.Forget()
	w.countersOf(s.pool).ServerCloses[s.closeReason]++
	w.proxy.logServerClose(s, err)
	last := false
	w.pools(func() {
		s.ps.Pool().Closed(s.ps, w.loop.Now())
		last = s.closeReason == pool.CloseLost && s.pool.pool.Open() == 0
	})
	if last { // PostgreSQL may have begun anew, with another configuration
		s.pool.welcome.forget()
	}
	if s.asks != nil {
		s.asks.resolve(protocol.ErrServerLost())
		s.asks = nil
	}
}

// serverList is an intrusive list.
type serverList struct {
	first *Server
	n     int
}

func (l *serverList) add(s *Server) {
	s.next, s.prev = l.first, nil
	if l.first != nil {
		l.first.prev = s
	}
	l.first = s
	l.n++
}

func (l *serverList) remove(s *Server) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.next, s.prev = nil, nil
	l.n--
}
