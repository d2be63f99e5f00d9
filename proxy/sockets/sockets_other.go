//go:build !linux

package sockets

import (
	"net"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// setUserTimeout does nothing: this system has no TCP_USER_TIMEOUT, and keepalive has to do.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }

// PrepareListener sets nothing and reports false: not every one of these systems lets clients inherit the options of a listening socket.
// Each client gets its own.
func PrepareListener(net.Listener, config.Server) (inherited bool) { return false }
