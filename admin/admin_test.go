package admin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testPatience is how long a test waits for what must come; it is reached only when the test fails.
const testPatience = 20 * time.Second

// fakeSource shows what a test sets.
type fakeSource struct {
	stuck atomic.Int64 // nanoseconds

	mu       sync.Mutex
	snapshot func() stats.Snapshot // guarded by mu
	taken    int                   // guarded by mu
}

func (f *fakeSource) Snapshot() stats.Snapshot {
	f.mu.Lock()
	f.taken++
	take := f.snapshot
	f.mu.Unlock()
	return take()
}

func (f *fakeSource) Stuck() time.Duration { return time.Duration(f.stuck.Load()) }

func (f *fakeSource) Version() string { return "1.2.3-test" }

func (f *fakeSource) set(take func() stats.Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.snapshot = take
}

func (f *fakeSource) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.taken
}

// logBuffer is a log that a test reads while the endpoint writes.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// started is an endpoint on a free port that ends with the test.
type started struct {
	*Endpoint
	source *fakeSource
	logged *logBuffer
	t      *testing.T
}

// newStill is an endpoint that takes no samples of its own.
func newStill(listen string, src Source, log *slog.Logger) *Endpoint {
	e := New(config.Admin{Listen: listen}, src, log)
	e.still = true
	return e
}

func start(t *testing.T, snap stats.Snapshot) *started {
	t.Helper()
	src := &fakeSource{snapshot: func() stats.Snapshot { return snap }}
	logged := &logBuffer{}
	e := newStill("127.0.0.1:0", src, slog.New(slog.NewTextHandler(logged, nil)))
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return &started{e, src, logged, t}
}

// get asks for a path and returns status, headers and body.
func (s *started) get(path string) (int, http.Header, string) {
	s.t.Helper()
	return s.do("GET", path)
}

func (s *started) do(method, path string) (int, http.Header, string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.Address()+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(body)
}

// dial opens a raw socket to the endpoint, closed at the end of the test.
func (s *started) dial() net.Conn {
	s.t.Helper()
	socket, err := net.Dial("tcp", s.Address())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = socket.Close() })
	if err := socket.SetDeadline(time.Now().Add(testPatience)); err != nil {
		s.t.Fatal(err)
	}
	return socket
}

func TestPathsAndHeaders(t *testing.T) {
	s := start(t, busySnapshot())
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/health/db": "application/json", "/healthz": "text/plain; charset=utf-8",
		"/readyz": "text/plain; charset=utf-8", "/metrics": "text/plain; version=0.0.4; charset=utf-8",
	} {
		status, header, body := s.get(path)
		if have, _, _ := strings.Cut(header.Get("Content-Type"), "; escaping"); status != http.StatusOK || have != kind || body == "" {
			t.Errorf("%s: %d, %q, %d bytes; want 200, %q and a body", path, status, header.Get("Content-Type"), len(body), kind)
		}
		for key, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Content-Security-Policy": contentPolicy,
		} {
			if have := header.Get(key); have != want {
				t.Errorf("%s: %s is %q, want %q", path, key, have, want)
			}
		}
		if status, _, _ := s.do("HEAD", path); status != http.StatusOK {
			t.Errorf("HEAD %s: %d", path, status)
		}
		if status, _, _ := s.do("POST", path); status != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d, want 405: a request only looks", path, status)
		}
	}
}

// What other packages hang into http.DefaultServeMux, or what was never meant to be there, is not served.
func TestNothingElse(t *testing.T) {
	s := start(t, busySnapshot())
	for _, path := range []string{
		"/debug/pprof/", "/debug/pprof/cmdline", "/debug/vars", "/page.html", "/health", "/metrics/", "/index.html", "/..%2f..%2fetc/passwd",
	} {
		if status, _, _ := s.get(path); status != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, status)
		}
	}
	if status, _, _ := s.do("OPTIONS", "/metrics"); status != http.StatusMethodNotAllowed {
		t.Errorf("OPTIONS: %d, want 405", status)
	}
}

func TestStartOnTakenAddress(t *testing.T) {
	s := start(t, busySnapshot())
	second := newStill(s.Address(), s.source, s.log)
	err := second.Start()
	if err == nil || !strings.Contains(err.Error(), "admin.listen "+s.Address()) {
		t.Errorf("Start on a taken address: %v; want an error that names the setting", err)
	}
	if err := second.Close(); err != nil {
		t.Errorf("Close after a failed Start: %v", err)
	}
}

func TestNoEndpoint(t *testing.T) {
	e := newStill("", &fakeSource{}, slog.New(slog.DiscardHandler))
	if err := errors.Join(e.Start(), e.Close(), e.Close()); err != nil || e.Address() != "" {
		t.Errorf("without an address: %v, address %q", err, e.Address())
	}
}

func TestCloseFreesThePort(t *testing.T) {
	s := start(t, busySnapshot())
	s.get("/healthz")
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if socket, err := net.Dial("tcp", s.Address()); err == nil {
		_ = socket.Close()
		t.Error("still listening after Close")
	}
}

// An endpoint that can no longer accept says so in the log, and Close hands the reason on.
func TestServeFails(t *testing.T) {
	logged := &logBuffer{}
	e := newStill("127.0.0.1:0", &fakeSource{snapshot: busySnapshot}, slog.New(slog.NewTextHandler(logged, nil)))
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	_ = e.listening.Close()
	for begun := time.Now(); !strings.Contains(logged.String(), "stopped answering"); runtime.Gosched() {
		if time.Since(begun) > testPatience {
			t.Fatalf("the log does not say that the endpoint stopped: %s", logged)
		}
	}
	if err := e.Close(); err == nil || !strings.Contains(err.Error(), "admin.listen 127.0.0.1:0: ") {
		t.Errorf("Close: %v, want why it stopped", err)
	}
}

// A scrape under way gets its answer; Close waits for it, and whoever comes later is refused.
func TestCloseDuringSlowScrape(t *testing.T) {
	s := start(t, busySnapshot())
	entered, release := make(chan struct{}), make(chan struct{})
	s.source.set(func() stats.Snapshot {
		close(entered)
		<-release
		return busySnapshot()
	})
	answered := make(chan string, 1)
	go func() {
		status, _, body := s.get("/metrics")
		answered <- fmt.Sprint(status, " ", strings.Contains(body, "hybridbouncer_pool_size"))
	}()
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	refusedSoon(t, s.Address())
	select {
	case err := <-closed:
		t.Errorf("Close returned (%v) while a scrape was being answered", err)
	default:
	}
	close(release)
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if have := <-answered; have != "200 true" {
		t.Errorf("the scrape under way got %q", have)
	}
}

// A Source that hangs for good neither hangs Close nor goes unnoticed.
func TestCloseWithHangingSource(t *testing.T) {
	t.Parallel()
	s := start(t, busySnapshot())
	release := make(chan struct{})
	s.source.set(func() stats.Snapshot { <-release; return busySnapshot() })
	if status, _, _ := s.get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d", status)
	}
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "the source has not answered") {
		t.Errorf("Close: %v, want a word about the source", err)
	}
	close(release)
}

// refusedSoon waits until nobody listens at the address any more.
func refusedSoon(t *testing.T, address string) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < testPatience; {
		socket, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		_ = socket.Close()
	}
	t.Fatal("still listening")
}

// Silent sockets must not hold up the end of the process.
func TestCloseDoesNotWaitForSilentSockets(t *testing.T) {
	s := start(t, busySnapshot())
	silent := s.dial()
	s.seen(1)
	begun := time.Now()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if took := time.Since(begun); took >= closeMax {
		t.Errorf("Close took %s for one silent socket", took)
	}
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !isReset(err) {
		t.Errorf("the silent socket: %v, want it closed", err)
	}
}

func isReset(err error) bool { return err != nil && strings.Contains(err.Error(), "reset") }

// seen waits until the endpoint knows n sockets.
func (s *started) seen(n int) {
	s.t.Helper()
	for begun := time.Now(); time.Since(begun) < testPatience; {
		s.sockets.mu.Lock()
		have := len(s.sockets.states)
		s.sockets.mu.Unlock()
		if have == n {
			return
		}
	}
	s.t.Fatalf("the endpoint never had %d sockets", n)
}

func TestHostileRequests(t *testing.T) {
	for _, c := range []struct{ name, send, want string }{
		{"no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "HTTP/1.1 400 "},
		{"a PostgreSQL client", "\x00\x00\x00\x08\x04\xd2\x16\x2f\r\n\r\n", "HTTP/1.1 400 "},
		{"no Host", "GET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
		{"huge headers", "GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "HTTP/1.1 431 "},
		{"two lengths", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "HTTP/1.1 400 "},
		{"a tunnel", "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 40"},
		{"a proxy request", "GET http://169.254.169.254/latest HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, busySnapshot())
			socket := s.dial()
			go func() { _, _ = io.WriteString(socket, c.send) }() // the endpoint may hang up before it has read it all
			line, err := bufio.NewReader(socket).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, c.want) {
				t.Errorf("answer %q, %v; want %q", line, err, c.want)
			}
			if status, _, _ := s.get("/healthz"); status != http.StatusOK {
				t.Errorf("afterwards /healthz says %d", status)
			}
		})
	}
}

// A client that sends its header byte by byte, or nothing, is cut off by the server's own time-outs: they must all be set.
func TestSlowClientsAreCut(t *testing.T) {
	t.Parallel()
	s := start(t, busySnapshot())
	h := s.server
	for name, d := range map[string]time.Duration{
		"ReadHeaderTimeout": h.ReadHeaderTimeout, "ReadTimeout": h.ReadTimeout, "WriteTimeout": h.WriteTimeout, "IdleTimeout": h.IdleTimeout,
	} {
		if d <= 0 || d > 2*time.Minute {
			t.Errorf("%s is %s", name, d)
		}
	}
	socket := s.dial()
	begun := time.Now()
	if _, err := io.WriteString(socket, "GET /metrics HTTP/1.1\r\nHo"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(socket); err != nil && !isReset(err) {
		t.Errorf("half a header for %s: %v; want the socket closed", time.Since(begun), err)
	}
}

// Sockets over the bound are closed at once, and make room when the others leave.
func TestSocketsAreBounded(t *testing.T) {
	s := start(t, busySnapshot())
	held := make([]net.Conn, 0, socketsMax)
	for range socketsMax {
		held = append(held, s.dial())
	}
	s.seen(socketsMax)
	over := s.dial()
	if err := over.SetDeadline(time.Now().Add(readHeaderTimeout / 2)); err != nil { // sooner than any silent socket is closed
		t.Fatal(err)
	}
	if _, err := over.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !isReset(err) {
		t.Errorf("socket %d: %v, want it closed", socketsMax+1, err)
	}
	for _, socket := range held {
		_ = socket.Close()
	}
	s.seen(0)
	if status, _, _ := s.get("/healthz"); status != http.StatusOK {
		t.Errorf("after the crowd has left: %d", status)
	}
}

// waitFor waits until something is true that another goroutine brings about.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for begun := time.Now(); !condition(); runtime.Gosched() {
		if time.Since(begun) > testPatience {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
