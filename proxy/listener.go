package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/proxy/login"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/sockets"
)

// listener is a port, or several addresses, with a pool mode.
type listener struct {
	// immutable
	proxy  *Proxy
	name   string
	mode   relay.Mode
	socks  []net.Listener
	logins *login.Listener

	inherited atomic.Bool // clients have their socket options from the listening socket
}

// newListener makes a listener that is not bound to any address yet.
func newListener(p *Proxy, cfg *config.Listener) (*listener, error) {
	mode, ok := relay.ParseMode(cfg.PoolMode)
	if !ok {
		return nil, fmt.Errorf("listener %q: unknown pool_mode %q: use session, transaction or statement", cfg.Name, cfg.PoolMode)
	}
	l := &listener{proxy: p, name: cfg.Name, mode: mode}
	var err error
	if l.logins, err = p.logins.NewListener(cfg, mode == relay.Session); err != nil {
		return nil, err
	}
	return l, nil
}

// openListener binds all addresses of a listener, or none.
func openListener(p *Proxy, cfg *config.Listener) (*listener, error) {
	l, err := newListener(p, cfg)
	if err != nil {
		return nil, err
	}
	for _, address := range cfg.Listen {
		sock, err := bind(address, cfg.UnixSocketMode)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("listener %q cannot listen on %s: %w", cfg.Name, address, err)
		}
		l.socks = append(l.socks, sock)
	}
	l.prepareSockets(p.settings.Load().cfg.Server)
	return l, nil
}

// prepareSockets sets the options that clients inherit; where they do not, each gets its own at its login.
func (l *listener) prepareSockets(cfg config.Server) {
	inherited := true
	for _, sock := range l.socks {
		inherited = sockets.PrepareListener(sock, cfg) && inherited
	}
	l.inherited.Store(inherited)
}

// bind listens on host:port, or on PostgreSQL's socket in a directory: /run/hybridbouncer:6432 is /run/hybridbouncer/.s.PGSQL.6432.
func bind(address, unixMode string) (net.Listener, error) {
	if !strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "@") {
		c := net.ListenConfig{KeepAlive: sockets.NoKeepAlive}
		return c.Listen(context.Background(), "tcp", address)
	}
	path := unixSocketPath(address)
	if err := removeStaleSocket(path); err != nil {
		return nil, err
	}
	sock, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if mode, err := strconv.ParseUint(unixMode, 8, 32); err == nil && unixMode != "" {
		if err := os.Chmod(path, os.FileMode(mode)); err != nil {
			return nil, errors.Join(err, sock.Close())
		}
	}
	return sock, nil
}

func unixSocketPath(address string) string {
	dir, port, found := strings.Cut(address, ":")
	if !found {
		return address
	}
	return filepath.Join(dir, ".s.PGSQL."+port)
}

// removeStaleSocket removes a socket that nobody answers on any more, as after a crash.
func removeStaleSocket(path string) error {
	nc, err := net.Dial("unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("another process listens on %s", path), nc.Close())
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(path)
	}
	return nil
}

func (l *listener) addresses() []string {
	all := make([]string, 0, len(l.socks))
	for _, s := range l.socks {
		all = append(all, s.Addr().String())
	}
	return all
}

func (l *listener) serve() {
	for _, sock := range l.socks {
		l.proxy.goroutines.Go(func() { l.accept(sock) })
	}
}

// How long accept rests after an error such as "too many open files", which the listener must survive: longer each time it comes back.
const (
	acceptPauseMin = 10 * time.Millisecond
	acceptPauseMax = time.Second
)

// accept takes clients in until the listener closes. What keeps it from that is logged once, and that it is over.
func (l *listener) accept(sock net.Listener) {
	p := l.proxy
	pause := time.Duration(0)
	for {
		nc, err := sock.Accept()
		switch {
		case err == nil:
			if pause > 0 {
				p.log.Info("clients are accepted again", "listener", l.name)
			}
			pause = 0
			p.goroutines.Go(func() { l.login(nc) })
		case errors.Is(err, net.ErrClosed):
			return
		default:
			p.refused(l.name, "accept")
			if pause == 0 {
				p.log.Error("no client can be accepted; is the limit of open files (ulimit -n) too low? Trying on.", "listener", l.name,
					"error", err)
			}
			pause = min(max(2*pause, acceptPauseMin), acceptPauseMax)
			select {
			case <-time.After(pause):
			case <-p.life.Done():
				return
			}
		}
	}
}

// stopAccepting closes the listening sockets; logins under way go on.
func (l *listener) stopAccepting() {
	for _, s := range l.socks {
		sockets.CloseQuietly(s)
	}
}

// close closes the listening sockets and every login under way.
func (l *listener) close() {
	l.stopAccepting()
	l.logins.Close()
}
