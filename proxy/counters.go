package proxy

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
)

// poolCounters are what one loop has counted for one pool: plain numbers with one writer. A Snapshot copies them by message.
type poolCounters struct {
	tally                 relay.Tally
	received, sent        uint64
	wait, transact, query Histogram
	clients, active       int
	clientCloses          [closeReasons]uint64
	serverCloses          map[string]uint64
	promotions            [promotionReasons]uint64
	others                *application // those of the pool that are not told apart; nil: none
	listening             int          // clients that LISTEN and share a server for it
	notifications         uint64       // that they have been sent
	listenLosses          uint64       // of the shared connection
}

// countersOf finds or makes the counters of a pool on this loop.
func (w *worker) countersOf(sp *serverPool) *poolCounters {
	c := w.counters[sp]
	if c == nil {
		c = &poolCounters{serverCloses: make(map[string]uint64)}
		w.counters[sp] = c
	}
	return c
}

// coldCounts are counted by goroutines.
type coldCounts struct {
	logins, cancels, cancelsForwarded, panics atomic.Uint64

	mu       sync.Mutex
	refusals map[string]uint64 // by SQLSTATE, or "gone", "accept"
}

// refused counts a login that did not succeed.
func (p *Proxy) refused(reason string) {
	p.counts.mu.Lock()
	p.counts.refusals[reason]++
	p.counts.mu.Unlock()
}

// snapshotMax is how long a loop may take to answer a Snapshot; a loop that does not is missing from it.
const snapshotMax = 2 * time.Second

// Snapshot gathers every number. Any goroutine may call it; it costs the loops a copy of their counters.
func (p *Proxy) Snapshot() Snapshot {
	snap := Snapshot{
		Draining: p.draining.Load(), Logins: p.counts.logins.Load(), Cancels: p.counts.cancels.Load(),
		CancelsForwarded: p.counts.cancelsForwarded.Load(), Panics: p.counts.panics.Load(), Refusals: make(map[string]uint64),
	}
	snap.Statements, snap.StatementBytes = p.statements.Numbers()
	p.counts.mu.Lock()
	for reason, n := range p.counts.refusals {
		snap.Refusals[reason] = n
	}
	p.counts.mu.Unlock()
	snap.ServerReachable, snap.ServerError = p.reachable.told(addressesOf(p.settings.Load().cfg))
	place := make(map[*serverPool]int) // in snap.Pools
	applications := make(map[applicationKey]int)
	for i, sp := range p.allPools() {
		snap.Pools = append(snap.Pools, p.poolNumbers(sp))
		place[sp] = i
	}
	for _, w := range p.workers {
		snap.Loops = append(snap.Loops, LoopSnapshot{
			Index: w.index, Connections: w.loop.Connections(), BusyTotal: w.loop.BusyTotal(),
		})
		p.addCounters(&snap, place, applications, w)
	}
	for i := range snap.Pools {
		// Counted a moment apart: never below zero.
		snap.Pools[i].ClientsIdle = max(0, snap.Pools[i].ClientsIdle-snap.Pools[i].ClientsWaiting)
	}
	p.addListeners(&snap)
	snap.sortApplications()
	return snap
}

// addListeners describes the listeners.
func (p *Proxy) addListeners(snap *Snapshot) {
	for _, l := range p.listeners {
		ls := ListenerSnapshot{Name: l.name, PoolMode: l.mode.String(), Addresses: l.addresses(), Clients: int(l.clients.Load())}
		if cfg := p.settings.Load().listener(l.name); cfg != nil {
			ls.MaxClientConn, ls.Size = cfg.MaxClientConn, cfg.DefaultPoolSize
			ls.SessionListener = p.settings.Load().cfg.SessionListener(cfg)
		}
		snap.Listeners = append(snap.Listeners, ls)
	}
}

// poolNumbers are the numbers the pool itself keeps.
func (p *Proxy) poolNumbers(sp *serverPool) PoolSnapshot {
	limits := sp.limits.Load().pool
	now := p.workers[0].clock()
	p.mu.Lock()
	defer p.mu.Unlock()
	pl := sp.pool
	return PoolSnapshot{
		Listener: sp.key.Listener, Database: sp.key.Database, User: sp.key.User, PoolMode: sp.mode.String(),
		Size: limits.Size, MinSize: limits.MinSize, ReserveSize: limits.Reserve,
		ClientsWaiting: pl.Waiting(), ServersOpening: pl.Count(pool.ServerNew), ServersIdle: pl.Count(pool.ServerIdle),
		ServersActive: pl.Count(pool.ServerActive), ServersTested: pl.Count(pool.ServerTested),
		ServersBeingCanceled: pl.Count(pool.ServerBeingCanceled), ServersClosing: pl.Count(pool.ServerClosing),
		ServersDedicated: pl.Dedicated(),
		MaxWait:          pl.OldestWait(now), ServerConnects: sp.dials.connects.Load(), ServerFailures: sp.dials.failures.Load(),
		ErrorsByClass: make(map[string]uint64), ServerCloses: make(map[string]uint64), Promotions: make(map[string]uint64), ClientCloses: make(map[string]uint64),
	}
}

// loopCounters is a copy of what one loop has counted for a pool.
type loopCounters struct {
	poolCounters
	oldest time.Duration // age of the oldest transaction
}

// loopCopy is a copy of what one loop has counted.
type loopCopy struct {
	pools        map[*serverPool]*loopCounters
	applications []application
}

// addCounters asks a loop for its counters and adds them to the pools' and the applications' numbers, whose places in the snapshot are given.
func (p *Proxy) addCounters(snap *Snapshot, place map[*serverPool]int, applications map[applicationKey]int, w *worker) {
	answer := make(chan loopCopy, 1)
	w.loop.Post(func() { answer <- loopCopy{pools: w.copyCounters(), applications: w.copyApplications()} })
	var got loopCopy
	select {
	case got = <-answer:
	case <-time.After(snapshotMax):
		return
	case <-p.life.Done():
		return
	}
	snap.addApplications(got.applications, applications)
	for sp, c := range got.pools {
		if i, known := place[sp]; known {
			snap.Pools[i].add(&c.poolCounters)
			snap.Pools[i].OldestTransaction = max(snap.Pools[i].OldestTransaction, c.oldest)
		}
	}
}

// copyCounters runs on the loop.
func (w *worker) copyCounters() map[*serverPool]*loopCounters {
	all := make(map[*serverPool]*loopCounters, len(w.counters))
	for sp, from := range w.counters {
		one := &loopCounters{poolCounters: *from}
		one.tally.Errors = maps.Clone(from.tally.Errors)
		one.serverCloses = maps.Clone(from.serverCloses)
		all[sp] = one
	}
	for s := w.servers.first; s != nil; s = s.next {
		if s.client != nil && s.clocks.Transaction > 0 {
			of := all[s.client.pool] // not the server's, which may have been promoted
			of.oldest = max(of.oldest, w.loop.Now()-s.clocks.Transaction)
		}
	}
	return all
}

func (ps *PoolSnapshot) add(c *poolCounters) {
	ps.ClientsIdle += c.clients - c.active
	ps.ClientsActive += c.active
	ps.Transactions += c.tally.Transactions
	ps.Queries += c.tally.Queries
	ps.ParsesSaved += c.tally.ParsesSaved
	ps.ParsesInjected += c.tally.ParsesInjected
	ps.StatementsHealed += c.tally.StatementsHealed
	ps.StatementsCompared += c.tally.StatementsCompared
	ps.StatementsChanged += c.tally.StatementsChanged
	ps.StatementsEvicted += c.tally.StatementsEvicted
	ps.ListeningClients += c.listening
	ps.Notifications += c.notifications
	ps.ListenLosses += c.listenLosses
	ps.ReceivedBytes += c.received
	ps.SentBytes += c.sent
	ps.WaitTime.Add(&c.wait)
	ps.TransactTime.Add(&c.transact)
	ps.QueryTime.Add(&c.query)
	for class, n := range c.tally.Errors {
		ps.ErrorsByClass[string(class[:])] += n
	}
	for reason, n := range c.serverCloses {
		ps.ServerCloses[reason] += n
	}
	for reason, n := range c.promotions {
		ps.Promotions[promotionReason(reason).String()] += n
	}
	for reason, n := range c.clientCloses {
		if n > 0 {
			ps.ClientCloses[closeReason(reason).String()] += n
		}
	}
}
