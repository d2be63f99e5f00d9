// Package history owns the memory of the admin endpoint: one hour in steps of a second and one day in steps of a minute, and a short
// list of events. Its size is fixed when it is made. It does not grow with time, with load or with the number of pools: every
// listener has its series, and so have the PoolsMax busiest pools, the ApplicationsMax busiest applications and the ErrorsMax most
// frequent classes of errors.
//
// It must not know the proxy, HTTP, a clock or a lock: the caller says what time it is, and calls one method at a time. Beside the
// rings it keeps the counters of the last sample, a few hundred bytes for each pool that exists, so that it can take differences.
//
// Read Sample first, then Add, then Read. columns.go has the rings, slots.go decides which pools have a series.
package history

import (
	"maps"
	"slices"
	"time"
)

// Bounds of the memory.
const (
	SecondsKept     = 3600 // one hour in steps of a second
	MinutesKept     = 1440 // one day in steps of a minute
	ListenersMax    = 8    // listeners beyond these have no series
	PoolsMax        = 8    // pools with series of their own at any moment
	ApplicationsMax = 8    // applications with a series
	ErrorsMax       = 6    // classes of errors with a series
	EventsMax       = 256  // events kept; the oldest goes first
)

// waitMinutesKept is for how many minutes the distribution of waits is kept beside the current minute, for Window.
const waitMinutesKept = 15

// History is the memory. Make it with New; no method may be called while another one runs.
type History struct {
	bounds    []time.Duration
	listeners []*listener // in the order of New, at most ListenersMax
	pools     slots
	apps      slots
	errors    slots
	process   *block
	blocks    []*block // all of the above

	last     int64     // Unix second of the last sample; 0: none yet
	lastAt   time.Time // of the last sample, with its monotonic reading
	previous previous
	events   []Event // oldest first
}

// listener has the series of a listener, and the sums of the current second and minute.
type listener struct {
	name  string
	block *block

	gauges    Gauges
	counters  Counters                // differences of this second
	waits     [Histograms][]uint64    // differences of this second
	minute    [Histograms][]uint64    // of the minute that is not over yet
	minutes   [waitMinutesKept]bucket // distributions of waits of the last minutes
	connected int
	refused   uint64
}

// bucket is the distribution of waits in one minute.
type bucket struct {
	minute int64
	counts []uint64
}

// New makes a memory for these listeners. bounds are the upper bounds of the buckets of every histogram that Add is given; a
// histogram has one bucket more. The whole memory is allocated here, about 2 MB with two listeners.
func New(listeners []string, bounds []time.Duration) *History {
	h := &History{bounds: slices.Clone(bounds)}
	for _, name := range listeners[:min(len(listeners), ListenersMax)] {
		l := &listener{name: name, block: newBlock(Key{Kind: KindListener, Listener: name})}
		for i := range l.waits {
			l.waits[i], l.minute[i] = make([]uint64, len(bounds)+1), make([]uint64, len(bounds)+1)
		}
		for i := range l.minutes {
			l.minutes[i].counts = make([]uint64, len(bounds)+1)
		}
		h.listeners = append(h.listeners, l)
		h.blocks = append(h.blocks, l.block)
	}
	h.pools, h.apps, h.errors = newSlots(KindPool, PoolsMax), newSlots(KindApplication, ApplicationsMax), newSlots(KindErrors, ErrorsMax)
	h.process = newBlock(Key{Kind: KindProcess})
	h.blocks = append(h.blocks, h.process)
	for _, s := range []*slots{&h.pools, &h.apps, &h.errors} {
		h.blocks = append(h.blocks, s.blocks()...)
	}
	h.previous = newPrevious()
	return h
}

// Add remembers a sample. Call it about once a second. A second sample within one second is ignored, and its counters count for the
// next one. After a pause the seconds between have no values. When the clock was set back, what lies ahead of it is forgotten.
// The History keeps no reference to s but for its maps, which must not change any more.
func (h *History) Add(at time.Time, s *Sample) {
	now := at.Unix()
	if now == h.last {
		return
	}
	interval := at.Sub(h.lastAt).Seconds()
	if interval <= 0 || h.last == 0 {
		interval = 1
	}
	h.advance(now)
	baseline := h.previous.samples == 0
	h.last, h.lastAt = now, at

	for _, l := range h.listeners {
		l.reset()
	}
	h.addListeners(s)
	byClass := h.addPools(s, now, interval)
	h.addApplications(s, now, interval)
	h.addErrors(byClass, now, interval, baseline)
	h.addProcess(s, now, interval)
	for _, l := range h.listeners {
		l.put(now, interval, h.bounds, baseline)
	}
	h.previous.sweep()
}

// advance moves the rings to the second now: it closes minutes that are over, and empties seconds without a sample.
func (h *History) advance(now int64) {
	switch {
	case h.last == 0:
		return
	case now < h.last:
		for _, b := range h.blocks {
			b.forget(now, h.last)
		}
		for _, l := range h.listeners {
			l.forgetMinute()
		}
		h.events = slices.DeleteFunc(h.events, func(e Event) bool { return e.At.Unix() > now })
		return
	}
	if now/60 != h.last/60 {
		for _, l := range h.listeners {
			l.closeMinute(h.last/60, h.bounds)
		}
		for _, b := range h.blocks {
			b.closeMinute(h.last / 60)
		}
	}
	for _, b := range h.blocks {
		b.skip(h.last, now)
	}
}

// addListeners takes the numbers of the listeners themselves.
func (h *History) addListeners(s *Sample) {
	for i := range s.Listeners {
		from := &s.Listeners[i]
		if l := h.listener(from.Name); l != nil {
			l.connected = from.Clients
			l.gauges.Size = from.Size
			l.refused = h.previous.count(counterKey{kind: KindListener, listener: from.Name}, from.Refusals)
		}
	}
}

// addPools sums pools into their listeners, fills the series of the busiest pools and returns the errors of this second by class.
func (h *History) addPools(s *Sample, now int64, interval float64) map[string]uint64 {
	sizes := make(map[*listener]int, len(h.listeners))
	byClass := make(map[string]uint64)
	for i := range s.Pools {
		p := &s.Pools[i]
		before, known := h.previous.pool(p)
		delta := differences(p, before, known || h.previous.samples > 0, byClass)
		before.remember(p)
		l := h.listener(p.Listener)
		if l != nil {
			l.add(&p.Gauges, &delta)
			if p.Size > 0 {
				sizes[l] += p.Size
			}
		}
		weight := float64(p.Busy + p.Waiting)
		before.score = decayed(before.score, weight)
		key := Key{Kind: KindPool, Listener: p.Listener, Database: p.Database, User: p.User}
		if b := h.pools.find(key, before.score, weight > 0); b != nil {
			b.put(now, poolBusy, float64(p.Busy))
			b.put(now, poolWaiting, float64(p.Waiting))
			b.put(now, poolMaxWait, p.MaxWait.Seconds())
			b.put(now, poolTransactions, float64(delta.counters[Transactions])/interval)
			b.put(now, poolWaitP99, quantile(h.bounds, delta.histograms[Wait], 0.99))
		}
	}
	for l, size := range sizes {
		l.gauges.Size = size
	}
	h.pools.decay()
	return byClass
}

// addApplications fills the series of the applications that use servers most.
func (h *History) addApplications(s *Sample, now int64, interval float64) {
	used := make(map[Key]float64)
	for i := range s.Applications {
		a := &s.Applications[i]
		key := counterKey{kind: KindApplication, listener: a.Listener, database: a.Database, user: a.User, name: a.Name}
		held := h.previous.count(key, uint64(max(0, a.Held)))
		used[Key{Kind: KindApplication, Listener: a.Listener, Name: a.Name}] += time.Duration(held).Seconds() / interval
	}
	h.fill(&h.apps, used, now)
}

// addErrors fills the series of the most frequent classes of errors.
func (h *History) addErrors(byClass map[string]uint64, now int64, interval float64, baseline bool) {
	if baseline {
		return
	}
	used := make(map[Key]float64, len(byClass))
	for class, n := range byClass {
		used[Key{Kind: KindErrors, Name: class}] = float64(n) / interval
	}
	h.fill(&h.errors, used, now)
}

// fill gives each of the busiest keys its value of this second; a slot whose key has none gets 0.
func (h *History) fill(s *slots, used map[Key]float64, now int64) {
	for _, key := range slices.SortedFunc(maps.Keys(used), compareKeys) {
		value := used[key]
		score := h.previous.score(key, value)
		if b := s.find(key, score, value > 0); b != nil {
			b.put(now, 0, value)
		}
	}
	for i := range s.taken {
		if b := s.taken[i].block; b.key.Kind != "" && b.empty(now) {
			b.put(now, 0, 0)
		}
	}
	s.decay()
}

// addProcess fills the series of the process.
func (h *History) addProcess(s *Sample, now int64, interval float64) {
	p := h.process
	baseline := h.previous.samples == 0
	rate := func(field int, name string, total uint64) {
		n := h.previous.count(counterKey{kind: KindProcess, name: name}, total)
		if !baseline {
			p.put(now, field, float64(n)/interval)
		}
	}
	rate(processLogins, "logins", s.Logins)
	rate(processRefusals, "refusals", s.Refusals)
	rate(processCancels, "cancels", s.Cancels)
	p.put(now, processReachable, truth(s.Reachable))
	busiest, all := 0.0, 0.0
	for i, busy := range s.LoopsBusy {
		n := h.previous.count(counterKey{kind: KindProcess, name: "loop", index: i}, uint64(max(0, busy)))
		part := min(1, time.Duration(n).Seconds()/interval)
		busiest, all = max(busiest, part), all+part
	}
	if !baseline {
		p.put(now, processLoopBusy, busiest)
		p.put(now, processLoopsBusy, all)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// listener finds the series of a listener; nil: it has none.
func (h *History) listener(name string) *listener {
	for _, l := range h.listeners {
		if l.name == name {
			return l
		}
	}
	return nil
}

// reset prepares for the pools of another second.
func (l *listener) reset() {
	l.gauges, l.counters, l.connected, l.refused = Gauges{}, Counters{}, 0, 0
	for i := range l.waits {
		clear(l.waits[i])
	}
}

// add sums a pool into the listener.
func (l *listener) add(g *Gauges, d *difference) {
	l.gauges.Busy += g.Busy
	l.gauges.Open += g.Open
	l.gauges.Waiting += g.Waiting
	l.gauges.Overflow += g.Overflow
	l.gauges.MaxWait = max(l.gauges.MaxWait, g.MaxWait)
	l.gauges.OldestTransaction = max(l.gauges.OldestTransaction, g.OldestTransaction)
	for i := range d.counters {
		l.counters[i] += d.counters[i]
	}
	for i := range d.histograms {
		for j, n := range d.histograms[i] {
			l.waits[i][j] += n
			l.minute[i][j] += n
		}
	}
}

// put writes the sums of this second. The first sample has no differences, so rates begin with the second.
func (l *listener) put(now int64, interval float64, bounds []time.Duration, baseline bool) {
	b := l.block
	b.put(now, listenerSize, float64(l.gauges.Size))
	b.put(now, listenerBusy, float64(l.gauges.Busy))
	b.put(now, listenerOpen, float64(l.gauges.Open))
	b.put(now, listenerOverflow, float64(l.gauges.Overflow))
	b.put(now, listenerWaiting, float64(l.gauges.Waiting))
	b.put(now, listenerMaxWait, l.gauges.MaxWait.Seconds())
	b.put(now, listenerOldest, l.gauges.OldestTransaction.Seconds())
	b.put(now, listenerClients, float64(l.connected))
	if baseline {
		return
	}
	for i, n := range l.counters {
		b.put(now, listenerCounters+i, float64(n)/interval)
	}
	b.put(now, listenerRefusals, float64(l.refused)/interval)
	for i := range l.waits {
		for j, q := range quantiles {
			b.put(now, listenerQuantiles+i*len(quantiles)+j, quantile(bounds, l.waits[i], q))
		}
	}
}

// closeMinute gives the minute its exact quantiles, and keeps its distribution of waits for Window.
func (l *listener) closeMinute(minute int64, bounds []time.Duration) {
	for i := range l.minute {
		for j, q := range quantiles {
			l.block.columns[listenerQuantiles+i*len(quantiles)+j].exact = float32(quantile(bounds, l.minute[i], q))
		}
	}
	kept := &l.minutes[minute%waitMinutesKept]
	kept.minute = minute
	copy(kept.counts, l.minute[Wait])
	for i := range l.minute {
		clear(l.minute[i])
	}
}

// forgetMinute drops the sums of the current minute. They mean nothing once the clock was set back.
func (l *listener) forgetMinute() {
	for i := range l.minute {
		clear(l.minute[i])
	}
	for i := range l.minutes {
		l.minutes[i].minute = 0
	}
}
