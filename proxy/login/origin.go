package login

import (
	"crypto/tls"
	"net"
	"net/netip"
	"os/user"
	"strconv"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/proxy/sockets"
)

// addressOf returns a client's address. It returns the zero value for a unix socket. A socket for both families shows an IPv4 address as an
// IPv6 address, which would match no rule of an HBA file, so it is turned back.
func addressOf(nc net.Conn) netip.AddrPort {
	a, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), uint16(a.Port))
}

// AddressText writes a client's address for the log.
func AddressText(a netip.AddrPort) string {
	if !a.IsValid() {
		return "unix"
	}
	return a.String()
}

// originOf gathers the facts about a connection that the rules for logins use.
func originOf(nc net.Conn, offer *ClientTLS) auth.Origin {
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

// socketUser returns the operating system's user at the other end of a unix socket.
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
