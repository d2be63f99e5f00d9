package proxy

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// countersOf finds or makes the counters of a pool on this loop.
func (w *worker) countersOf(sp *serverPool) *stats.PoolCounters {
	c := w.counters[sp]
	if c == nil {
		c = &stats.PoolCounters{Pool: &sp.numbers}
		w.counters[sp] = c
	}
	return c
}

// coldCounts are counted by goroutines.
type coldCounts struct {
	logins, cancels, cancelsForwarded, panics atomic.Uint64

	mu       sync.Mutex
	refusals map[refusal]uint64
}

// refusal is the key under which a login is counted that did not succeed.
type refusal struct{ listener, reason string } // reason: an SQLSTATE, or "gone", "accept", ...

// refused counts a login that did not succeed.
func (p *Proxy) refused(listener, reason string) {
	p.counts.mu.Lock()
	p.counts.refusals[refusal{listener, reason}]++
	p.counts.mu.Unlock()
}

// snapshotMax is how long a loop may take to answer a Snapshot; a loop that does not is missing from it.
const snapshotMax = 2 * time.Second

// Snapshot gathers every number. Any goroutine may call it; it costs the loops a copy of their counters.
func (p *Proxy) Snapshot() stats.Snapshot {
	snap := stats.Snapshot{
		Draining: p.draining.Load(), Logins: p.counts.logins.Load(), Cancels: p.counts.cancels.Load(),
		CancelsForwarded: p.counts.cancelsForwarded.Load(), Panics: p.counts.panics.Load(), Refusals: make(map[string]uint64),
	}
	snap.Statements, snap.StatementBytes = p.statements.Numbers()
	snap.ServerReachable, snap.ServerError = p.reachable.Reachable(addressesOf(p.settings.Load().cfg))
	place := make(map[*serverPool]int) // in snap.Pools
	for i, sp := range p.allPools() {
		snap.Pools = append(snap.Pools, p.poolNumbers(sp))
		place[sp] = i
	}
	for _, w := range p.workers {
		snap.Loops = append(snap.Loops, stats.LoopSnapshot{
			Index: w.index, Connections: w.loop.Connections(), BusyTotal: w.loop.BusyTotal(),
		})
		p.addCounters(&snap, place, w)
	}
	for i := range snap.Pools {
		// Counted a moment apart: never below zero.
		snap.Pools[i].ClientsIdle = max(0, snap.Pools[i].ClientsIdle-snap.Pools[i].ClientsWaiting)
	}
	p.addListeners(&snap)
	snap.SortApplications()
	return snap
}

// addListeners describes the listeners.
func (p *Proxy) addListeners(snap *stats.Snapshot) {
	for _, l := range p.listeners {
		ls := stats.ListenerSnapshot{Name: l.name, PoolMode: l.mode.String(), Addresses: l.addresses(), Clients: l.logins.Clients()}
		if cfg := p.settings.Load().cfg.Listener(l.name); cfg != nil {
			ls.MaxClientConn, ls.Size = cfg.MaxClientConn, cfg.DefaultPoolSize
			ls.SessionListener = p.settings.Load().cfg.SessionListener(cfg)
		}
		ls.Refusals = p.refusalsOf(l.name)
		for reason, n := range ls.Refusals {
			snap.Refusals[reason] += n
		}
		snap.Listeners = append(snap.Listeners, ls)
	}
}

// refusalsOf returns the logins that a listener has refused, by reason.
func (p *Proxy) refusalsOf(listener string) map[string]uint64 {
	all := make(map[string]uint64)
	p.counts.mu.Lock()
	defer p.counts.mu.Unlock()
	for key, n := range p.counts.refusals {
		if key.listener == listener {
			all[key.reason] = n
		}
	}
	return all
}

// poolNumbers are the numbers the pool itself keeps.
func (p *Proxy) poolNumbers(sp *serverPool) stats.PoolSnapshot {
	current := sp.limits.Load()
	limits, unreachable := current.pool, p.reachable.Failed(dial.AddressIn(&current.resolved))
	now := p.workers[0].clock()
	p.mu.Lock()
	defer p.mu.Unlock()
	pl := sp.pool
	return stats.PoolSnapshot{
		Listener: sp.key.Listener, Database: sp.key.Database, User: sp.key.User, PoolMode: sp.mode.String(),
		Size: limits.Size, MinSize: limits.MinSize, ReserveSize: limits.Reserve,
		ClientsWaiting: pl.Waiting(), ServersOpening: pl.Count(pool.ServerNew), ServersIdle: pl.Count(pool.ServerIdle),
		ServersActive: pl.Count(pool.ServerActive) + pl.Count(pool.ServerLendable) + pl.Count(pool.ServerRecalled), ServersTested: pl.Count(pool.ServerTested),
		ServersBeingCanceled: pl.Count(pool.ServerBeingCanceled), ServersClosing: pl.Count(pool.ServerClosing),
		ServersDedicated: pl.Dedicated(), Unreachable: unreachable,
		MaxWait: pl.OldestWait(now), ServerConnects: sp.dials.connects.Load(), ServerFailures: sp.dials.failures.Load(),
	}
}

// loopCopy is a copy of the counters of one loop.
type loopCopy struct {
	pools        map[*serverPool]*stats.PoolCounters
	applications stats.ApplicationsCopy
}

// addCounters asks a loop for its counters and adds them to the Snapshot. place says where a pool is in snap.Pools.
func (p *Proxy) addCounters(snap *stats.Snapshot, place map[*serverPool]int, w *worker) {
	answer := make(chan loopCopy, 1)
	w.loop.Post(func() { answer <- w.copyCounters() })
	var got loopCopy
	select {
	case got = <-answer:
	case <-time.After(snapshotMax):
		return
	case <-p.life.Done():
		return
	}
	snap.AddApplications(got.applications)
	for sp, c := range got.pools {
		if i, known := place[sp]; known {
			snap.Pools[i].Add(c)
		}
	}
}

// copyCounters copies what the loop has counted, and adds what its open transactions have come to so far. It runs on the loop.
func (w *worker) copyCounters() loopCopy {
	now := w.loop.Now()
	pools := make(map[*serverPool]*stats.PoolCounters, len(w.counters))
	for sp, from := range w.counters {
		pools[sp] = from.Copy()
	}
	applications := w.applications.Copy(maps.Values(w.counters))
	for s := w.servers.first; s != nil; s = s.next {
		if s.client == nil {
			continue
		}
		if s.clocks.Transaction > 0 {
			of := pools[s.client.pool] // not the server's, which may have been promoted
			of.OldestTransaction = max(of.OldestTransaction, now-s.clocks.Transaction)
		}
		applications.AddOpen(s.client.application, s.use(now))
	}
	return loopCopy{pools: pools, applications: applications}
}
