// Package proxy owns the clients: it accepts them, welcomes those that proxy/login admits, links them to servers and carries out what proxy/relay decides. It
// must not know how a protocol decision is made (proxy/relay), which server a client gets (pool), how a client logs in (proxy/login), how readiness
// is learnt (eventloop), or how numbers are shown (admin formats a Snapshot).
//
// Two worlds meet here. Cold: goroutines with blocking I/O for accepting, logging in, dialling servers and forwarding cancel
// requests (listener.go, new_client.go, dial.go, cancel.go). Hot: event loops, one worker each, on which every method of Client, Server
// and worker runs (client.go, server.go, link.go). A socket passes from cold to hot once and for all, with Take and Adopt.
//
// Locks: Proxy.mu guards the pools and is the only lock on the way of a query, uncontended with one loop. Calls into package pool
// happen on a loop, so that there is one clock; those by which a login finds and holds its pool do not. cancelTable.mu and welcome.mu
// are taken by themselves, never together with mu.
//
// Start reading at client.go: OnRead is the walk of a query.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
	"github.com/hybridbouncer/hybridbouncer/proxy/login"
)

// Proxy is the whole: listeners, loops and pools. Its exported methods may be called from any goroutine.
type Proxy struct {
	// immutable after New
	log     *slog.Logger
	born    time.Time
	env     Environment
	workers []*worker
	// statements is what the clients of all transaction listeners have prepared; it has a lock of its own.
	statements *prepared.Table

	// guarded by mu; see the package comment
	mu  sync.Mutex
	set *pool.Set // each Pool's Owner is a *serverPool

	// replaced by Reload as a whole
	settings atomic.Pointer[settings]

	reloading sync.Mutex // one reload at a time, whoever has called for it
	userFile  userFile

	// cold world
	listeners   []*listener
	logins      *login.Logins
	verifier    *auth.Verifier // that of logins
	cancels     cancelTable
	cancelSlots *semaphore.Weighted
	nextID      atomic.Uint32
	counts      coldCounts
	catalogues  catalogues
	reachable   dial.Reachability
	probeEvery  time.Duration  // immutable after Start
	goroutines  sync.WaitGroup // every goroutine but the loops and those that deliver cancel requests
	canceling   sync.WaitGroup // goroutines that deliver cancel requests; only loops start them
	spawning    sync.Mutex     // see spawn
	loops       sync.WaitGroup
	life        context.Context // ends with Close: so do the goroutines
	end         context.CancelFunc
	draining    atomic.Bool
	places      atomic.Int64 // connections that PostgreSQL has for ordinary users; 0: not known
	placesAsked atomic.Int64 // when it was asked, in the time of the first loop; 0: never
	openLoops   atomic.Int32 // loops that take new clients: [0, openLoops)
	closeOnce   sync.Once
}

// statementBytesMax is how much memory the texts and names of all prepared statements may take.
const statementBytesMax = 256 << 20

// Environment is what the program takes from the outside world; the deterministic simulation replaces it.
type Environment struct {
	// NewKernel makes the readiness source of a loop; nil: the operating system's.
	NewKernel func(loop int) eventloop.Kernel
	// Dial opens a server and calls done exactly once, from any goroutine; nil: by pgconn.
	Dial func(target dial.Target, done func(dial.Opened, error))
	// Cancel delivers a cancel request to a server and calls done exactly once, from any goroutine, when PostgreSQL has acted on it or
	// it could not be delivered. late tells that it was given up on and may arrive yet. nil: over the network.
	Cancel func(target dial.CancelTarget, done func(late bool))
	// Seed makes the jitter of lifetimes repeatable; 0: from the clock.
	Seed uint64
}

// New builds a proxy from a validated configuration. Nothing is bound and nothing runs before Start.
func New(cfg *config.Config, log *slog.Logger) (*Proxy, error) {
	return NewIn(cfg, log, Environment{})
}

// NewIn is New in an environment of the caller's.
func NewIn(cfg *config.Config, log *slog.Logger, env Environment) (*Proxy, error) {
	if env.Seed == 0 {
		env.Seed = uint64(time.Now().UnixNano())
	}
	p := &Proxy{
		log: log, env: env, born: time.Now(),
		set:        pool.NewSet(env.Seed),
		statements: prepared.NewTable(statementBytesMax),
		probeEvery: probeEvery,
	}
	p.set.Guard = p.locked
	p.life, p.end = context.WithCancel(context.Background())
	if p.env.Dial == nil {
		p.env.Dial = p.dial
	}
	if p.env.Cancel == nil {
		p.env.Cancel = p.deliverCancel
	}
	p.cancelSlots = semaphore.NewWeighted(cancelSlotsMax)
	p.cancels.clients = make(map[uint32]*Client)
	p.counts.refusals = make(map[refusal]uint64)
	p.settings.Store(newSettings(cfg))
	var err error
	if p.logins, err = p.newLogins(cfg); err != nil {
		return nil, err
	}
	p.verifier = p.logins.Verifier()
	return p, p.openWorkers(cfg.Loops)
}

// Check reads every file that is read only when a client or server needs it: certificates and keys, on both sides. Nothing is bound, and
// PostgreSQL is not asked. The error lists every fault.
func (p *Proxy) Check() (warnings []string, err error) {
	cfg := p.settings.Load().cfg
	var faults []error
	for i := range cfg.Listeners {
		_, err := newListener(p, &cfg.Listeners[i])
		faults = append(faults, err)
	}
	faults = append(faults, dial.Check(cfg.Server))
	return p.logins.Warnings(), errors.Join(faults...)
}

// openWorkers makes the loops. loops = 0 makes one per processor but lets clients onto the first alone until it is busy.
func (p *Proxy) openWorkers(loops int) error {
	open := loops
	if loops == 0 {
		loops, open = autoLoops(), 1
	}
	for i := range loops {
		w, err := newWorker(p, i)
		if err != nil {
			return fmt.Errorf("event loop %d: %w", i, err)
		}
		p.workers = append(p.workers, w)
	}
	p.openLoops.Store(int32(open))
	return nil
}

// Start binds the listeners and starts the loops. On an error nothing keeps running.
func (p *Proxy) Start() error {
	for _, w := range p.workers {
		p.loops.Go(w.loop.Run)
	}
	p.catalogues.loads.Store(true)
	cfg := p.settings.Load().cfg
	if cfg.IOUring {
		p.logRing()
	}
	for i := range cfg.Listeners {
		l, err := openListener(p, &cfg.Listeners[i])
		if err != nil {
			return errors.Join(err, p.Close())
		}
		p.listeners = append(p.listeners, l)
	}
	for _, l := range p.listeners {
		l.serve()
	}
	p.workers[0].loop.Post(p.workers[0].startJanitor)
	p.goroutines.Go(p.watchLoops)
	p.goroutines.Go(p.watchHeartbeats)
	p.goroutines.Go(p.watchMemory)
	p.goroutines.Go(p.watchReachability)
	p.goroutines.Go(p.watchFiles)
	return nil
}

// logRing tells whether loops can send to many connections at once.
func (p *Proxy) logRing() {
	if err := eventloop.RingError(); err != nil {
		p.log.Info("io_uring cannot be used here, so each message is a system call of its own", "error", err)
		return
	}
	p.log.Info("io_uring is used to send to many connections at once; io_uring = false switches it off")
}

// Addresses are the bound addresses by listener name: what a port of 0 became.
func (p *Proxy) Addresses() map[string][]string {
	all := make(map[string][]string)
	for _, l := range p.listeners {
		all[l.name] = l.addresses()
	}
	return all
}

// Close ends everything at once: clients get 57P01, their queries are canceled, servers are told goodbye. It waits until every goroutine
// and loop has ended, at most a few seconds (closeMax), and may be called more than once.
func (p *Proxy) Close() error {
	p.closeOnce.Do(func() {
		p.draining.Store(true)
		p.spawning.Lock()
		p.end()
		p.spawning.Unlock()
		for _, l := range p.listeners {
			l.close()
		}
		p.goroutines.Wait() // before the loops end: what a goroutine hands to a loop must find it running
		for _, w := range p.workers {
			w.shutdown()
		}
		p.loops.Wait()
		p.canceling.Wait()
		p.goroutines.Wait()
		p.logins.Close()
	})
	return nil
}

// spawn runs f in a goroutine that Close waits for; a loop may call it at any time. Once Close has begun f runs at once: the context of all
// that it does has ended, so that it waits for nothing.
func (p *Proxy) spawn(f func()) {
	p.spawning.Lock()
	ending := p.life.Err() != nil
	if !ending {
		p.goroutines.Go(f)
	}
	p.spawning.Unlock()
	if ending {
		f()
	}
}

// contained is told of a panic in a handler: the connection it happened on is closed, the others live on (invariant 8).
func (p *Proxy) contained(v any, stack []byte) {
	p.counts.panics.Add(1)
	if stack == nil {
		stack = debug.Stack()
	}
	p.log.Error("a panic was contained; only the connection it happened on is closed. Please report it.",
		"panic", fmt.Sprint(v), "stack", string(stack))
}

// locked panics unless mu is held. The pools ask it in tests (build tag checks).
func (p *Proxy) locked() {
	if p.mu.TryLock() {
		p.mu.Unlock()
		panic("bug: a pool was called without Proxy.mu")
	}
}

// context is bound to the proxy's life and, unless 0, to a time-out.
func (p *Proxy) context(limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return context.WithCancel(p.life)
	}
	return context.WithTimeout(p.life, limit)
}
