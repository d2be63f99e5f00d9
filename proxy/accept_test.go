package proxy

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// scarce is a listening socket that has no descriptor for most of its clients.
type scarce struct{ turns []error }

func (s *scarce) Accept() (net.Conn, error) {
	if len(s.turns) == 0 {
		return nil, net.ErrClosed
	}
	err := s.turns[0]
	s.turns = s.turns[1:]
	if err != nil {
		return nil, &net.OpError{Op: "accept", Err: err}
	}
	other, own := net.Pipe()
	_ = other.Close()
	return own, nil
}

func (s *scarce) Close() error   { return nil }
func (s *scarce) Addr() net.Addr { return &net.TCPAddr{} }

// TestAcceptSurvives: out of descriptors, accept goes on ever more slowly, and says so once.
func TestAcceptSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := &Proxy{log: slog.New(slog.NewTextHandler(&log, nil)), life: context.Background()}
		p.counts.refusals = make(map[refusal]uint64)
		cfg := &config.Config{Auth: config.Auth{Type: "trust"}}
		p.settings.Store(&settings{cfg: cfg})
		var err error
		if p.logins, err = p.newLogins(cfg); err != nil {
			t.Fatal(err)
		}
		sock := &scarce{}
		for range 20 {
			sock.turns = append(sock.turns, syscall.EMFILE)
		}
		sock.turns = append(sock.turns, nil, syscall.ECONNABORTED)
		l, err := newListener(p, &config.Listener{Name: "x", PoolMode: "session"})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		l.accept(sock)
		p.goroutines.Wait()
		if took := time.Since(begin); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("tried for %s", took)
		}
		if n := p.counts.panics.Load(); n > 0 {
			t.Errorf("%d panics", n)
		}
		if n := strings.Count(log.String(), "no client can be accepted"); n != 2 || strings.Count(log.String(), "accepted again") != 1 {
			t.Errorf("logged:\n%s", log.String())
		}
	})
}
