package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// newestMinor is the newest minor version of protocol 3 spoken here.
const newestMinor = 2

// login takes a client from accept to its event loop, in a goroutine of its own that ends with it. Messages are read frame by exact
// frame: nothing the client has pipelined behind its login is read ahead and lost.
func (l *listener) login(nc net.Conn) {
	defer func() {
		if v := recover(); v != nil {
			l.proxy.contained(v, nil)
			closeQuietly(nc)
		}
	}()
	tracked := nc
	ok := l.track(nc)
	defer l.untrack(tracked)
	ctx, cancel := l.loginContext()
	defer cancel()
	deadline, _ := ctx.Deadline()
	if err := nc.SetDeadline(deadline); err != nil {
		closeQuietly(nc)
		return
	}
	if !ok {
		l.turnAway(nc, nil, protocol.ErrTooManyClients("max_client_conn", l.clientsMax()))
		return
	}
	nc, err := unproxied(nc, l.proxy.settings.Load().listener(l.name))
	if err != nil {
		l.turnAway(nc, nil, err)
		return
	}
	nc, startup, err := l.startup(ctx, nc)
	if err != nil {
		l.turnAway(nc, nil, err)
		return
	}
	switch startup.Kind {
	case protocol.StartupCancel:
		l.proxy.cancel(startup.Cancel)
		closeQuietly(nc)
	default:
		if err := l.enter(ctx, nc, &startup); err != nil {
			l.turnAway(nc, &startup, err)
		}
	}
}

// loginContext ends with the time that a login may take as a whole: client_login_timeout.
func (l *listener) loginContext() (context.Context, context.CancelFunc) {
	limit := time.Duration(0)
	if cfg := l.proxy.settings.Load().listener(l.name); cfg != nil {
		limit = cfg.ClientLoginTimeout
	}
	return l.proxy.context(limit)
}

// turn waits for the login's turn by login_rate, before anything is computed for it.
func (l *listener) turn(ctx context.Context) error {
	return l.proxy.turnstile.pass(ctx, l.proxy.settings.Load().cfg.Auth.LoginRate)
}

// startup reads the first packet that is not about encryption. The connection it gives is the one to go on with: a *tls.Conn if the
// client asked for that and the listener can.
func (l *listener) startup(ctx context.Context, nc net.Conn) (net.Conn, protocol.Startup, error) {
	offer := l.tls.Load()
	if isUnix(nc) {
		offer = nil
	}
	var head [1]byte
	if _, err := io.ReadFull(nc, head[:]); err != nil {
		return nc, protocol.Startup{}, err
	}
	if head[0] == tlsHandshake && offer != nil {
		return l.startupDirect(ctx, nc, offer, head[:])
	}
	startup, err := protocol.ReadStartup(io.MultiReader(bytes.NewReader(head[:]), nc))
	for range 2 { // SSLRequest, GSSENCRequest
		if err != nil || startup.Kind != protocol.StartupSSL && startup.Kind != protocol.StartupGSS {
			break
		}
		if unread(nc) {
			return nc, startup, protocol.ErrProtocol("received unencrypted data after a request for encryption").
				WithDetail("This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.")
		}
		if startup.Kind == protocol.StartupSSL && offer != nil {
			return l.startupSecure(ctx, nc, offer)
		}
		if _, err := nc.Write([]byte{'N'}); err != nil {
			return nc, startup, err
		}
		startup, err = protocol.ReadStartup(nc)
	}
	if err == nil && startup.Kind == protocol.StartupLogin {
		err = offer.admit(nil)
	}
	return nc, startup, onlyOnce(startup, err)
}

// tlsHandshake is the first byte of a client that begins with TLS at once: no startup packet is that long.
const tlsHandshake = 22

// startupDirect is for a client that begins with TLS at once, as PostgreSQL 17 allows (sslnegotiation=direct).
func (l *listener) startupDirect(ctx context.Context, nc net.Conn, offer *clientTLS, head []byte) (net.Conn, protocol.Startup, error) {
	if err := l.turn(ctx); err != nil {
		return nc, protocol.Startup{}, err
	}
	secure, err := offer.secureClient(nc, head)
	if err == nil && secure.ConnectionState().NegotiatedProtocol != alpn {
		err = &handshakeError{errNoALPN} // another protocol's client must not be talked into speaking this one
	}
	if err != nil {
		return nc, protocol.Startup{}, err
	}
	return startupWithin(secure, offer)
}

// startupSecure is for a client that has asked for TLS.
func (l *listener) startupSecure(ctx context.Context, nc net.Conn, offer *clientTLS) (net.Conn, protocol.Startup, error) {
	if err := l.turn(ctx); err != nil {
		return nc, protocol.Startup{}, err
	}
	if _, err := nc.Write([]byte{'S'}); err != nil {
		return nc, protocol.Startup{}, err
	}
	secure, err := offer.secureClient(nc, nil)
	if err != nil {
		return nc, protocol.Startup{}, err
	}
	return startupWithin(secure, offer)
}

func startupWithin(secure *tls.Conn, offer *clientTLS) (net.Conn, protocol.Startup, error) {
	startup, err := protocol.ReadStartup(secure)
	if err == nil && startup.Kind == protocol.StartupLogin {
		err = offer.admit(secure)
	}
	return secure, startup, onlyOnce(startup, err)
}

// onlyOnce refuses a client that asks for encryption where it cannot any more.
func onlyOnce(startup protocol.Startup, err error) error {
	if err == nil && (startup.Kind == protocol.StartupSSL || startup.Kind == protocol.StartupGSS) {
		return protocol.ErrProtocol("more than one request for encryption of each kind")
	}
	return err
}

// enter authenticates a client, welcomes it and hands it to a loop.
func (l *listener) enter(ctx context.Context, nc net.Conn, startup *protocol.Startup) error {
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
	if err := l.admit(startup); err != nil {
		return err
	}
	if startup.Minor > newestMinor || len(startup.UnknownOptions) > 0 {
		if _, err := nc.Write(protocol.AppendNegotiateProtocolVersion(nil, min(startup.Minor, newestMinor), startup.UnknownOptions)); err != nil {
			return err
		}
	}
	if err := l.authenticate(ctx, nc, auth.Login{User: user, Database: database, Origin: originOf(nc)}); err != nil {
		return err
	}
	sp, ok := p.poolFor(l, database, user)
	if !ok {
		return protocol.ErrNoSuchDatabase(database)
	}
	if err := l.takePlace(sp); err != nil {
		return err
	}
	entered := false
	defer func() {
		if !entered {
			l.leavePlace(sp)
		}
	}()
	c, greeting, err := l.prepare(ctx, nc, sp, startup)
	if err != nil {
		return err
	}
	if _, err := nc.Write(greeting); err != nil {
		p.cancels.remove(c)
		return err
	}
	entered = true
	l.handOver(nc, c)
	return nil
}

// admit refuses what can be refused before anybody has proved who he is.
func (l *listener) admit(startup *protocol.Startup) error {
	p := l.proxy
	if p.draining.Load() {
		return protocol.ErrShutdown()
	}
	if r := startup.Get("replication"); r != "" && r != "false" && r != "off" && r != "no" && r != "0" {
		return protocol.ErrReplication()
	}
	return l.full()
}

// authenticate carries out the exchange that package auth prescribes.
func (l *listener) authenticate(ctx context.Context, nc net.Conn, who auth.Login) error {
	if _, turned := nc.(*tls.Conn); !turned {
		if err := l.turn(ctx); err != nil {
			return err
		}
	}
	exchange, err := l.proxy.verifier.Begin(ctx, who)
	if err != nil {
		return err
	}
	request, done := exchange.Start()
	for {
		if len(request) > 0 {
			if _, err := nc.Write(request); err != nil {
				return err
			}
		}
		if done {
			ok, err := (&pgproto3.AuthenticationOk{}).Encode(nil)
			if err == nil {
				_, err = nc.Write(ok)
			}
			return err
		}
		messageType, body, err := protocol.ReadMessage(nc, exchange.BodyMax())
		if err != nil {
			return err
		}
		if request, done, err = l.respond(ctx, exchange, messageType, body); err != nil {
			return err
		}
	}
}

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

// prepare makes the client and the bytes that welcome it. Its cancel key is known from here on.
func (l *listener) prepare(ctx context.Context, nc net.Conn, sp *serverPool, startup *protocol.Startup) (*Client, []byte, error) {
	p := l.proxy
	parameters, err := p.parametersFor(ctx, sp)
	if err != nil {
		return nil, nil, err
	}
	base, err := startupSettings(startup, parameters)
	if err != nil {
		return nil, nil, err
	}
	c := newClient(sp, base)
	c.info.address, c.info.tls, c.info.application, c.info.since = addressOf(nc), tlsVersion(nc), startup.Get("application_name"), time.Now()
	secretBytes := 4
	if startup.Minor >= 2 {
		secretBytes = 32 // protocol 3.2 allows up to 256 (manual 54.2.1)
	}
	if err := p.cancels.add(c, p.nextID.Add(1), secretBytes); err != nil {
		return nil, nil, err
	}
	return c, appendWelcome(nil, parameters, base.Reported, c.info.key), nil
}

// handOver passes the socket to a loop. After it the goroutine holds nothing.
func (l *listener) handOver(nc net.Conn, c *Client) {
	p := l.proxy
	setSocketOptions(nc, p.settings.Load().cfg.Server)
	if err := nc.SetDeadline(time.Time{}); err != nil {
		p.log.Debug("clearing a deadline", "error", err)
	}
	src, err := eventloop.Take(nc)
	if err != nil {
		p.log.Warn("a client that has logged in could not be watched", "listener", l.name, "error", err)
		closeQuietly(nc)
		p.cancels.remove(c)
		l.leavePlace(c.pool)
		return
	}
	p.counts.logins.Add(1)
	if p.settings.Load().cfg.Log.Connections {
		p.log.Info("client logged in", c.logAttrs()...)
	}
	w := p.workerForClient()
	w.loop.Post(func() { w.adoptClient(c, src) })
}

// turnAway ends a login that failed, with the reason as the client's last word if it can still hear.
func (l *listener) turnAway(nc net.Conn, startup *protocol.Startup, err error) {
	defer closeQuietly(nc)
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
		_, _ = nc.Write(told.AsFatal().Append(nil)) // it may have gone already
	}
}
