package proxy

import (
	"bytes"
	"context"
	"io"
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
		p.counts.refusals = make(map[string]uint64)
		p.settings.Store(&settings{cfg: &config.Config{}})
		sock := &scarce{}
		for range 20 {
			sock.turns = append(sock.turns, syscall.EMFILE)
		}
		sock.turns = append(sock.turns, nil, syscall.ECONNABORTED)
		l := &listener{proxy: p, name: "x"}
		l.logins.open = map[net.Conn]struct{}{}
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

// FuzzProxyHeader: no header makes the reader panic, read beyond itself, or give an address that it does not hold.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.7 127.0.0.1 1000 6432\r\nrest"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\x7f\x00\x00\x01\x01\x02\x03\x04rest"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		a, err := readProxyHeader(r)
		if err != nil && a.IsValid() {
			t.Fatal("an address beside an error")
		}
		used := len(b) - r.Len()
		if again, err2 := readProxyHeader(bytes.NewReader(b[:used])); err == nil && (err2 != nil || again != a) {
			t.Fatalf("it needs more than it has used: %v", err2)
		}
		if used > 0 && err == nil {
			if _, err := readProxyHeader(bytes.NewReader(b[:used-1])); err == nil {
				t.Fatal("it has used more than it needs")
			} else if err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Fatal(err)
			}
		}
	})
}
