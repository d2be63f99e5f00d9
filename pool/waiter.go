package pool

import (
	"time"

	"github.com/hybridbouncer/hybridbouncer/internal/list"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Waiter is a client, or another part of the owner, that needs a server. The zero value with an Owner and a Loop is ready for Checkout.
type Waiter struct {
	Owner      any
	Loop       int // the loop it lives on
	EnqueuedAt time.Duration
	Session    sqltext.Session // the parameters it wants the server to have; any server will do
	// Dedicated, if not nil, asks for a server of its own, which the owner opens with this; see dedicated.go.
	Dedicated any
	// Returning says that its last server was lent to another client while it was idle.
	Returning bool

	queue     *waiterQueue // nil: not queued
	link      list.Node[Waiter]
	use       Use
	home      *Pool   // the pool that it comes from
	refuge    *Pool   // with a use other than quick: the pool that may serve it when its own is short
	promotes  *Server // it has this server and wants a place for it in refuge; nil: it wants a server
	opening   *Server // with Dedicated: its own, being opened; nil: not yet
	overtaken int
	notified  bool
}

// Waiting reports whether it is in a queue.
func (w *Waiter) Waiting() bool { return w.queue != nil }

// Class is the kind of a waiter. Each class of a pool has a queue of its own, and waiters of one class are served first in, first out.
type Class uint8

// The classes, in the order in which they are served; see turn.
const (
	ClassReturning Class = iota // had a server, which was lent to another while it was idle
	ClassQuick                  // every other client
	ClassLong                   // wants a server for a transaction that is known to be long
	ClassPromotion              // wants a server for state, or a place for the server that it has
	classes
)

func (w *Waiter) class() Class {
	switch {
	case w.promotes != nil || w.use == UsePinned:
		return ClassPromotion
	case w.use == UseLong:
		return ClassLong
	case w.Returning:
		return ClassReturning
	}
	return ClassQuick
}

// waiterQueue holds the waiters of one class, first in, first out.
type waiterQueue struct {
	list.List[Waiter]
	pool   *Pool
	passed int // how often another class has been served since this one was, while somebody waited here
}

// enqueue puts a waiter into the queue of its class, behind those that have waited for longer.
func (p *Pool) enqueue(w *Waiter) {
	q := &p.queues[w.class()]
	before := q.Last()
	for before != nil && before.EnqueuedAt > w.EnqueuedAt {
		before = before.link.Prev()
	}
	if before == nil {
		q.PushFront(&w.link, w)
	} else {
		q.InsertAfter(&w.link, w, &before.link)
	}
	w.queue = q
	p.waiting++
}

// dequeue takes a waiter out of its queue: it gives up, or another queue is better for it.
func (w *Waiter) dequeue() {
	q := w.queue
	q.Remove(&w.link)
	w.queue = nil
	if q.Len() == 0 {
		q.passed = 0
	}
	q.pool.waiting--
}

// serve takes a waiter out of its queue because it gets what it waited for. The other classes have been passed over once more.
func (w *Waiter) serve() {
	served := w.queue
	w.dequeue()
	p := served.pool
	for c := range p.queues {
		if q := &p.queues[c]; q.Len() > 0 {
			q.passed++
		}
	}
	served.passed = 0
}

// passedMax is how often a class is passed over before it goes first. So each class that waits, and may be served, gets at least one of any
// passedMax + classes servers in a row: a waiter with n of its class before it is served by the (n+1)*(passedMax+classes)th at the latest.
const passedMax = 3

// turn is the order in which the classes are served now: those passed over too often first, the longest-suffering of them ahead, and then as
// they are numbered.
func (p *Pool) turn() (order [classes]Class) {
	for c := range classes {
		order[c] = c
		for i := c; i > 0 && p.due(order[i]) > p.due(order[i-1]); i-- {
			order[i], order[i-1] = order[i-1], order[i]
		}
	}
	return order
}

// due is how often a class has been passed over, 0 as long as that is bearable.
func (p *Pool) due(c Class) int {
	if n := p.queues[c].passed; n >= passedMax {
		return n
	}
	return 0
}

// each calls f for the waiters in the order in which they would be served, without those of a class that may not be served now, until f
// returns false.
func (p *Pool) each(now time.Duration, f func(w *Waiter) bool) {
	for _, c := range p.turn() {
		for w := p.queues[c].First(); w != nil && p.eligible(w, now); w = w.link.Next() {
			if !f(w) {
				return
			}
		}
	}
}

// oldest is the waiter that has waited for longest among those that a server or a place would help; nil if there is none.
func (p *Pool) oldest(now time.Duration) (oldest *Waiter) {
	for c := range p.queues {
		w := p.queues[c].First()
		for w != nil && w.opening != nil {
			w = w.link.Next()
		}
		if w != nil && p.eligible(w, now) && (oldest == nil || w.EnqueuedAt < oldest.EnqueuedAt) {
			oldest = w
		}
	}
	return oldest
}

// How far the order of a queue may be bent for the sake of a loop. A server that changes loops costs two wake-ups, so a freed one goes to
// the first waiter of its own loop. But nobody is overtaken more often than overtakenMax, nor by one that came overtakenAge later. With one
// loop the order is exact.
const (
	overtakenMax = 32
	overtakenAge = 5 * time.Millisecond
	// searchMax bounds how far the queue is searched for a waiter of the same loop.
	searchMax = 64
)

// pick takes the waiter that a server of the given loop goes to out of its queue: head, whose turn it is, or one behind it.
func (p *Pool) pick(head *Waiter, loop int) *Waiter {
	chosen := head
	if head.Loop != loop && head.overtaken < overtakenMax {
		for w, i := head.link.Next(), 0; w != nil && i < searchMax && w.EnqueuedAt-head.EnqueuedAt <= overtakenAge; w, i = w.link.Next(), i+1 {
			if w.Loop == loop && w.promotes == nil && w.Dedicated == nil && w.home == head.home {
				chosen = w
				break
			}
		}
	}
	for w := head; w != chosen; w = w.link.Next() {
		w.overtaken++
	}
	chosen.serve()
	return chosen
}
