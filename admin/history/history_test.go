package history

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var testBounds = []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second}

// testStart is a moment at the beginning of a minute.
var testStart = time.Unix(1_800_000_000, 0)

// world makes samples: pools whose counters grow.
type world struct {
	pools []Pool
}

func newWorld(pools int) *world {
	w := &world{}
	for i := range pools {
		p := Pool{Listener: "tx", Database: fmt.Sprint("db", i), User: "app", Errors: map[string]uint64{}}
		p.Size = 25
		for j := range p.Histograms {
			p.Histograms[j] = make([]uint64, len(testBounds)+1)
		}
		w.pools = append(w.pools, p)
	}
	return w
}

// sample copies what the world has now.
func (w *world) sample() *Sample {
	s := &Sample{Listeners: []Listener{{Name: "tx", Size: 25}, {Name: "session", Size: 10}}, LoopsBusy: []time.Duration{0}, Reachable: true}
	for _, p := range w.pools {
		for j := range p.Histograms {
			p.Histograms[j] = slices.Clone(p.Histograms[j])
		}
		s.Pools = append(s.Pools, p)
	}
	return s
}

func newTest() *History { return New([]string{"tx", "session"}, testBounds) }

// series finds one series of an excerpt.
func series(t interface{ Fatalf(string, ...any) }, p Past, key Key, field string) []float32 {
	for _, s := range p.Series {
		if s.Key == key && s.Field.Name == field {
			return s.Values
		}
	}
	t.Fatalf("there is no series %v %s", key, field)
	return nil
}

var txKey = Key{Kind: KindListener, Listener: "tx"}

// Whatever is written is what is read: over pauses, over more than the ring holds, in seconds and in minutes.
func TestReadsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, w := newTest(), newWorld(1)
		busy, rates := map[int64]float32{}, map[int64]float32{}
		at := testStart.Add(time.Duration(rapid.IntRange(0, 100_000).Draw(t, "start")) * time.Second)
		p := &w.pools[0]
		for i := range rapid.IntRange(1, 12).Draw(t, "stretches") {
			// A pause, then samples without one.
			pause := time.Duration(rapid.SampledFrom([]int{1, 1, 2, 59, 61, 3599, 3600, 4000}).Draw(t, "pause"))
			for j := range rapid.IntRange(1, 100).Draw(t, "samples") {
				step := time.Second
				if j == 0 {
					step = pause * time.Second
				}
				at = at.Add(step)
				grown := uint64((i*7 + j*13) % 500)
				p.Busy, p.Counters[Transactions] = (i*31+j*17)%30, p.Counters[Transactions]+grown
				h.Add(at, w.sample())
				busy[at.Unix()] = float32(p.Busy)
				rates[at.Unix()] = float32(float64(grown) / step.Seconds())
				if len(busy) == 1 {
					rates[at.Unix()] = none
				}
			}
		}
		compareSeconds(t, h, at, "busy", busy)
		compareSeconds(t, h, at, "transactions", rates)
		compareMinutes(t, h, at, busy)
	})
}

func compareSeconds(t *rapid.T, h *History, at time.Time, field string, want map[int64]float32) {
	past := h.Read(SecondsKept*time.Second, SecondsKept)
	if past.Step != time.Second || past.Start.Unix() != at.Unix()-SecondsKept+1 {
		t.Fatalf("start %v, step %v, last sample at %v", past.Start, past.Step, at)
	}
	for i, have := range series(t, past, txKey, field) {
		second := past.Start.Unix() + int64(i)
		if expected, ok := want[second]; have != expected && (ok && !isNone(expected) || !isNone(have)) {
			t.Fatalf("%s at second %d: %v, want %v (%v)", field, second, have, expected, ok)
		}
	}
}

func compareMinutes(t *rapid.T, h *History, at time.Time, want map[int64]float32) {
	past := h.Read(MinutesKept*time.Minute, MinutesKept)
	if past.Step != time.Minute {
		t.Fatalf("step %v", past.Step)
	}
	values := series(t, past, txKey, "busy")
	if last := past.Start.Unix()/60 + int64(len(values)); last != at.Unix()/60 {
		t.Fatalf("the last minute is %d, want the one before %d", last-1, at.Unix()/60)
	}
	for i, have := range values {
		sum, n := 0.0, 0
		for s := past.Start.Unix() + int64(i)*60; s < past.Start.Unix()+int64(i+1)*60; s++ {
			if v, ok := want[s]; ok {
				sum, n = sum+float64(v), n+1
			}
		}
		if n == 0 && !isNone(have) || n > 0 && math.Abs(float64(have)-sum/float64(n)) > 1e-3 {
			t.Fatalf("minute %d: %v, want %v of %d samples", i, have, sum/float64(n), n)
		}
	}
}

// Counters that begin anew, and pools that come and go, never make a rate negative or lose what was counted while they were there.
func TestCountersThatBeginAnew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, w := newTest(), newWorld(3)
		all := w.pools
		at, counted := testStart, uint64(0)
		h.Add(at, w.sample())
		for range rapid.IntRange(1, 100).Draw(t, "seconds") {
			at = at.Add(time.Second)
			w.pools = nil
			for i := range all {
				p := &all[i]
				switch rapid.IntRange(0, 5).Draw(t, "fate") {
				case 0: // gone in this second
					p.Counters, p.Errors = Counters{}, map[string]uint64{}
					clear(p.Histograms[Query])
					continue
				case 1: // gone and made again within the second
					p.Counters, p.Errors = Counters{}, map[string]uint64{}
					clear(p.Histograms[Query])
				}
				n := uint64(rapid.IntRange(0, 100).Draw(t, "grown"))
				if p.Counters[Transactions] == 0 || n > 0 {
					counted += n
				}
				p.Counters[Transactions] += n
				p.Histograms[Query][2] += n
				p.Errors = map[string]uint64{"23": p.Errors["23"] + n}
				w.pools = append(w.pools, *p)
			}
			h.Add(at, w.sample())
		}
		past := h.Read(SecondsKept*time.Second, SecondsKept)
		for key, field := range map[Key]string{txKey: "transactions", {Kind: KindErrors, Name: "23"}: "errors"} {
			if key.Kind == KindErrors && counted == 0 {
				continue
			}
			sum := 0.0
			for _, v := range series(t, past, key, field) {
				if v < 0 {
					t.Fatalf("a negative rate: %v", v)
				}
				if !isNone(v) {
					sum += float64(v)
				}
			}
			// What a pool counted anew may be more than what it had: then a reset cannot be told from growth.
			if sum > float64(counted) {
				t.Fatalf("%v: remembered %v, counted %d", key, sum, counted)
			}
		}
	})
}

// A pool that was forgotten and made again shows what it counts, at once and from 0.
func TestPoolMadeAgain(t *testing.T) {
	h, w := newTest(), newWorld(2)
	w.pools[0].Counters[Transactions] = 1000
	h.Add(testStart, w.sample())
	gone := w.pools[0]
	w.pools = w.pools[1:]
	h.Add(testStart.Add(time.Second), w.sample())
	gone.Counters[Transactions] = 1040
	w.pools = append(w.pools, gone)
	h.Add(testStart.Add(2*time.Second), w.sample())
	want := []float32{0, 1040}
	have := series(t, h.Read(2*time.Second, 2), txKey, "transactions")
	if !slices.Equal(have, want) {
		t.Errorf("%v, want %v", have, want)
	}
}

// The memory is as large with 200 pools after a day as with one after a minute.
func TestMemoryIsBounded(t *testing.T) {
	const whole = 3 << 20
	for _, c := range []struct {
		pools, applications, samples int
		most                         int64
	}{{1, 1, 60, whole}, {1, 1, 5000, whole}, {200, 300, 400, whole + 200*2000}} {
		before := heap()
		h, w := newTest(), newWorld(c.pools)
		at := testStart
		for i := range c.samples {
			at = at.Add(time.Second)
			for j := range w.pools {
				p := &w.pools[j]
				p.Busy, p.Counters[Transactions] = (i+j)%30, p.Counters[Transactions]+uint64(j)
				p.Histograms[Wait][i%6]++
				p.Errors[fmt.Sprint("E", i%40)]++
			}
			s := w.sample()
			for j := range c.applications {
				s.Applications = append(s.Applications, Application{Listener: "tx", Name: fmt.Sprint("app", (i+j)%400), Held: time.Duration(i*j) * time.Second})
			}
			h.Add(at, s)
			h.Mark(Event{At: at, Kind: "reload", Text: "test"})
		}
		taken := heap() - before
		if taken > c.most {
			t.Errorf("%d pools, %d samples: %d kB, want at most %d", c.pools, c.samples, taken>>10, c.most>>10)
		}
		t.Logf("%d pools, %d samples: %d kB", c.pools, c.samples, taken>>10)
		if n := len(h.Events(testStart)); n > EventsMax || n < min(c.samples, EventsMax) {
			t.Errorf("%d events", n)
		}
		runtime.KeepAlive(h)
		runtime.KeepAlive(w)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A clock that is set back forgets what lies ahead, and goes on from there.
func TestClockSetBack(t *testing.T) {
	h, w := newTest(), newWorld(1)
	put := func(at time.Time, busy int) {
		w.pools[0].Busy = busy
		h.Add(at, w.sample())
	}
	for i := range 200 {
		put(testStart.Add(time.Duration(i)*time.Second), i)
	}
	h.Mark(Event{At: testStart.Add(150 * time.Second), Kind: "reload"})
	put(testStart.Add(100*time.Second), 7)
	past := h.Read(3*time.Second, 3)
	if have := series(t, past, txKey, "busy"); !slices.Equal(have, []float32{98, 99, 7}) {
		t.Errorf("after the clock was set back: %v", have)
	}
	put(testStart.Add(101*time.Second), 8)
	if have := series(t, h.Read(2*time.Second, 2), txKey, "busy"); !slices.Equal(have, []float32{7, 8}) {
		t.Errorf("and then: %v", have)
	}
	if len(h.Events(testStart)) != 0 {
		t.Error("an event of the future is remembered")
	}
	// By more than the rings hold, in both directions.
	for _, at := range []time.Time{testStart.Add(-48 * time.Hour), testStart.Add(72 * time.Hour)} {
		put(at, 3)
		n := 0
		for _, span := range []time.Duration{time.Hour, 24 * time.Hour} {
			for _, v := range series(t, h.Read(span, MinutesKept), txKey, "busy") {
				if !isNone(v) {
					n++
				}
			}
		}
		if n != 1 {
			t.Errorf("%d values are left after a jump to %v, want the new one alone", n, at)
		}
	}
}

// The busiest pools have a series; a busier one takes the place of the least busy, and only then.
func TestBusiestPools(t *testing.T) {
	h, w := newTest(), newWorld(200)
	at := testStart
	run := func(seconds int, busy func(i int) int) {
		for range seconds {
			at = at.Add(time.Second)
			for i := range w.pools {
				w.pools[i].Busy = busy(i)
			}
			h.Add(at, w.sample())
		}
	}
	kept := func() (all []string) {
		for _, s := range h.Read(time.Minute, 60).Series {
			if s.Kind == KindPool && s.Field.Name == "busy" {
				all = append(all, s.Database)
			}
		}
		slices.Sort(all)
		return all
	}
	busiest := func(i int) int { return 1 + i/190*8 } // db190 to db199
	run(300, busiest)
	first := kept()
	if len(first) != PoolsMax {
		t.Fatalf("%d pools have a series, want %d", len(first), PoolsMax)
	}
	for _, name := range first {
		if name < "db190" {
			t.Errorf("%s has a series, and is not one of the busiest: %v", name, first)
		}
	}
	run(60, busiest)
	if again := kept(); !slices.Equal(again, first) {
		t.Errorf("pools that are equally busy take each other's place: %v, then %v", first, again)
	}
	for _, s := range h.Read(time.Minute, 60).Series {
		if s.Kind == KindPool && s.Field.Name == "busy" && slices.ContainsFunc(s.Values, isNone) {
			t.Errorf("%s %s has lost its past to a pool that is as busy", s.Database, s.Field.Name)
		}
	}
	run(300, func(i int) int { return max(0, 40-20*i) }) // now db0 and db1
	for _, name := range []string{"db0", "db1"} {
		if !slices.Contains(kept(), name) {
			t.Errorf("%s has become the busiest and has no series: %v", name, kept())
		}
	}
}

// Where no sample was taken nothing is left of an hour or a day ago: in a pause, and of a pool that is gone.
func TestNothingOfLastRound(t *testing.T) {
	h, w := newTest(), newWorld(2)
	at := testStart
	sample := func(step time.Duration) {
		at = at.Add(step)
		w.pools[0].Busy, w.pools[len(w.pools)-1].Busy = 5, 5
		h.Add(at, w.sample())
	}
	for range SecondsKept {
		sample(time.Second)
	}
	w.pools = w.pools[:1]
	sample(3 * time.Second)
	past := h.Read(3*time.Second, 3)
	if have := series(t, past, txKey, "busy"); !isNone(have[0]) || !isNone(have[1]) || have[2] != 5 {
		t.Errorf("after a pause: %v", have)
	}
	gone := Key{Kind: KindPool, Listener: "tx", Database: "db1", User: "app"}
	if have := series(t, past, gone, "busy"); !isNone(have[2]) {
		t.Errorf("a pool that is gone: %v", have)
	}
}

// Minutes have the quantiles of their whole distribution, not a mean of those of their seconds.
func TestQuantilesOfMinutes(t *testing.T) {
	h, w := newTest(), newWorld(1)
	h.Add(testStart.Add(-time.Second), w.sample())
	for i := range 61 {
		// 59 seconds of one quick query, one second of 100 slow ones.
		n, where := uint64(1), 0
		if i == 30 {
			n, where = 100, 3
		}
		w.pools[0].Histograms[Query][where] += n
		h.Add(testStart.Add(time.Duration(i)*time.Second), w.sample())
	}
	past := h.Read(2*time.Hour, 120)
	values := series(t, past, txKey, "query_p50")
	if have := values[len(values)-1]; have < 0.1 || have > 1 {
		t.Errorf("the median of the minute is %v s; 100 of its 159 queries took 0.1 to 1 s", have)
	}
}

// A quantile lies in the bucket in which the sorted values have it.
func TestQuantile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		counts := make([]uint64, len(testBounds)+1)
		var in []int // the bucket of each value
		for i := range counts {
			counts[i] = uint64(rapid.IntRange(0, 20).Draw(t, "count"))
			for range counts[i] {
				in = append(in, i)
			}
		}
		q := rapid.SampledFrom(quantiles[:]).Draw(t, "q")
		have := quantile(testBounds, counts, q)
		if len(in) == 0 {
			if !math.IsNaN(have) {
				t.Fatalf("nothing has a quantile: %v", have)
			}
			return
		}
		bucket := in[max(0, int(math.Ceil(q*float64(len(in))-1e-9))-1)]
		lower, upper := 0.0, testBounds[len(testBounds)-1].Seconds()
		if bucket > 0 {
			lower = testBounds[bucket-1].Seconds()
		}
		if bucket < len(testBounds) {
			upper = testBounds[bucket].Seconds()
		}
		if have < lower-1e-9 || have > upper+1e-9 {
			t.Fatalf("%v of %v: %v, want %v to %v", q, counts, have, lower, upper)
		}
	})
}

// The advice's window sees how long the servers were all lent, and what the clients would have needed.
func TestWindow(t *testing.T) {
	h, w := newTest(), newWorld(1)
	p := &w.pools[0]
	for i := range 1200 {
		p.Busy, p.Waiting = 22, 0
		switch {
		case i < 600:
			p.Busy, p.Waiting = 25, 500 // too long ago
		case i%20 == 0:
			p.Busy, p.Waiting = 25, 1
			p.Histograms[Wait][3] += 5 // up to 1 s
		}
		p.Histograms[Wait][0] += 100
		h.Add(testStart.Add(time.Duration(i)*time.Second), w.sample())
	}
	have, ok := h.Window("tx", 10*time.Minute)
	if !ok || have.Seconds != 600 || have.Size != 25 || have.FullPart != 0.05 || have.Demand != 26 || math.Abs(have.Busy-22.15) > 0.01 {
		t.Errorf("%+v %v", have, ok)
	}
	if have.WaitP99 > time.Millisecond {
		t.Errorf("99 of 100 waited up to %v; 5 of 2005 waited long", have.WaitP99)
	}
	if have.Checkouts < 540*100 || have.Checkouts > 610*100 {
		t.Errorf("%d checkouts in ten minutes of 100 a second", have.Checkouts)
	}
	if mean, ok := h.Mean(txKey, "busy", 10*time.Minute); !ok || math.Abs(mean-22.15) > 0.01 {
		t.Errorf("the mean is %v %v", mean, ok)
	}
	if last, ok := h.Mean(txKey, "busy", time.Second); !ok || last != 22 {
		t.Errorf("the last value is %v %v", last, ok)
	}
	for _, key := range []Key{{Kind: KindListener, Listener: "nobody"}, {Kind: KindListener, Listener: "session", Name: "x"}} {
		if _, ok := h.Mean(key, "busy", time.Minute); ok {
			t.Errorf("%v has a mean", key)
		}
	}
	if _, ok := h.Window("nobody", time.Minute); ok {
		t.Error("a window of a listener that does not exist")
	}
}

// Every value of a listener lands under its name.
func TestFields(t *testing.T) {
	h, w := newTest(), newWorld(1)
	h.Add(testStart, w.sample())
	p := &w.pools[0]
	p.Gauges = Gauges{Size: 1, Busy: 2, Open: 3, Overflow: 4, Waiting: 5, MaxWait: 6 * time.Second, OldestTransaction: 7 * time.Second}
	for i := range p.Counters {
		p.Counters[i] = uint64(10 + i)
	}
	p.Histograms[Wait][0], p.Histograms[Transaction][2], p.Histograms[Query][4] = 10, 10, 10
	s := w.sample()
	s.Listeners[0].Clients, s.Listeners[0].Refusals, s.Logins, s.Cancels = 8, 9, 21, 22
	s.LoopsBusy = []time.Duration{time.Second / 4, time.Second / 2}
	h.Add(testStart.Add(time.Second), s)
	past := h.Read(time.Second, 1)
	for field, want := range map[string]float32{
		"size": 1, "busy": 2, "open": 3, "overflow": 4, "waiting": 5, "max_wait": 6, "oldest_transaction": 7, "clients": 8, "refusals": 9,
		"transactions": 10, "queries": 11, "received": 12, "sent": 13, "errors": 14, "server_connects": 15, "server_connect_failures": 16,
		"promotions": 17, "wait_p50": 0.0005, "transaction_p50": 0.055, "query_p50": 5.5,
	} {
		if have := series(t, past, txKey, field)[0]; math.Abs(float64(have-want)) > 1e-6 {
			t.Errorf("%s: %v, want %v", field, have, want)
		}
	}
	for field, want := range map[string]float32{"logins": 21, "cancels": 22, "reachable": 1, "loop_busy": 0.5, "loops_busy": 0.75} {
		if have := series(t, past, Key{Kind: KindProcess}, field)[0]; have != want {
			t.Errorf("process %s: %v, want %v", field, have, want)
		}
	}
	for _, kind := range []string{KindListener, KindPool, KindApplication, KindErrors, KindProcess} {
		if len(Fields(kind)) == 0 {
			t.Errorf("%s has no fields", kind)
		}
	}
}
