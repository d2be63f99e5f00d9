package dial

import (
	"context"
	"io"
	"net"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/sockets"
)

// CancelTarget names the server that a cancel request is for.
type CancelTarget struct {
	Pool    pool.Key
	Key     protocol.CancelKey
	Address net.Addr // the very host that the server is on
	TLS     *TLS
}

// Cancel sends a CancelRequest to the host that the server is on, and returns when PostgreSQL has closed the socket: by then it has sent the
// signal. A cancel request needs no login (manual 54.2.8). It is encrypted where the server's connection is, because it carries the key.
// With an error, late tells that the request has left: PostgreSQL may act on it at any time from now on.
func Cancel(ctx context.Context, target CancelTarget) (late bool, err error) {
	d := net.Dialer{KeepAlive: sockets.NoKeepAlive}
	nc, err := d.DialContext(ctx, target.Address.Network(), target.Address.String())
	if err != nil {
		return false, err
	}
	defer sockets.CloseQuietly(nc)
	if deadline, ok := ctx.Deadline(); ok {
		if err := nc.SetDeadline(deadline); err != nil {
			return false, err
		}
	}
	if target.TLS != nil {
		if nc, err = target.TLS.secure(nc); err != nil {
			return false, err
		}
	}
	if _, err := nc.Write(protocol.AppendCancelRequest(nil, target.Key)); err != nil {
		return true, err
	}
	_, err = io.Copy(io.Discard, nc)
	return err != nil, err
}
