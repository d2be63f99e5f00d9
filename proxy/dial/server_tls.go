package dial

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// TLS tells how a server's connection was secured, so that a cancel request can be secured in the same way. Immutable.
type TLS struct {
	config *tls.Config
	direct bool // sslnegotiation
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
