package login

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// refusalMax is how long the last words to a client may take.
const refusalMax = time.Second

// Refuse ends a login that has failed: it counts and logs the refusal, tells the client if the client can still hear, and closes the
// socket. err is the error of ReadStartup or Authenticate, or the caller's own.
func (a *Attempt) Refuse(err error) {
	defer a.Close()
	l := a.listener
	s := l.logins
	refusal, reason := a.explain(err)
	if reason != "" {
		s.Refused(l.name, reason)
	}
	if refusal == nil {
		switch reason {
		case refusedTLS, refusedProxyProtocol:
			s.Log.Warn("login refused", "listener", l.name, "client", AddressText(addressOf(a.socket)), "error", err)
		case refusedGone:
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				s.Log.Debug("login broken off", "listener", l.name, "error", err)
			}
		}
		return
	}
	attrs := []any{
		"listener", l.name, "client", AddressText(addressOf(a.socket)), "sqlstate", refusal.Code, "error", refusal.Message,
	}
	if a.startup != nil {
		attrs = append(attrs, "database", a.startup.Get("database"), "user", a.startup.Get("user"),
			"application_name", a.startup.Get("application_name"))
	}
	s.Log.Warn("login refused", attrs...)
	if err := a.socket.SetDeadline(time.Now().Add(refusalMax)); err == nil {
		a.unsent = refusal.AsFatal().Append(a.unsent)
		_ = a.Flush() // the client may have gone already
	}
}

// The reasons of a refusal of which the client hears nothing. All others are an SQLSTATE.
const (
	refusedTLS           = "tls"
	refusedProxyProtocol = "proxy_protocol"
	refusedGone          = "gone"
)

// explain finds the error that the client hears, and the reason to count. The error is nil if there is no client that could hear it: it has
// gone, or it speaks another protocol. The reason is "" if nothing is to be counted.
func (a *Attempt) explain(err error) (refusal *protocol.Error, reason string) {
	var netErr net.Error
	var handshake *handshakeError
	switch {
	case errors.Is(err, errSocketGone):
		return nil, ""
	case errors.As(err, &handshake):
		return nil, refusedTLS
	case errors.As(err, &refusal):
	case a.listener.logins.Draining():
		refusal = protocol.ErrShutdown()
	case errors.As(err, &netErr) && netErr.Timeout(), errors.Is(err, context.DeadlineExceeded):
		refusal = protocol.ErrLoginTimeout(a.limit)
	case errors.Is(err, errProxyHeader):
		return nil, refusedProxyProtocol
	default: // a port scan, a health check, a client that has given up
		return nil, refusedGone
	}
	return refusal, refusal.Code
}
