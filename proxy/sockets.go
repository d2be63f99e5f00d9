package proxy

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// setSocketOptions arms keepalive and, where the kernel has it, the time after which unacknowledged data ends the connection: a client
// or server behind a dead network must not hold its slot for ever. Unix sockets need neither. (net sets TCP_NODELAY on every socket.)
// inherited: keepalive has been set on the listening socket.
func setSocketOptions(nc net.Conn, cfg config.Server, inherited bool) {
	tcp := tcpOf(nc)
	if tcp == nil {
		return
	}
	if !inherited {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: cfg.TCPKeepalive, Idle: orSystems(cfg.TCPKeepidle), Interval: orSystems(cfg.TCPKeepintvl), Count: orSystems(cfg.TCPKeepcnt),
		}) // a kernel that refuses leaves its own defaults
	}
	if cfg.TCPUserTimeout > 0 {
		_ = setUserTimeout(tcp, cfg.TCPUserTimeout)
	}
}

// orSystems: 0 in the configuration is the operating system's value. net would take it for a value of its own.
func orSystems[T time.Duration | int](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// noKeepAlive keeps net from setting keepalive, which setSocketOptions does.
const noKeepAlive = -1

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
