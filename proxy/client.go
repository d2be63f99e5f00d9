package proxy

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Client is a client after its login. An idle one owns this struct, its socket and nothing else: no goroutine, no buffer.
//
// All fields but info are owned by the loop of c.worker.
type Client struct {
	conn     eventloop.Conn
	relay    relay.Client
	worker   *worker
	pool     *serverPool
	counters *stats.PoolCounters // of worker and pool
	// application is of worker, pool and the application_name it has now.
	application *stats.Application
	server      *Server          // linked; nil otherwise
	waiter      *pool.Waiter     // queued for a server; nil otherwise
	settings    sqltext.Settings // of the parameters that servers report, as the client was told last
	set         sqltext.Settings // of those, the ones that the client has set itself: it carries no others from server to server
	base        sqltext.Settings // what the server began with on which settings rests; see rebase
	listens     *listenState     // nil: it does not

	next, prev *Client // worker.clients
	info       *clientInfo

	idleSince time.Duration
	begun     time.Duration // with relay.Deferred: when it began its transaction; 0: it is in none that no server knows of
	state     clientState
	// inRecovery is in_hot_standby as the client was told last.
	inRecovery bool
	torn       bool // the last it got is part of a message whose rest is lost: it can be told nothing any more
	held       bool // reads are paused until the server has said something
	isolation  isolation
	seeksRoom  bool // it waits for a server of its own, of its pool or of the session pool
	lends      bool // on a session port: it lends its server while it is idle
	returning  bool // its server was lent to another client
}

// clientInfo is what does not change after the login, and is seldom looked at.
type clientInfo struct {
	id          uint32 // process id in its BackendKeyData
	key         protocol.CancelKey
	address     netip.AddrPort // zero for a unix socket
	tls         string         // version; "" on a plain connection
	application string
	// base is what its session began with: RESET goes back to it. On a transaction port with isolation = "off", Own is accepted and unused.
	base sqltext.Session
	// asked are the reported parameters of its startup packet.
	asked sqltext.Settings
	since time.Time
	// restores: on a session port, what RESET takes of base is set anew.
	restores bool
	// replication is what its own server is opened with; nil: an ordinary client.
	replication *replication
	// home is the index of the loop it is on, or homeless. Cancel requests look for the client by it.
	home atomic.Int32
	// cancels is how many of its cancel requests wait to be carried out.
	cancels atomic.Int32
}

// homeless is the home of a client that is between two loops, or not yet on any.
const homeless = -1

// newClient is a client that has just logged in.
func newClient(sp *serverPool, begins baseline, r *replication) *Client {
	base := sqltext.Session{Reported: begins.reported(), Own: begins.own}
	limits := sp.limits.Load()
	lends := limits.lends && r == nil && begins.own == (sqltext.Settings{})
	c := &Client{
		relay: relay.NewClient(limits.statementsMax > 0 && (lends || sp.mode != relay.Session)), pool: sp, isolation: limits.isolation, lends: lends,
		base: begins.server, set: begins.asked, info: &clientInfo{base: base, asked: begins.asked, replication: r},
	}
	c.info.home.Store(homeless)
	if sp.mode == relay.Session && !lends {
		c.info.restores = c.isolation != isolationOff
		c.isolation = isolationOff // it has its server to itself
	}
	if sp.mode == relay.Session || c.isolation != isolationOff {
		c.relay.Own = base.Own
	}
	c.relay.Session.Tracked = c.isolation != isolationOff
	c.relay.Session.Observed = sp.mode == relay.Session
	c.relay.Session.Shares = c.shares()
	c.setSettings(base.Reported)
	if sp.limits.Load().defersBegin {
		c.relay.Defer()
	}
	return c
}

// applicationName returns the client's application_name as it is now.
func (c *Client) applicationName() string {
	name, ok := c.settings.Get("application_name")
	if !ok || c.info.application == "" && name == c.pool.listener.proxy.settings.Load().cfg.Server.ApplicationName {
		return c.info.application // it has none, and is told that of its servers
	}
	return name
}

// renamed is called when the client's parameters have changed: its application_name may be another.
func (c *Client) renamed() {
	if name := c.applicationName(); !c.application.IsNamed(name) {
		c.application.Leave(c.worker.loop.Now())
		c.application = c.worker.applications.Enter(c.counters, name)
	}
}

// clientState says where a client is. The words are those of SHOW CLIENTS.
type clientState uint8

const (
	clientIdle    clientState = iota // no server, none wanted. Next: waiting, active, closing
	clientWaiting                    // in a pool's queue; its bytes are kept unread. Next: active, idle, closing
	clientActive                     // linked. Next: idle, closing
	clientClosing                    // it is being told why, or gone. Terminal
)

// String is the word of SHOW CLIENTS.
func (s clientState) String() string {
	return [...]string{"idle", "waiting", "active", "closing"}[s]
}

// unlinkedReadMax is how much is read at once from a client that has no server: what it sends is kept while it waits.
const unlinkedReadMax = 8 << 10

// readyIdle is ReadyForQuery with status idle.
var readyIdle = []byte{protocol.ServerReadyForQuery, 0, 0, 0, 5, 'I'}

// OnRead is the walk of a query, first half: what a client has sent goes to its server, which is taken from the pool when the first
// message needs one.
func (c *Client) OnRead(b []byte) (consumed int) {
	total := len(b)
	if s := c.server; s != nil && s.parting != nil {
		return total // it has said its last
	}
	c.worker.resumeServer(c)
	for len(b) > 0 && c.state != clientClosing {
		if c.conn.Backlog() > backlogMax {
			c.conn.PauseReads() // until it has taken what the proxy itself has answered
			break
		}
		step := c.relay.FromClient(b, c.relayServer())
		switch step.Verdict {
		case relay.Forward:
			c.server.forward(b[:step.N], step.N)
		case relay.Rewrite:
			c.worker.rewritten(c, step.N)
		case relay.Checkout:
			var goesOn bool
			if step.N, goesOn = c.worker.obtain(c, b); !goesOn {
				return total - len(b) // the rest is kept until a server is granted
			}
		case relay.Promote:
			if !c.worker.promote(c, step.Kind, b) {
				return total - len(b) // the rest is kept until there is room
			}
		case relay.Share:
			c.worker.announceListen(c)
			return total - len(b) // the rest is kept until the answer
		case relay.Hold:
			c.held = true
			c.conn.PauseReads() // until the server has answered more
			return total - len(b)
		case relay.Drop:
		case relay.Answer:
			c.answer(step.Tag)
			c.deliverUnlinked()
		case relay.AnswerReady:
			c.sendReady()
			c.deliverUnlinked()
		case relay.EndRefusal:
			c.sendReady()
			if len(b) > step.N || c.conn.Unread() {
				c.close(stats.ClientPipelinedBehindError, protocol.ErrProtocol(pipelinedBehind))
			}
		case relay.Leave:
			c.part(stats.ClientLeft, nil)
			return total
		case relay.Violate:
			c.part(stats.ClientProtocolViolation, step.Err)
			return total
		default: // More: come again when more has arrived
			return total - len(b)
		}
		b = b[step.N:]
		if c.server != nil && c.server.conn.Backlog() > backlogMax {
			break // a rewritten message may be much longer than it came
		}
	}
	if s := c.server; s != nil {
		if s.conn.Backlog() > 0 {
			c.conn.PauseReads() // until the server has taken it
		}
		if s.relay.Settled() && !c.relay.MidMessage() {
			c.worker.settle(s) // nothing in what was sent calls for an answer
		}
	}
	return total - len(b)
}

// backlogMax is how much may wait for a server, or for the client itself, before the rest of what the client has sent is kept.
const backlogMax = 256 << 10

// goOn lets a client that was held send on. One that waits for room in the session pool goes on when it has it.
func (c *Client) goOn() {
	if c.held && c.waiter == nil {
		c.held = false
		c.conn.ResumeReads()
	}
}

// rewritten sends what stands for n bytes of a client's: to its server, and what answers them at once, to itself.
func (w *worker) rewritten(c *Client, n int) {
	if len(w.desk.ToServer) > 0 {
		c.server.forward(w.desk.ToServer, n)
	}
	if len(w.desk.ToClient) > 0 {
		c.server.reply(w.desk.ToClient, 0)
	}
}

const pipelinedBehind = "more was sent behind a batch that was refused"

func (c *Client) relayServer() *relay.Server {
	if c.server == nil {
		return nil
	}
	return &c.server.relay
}

// parting says how a client will be closed when the server has answered what the client asked for.
type parting struct {
	why stats.ClientClose
	err *protocol.Error
	// until bounds the time that the answer may take, for a client that may be dead; 0: none does.
	until time.Duration
}

// goneGrace is how long a query may run on whose client has gone without a goodbye. Then it is canceled and its server is free. A client
// that has only shut down its sending side cannot be told from a dead one: it hears the replies of these two seconds.
const goneGrace = 2 * time.Second

// part closes a client that has said its last. What it has asked for before is answered first, as on a direct connection.
func (c *Client) part(why stats.ClientClose, err *protocol.Error) {
	if c.state != clientActive || c.relay.MidMessage() || c.server.relay.Streaming() ||
		!c.server.relay.Answering() && !c.server.relay.MidMessage() {
		c.close(why, err)
		return
	}
	if c.server.parting == nil {
		c.server.parting = &parting{why: why, err: err}
		if why == stats.ClientGone {
			c.server.parting.until = c.worker.loop.Now() + goneGrace
		}
	}
}

// OnEOF: the client sends no more.
func (c *Client) OnEOF() { c.part(stats.ClientGone, nil) }

// OnHangup: a client whose reads are paused has gone. A waiter leaves the queue at once; any other is served to the end of what it
// asked for, unless the socket breaks.
func (c *Client) OnHangup() {
	if c.state == clientIdle || c.state == clientActive && c.waiter == nil {
		return
	}
	c.close(stats.ClientGone, nil)
}

// OnDrained: the client has taken what it was sent; read on, from its server and from itself.
func (c *Client) OnDrained() {
	s := c.server
	if s != nil {
		s.conn.ResumeReads()
	}
	if c.waiter == nil && (s == nil || !c.held && s.conn.Backlog() == 0) {
		c.conn.ResumeReads()
	}
}

// OnBroken: the socket is dead.
func (c *Client) OnBroken(error) {
	c.close(stats.ClientGone, nil)
}

// close ends a client: why goes to the metrics and the log, err (may be nil) to the client as the last it hears. Its server is brought
// to rest and reused if that is possible.
func (c *Client) close(why stats.ClientClose, err *protocol.Error) {
	if c.state == clientClosing {
		return
	}
	w, before := c.worker, c.state
	c.state = clientClosing
	if c.server != nil {
		c.torn = c.server.relay.Torn()
	}
	if err != nil && !c.torn {
		w.scratch = err.AsFatal().Append(w.scratch[:0])
		c.conn.Send(w.scratch)
	}
	if err != nil || c.conn.Unsent() > 0 { // it may be half-closed, and read on
		c.conn.CloseAfterDrain(lastWordsMax)
	} else {
		c.conn.CloseSoon()
	}
	switch before {
	case clientWaiting:
		w.leaveQueue(c)
	case clientActive:
		w.abandon(c)
	case clientIdle, clientClosing:
	}
	w.forget(c, why, err)
	w.act()
}

// lastWordsMax is how long a client may take to read what it has been sent before, and why it is being closed.
const lastWordsMax = 5 * time.Second

// forget removes a client from every list. Its socket may still be sending the last words.
func (w *worker) forget(c *Client, why stats.ClientClose, err *protocol.Error) {
	c.stopListening()
	c.setBegun(0)
	w.clients.remove(c)
	c.counters.Clients--
	c.application.Leave(w.loop.Now())
	c.counters.ClientCloses[why]++
	c.pool.listener.removeClient(c.pool)
	w.proxy.cancels.remove(c)
	c.relay.Forget(w.proxy.statements)
	w.proxy.logClose(c, why, err)
}

// adoptClient takes a client over from its login. Ownership of src passes here.
func (w *worker) adoptClient(c *Client, src eventloop.Source) {
	c.worker = w
	c.info.home.Store(int32(w.index))
	c.counters = w.countersOf(c.pool)
	c.application = w.applications.Enter(c.counters, c.applicationName())
	c.idleSince = w.loop.Now()
	c.counters.Clients++
	w.clients.add(c)
	if err := w.loop.Adopt(&c.conn, src, c); err != nil {
		w.proxy.log.Error("a client that has logged in could not be watched", "error", err)
		c.state = clientClosing
		w.forget(c, stats.ClientGone, nil)
		return
	}
	c.conn.SetReadMax(unlinkedReadMax)
	if w.draining {
		c.close(stats.ClientShutdown, protocol.ErrShutdown())
		return
	}
	if c.info.replication != nil {
		w.queueReplication(c)
	}
	if w.proxy.settings.Load().clientIdleTimeouts {
		w.watch()
	}
}

// clientList is an intrusive list: adding and removing cost no allocation.
type clientList struct {
	first *Client
	n     int
}

func (l *clientList) add(c *Client) {
	c.next, c.prev = l.first, nil
	if l.first != nil {
		l.first.prev = c
	}
	l.first = c
	l.n++
}

func (l *clientList) remove(c *Client) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.next, c.prev = nil, nil
	l.n--
}

// tickClients closes clients that have been idle for too long. It reports whether there is anything to watch.
func (w *worker) tickClients(now time.Duration) (watched bool) {
	if !w.proxy.settings.Load().clientIdleTimeouts && w.begun == 0 {
		return false
	}
	if now-w.lastIdle < time.Second {
		return w.clients.n > 0
	}
	w.lastIdle = now
	w.walk(func() {
		for c := w.clients.first; c != nil; {
			next := c.next
			limits := c.pool.limits.Load()
			limit := limits.clientIdle
			if c.state == clientIdle && c.relay.Deferred() {
				c.tickDeferred(now, &limits.link)
			} else if limit > 0 && c.idleFor(now) >= limit {
				c.close(stats.ClientIdleTimeout, protocol.ErrClientIdle("client_idle_timeout", limit))
			}
			c = next
		}
	})
	return w.clients.n > 0
}

// idleFor is how long a client has asked for nothing. A session's client has a server all the while.
func (c *Client) idleFor(now time.Duration) time.Duration {
	switch {
	case c.state == clientIdle:
		return now - c.idleSince
	case c.state == clientActive && c.server.relay.Settled() && !c.relay.MidMessage():
		return now - c.server.clocks.Progress
	}
	return 0
}
