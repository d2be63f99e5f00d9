package proxy

import (
	"crypto/tls"
	"net"
	"net/netip"
	"os/user"
	"strconv"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/proxy/sockets"
)

// addressOf is a client's address; the zero value for a unix socket. On a socket for both families IPv4 addresses come in IPv6 clothes,
// which no rule of an HBA file would fit.
func addressOf(nc net.Conn) netip.AddrPort {
	a, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), uint16(a.Port))
}

// originOf is what the rules about logins look at.
func originOf(nc net.Conn, offer *clientTLS) auth.Origin {
	socket, local := sockets.Innermost(nc).(*net.UnixConn)
	if !local {
		o := auth.Origin{Address: addressOf(nc).Addr()}
		if secure, ok := nc.(*tls.Conn); ok {
			o.TLS, o.Endpoint = true, offer.endpoint
			o.CertificateName, o.Certified = certifiedName(secure)
		}
		return o
	}
	return auth.Origin{Local: true, SocketUser: func() (string, error) { return socketUser(socket) }}
}

// socketUser is the operating system's user at the other end of a unix socket.
func socketUser(socket *net.UnixConn) (string, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return "", err
	}
	var id uint32
	var idErr error
	if err := raw.Control(func(fd uintptr) { id, idErr = otherEndUser(int(fd)) }); err != nil {
		return "", err
	}
	if idErr != nil {
		return "", idErr
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(id), 10))
	if err != nil {
		return "", err
	}
	return u.Username, nil
}
