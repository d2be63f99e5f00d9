package sockets

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// setUserTimeout sets TCP_USER_TIMEOUT (RFC 5482).
func setUserTimeout(tcp *net.TCPConn, limit time.Duration) error {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit/time.Millisecond))
	})
	if err != nil {
		return err
	}
	return set
}

// PrepareListener sets keepalive on a listening socket, from which the sockets of its clients inherit it. That saves four system calls for
// each login. It reports whether clients inherit the options. (They do not inherit TCP_USER_TIMEOUT.)
func PrepareListener(sock net.Listener, cfg config.Server) (inherited bool) {
	tcp, ok := sock.(*net.TCPListener)
	if !ok {
		return true // a unix socket needs no keepalive
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	keepAlive := 0
	if cfg.TCPKeepalive {
		keepAlive = 1
	}
	options := []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, keepAlive},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(cfg.TCPKeepidle / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(cfg.TCPKeepintvl / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, cfg.TCPKeepcnt},
	}
	err = raw.Control(func(fd uintptr) {
		for _, o := range options {
			if o.value != 0 || o.name == unix.SO_KEEPALIVE {
				_ = unix.SetsockoptInt(int(fd), o.level, o.name, o.value) // a kernel that refuses keeps its own defaults
			}
		}
	})
	return err == nil
}
