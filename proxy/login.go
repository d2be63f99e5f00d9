package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/sockets"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// newestMinor is the newest minor version of protocol 3 spoken here.
const newestMinor = 2

// login takes a client from accept to its event loop, in a goroutine of its own that ends with it.
func (l *listener) login(nc net.Conn) {
	defer func() {
		if v := recover(); v != nil {
			l.proxy.contained(v, nil)
			sockets.CloseQuietly(nc)
		}
	}()
	tracked := nc
	ok := l.track(nc)
	defer l.untrack(tracked)
	ctx, cancel := l.loginContext()
	defer cancel()
	deadline, _ := ctx.Deadline()
	if err := nc.SetDeadline(deadline); err != nil {
		sockets.CloseQuietly(nc)
		return
	}
	if !ok {
		l.turnAway(newCaller(nc), nil, protocol.ErrTooManyClients("max_client_conn", l.clientsMax()))
		return
	}
	nc, err := unproxied(nc, l.proxy.settings.Load().listener(l.name))
	c := newCaller(nc)
	defer func() { c.leave() }()
	if err != nil {
		l.turnAway(c, nil, err)
		return
	}
	startup, err := l.startup(ctx, c)
	if err != nil {
		l.turnAway(c, nil, err)
		return
	}
	switch startup.Kind {
	case protocol.StartupCancel:
		l.proxy.cancel(startup.Cancel)
		sockets.CloseQuietly(c.socket)
	default:
		if err := l.enter(ctx, c, &startup); err != nil {
			l.turnAway(c, &startup, err)
		}
	}
}

// growStack lets the goroutine's stack grow to what a login needs in one step, once it has been let in: those that wait have small ones.
// Otherwise it grows by doubling, in the depth of the login: a twentieth of what one costs.
//
//go:noinline
func growStack() byte {
	var room [6 << 10]byte
	return room[cap(authenticationOk)]
}

// loginContext ends with the time that a login may take as a whole: client_login_timeout.
func (l *listener) loginContext() (context.Context, context.CancelFunc) {
	limit := time.Duration(0)
	if cfg := l.proxy.settings.Load().listener(l.name); cfg != nil {
		limit = cfg.ClientLoginTimeout
	}
	return l.proxy.context(limit)
}

// turn waits for the login's turn, by login_rate and at the door, before anything is computed for it.
func (l *listener) turn(ctx context.Context, c *caller) error {
	p := l.proxy
	if err := p.turnstile.pass(ctx, p.settings.Load().cfg.Auth.LoginRate); err != nil {
		return err
	}
	leave, err := p.door.enter(ctx, p.workers[:p.openLoops.Load()])
	if err != nil {
		return err
	}
	c.leave = leave
	growStack()
	return nil
}

// startup reads the first packet that is not about encryption. From then on the caller speaks TLS if it asked for that and the listener
// can.
func (l *listener) startup(ctx context.Context, c *caller) (protocol.Startup, error) {
	offer := l.tls.Load()
	if isUnix(c.socket) {
		offer = nil
	}
	c.offer = offer
	first, err := c.firstByte()
	if err != nil {
		return protocol.Startup{}, err
	}
	if first == tlsHandshake && offer != nil {
		return l.startupDirect(ctx, c, offer)
	}
	startup, err := protocol.ReadStartup(c.in)
	asked := [...]bool{protocol.StartupLogin: true, protocol.StartupCancel: true}
	for err == nil && !asked[startup.Kind] { // SSLRequest and GSSENCRequest, each once
		asked[startup.Kind] = true
		if len(c.ahead()) > 0 || sockets.Unread(c.socket) {
			return startup, protocol.ErrProtocol("received unencrypted data after a request for encryption").
				WithDetail("This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.")
		}
		if startup.Kind == protocol.StartupSSL && offer != nil {
			return l.startupSecure(ctx, c, offer)
		}
		if _, err := c.socket.Write([]byte{'N'}); err != nil {
			return startup, err
		}
		startup, err = protocol.ReadStartup(c.in)
	}
	if err == nil && startup.Kind == protocol.StartupLogin {
		err = offer.admit(nil)
	}
	return startup, onlyOnce(startup, err)
}

// tlsHandshake is the first byte of a client that begins with TLS at once: no startup packet is that long.
const tlsHandshake = 22

// startupDirect is for a client that begins with TLS at once, as PostgreSQL 17 allows (sslnegotiation=direct).
func (l *listener) startupDirect(ctx context.Context, c *caller, offer *clientTLS) (protocol.Startup, error) {
	if err := l.turn(ctx, c); err != nil {
		return protocol.Startup{}, err
	}
	secure, err := offer.secureClient(c.socket, c.ahead())
	if err == nil && secure.ConnectionState().NegotiatedProtocol != alpn {
		err = &handshakeError{errNoALPN} // another protocol's client must not be talked into speaking this one
	}
	if err != nil {
		return protocol.Startup{}, err
	}
	return startupWithin(c, secure, offer)
}

// startupSecure is for a client that has asked for TLS.
func (l *listener) startupSecure(ctx context.Context, c *caller, offer *clientTLS) (protocol.Startup, error) {
	if err := l.turn(ctx, c); err != nil {
		return protocol.Startup{}, err
	}
	if _, err := c.socket.Write([]byte{'S'}); err != nil {
		return protocol.Startup{}, err
	}
	secure, err := offer.secureClient(c.socket, nil)
	if err != nil {
		return protocol.Startup{}, err
	}
	return startupWithin(c, secure, offer)
}

func startupWithin(c *caller, secure *tls.Conn, offer *clientTLS) (protocol.Startup, error) {
	c.secured(secure)
	startup, err := protocol.ReadStartup(c.in)
	if err == nil && startup.Kind == protocol.StartupLogin {
		err = offer.admit(secure)
	}
	return startup, onlyOnce(startup, err)
}

// onlyOnce refuses a client that asks for encryption where it cannot any more.
func onlyOnce(startup protocol.Startup, err error) error {
	if err == nil && (startup.Kind == protocol.StartupSSL || startup.Kind == protocol.StartupGSS) {
		return protocol.ErrProtocol("more than one request for encryption of each kind")
	}
	return err
}

// enter authenticates a client, welcomes it and hands it to a loop.
func (l *listener) enter(ctx context.Context, c *caller, startup *protocol.Startup) error {
	p := l.proxy
	if startup.Major != 3 {
		return protocol.ErrProtocolVersion(startup.Major, startup.Minor)
	}
	user, database := startup.Get("user"), startup.Get("database")
	if user == "" {
		return protocol.ErrNotAuthorized("no PostgreSQL user name specified in startup packet")
	}
	if database == "" {
		database = user
	}
	kind, err := l.admit(startup)
	if err != nil {
		return err
	}
	if startup.Minor > newestMinor || len(startup.UnknownOptions) > 0 {
		c.unsaid = protocol.AppendNegotiateProtocolVersion(c.unsaid, min(startup.Minor, newestMinor), startup.UnknownOptions)
	}
	who := auth.Login{User: user, Database: database, Physical: kind == protocol.PhysicalReplication, Origin: originOf(c.socket, c.offer)}
	if err := l.authenticate(ctx, c, who); err != nil {
		return err
	}
	sp, ok := p.poolFor(l, database, user)
	if !ok {
		return protocol.ErrNoSuchDatabase(database)
	}
	defer p.release(sp)
	if err := l.takePlace(sp); err != nil {
		return err
	}
	entered := false
	defer func() {
		if !entered {
			l.leavePlace(sp)
		}
	}()
	client, err := l.prepare(ctx, c, sp, startup, replicationOf(startup, kind))
	if err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		p.cancels.remove(client)
		return err
	}
	entered = true
	l.handOver(c, client)
	return nil
}

// admit refuses what can be refused before anybody has proved who he is.
func (l *listener) admit(startup *protocol.Startup) (protocol.Replication, error) {
	if l.proxy.draining.Load() {
		return protocol.NoReplication, protocol.ErrShutdown()
	}
	kind, err := startup.Replication()
	if err == nil && kind != protocol.NoReplication && l.mode != relay.Session {
		err = protocol.ErrReplication(l.name, l.mode.String())
	}
	if err == nil {
		err = l.full()
	}
	return kind, err
}

// authenticate carries out the exchange that package auth prescribes. AuthenticationOk is left unsaid until the client is welcomed, as
// PostgreSQL leaves it.
func (l *listener) authenticate(ctx context.Context, c *caller, who auth.Login) error {
	if _, turned := c.socket.(*tls.Conn); !turned {
		if err := l.turn(ctx, c); err != nil {
			return err
		}
	}
	exchange, err := l.proxy.verifier.Begin(ctx, who)
	if err != nil {
		return err
	}
	request, done := exchange.Start()
	for !done {
		c.say(request)
		if err := c.flush(); err != nil {
			return err
		}
		messageType, body, err := protocol.ReadMessage(c.in, exchange.BodyMax())
		if err != nil {
			return err
		}
		if request, done, err = l.respond(ctx, exchange, messageType, body); err != nil {
			return err
		}
	}
	c.say(request)
	c.say(authenticationOk)
	return nil
}

var authenticationOk = []byte{protocol.ServerAuthentication, 0, 0, 0, 8, 0, 0, 0, 0}

// respond computes the answer to a client's message, no more of them at once than there are login slots: a storm of logins must not take
// the processors away from running queries.
func (l *listener) respond(ctx context.Context, e *auth.Exchange, messageType byte, body []byte) (reply []byte, done bool, err error) {
	slots := l.proxy.loginSlots
	if !slots.take(ctx) {
		return nil, false, ctx.Err()
	}
	defer slots.free()
	return e.Respond(messageType, body)
}

// prepare makes the client and notes what welcomes it. Its cancel key is known from here on. One that wants replication is welcomed when
// the server is there that is opened for it.
func (l *listener) prepare(ctx context.Context, c *caller, sp *serverPool, startup *protocol.Startup, r *replication) (*Client, error) {
	if r != nil {
		return l.newClient(c, sp, startup, sqltext.Session{}, r)
	}
	server, err := l.proxy.parametersFor(ctx, sp)
	if err != nil {
		return nil, err
	}
	base, err := startupSettings(startup, server.settings)
	if err != nil {
		return nil, err
	}
	client, err := l.newClient(c, sp, startup, base, nil)
	if err != nil {
		return nil, err
	}
	c.say(server.greeting(base.Reported))
	c.unsaid = append(protocol.AppendBackendKeyData(c.unsaid, client.info.key), readyIdle...)
	return client, nil
}

// newClient makes a client and gives it its cancel key, unless it wants replication.
func (l *listener) newClient(c *caller, sp *serverPool, startup *protocol.Startup, base sqltext.Session, r *replication) (*Client, error) {
	client := newClient(sp, base)
	client.info.replication = r
	client.info.address, client.info.tls = addressOf(c.socket), tlsVersion(c.socket)
	client.info.application, client.info.since = startup.Get("application_name"), time.Now()
	if r != nil {
		return client, nil // its key is made when its server is there
	}
	if err := l.proxy.cancels.add(client, l.proxy.nextID.Add(1), secretBytes(startup)); err != nil {
		return nil, err
	}
	return client, nil
}

// secretBytes is how long the secret of a client's cancel key is.
func secretBytes(startup *protocol.Startup) int {
	if startup.Minor >= 2 {
		return 32 // protocol 3.2 allows up to 256 (manual 54.2.1)
	}
	return 4
}

// handOver passes the socket to a loop, with what has been read ahead of the login. After it the goroutine holds nothing.
func (l *listener) handOver(c *caller, client *Client) {
	p := l.proxy
	sockets.SetOptions(c.socket, p.settings.Load().cfg.Server, l.inherited.Load())
	if err := c.socket.SetDeadline(time.Time{}); err != nil {
		p.log.Debug("clearing a deadline", "error", err)
	}
	src, err := eventloop.Take(c.socket)
	if err != nil {
		p.log.Warn("a client that has logged in could not be watched", "listener", l.name, "error", err)
		sockets.CloseQuietly(c.socket)
		p.cancels.remove(client)
		l.leavePlace(client.pool)
		return
	}
	src.Unread = append(src.Unread, c.ahead()...)
	if client.info.replication == nil {
		p.loggedIn(client)
	}
	w := p.workerForClient()
	w.loop.Post(func() { w.adoptClient(client, src) })
}

// loggedIn notes the end of a login that has succeeded.
func (p *Proxy) loggedIn(c *Client) {
	p.counts.logins.Add(1)
	if p.settings.Load().cfg.Log.Connections {
		p.log.Info("client logged in", c.logAttrs()...)
	}
}

// turnAway ends a login that failed, with the reason as the client's last word if it can still hear.
func (l *listener) turnAway(c *caller, startup *protocol.Startup, err error) {
	nc := c.socket
	defer sockets.CloseQuietly(nc)
	p := l.proxy
	var told *protocol.Error
	var netErr net.Error
	var handshake *handshakeError
	switch {
	case errors.As(err, &handshake):
		p.refused("tls")
		p.log.Warn("login refused", "listener", l.name, "client", addressText(addressOf(nc)), "error", err)
		return
	case errors.As(err, &told):
	case p.draining.Load():
		told = protocol.ErrShutdown()
	case errors.As(err, &netErr) && netErr.Timeout(), errors.Is(err, context.DeadlineExceeded):
		told = protocol.ErrLoginTimeout(p.settings.Load().listener(l.name).ClientLoginTimeout)
	case errors.Is(err, errProxyHeader):
		p.refused("proxy_protocol")
		p.log.Warn("login refused", "listener", l.name, "client", addressText(addressOf(nc)), "error", err)
		return // it is no client that could hear it
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		p.refused("gone")
		return // a port scan, a health check: nobody to tell
	default:
		p.refused("gone")
		p.log.Debug("login broken off", "listener", l.name, "error", err)
		return
	}
	p.refused(told.Code)
	attrs := []any{"listener", l.name, "client", addressText(addressOf(nc)), "sqlstate", told.Code, "error", told.Message}
	if startup != nil {
		attrs = append(attrs, "database", startup.Get("database"), "user", startup.Get("user"),
			"application_name", startup.Get("application_name"))
	}
	p.log.Warn("login refused", attrs...)
	if err := nc.SetDeadline(time.Now().Add(time.Second)); err == nil {
		c.unsaid = told.AsFatal().Append(c.unsaid)
		_ = c.flush() // it may have gone already
	}
}
