//go:build !race

package eventloop

import (
	"crypto/tls"
	"net"
	"testing"
)

// The race detector makes sync.Pool forget at random, and crypto/tls has its record buffers from one: so these are counted without it.

// both is a TLS connection with both ends on one loop, the client's echoing.
func both(t testing.TB, l *Loop, version uint16) (client, server *recorder) {
	t.Helper()
	a, b := sockets(t)
	tlsClient := tls.Client(NewTransport(a), anyServer(version))
	tlsServer := tls.Server(NewTLSTransport(b, nil), &tls.Config{Certificates: []tls.Certificate{certificate(t)}, SessionTicketsDisabled: true})
	shake(t, tlsClient, tlsServer, "")
	ends := [2]*recorder{newRecorder(echo), newRecorder(nil)}
	for i, nc := range []net.Conn{tlsClient, tlsServer} {
		src, err := Take(nc)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Adopt(&ends[i].Conn, src, ends[i]); err != nil {
			t.Fatal(err)
		}
	}
	return ends[0], ends[1]
}

// TestTLSNothingAllocated per message there and back.
func TestTLSNothingAllocated(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		l, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.kernel.Close()
		client, server := both(t, l, version)
		got := 0
		server.onRead = func(_ *recorder, b []byte) int { got += len(b); return len(b) }
		for _, size := range []int{30, 3000, 20_000} {
			msg := make([]byte, size)
			turn := func() {
				got = 0
				server.Send(msg)
				for got < size {
					l.Turn(true)
				}
			}
			turn()
			if n := testing.AllocsPerRun(200, turn); n != 0 {
				t.Errorf("%s, %d bytes: %v allocations", tls.VersionName(version), size, n)
			}
		}
		client.Close()
		server.Close()
	}
}
