// Package admin owns the HTTP endpoint: its listening socket, its requests and the form of its answers. It only formats
// stats.Snapshot, so /metrics, /health/db, the API and the page cannot disagree about a number. It must not know pools, loops or
// sockets of clients, and it changes nothing: every request is a look. No answer shows a secret, because a Snapshot has none.
//
// One goroutine (sampler.go) takes a Snapshot each second and gives it to package history, so that the page has a past. /metrics and the
// health paths answer everybody; the page and the API answer the operator alone (access.go).
//
// A process that carries thousands of clients shares its file descriptors and its CPU with this endpoint. So everything about a
// request is bounded: time to send it, its size, sockets open at once, readers of the stream, and Snapshots under way (one; see
// snapshots.go).
//
// Endpoint's methods may be called from any goroutine. Start reading at New for the paths; then table.go (the table every metric
// comes from), health.go (the levels), ports.go (applications on the wrong port), api.go (the JSON) and advice.go (what needs
// attention).
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// Bounds of a request. A scrape is one small GET; a client that is slower or sends more is no scraper.
const (
	readHeaderTimeout = 5 * time.Second  // a silent client holds a file descriptor no longer
	readTimeout       = 10 * time.Second // whole request; no path wants a body
	writeTimeout      = 30 * time.Second // a page of every pool over a slow line
	idleTimeout       = 90 * time.Second // longer than the usual scrape interval of 15-60 s, so that scrapers keep their socket
	headerBytesMax    = 16 << 10         // request line and headers; scrapers send a few hundred bytes
	socketsMax        = 128              // open at once: a handful of scrapers and probes, a person or two, and room
)

// closeMax is how long Close waits for requests that are being answered, and again for a Snapshot that nobody waits for any more.
// It is more than a Snapshot may take (answerMax), so that a scrape under way gets its answer.
const closeMax = 3 * time.Second

// Source gives the endpoint its numbers. Both methods may be called from any goroutine.
type Source interface {
	// Snapshot is every number of the program now. It may take long, or panic; the endpoint bears both.
	Snapshot() stats.Snapshot
	// Stuck is how long the slowest event loop has not come round. It answers at once.
	Stuck() time.Duration
	// Version is the program's version, as the subcommand version prints it.
	Version() string
}

// Endpoint is the HTTP server. It is made by New, and lives from Start to Close.
type Endpoint struct {
	// immutable after New
	listen    string
	source    Source
	snapshots snapshots
	sampler   sampler
	streams   streams
	process   *prometheus.Registry // the Go runtime's and the process's own numbers
	log       *slog.Logger
	server    *http.Server
	still     bool // no samples are taken: for tests that bring their own

	password atomic.Pointer[string] // of the page and the API; empty: none is asked for

	// written by Start, read by Close and Address
	listening net.Listener
	served    chan error         // the result of Serve; closed after it
	sampling  context.CancelFunc // ends the sampler
	sampled   chan struct{}      // closed when the sampler has ended

	sockets sockets
}

// New makes the endpoint that will listen on cfg.Listen. An empty Listen means no endpoint: Start and Close then do nothing. Nothing
// is bound before Start.
func New(cfg config.Admin, src Source, log *slog.Logger) *Endpoint {
	e := &Endpoint{listen: cfg.Listen, source: src, log: log, process: prometheus.NewRegistry()}
	e.SetPassword(cfg.Password)
	e.snapshots.take = src.Snapshot
	e.sampler = sampler{snapshots: &e.snapshots, version: src.Version(), began: time.Now(), marks: make(map[string]time.Time), after: e.publish}
	e.streams.readers = make(map[chan []byte]struct{})
	e.sockets.states = make(map[net.Conn]http.ConnState)
	e.process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	// A mux of our own: http.DefaultServeMux would also serve what any imported package hung there (pprof, expvar with the
	// command line).
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", e.serveMetrics)
	mux.HandleFunc("GET /metrics/pgbouncer", e.servePgBouncer)
	mux.HandleFunc("GET /health/db", e.serveHealth)
	mux.HandleFunc("GET /healthz", e.serveAlive)
	mux.HandleFunc("GET /readyz", e.serveReady)
	for path, serve := range e.operatorPaths() {
		mux.HandleFunc("GET "+path, e.forOperator(serve))
	}
	e.server = &http.Server{
		Handler:           withHeaders(mux),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytesMax,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ConnState:         e.sockets.changed,
		// OPTIONS * has no use here, and the mux should be the only one that answers.
		DisableGeneralOptionsHandler: true,
	}
	// Requests of the stream would otherwise last until Close cuts them.
	e.server.RegisterOnShutdown(e.streams.close)
	return e
}

// Mark remembers an event, which the plots of the page show and /api/v1/events lists. kind is a word (reload, pause, resume), text a
// sentence without secrets. It never blocks for long, and may be called before Start and without an endpoint.
func (e *Endpoint) Mark(kind, text string) { e.sampler.mark(kind, text) }

// operatorPaths are the paths that answer the operator alone.
func (e *Endpoint) operatorPaths() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"/{$}":                 e.servePage,
		"/report/ports":        e.servePorts,
		"/api/v1/overview":     e.serveOverview,
		"/api/v1/listeners":    e.serveListeners,
		"/api/v1/pools":        e.servePools,
		"/api/v1/applications": e.serveApplications,
		"/api/v1/history":      e.serveHistory,
		"/api/v1/events":       e.serveEvents,
		"/api/v1/stream":       e.serveStream,
		"/api/v1/openapi.json": e.serveOpenAPI,
	}
}

// withHeaders adds the headers of every answer. The browser keeps no copy, guesses no type and runs no script but the page's own.
func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// SetPassword changes the password of the page and the API for requests from now on. Empty: they answer to this machine alone.
func (e *Endpoint) SetPassword(password string) { e.password.Store(&password) }

// Start binds and begins to answer. On an error nothing keeps running. It is called once.
func (e *Endpoint) Start() error {
	if e.listen == "" {
		return nil
	}
	l, err := net.Listen("tcp", e.listen)
	if err != nil {
		return fmt.Errorf("admin.listen %s: %w", e.listen, err)
	}
	e.listening = l
	e.served = make(chan error, 1)
	e.startSampler()
	go func() {
		defer close(e.served)
		if err := e.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			e.log.Error("the admin endpoint stopped answering; clients are not affected", "listen", e.Address(), "error", err)
			e.served <- fmt.Errorf("admin.listen %s: %w", e.listen, err)
		}
	}()
	return nil
}

// startSampler begins to remember.
func (e *Endpoint) startSampler() {
	ctx, cancel := context.WithCancel(context.Background())
	e.sampling, e.sampled = cancel, make(chan struct{})
	go func() {
		defer close(e.sampled)
		if !e.still {
			e.sampler.run(ctx)
		}
	}()
}

// Address is the bound address, with the port that a port of 0 became; empty without an endpoint. Valid after Start.
func (e *Endpoint) Address() string {
	if e.listening == nil {
		return ""
	}
	return e.listening.Addr().String()
}

// Close stops accepting, lets requests that are being answered finish for at most closeMax, cuts the others, and returns when
// every goroutine of the endpoint has ended. Only a Source that does not answer can outlive it, by an error, after another closeMax.
// It may be called more than once, also without Start; close the endpoint before its Source.
func (e *Endpoint) Close() error {
	if e.listening == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeMax)
	defer cancel()
	e.sampling()
	<-e.sampled
	// Shutdown gives a socket that has not said anything yet five seconds; nobody needs to wait for a silent one.
	e.sockets.refuse()
	errs := make([]error, 0, 3)
	if err := e.server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		errs = append(errs, fmt.Errorf("admin endpoint: requests still unanswered after %s were cut", closeMax), e.server.Close())
	} else if err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, <-e.served)
	if !e.snapshots.wait(closeMax) {
		errs = append(errs, fmt.Errorf("admin endpoint: the source has not answered for more than %s", closeMax))
	}
	return errors.Join(errs...)
}

// sockets bounds how many may be open, and knows those that have not sent anything yet.
type sockets struct {
	mu      sync.Mutex
	states  map[net.Conn]http.ConnState // guarded by mu
	closing bool                        // guarded by mu
}

// changed is called by net/http, from the socket's goroutine, whenever a socket's state changes; first with StateNew, before
// anything is read from it, and from the accepting goroutine.
func (s *sockets) changed(socket net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.states[socket] = state
		if s.closing || len(s.states) > socketsMax {
			_ = socket.Close() // net/http then finds it dead and reports StateClosed
		}
	case http.StateActive, http.StateIdle:
		s.states[socket] = state
	case http.StateClosed, http.StateHijacked:
		delete(s.states, socket)
	}
}

// refuse closes the sockets that have not sent anything yet, and every new one.
func (s *sockets) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for socket, state := range s.states {
		if state == http.StateNew {
			_ = socket.Close()
		}
	}
}
