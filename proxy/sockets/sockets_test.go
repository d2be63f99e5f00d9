//go:build linux

package sockets

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// TestClientsInherit: a client's socket has the options that its listening socket had when the client came. An option of 0 has the
// system's value.
func TestClientsInherit(t *testing.T) {
	listening := net.ListenConfig{KeepAlive: NoKeepAlive}
	sock, err := listening.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	for _, cfg := range []config.Server{
		{},
		{TCPKeepalive: true, TCPKeepidle: 77 * time.Second, TCPKeepintvl: 5 * time.Second, TCPKeepcnt: 4, TCPUserTimeout: 9 * time.Second},
		{TCPKeepalive: true, TCPKeepidle: 78 * time.Second, TCPKeepintvl: 5 * time.Second, TCPKeepcnt: 4},
	} {
		if !PrepareListener(sock, cfg) {
			t.Fatal("not inherited")
		}
		nc, err := net.Dial("tcp", sock.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		client, err := sock.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		SetOptions(client, cfg, true)
		want := map[int]int{unix.TCP_NODELAY: 1, unix.TCP_USER_TIMEOUT: int(cfg.TCPUserTimeout / time.Millisecond)}
		if cfg.TCPKeepidle > 0 {
			want[unix.TCP_KEEPIDLE], want[unix.TCP_KEEPINTVL], want[unix.TCP_KEEPCNT] = int(cfg.TCPKeepidle/time.Second), 5, 4
		} else {
			want[unix.TCP_KEEPIDLE] = 7200
		}
		for name, value := range want {
			if got := option(t, client, unix.IPPROTO_TCP, name); got != value {
				t.Errorf("%+v: option %d is %d, want %d", cfg, name, got, value)
			}
		}
		if got := option(t, client, unix.SOL_SOCKET, unix.SO_KEEPALIVE); (got != 0) != cfg.TCPKeepalive {
			t.Errorf("%+v: keepalive %d", cfg, got)
		}
	}
}

func option(t *testing.T, nc net.Conn, level, name int) (value int) {
	t.Helper()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got error
	if err := raw.Control(func(fd uintptr) { value, got = unix.GetsockoptInt(int(fd), level, name) }); err != nil || got != nil {
		t.Fatal(err, got)
	}
	return value
}
