package proxy

import (
	"time"

	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/proxy/listen"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// worker is one event loop with the clients and servers it owns. All its methods run on its loop, except where said otherwise.
type worker struct {
	// immutable after newWorker
	proxy *Proxy
	index int
	loop  *eventloop.Loop

	heartbeat heartbeat

	// owned by the loop
	clients      clientList
	servers      serverList
	actions      []pool.Action // what the pools asked for and has not been carried out
	acting       bool
	waiters      []*pool.Waiter // recycled
	counters     map[*serverPool]*stats.PoolCounters
	applications stats.Applications
	ticker       *eventloop.Ticker
	quiet        int // ticks in a row that found nothing to watch
	draining     bool
	begun        int // clients in a transaction that no server knows of
	budget       int // of the first loop: of all pools; 0: no limit
	scratch      []byte
	sql          []byte
	lexer        sqltext.Lexer
	desk         relay.Desk
	subscribers  map[*serverPool]*listen.Subscribers
	listenHosts  []*listenHost // of the first loop only
	lastIdle     time.Duration // when clients were last looked at for client_idle_timeout
}

// tickInterval is how finely time-outs of links are kept; poolTickInterval those of the queue. PgBouncer looks every 333 ms.
const (
	tickInterval     = 100 * time.Millisecond
	poolTickInterval = 200 * time.Millisecond
	// quietTicks: after so many ticks with nothing to watch the ticker stops, so that an idle process sleeps.
	quietTicks = 20
)

func newWorker(p *Proxy, index int) (*worker, error) {
	w := &worker{
		proxy: p, index: index, quiet: -1, desk: relay.Desk{Table: p.statements}, counters: make(map[*serverPool]*stats.PoolCounters),
		subscribers: make(map[*serverPool]*listen.Subscribers),
	}
	options := eventloop.Options{OnPanic: p.contained, OneByOne: !p.settings.Load().cfg.IOUring}
	if p.env.NewKernel != nil {
		options.Kernel = p.env.NewKernel(index)
	}
	loop, err := eventloop.New(options)
	if err != nil {
		return nil, err
	}
	w.loop = loop
	w.heartbeat.answer = func() { w.heartbeat.asked.Store(0) }
	w.ticker = loop.Every(tickInterval, w.tick)
	return w, nil
}

// clock is the time now, for goroutines of the cold world too.
func (w *worker) clock() time.Duration { return w.loop.Clock() }

// startJanitor lets worker 0 drive the clock of all pools.
func (w *worker) startJanitor() {
	w.setBudget()
	w.loop.Every(poolTickInterval, func(now time.Duration) {
		w.pools(func() {
			w.proxy.set.Tick(now)
		})
		w.act()
		w.tickHubs(now)
	}).Start()
	w.loop.Every(proofsKept, func(time.Duration) { w.proxy.forgetProofs() }).Start()
}

// pools calls into package pool, under the lock that guards it, and takes over what the pools want done; the caller calls act afterwards.
// A panic in there gives the lock back: it may cost a connection, never the pooler.
func (w *worker) pools(call func()) {
	w.proxy.mu.Lock()
	defer w.proxy.mu.Unlock()
	call()
	w.actions = append(w.actions, w.proxy.set.Actions()...)
}

// act carries out what the pools asked for. What that leads to is appended and carried out in the same call, not recursively.
func (w *worker) act() {
	if !w.acting && len(w.actions) > 0 {
		w.carryOutAll()
	}
}

// carryOutAll survives the panic of an action: the others are carried out by the next call.
func (w *worker) carryOutAll() {
	done := 0
	w.acting = true
	defer func() {
		left := copy(w.actions, w.actions[done:])
		clear(w.actions[left:])
		w.actions = w.actions[:left]
		w.acting = false
	}()
	for done < len(w.actions) {
		done++
		w.carryOut(w.actions[done-1])
	}
}

// walk runs f, which goes through a list of clients or servers and may end those that it meets. What the pools ask for meanwhile, which
// may end or move others, is carried out afterwards.
func (w *worker) walk(f func()) {
	w.acting = true
	defer func() {
		w.acting = false
		w.act()
	}()
	f()
}

func (w *worker) carryOut(a pool.Action) {
	switch a.Kind {
	case pool.ActDial:
		w.startDial(a.Server)
	case pool.ActGrant:
		w.lend(serverOf(a.Server), a.Waiter)
	case pool.ActClose:
		w.onServer(a.Server, func(on *worker, s *Server) { on.closeServer(s, a.Reason) })
	case pool.ActCheck:
		w.onServer(a.Server, func(on *worker, s *Server) { on.checkServer(s) })
	case pool.ActRecall:
		w.onServer(a.Server, func(on *worker, s *Server) { on.recalled(s) })
	case pool.ActForget:
		w.proxy.forget(a.Pool.Owner.(*serverPool))
	case pool.ActMoved:
		w.onServer(a.Server, func(on *worker, s *Server) { on.moved(s) })
	case pool.ActExpire, pool.ActFail, pool.ActNotify, pool.ActPromoted:
		on := w.proxy.workers[a.Waiter.Loop]
		if on == w {
			w.tellWaiter(a)
			return
		}
		on.loop.Post(func() { on.tellWaiter(a) })
	}
}

// onServer runs do on the worker that owns the server.
func (w *worker) onServer(ps *pool.Server, do func(on *worker, s *Server)) {
	s := serverOf(ps)
	on := w.proxy.workers[ps.Loop]
	if on == w {
		do(w, s)
		return
	}
	on.loop.Post(func() { do(on, s); on.act() })
}

// newWaiter takes a waiter from the recycled ones.
func (w *worker) newWaiter(owner any) *pool.Waiter {
	if n := len(w.waiters); n > 0 {
		wt := w.waiters[n-1]
		w.waiters = w.waiters[:n-1]
		wt.Owner = owner
		return wt
	}
	return &pool.Waiter{Owner: owner, Loop: w.index}
}

// freeWaiter takes back a waiter that no queue and no message knows any more.
func (w *worker) freeWaiter(wt *pool.Waiter) {
	*wt = pool.Waiter{Loop: w.index}
	w.waiters = append(w.waiters, wt)
}

// watch makes sure that the ticker runs.
func (w *worker) watch() {
	if w.quiet >= 0 {
		return
	}
	w.quiet = 0
	w.ticker.Start()
}

// tick looks at every clock of this loop.
func (w *worker) tick(now time.Duration) {
	watched := w.tickServers(now)
	if w.tickClients(now) {
		watched = true
	}
	if watched {
		w.quiet = 0
		return
	}
	if w.quiet++; w.quiet > quietTicks {
		w.quiet = -1
		w.ticker.Stop()
	}
}

func serverOf(ps *pool.Server) *Server { return ps.Owner.(*Server) }
