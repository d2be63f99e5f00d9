package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// ServerTLS is how a server's connection was secured, to do it once more for a cancel request. Immutable.
type ServerTLS struct {
	config *tls.Config
	direct bool // sslnegotiation
}

// secure begins TLS on a new connection to the same host.
func (s *ServerTLS) secure(nc net.Conn) (net.Conn, error) {
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
