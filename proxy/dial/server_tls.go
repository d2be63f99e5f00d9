package dial

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// TLS tells how a server's connection was secured, so that a cancel request can be secured in the same way. Immutable.
type TLS struct {
	config *tls.Config
	direct bool // sslnegotiation
}

// Check reads the files that the settings of [server] name. It connects to nothing.
func Check(sv config.Server) error {
	if _, err := configFor(Target{Server: sv, Resolved: config.Resolved{Host: "127.0.0.1", Port: 1, DBName: "x", ServerUser: "x"}}); err != nil {
		return fmt.Errorf("[server]: %w", err)
	}
	return nil
}

// secure begins TLS on a new connection to the same host.
func (s *TLS) secure(nc net.Conn) (net.Conn, error) {
	if s.direct {
		return tls.Client(nc, s.config), nil
	}
	if _, err := nc.Write(protocol.AppendSSLRequest(nil)); err != nil {
		return nil, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(nc, answer[:]); err != nil {
		return nil, err
	}
	if answer[0] != 'S' {
		return nil, fmt.Errorf("a server that spoke TLS answers %q to the request for it", answer[0])
	}
	return tls.Client(nc, s.config), nil
}
