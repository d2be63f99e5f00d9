package login

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/sockets"
)

// Attempt is the login of one client, from the accepted socket on. It belongs to the goroutine of the login, which calls ReadStartup, then
// Authenticate, then Release or Refuse, and always End.
type Attempt struct {
	// immutable
	listener *Listener
	accepted net.Conn // the socket as it was accepted
	tooMany  bool     // too many logins were under way when it came
	ctx      context.Context
	cancel   context.CancelFunc
	limit    time.Duration // client_login_timeout

	socket    net.Conn // a *tls.Conn once the client has asked for TLS
	in        io.Reader
	offer     *ClientTLS        // how TLS is spoken with the client; nil: it is not offered
	startup   *protocol.Startup // of a client that wants to log in; nil: not read yet
	leaveGate func()
	unsent    []byte // leaves with the next flush: each write costs both sides a wake-up
}

// Admitted describes a client that may come in.
type Admitted struct {
	User, Database string
	Startup        *protocol.Startup
	Replication    protocol.Replication
	Address        netip.AddrPort // zero for a unix socket
	TLS            string         // the version of TLS; "" for a plain connection
}

// readAheadBytes bounds one read: a startup packet, or a SCRAM message, takes one system call. Release hands on the bytes that are left.
const readAheadBytes = 512

// Begin begins the login of a client whose connection was accepted. The socket belongs to the Attempt from now on. The caller calls End.
func (l *Listener) Begin(nc net.Conn) *Attempt {
	a := &Attempt{listener: l, accepted: nc, leaveGate: func() {}}
	a.tooMany = !l.track(nc)
	if cfg := l.settings(); cfg != nil {
		a.limit = cfg.ClientLoginTimeout
	}
	if a.limit > 0 {
		a.ctx, a.cancel = context.WithTimeout(l.logins.Life, a.limit)
	} else {
		a.ctx, a.cancel = context.WithCancel(l.logins.Life)
	}
	a.speakOn(nc)
	return a
}

// End gives back the place at the gate and the place among the logins under way. It does not touch the socket.
func (a *Attempt) End() {
	a.leaveGate()
	a.cancel()
	a.listener.untrack(a.accepted)
}

// Context ends with the time that a login may take as a whole: client_login_timeout.
func (a *Attempt) Context() context.Context { return a.ctx }

// speakOn goes on with a plain socket.
func (a *Attempt) speakOn(nc net.Conn) {
	a.socket, a.in = nc, bufio.NewReaderSize(nc, readAheadBytes)
}

// speakTLS goes on over TLS.
func (a *Attempt) speakTLS(secure *tls.Conn) {
	a.socket, a.in = secure, secure
}

// ahead returns the bytes that have been read and not used. A *tls.Conn keeps its own.
func (a *Attempt) ahead() []byte {
	buffered, ok := a.in.(*bufio.Reader)
	if !ok {
		return nil
	}
	b, _ := buffered.Peek(buffered.Buffered()) // cannot fail: no more than is buffered
	return b
}

// firstByte returns the first byte without taking it.
func (a *Attempt) firstByte() (byte, error) {
	b, err := a.in.(*bufio.Reader).Peek(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// Send adds bytes to the next Flush.
func (a *Attempt) Send(b []byte) { a.unsent = append(a.unsent, b...) }

// Flush writes the bytes that Send has gathered.
func (a *Attempt) Flush() error {
	b := a.unsent
	a.unsent = a.unsent[:0]
	_, err := a.socket.Write(b)
	return err
}

// Close closes the socket without a word.
func (a *Attempt) Close() { sockets.CloseQuietly(a.socket) }

// Release hands the socket over to the caller, ready for an event loop, with the bytes that were read ahead. inherited says that the socket
// has keepalive from its listening socket. After an error the socket still belongs to the Attempt.
func (a *Attempt) Release(inherited bool) (eventloop.Source, error) {
	s := a.listener.logins
	sockets.SetOptions(a.socket, s.Config().Server, inherited)
	if err := a.socket.SetDeadline(time.Time{}); err != nil {
		s.Log.Debug("clearing a deadline", "error", err)
	}
	src, err := eventloop.Take(a.socket)
	if err != nil {
		return src, err
	}
	src.Unread = append(src.Unread, a.ahead()...)
	return src, nil
}
