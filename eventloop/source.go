package eventloop

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Source is a socket between two owners, with the bytes that were read and not used, and those that were not sent.
type Source struct {
	FD              int
	TLS             *Transport // nil: plain
	Unread, Backlog []byte
}

// Close gives the socket up.
func (s Source) Close() { _ = unix.Close(s.FD) }

var errNoSocket = errors.New("not a socket that can be taken over")

// Take takes the socket out of nc for a loop: its descriptor is duplicated, nc is closed. Ownership passes to the caller; on an error nc
// is still the caller's. nc is a *net.TCPConn, a *net.UnixConn, a Transport around one, or a *tls.Conn around a Transport that has
// finished its handshake.
func Take(nc net.Conn) (Source, error) {
	socket := nc
	session, _ := nc.(*tls.Conn)
	if session != nil {
		socket = session.NetConn()
	}
	transport, _ := socket.(*Transport)
	switch {
	case transport != nil:
		socket = transport.Conn
	case session != nil:
		return Source{}, fmt.Errorf("taking over TLS on %T: %w", socket, errNoSocket)
	}
	fd, err := duplicate(socket)
	if err != nil {
		return Source{}, err
	}
	_ = socket.Close() // the duplicate lives on
	src := Source{FD: fd}
	if session != nil {
		transport.enterLoop(session)
		src.TLS = transport
	}
	return src, nil
}

// duplicate makes a second descriptor of a socket, one that the Go scheduler does not know.
func duplicate(socket net.Conn) (int, error) {
	raw, ok := socket.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("taking over %T: %w", socket, errNoSocket)
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return 0, err
	}
	fd, dupErr := -1, error(nil)
	err = control.Control(func(old uintptr) {
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) // it does not block, as no socket of net's does: the two share that
	})
	if err = errors.Join(err, dupErr); err != nil {
		return 0, fmt.Errorf("taking over a socket: %w", err)
	}
	return fd, nil
}
