package login

import (
	"crypto/tls"
	"errors"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/sockets"
)

// errSocketGone ends a login whose socket was closed before it began. Nobody hears of it.
var errSocketGone = errors.New("the socket is closed")

// ReadStartup reads all up to and including the first packet that is not about encryption: a request to log in, or to cancel a query. From
// then on the client speaks TLS if it has asked for it and the listener offers it.
func (a *Attempt) ReadStartup() (protocol.Startup, error) {
	deadline, _ := a.ctx.Deadline()
	if err := a.accepted.SetDeadline(deadline); err != nil {
		return protocol.Startup{}, errSocketGone
	}
	if a.tooMany {
		return protocol.Startup{}, protocol.ErrTooManyClients("max_client_conn", a.listener.clientsMax())
	}
	behindBalancer, err := unproxied(a.accepted, a.listener.settings())
	if err != nil {
		return protocol.Startup{}, err
	}
	if behindBalancer != a.accepted {
		a.speakOn(behindBalancer)
	}
	startup, err := a.readStartup()
	if err == nil && startup.Kind == protocol.StartupLogin {
		a.startup = &startup
	}
	return startup, err
}

// readStartup is ReadStartup behind the PROXY header.
func (a *Attempt) readStartup() (protocol.Startup, error) {
	offer := a.listener.tls.Load()
	if isUnix(a.socket) {
		offer = nil
	}
	a.offer = offer
	first, err := a.firstByte()
	if err != nil {
		return protocol.Startup{}, err
	}
	if first == tlsHandshake && offer != nil {
		return a.startupDirect(offer)
	}
	startup, err := protocol.ReadStartup(a.in)
	asked := [...]bool{protocol.StartupLogin: true, protocol.StartupCancel: true}
	for err == nil && !asked[startup.Kind] { // SSLRequest and GSSENCRequest, each once
		asked[startup.Kind] = true
		if len(a.ahead()) > 0 || sockets.Unread(a.socket) {
			return startup, protocol.ErrProtocol("received unencrypted data after a request for encryption").
				WithDetail("This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.")
		}
		if startup.Kind == protocol.StartupSSL && offer != nil {
			return a.startupSecure(offer)
		}
		if _, err := a.socket.Write([]byte{'N'}); err != nil {
			return startup, err
		}
		startup, err = protocol.ReadStartup(a.in)
	}
	if err == nil && startup.Kind == protocol.StartupLogin {
		err = offer.admit(nil)
	}
	return startup, onlyOnce(startup, err)
}

// tlsHandshake is the first byte of a client that begins with TLS at once. No startup packet is that long.
const tlsHandshake = 22

// startupDirect speaks TLS with a client that begins with it at once, as PostgreSQL 17 allows (sslnegotiation=direct).
func (a *Attempt) startupDirect(offer *ClientTLS) (protocol.Startup, error) {
	if err := a.awaitTurn(); err != nil {
		return protocol.Startup{}, err
	}
	secure, err := offer.secureClient(a.socket, a.ahead())
	if err == nil && secure.ConnectionState().NegotiatedProtocol != alpn {
		err = &handshakeError{errNoALPN} // a client of another protocol must not be made to speak this one
	}
	if err != nil {
		return protocol.Startup{}, err
	}
	return a.startupWithin(secure, offer)
}

// startupSecure speaks TLS with a client that has asked for it.
func (a *Attempt) startupSecure(offer *ClientTLS) (protocol.Startup, error) {
	if err := a.awaitTurn(); err != nil {
		return protocol.Startup{}, err
	}
	if _, err := a.socket.Write([]byte{'S'}); err != nil {
		return protocol.Startup{}, err
	}
	secure, err := offer.secureClient(a.socket, nil)
	if err != nil {
		return protocol.Startup{}, err
	}
	return a.startupWithin(secure, offer)
}

// startupWithin reads the startup packet that follows over TLS.
func (a *Attempt) startupWithin(secure *tls.Conn, offer *ClientTLS) (protocol.Startup, error) {
	a.speakTLS(secure)
	startup, err := protocol.ReadStartup(a.in)
	if err == nil && startup.Kind == protocol.StartupLogin {
		err = offer.admit(secure)
	}
	return startup, onlyOnce(startup, err)
}

// onlyOnce refuses a client that asks for encryption when it is too late for it.
func onlyOnce(startup protocol.Startup, err error) error {
	if err == nil && (startup.Kind == protocol.StartupSSL || startup.Kind == protocol.StartupGSS) {
		return protocol.ErrProtocol("more than one request for encryption of each kind")
	}
	return err
}
