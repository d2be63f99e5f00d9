package pool

import (
	"math"
	"time"
)

// unlimited is the maximum of a budget without one; never is before any time.
const (
	unlimited = math.MaxInt
	never     = math.MinInt64 / 2
)

// total is the budget over the servers of all pools. Its maximum is that of SetBudget, or less while PostgreSQL has said that it is full:
// somebody else has connections too, and how many cannot be known. Then there is no more than it had let in, and one more is tried after
// each pause. A try that succeeds is followed by the next at once.
type total struct {
	budget
	configured int           // what SetBudget said
	ceiling    int           // what PostgreSQL let in; unlimited: it is not full
	fullAt     time.Duration // when it last said that it is full
	retryAt    time.Duration // when one more is tried
	pause      time.Duration // before that
	err        error         // what it said; nil: it is not full
}

func newTotal() total {
	return total{budget: budget{max: unlimited}, configured: unlimited, ceiling: unlimited}
}

// ceilingKept is how long after PostgreSQL's last refusal for want of places the maximum is what SetBudget said again.
const ceilingKept = time.Minute

// SetBudget bounds the servers of all pools; 0: no limit. Connections to the same PostgreSQL that the owner opens itself are not counted
// here: max is what they leave.
func (s *Set) SetBudget(most int, now time.Duration) {
	s.guarded()
	s.total.configured = most
	if most <= 0 {
		s.total.configured = unlimited
	}
	s.total.resize(unlimited)
	s.feed(nil, now)
	for _, p := range s.pools {
		p.shrink()
	}
}

// resize sets what PostgreSQL is taken to let in. With unlimited, what it said is forgotten.
func (t *total) resize(ceiling int) {
	t.ceiling = ceiling
	t.max = min(t.configured, ceiling)
	if ceiling == unlimited {
		t.pause, t.err = 0, nil
	}
}

// refused notes that PostgreSQL has no place for another server. The one that it refused is no longer counted.
func (t *total) refused(err error, longest, now time.Duration) {
	t.pause = min(max(2*t.pause, pauseFirst), max(longest, pauseFirst))
	t.err, t.fullAt, t.retryAt = err, now, now+t.pause
	t.resize(t.open)
}

// admitted notes that PostgreSQL has let a server in.
func (t *total) admitted(now time.Duration) {
	if t.err != nil {
		t.pause, t.retryAt = 0, now
		t.resize(max(t.ceiling, t.open+1))
	}
}

// tick lets one more server be tried when the pause is over.
func (t *total) tick(now time.Duration) {
	switch {
	case t.err == nil:
	case now-t.fullAt >= ceilingKept:
		t.resize(unlimited)
	case now >= t.retryAt && t.open >= t.ceiling:
		t.retryAt = now + max(t.pause, pauseFirst) // should nobody want to try
		t.resize(t.open + 1)
	}
}
