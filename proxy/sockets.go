package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// setSocketOptions arms keepalive and, where the kernel has it, the time after which unacknowledged data ends the connection: a client
// or server behind a dead network must not hold its slot for ever. Unix sockets need neither.
func setSocketOptions(nc net.Conn, cfg config.Server) {
	tcp := tcpOf(nc)
	if tcp == nil {
		return
	}
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: cfg.TCPKeepalive, Idle: cfg.TCPKeepidle, Interval: cfg.TCPKeepintvl, Count: cfg.TCPKeepcnt,
	}) // a kernel that refuses leaves its own defaults
	_ = tcp.SetNoDelay(true)
	if cfg.TCPUserTimeout > 0 {
		_ = setUserTimeout(tcp, cfg.TCPUserTimeout)
	}
}

// unread reports whether bytes wait in a socket, without waiting for them.
func unread(nc net.Conn) bool {
	socket, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	waiting := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		waiting = err == nil && n > 0
	})
	return err == nil && waiting
}

// tcpOf finds the TCP socket under what a dial or a TLS handshake has wrapped around it.
func tcpOf(nc net.Conn) *net.TCPConn {
	for {
		switch c := nc.(type) {
		case *net.TCPConn:
			return c
		case interface{ NetConn() net.Conn }:
			nc = c.NetConn()
		default:
			return nil
		}
	}
}
