package eventloop

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Source is a socket between two owners, with the bytes that were read and not used, and those that were not sent.
type Source struct {
	FD              int
	Unread, Backlog []byte
}

// Close gives the socket up.
func (s Source) Close() { _ = unix.Close(s.FD) }

// Transport wraps a socket that a library is to log in on, so that Take can find it again.
type Transport struct{ net.Conn }

// NewTransport wraps nc.
func NewTransport(nc net.Conn) *Transport { return &Transport{nc} }

// NetConn is the socket itself.
func (t *Transport) NetConn() net.Conn { return t.Conn }

var errNoSocket = errors.New("not a plain socket")

// Take takes the socket out of nc for a loop: its descriptor is duplicated, nc is closed. Ownership passes to the caller; on an error nc
// is still the caller's. nc is a *net.TCPConn, a *net.UnixConn or a Transport around one.
func Take(nc net.Conn) (Source, error) {
	for {
		t, ok := nc.(*Transport)
		if !ok {
			break
		}
		nc = t.Conn
	}
	raw, ok := nc.(syscall.Conn)
	if !ok {
		return Source{}, fmt.Errorf("taking over %T: %w", nc, errNoSocket)
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return Source{}, err
	}
	fd, dupErr := -1, error(nil)
	err = control.Control(func(old uintptr) {
		if fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0); dupErr == nil {
			dupErr = unix.SetNonblock(fd, true)
		}
	})
	if err = errors.Join(err, dupErr); err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return Source{}, fmt.Errorf("taking over a socket: %w", err)
	}
	_ = nc.Close() // the duplicate lives on
	return Source{FD: fd}, nil
}
