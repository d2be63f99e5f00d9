// Package sockets owns the options of the sockets of clients and of servers: keepalive, and the time after which unacknowledged data
// ends a connection. It must not know clients, servers or the protocol that is spoken on a socket.
//
// Packages proxy, proxy/login and proxy/dial use it. Every function may be called from any goroutine; none of them blocks.
//
// Read sockets.go first. The other files hold the parts that differ between operating systems.
package sockets

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// NoKeepAlive is the KeepAlive of a net.Dialer or a net.ListenConfig. It stops package net from setting keepalive, which SetOptions does.
const NoKeepAlive = -1

// SetOptions sets keepalive and, where the kernel has it, the time after which unacknowledged data ends the connection. A client or a
// server behind a dead network must not keep its place for ever. Unix sockets need neither. inherited means that PrepareListener has set
// keepalive on the listening socket. (Package net sets TCP_NODELAY on every socket.)
func SetOptions(nc net.Conn, cfg config.Server, inherited bool) {
	tcp := tcpOf(nc)
	if tcp == nil {
		return
	}
	if !inherited {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: cfg.TCPKeepalive, Idle: orSystems(cfg.TCPKeepidle), Interval: orSystems(cfg.TCPKeepintvl), Count: orSystems(cfg.TCPKeepcnt),
		}) // a kernel that refuses keeps its own defaults
	}
	if cfg.TCPUserTimeout > 0 {
		_ = setUserTimeout(tcp, cfg.TCPUserTimeout)
	}
}

// orSystems turns a 0 of the configuration, which stands for the operating system's value, into package net's word for that. Package net
// would take 0 for a value of its own.
func orSystems[T time.Duration | int](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// tcpOf finds the TCP socket under the wrappers of a dial or a TLS handshake. It returns nil if there is none.
func tcpOf(nc net.Conn) *net.TCPConn {
	tcp, _ := Innermost(nc).(*net.TCPConn)
	return tcp
}

// Innermost returns the socket under TLS and other wrappers that have a method NetConn.
func Innermost(nc net.Conn) net.Conn {
	for {
		wrapper, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc
		}
		nc = wrapper.NetConn()
	}
}

// Unread reports whether the kernel has bytes of this socket that nobody has read yet. It does not wait for any.
func Unread(nc net.Conn) bool {
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

// CloseQuietly closes a connection or a listening socket that nobody uses any more. An error would change nothing.
func CloseQuietly(c interface{ Close() error }) { _ = c.Close() }
