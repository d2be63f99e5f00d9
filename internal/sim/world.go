package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"
)

// world is time, chance and the sockets. Everything random comes from rnd, in an order that the seed decides.
type world struct {
	rnd     *rand.Rand
	now     time.Duration
	events  schedule
	number  int
	sockets []*socket
	pending bool   // a turn is due
	batches bool   // the kernel takes many sends at once
	trace   *trace // nil: nobody looks
	err     error
}

func newWorld(seed uint64) *world {
	return &world{rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Second, sockets: []*socket{nil}, batches: seed%2 == 0}
}

// event is something that happens later.
type event struct {
	at     time.Duration
	number int // in the order of planning
	do     func()
}

type schedule []event

func (s schedule) Len() int { return len(s) }
func (s schedule) Less(i, j int) bool {
	return s[i].at < s[j].at || s[i].at == s[j].at && s[i].number < s[j].number
}
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)   { *s = append(*s, x.(event)) }
func (s *schedule) Pop() any {
	last := len(*s) - 1
	e := (*s)[last]
	(*s)[last] = event{}
	*s = (*s)[:last]
	return e
}

func (w *world) at(t time.Duration, do func()) {
	w.number++
	heap.Push(&w.events, event{at: max(t, w.now), number: w.number, do: do})
}

func (w *world) after(d time.Duration, do func()) { w.at(w.now+d, do) }

// next lets the next event happen.
func (w *world) next() bool {
	if len(w.events) == 0 {
		return false
	}
	e := heap.Pop(&w.events).(event)
	w.now = e.at
	e.do()
	return true
}

// turnSoon makes sure that the loops turn again although nothing else may happen.
func (w *world) turnSoon() {
	if !w.pending {
		w.pending = true
		w.after(w.between(0, 50*time.Microsecond), func() { w.pending = false })
	}
}

// between is a random time.
func (w *world) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rnd.Int64N(int64(high-low)+1))
}

// chance is true once in n times.
func (w *world) chance(n int) bool { return w.rnd.IntN(n) == 0 }

// fail notes the first thing that went wrong.
func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}
