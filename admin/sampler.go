package admin

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hybridbouncer/hybridbouncer/admin/history"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// sampleEvery is how often the numbers are remembered. Samples are taken in the middle of a second of the wall clock, so that a
// timer that is a little early or late neither skips a second nor meets one twice.
const sampleEvery = time.Second

// sampler remembers the numbers: one goroutine takes a Snapshot each second and gives it to the History; requests read from it.
type sampler struct {
	snapshots *snapshots // immutable
	version   string     // immutable
	began     time.Time  // immutable; when the endpoint was made
	after     func()     // called after each sample, from the goroutine; immutable once run is called

	mu      sync.Mutex
	history *history.History // guarded by mu; nil before the first sample, which names the listeners
	before  *stats.Snapshot  // guarded by mu; of the last sample
	marks   map[string]time.Time
	pending []history.Event // guarded by mu; marked before the first sample
}

// run takes a sample each second until ctx ends.
func (s *sampler) run(ctx context.Context) {
	timer := time.NewTimer(untilSample(time.Now()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		// A Snapshot that cannot be had leaves a gap, which is the truth.
		if snap, err := s.snapshots.get(ctx); err == nil {
			s.add(time.Now(), snap)
			s.after()
		}
		timer.Reset(untilSample(time.Now()))
	}
}

// untilSample is how long to wait for the middle of the next second.
func untilSample(now time.Time) time.Duration {
	return now.Truncate(sampleEvery).Add(sampleEvery * 3 / 2).Sub(now)
}

// add remembers a Snapshot.
func (s *sampler) add(at time.Time, snap *stats.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.history == nil {
		names := make([]string, len(snap.Listeners))
		for i := range snap.Listeners {
			names[i] = snap.Listeners[i].Name
		}
		s.history = history.New(names, stats.FineBounds[:])
		for _, e := range s.pending {
			s.history.Mark(e)
		}
		s.pending = nil
		s.history.Mark(history.Event{At: at, Kind: "start", Text: fmt.Sprintf("hybridbouncer %s began to remember", s.version)})
	}
	s.history.Add(at, sampleOf(snap))
	for _, e := range s.happened(at, snap) {
		s.history.Mark(e)
	}
	s.before = snap
}

// mark remembers an event now.
func (s *sampler) mark(kind, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := history.Event{At: time.Now(), Kind: kind, Text: text}
	if s.history != nil {
		s.history.Mark(e)
	} else if len(s.pending) < history.EventsMax {
		s.pending = append(s.pending, e)
	}
}

// read gives f the History, or nil where there is no sample yet. f must not keep it.
func (s *sampler) read(f func(*history.History)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.history)
}

const (
	// burstPromotions is how many promotions within a second are an event: fewer are daily business.
	burstPromotions = 5
	// burstRefusals is how many refused logins within a second are an event.
	burstRefusals = 20
	// burstQuiet is for how long a burst of the same kind is not marked again.
	burstQuiet = time.Minute
)

// happened gives the events that the difference between two Snapshots shows. The caller holds mu.
func (s *sampler) happened(at time.Time, snap *stats.Snapshot) (all []history.Event) {
	was := s.before
	if was == nil {
		was = &stats.Snapshot{ServerReachable: true, Draining: snap.Draining, Panics: snap.Panics, Refusals: snap.Refusals}
	}
	event := func(kind, format string, args ...any) {
		all = append(all, history.Event{At: at, Kind: kind, Text: fmt.Sprintf(format, args...)})
	}
	burst := func(kind, format string, args ...any) {
		if last, ok := s.marks[kind]; ok && at.Sub(last) < burstQuiet {
			return
		}
		s.marks[kind] = at
		event(kind, format, args...)
	}
	switch {
	case was.ServerReachable && !snap.ServerReachable:
		event("unreachable", "PostgreSQL cannot be reached: %s", snap.ServerError)
	case !was.ServerReachable && snap.ServerReachable:
		event("reachable", "PostgreSQL can be reached again")
	}
	if snap.Draining && !was.Draining {
		event("drain", "the process accepts no new clients and is about to end")
	}
	if n := grown(snap.Panics, was.Panics); n > 0 {
		event("panic", "%s contained; the log has the place", counted(n, "panic"))
	}
	if n := grown(promotionsOf(snap), promotionsOf(was)); s.before != nil && n >= burstPromotions {
		burst("promotions", "%d servers were moved to a session pool within a second", n)
	}
	if n := grown(sum(snap.Refusals), sum(was.Refusals)); n >= burstRefusals {
		burst("refusals", "%d logins were refused within a second", n)
	}
	return all
}

// grown is by how much a number has grown; 0 where it has shrunk, because a pool is gone.
func grown(now, before uint64) uint64 {
	if now < before {
		return 0
	}
	return now - before
}

func sum(of map[string]uint64) (n uint64) {
	for _, c := range of {
		n += c
	}
	return n
}

func promotionsOf(snap *stats.Snapshot) (n uint64) {
	for i := range snap.Pools {
		n += sum(snap.Pools[i].Promotions)
	}
	return n
}

// sampleOf converts a Snapshot into a sample of the History.
func sampleOf(snap *stats.Snapshot) *history.Sample {
	s := &history.Sample{
		Logins: snap.Logins, Refusals: sum(snap.Refusals), Cancels: snap.Cancels, Reachable: snap.ServerReachable,
		Listeners: make([]history.Listener, len(snap.Listeners)), Pools: make([]history.Pool, len(snap.Pools)),
		Applications: make([]history.Application, len(snap.Applications)), LoopsBusy: make([]time.Duration, len(snap.Loops)),
	}
	for i := range snap.Listeners {
		l := &snap.Listeners[i]
		s.Listeners[i] = history.Listener{Name: l.Name, Clients: l.Clients, Size: l.Size, Refusals: sum(l.Refusals)}
	}
	for i := range snap.Pools {
		p := &snap.Pools[i]
		u := usageOf(p)
		if !openedServer(p) {
			u.size = 0 // as in /health/db
		}
		s.Pools[i] = history.Pool{
			Listener: p.Listener, Database: p.Database, User: p.User, Errors: p.ErrorsByClass,
			Gauges: history.Gauges{
				Size: u.size, Busy: u.checkedOut, Open: serversOpen(p), Overflow: u.overflow, Waiting: u.waiting, MaxWait: u.maxWait,
				OldestTransaction: p.OldestTransaction,
			},
			Counters: history.Counters{
				history.Transactions: p.Transactions, history.Queries: p.Queries, history.Received: p.ReceivedBytes, history.Sent: p.SentBytes,
				history.Errors: sum(p.ErrorsByClass), history.Connects: p.ServerConnects, history.Failures: p.ServerFailures,
				history.Promotions: sum(p.Promotions),
			},
			Histograms: [history.Histograms][]uint64{
				history.Wait: p.WaitTime.Fine[:], history.Transaction: p.TransactTime.Fine[:], history.Query: p.QueryTime.Fine[:],
			},
		}
	}
	for i := range snap.Applications {
		a := &snap.Applications[i]
		name := a.Name
		if a.Others {
			name = otherApplications
		}
		s.Applications[i] = history.Application{Listener: a.Listener, Database: a.Database, User: a.User, Name: name, Held: a.Held}
	}
	for i := range snap.Loops {
		s.LoopsBusy[i] = snap.Loops[i].BusyTotal
	}
	return s
}
