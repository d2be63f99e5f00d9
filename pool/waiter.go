package pool

import (
	"time"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// Waiter is somebody who needs a server. The zero value with an Owner and a Loop is ready for Checkout.
type Waiter struct {
	Owner      any
	Loop       int // the loop it lives on
	EnqueuedAt time.Duration
	Session    protocol.Session // what it wants the server's parameters to be; any server will do

	queue      *waiterQueue // nil: not queued
	promotes   *Server      // it brings a server of its own and wants a place for it; nil: it wants a server
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

// pick takes the waiter that a server of the given loop goes to; nil when nobody waits.
func (q *waiterQueue) pick(loop int) *Waiter {
	head := q.first
	if head == nil {
		return nil
	}
	chosen := head
	if head.Loop != loop && head.overtaken < overtakenMax {
		for w, i := head.next, 0; w != nil && i < searchMax && w.EnqueuedAt-head.EnqueuedAt <= overtakenAge; w, i = w.next, i+1 {
			if w.Loop == loop && w.promotes == nil {
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
