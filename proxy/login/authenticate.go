package login

import (
	"cmp"
	"crypto/tls"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// newestMinor is the newest minor version of protocol 3 that is spoken here.
const newestMinor = 2

// Authenticate lets a client prove its identity, after ReadStartup has returned a request to log in. AuthenticationOk is left for the next
// Flush, which sends the welcome too, as PostgreSQL does.
func (a *Attempt) Authenticate() (Admitted, error) {
	startup := a.startup
	if startup.Major != 3 {
		return Admitted{}, protocol.ErrProtocolVersion(startup.Major, startup.Minor)
	}
	user := startup.Get("user")
	if user == "" {
		return Admitted{}, protocol.ErrNotAuthorized("no PostgreSQL user name specified in startup packet")
	}
	database := cmp.Or(startup.Get("database"), user)
	replication, err := a.mayTry()
	if err != nil {
		return Admitted{}, err
	}
	if startup.Minor > newestMinor || len(startup.UnknownOptions) > 0 {
		a.unsent = protocol.AppendNegotiateProtocolVersion(a.unsent, min(startup.Minor, newestMinor), startup.UnknownOptions)
	}
	err = a.authenticate(auth.Login{
		User: user, Database: database, Physical: replication == protocol.PhysicalReplication, Origin: originOf(a.socket, a.offer),
	})
	if err != nil {
		return Admitted{}, err
	}
	return Admitted{
		User: user, Database: database, Startup: startup, Replication: replication,
		Address: addressOf(a.socket), TLS: tlsVersion(a.socket),
	}, nil
}

// mayTry refuses a client early that would be refused after its authentication too.
func (a *Attempt) mayTry() (protocol.Replication, error) {
	l := a.listener
	if l.logins.Draining() {
		return protocol.NoReplication, protocol.ErrShutdown()
	}
	replication, err := a.startup.Replication()
	if err == nil && replication != protocol.NoReplication && !l.replication {
		err = protocol.ErrReplication(l.name, l.mode)
	}
	if err == nil {
		err = l.full()
	}
	return replication, err
}

// authenticate carries out the exchange that package auth prescribes.
func (a *Attempt) authenticate(login auth.Login) error {
	if _, waited := a.socket.(*tls.Conn); !waited {
		if err := a.awaitTurn(); err != nil {
			return err
		}
	}
	exchange, err := a.listener.logins.verifier.Begin(a.ctx, login)
	if err != nil {
		return err
	}
	request, done := exchange.Start()
	for !done {
		a.Send(request)
		if err := a.Flush(); err != nil {
			return err
		}
		messageType, body, err := protocol.ReadMessage(a.in, exchange.BodyMax())
		if err != nil {
			return err
		}
		if request, done, err = a.respond(exchange, messageType, body); err != nil {
			return err
		}
	}
	a.Send(request)
	a.Send(authenticationOk)
	return nil
}

var authenticationOk = []byte{protocol.ServerAuthentication, 0, 0, 0, 8, 0, 0, 0, 0}

// respond computes the answer to a client's message. See Logins.computing.
func (a *Attempt) respond(e *auth.Exchange, messageType byte, body []byte) (reply []byte, done bool, err error) {
	computing := a.listener.logins.computing
	if err := computing.Acquire(a.ctx, 1); err != nil {
		return nil, false, err
	}
	defer computing.Release(1)
	return e.Respond(messageType, body)
}

// awaitTurn waits for the login's turn, by login_rate and at the gate, before anything is computed for it.
func (a *Attempt) awaitTurn() error {
	s := a.listener.logins
	if err := s.rateLimiter.wait(a.ctx, s.Config().Auth.LoginRate); err != nil {
		return err
	}
	leave, err := s.gate.enter(a.ctx, s.OpenLoops)
	if err != nil {
		return err
	}
	a.leaveGate = leave
	growStack()
	return nil
}

// growStack grows the goroutine's stack in one step to the size that a login needs. It is called when the login has passed the gate, so
// that the logins that wait have small stacks. Otherwise the stack would grow by doubling, which is a twentieth of the cost of a login.
//
//go:noinline
func growStack() byte {
	var room [6 << 10]byte
	return room[cap(authenticationOk)]
}
