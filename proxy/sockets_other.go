//go:build !linux

package proxy

import (
	"net"
	"time"
)

// setUserTimeout: this system has no TCP_USER_TIMEOUT; keepalive has to do.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }
