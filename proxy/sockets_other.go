//go:build !linux

package proxy

import (
	"net"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// setUserTimeout: this system has no TCP_USER_TIMEOUT; keepalive has to do.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }

// prepareClients: whether clients inherit the options of a listening socket differs here; each gets its own.
func prepareClients(net.Listener, config.Server) (inherited bool) { return false }
