package pool

import (
	"time"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Waiter is somebody who needs a server. The zero value with an Owner and a Loop is ready for Checkout.
type Waiter struct {
	Owner      any
	Loop       int // the loop it lives on
	EnqueuedAt time.Duration
	Session    sqltext.Session // what it wants the server's parameters to be; any server will do
	// Dedicated, if not nil, asks for a server of its own, which the owner opens with this; see dedicated.go.
	Dedicated any

	queue      *waiterQueue // nil: not queued
	promotes   *Server      // it brings a server of its own and wants a place for it; nil: it wants a server
	opening    *Server      // with Dedicated: its own, being opened; nil: not yet
	next, prev *Waiter
	overtaken  int
	notified   bool
}

// Waiting reports whether it is in a queue.
func (w *Waiter) Waiting() bool { return w.queue != nil }

// waiterQueue is first in, first out.
type waiterQueue struct {
	pool        *Pool
	first, last *Waiter
	n           int
	dedicated   int // of them
}

func (q *waiterQueue) push(w *Waiter) {
	w.queue, w.prev, w.next = q, q.last, nil
	if q.last != nil {
		q.last.next = w
	} else {
		q.first = w
	}
	q.last = w
	q.n++
	if w.Dedicated != nil {
		q.dedicated++
	}
}

func (q *waiterQueue) remove(w *Waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.last = w.prev
	}
	w.queue, w.next, w.prev = nil, nil, nil
	q.n--
	if w.Dedicated != nil {
		q.dedicated--
	}
}

// How far the queue's order may be bent for the sake of a loop: a server that changes loops costs two wake-ups, so a freed one goes to
// the first waiter of its own loop, but nobody is overtaken more often than overtakenMax, nor by one that came overtakenAge later.
// With one loop the order is exact.
const (
	overtakenMax = 32
	overtakenAge = 5 * time.Millisecond
	// searchMax bounds how far the queue is searched for a waiter of the same loop.
	searchMax = 64
)

// unopened is the first waiter whose own server is not being opened.
func (q *waiterQueue) unopened() *Waiter {
	w := q.first
	for w != nil && w.opening != nil {
		w = w.next
	}
	return w
}

// pick takes the waiter that a server of the given loop goes to: head, whose turn it is, or one behind it.
func (q *waiterQueue) pick(head *Waiter, loop int) *Waiter {
	chosen := head
	if head.Loop != loop && head.overtaken < overtakenMax {
		for w, i := head.next, 0; w != nil && i < searchMax && w.EnqueuedAt-head.EnqueuedAt <= overtakenAge; w, i = w.next, i+1 {
			if w.Loop == loop && w.promotes == nil && w.Dedicated == nil {
				chosen = w
				break
			}
		}
	}
	for w := head; w != chosen; w = w.next {
		w.overtaken++
	}
	q.remove(chosen)
	return chosen
}
