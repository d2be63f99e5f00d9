package pool

import (
	"testing"
	"time"
)

// TestClassesTakeTurns: while each class waits, every one of them gets at least one of any passedMax+classes servers in a row, and the first of
// each class gets it.
func TestClassesTakeTurns(t *testing.T) {
	c := newCrowd(t)
	tx, session := c.open("u", Limits{Size: 1}), c.set.Open(Key{"session", "d", "u"}, Limits{Size: 1}, 0)
	busy, held := c.ask(tx), c.ask(session) // so the transaction pool has no room for those that need a server for long
	_ = busy
	queue := func(cl Class) {
		w := &Waiter{Returning: cl == ClassReturning}
		switch c.now += time.Millisecond; cl {
		case ClassLong:
			tx.CheckoutFor(UseLong, w, session, c.now)
		case ClassPromotion:
			tx.CheckoutFor(UsePinned, w, session, c.now)
		default:
			session.Checkout(w, c.now)
		}
		if w.class() != cl || !w.Waiting() {
			t.Fatalf("a waiter of class %d is of class %d", cl, w.class())
		}
	}
	for cl := range classes {
		queue(cl)
		queue(cl)
	}
	var last [classes]int
	served := [classes]int{}
	for turn := 1; turn <= 200; turn++ {
		var first [classes]*Waiter
		for cl := range classes {
			first[cl] = session.queues[cl].First()
		}
		c.giveBack(held)
		for w := range c.granted {
			if c.granted[w].pool == session {
				held = w
			}
		}
		cl := held.class()
		if first[cl] != held {
			t.Fatalf("turn %d: not the first of class %d was served", turn, cl)
		}
		last[cl] = turn
		served[cl]++
		queue(cl)
		for cl, n := range last {
			if turn-n >= passedMax+int(classes) {
				t.Fatalf("class %d has waited for %d turns", cl, turn-n)
			}
		}
	}
	if served[ClassReturning] <= served[ClassQuick] {
		t.Errorf("returning clients do not go first: %v", served)
	}
}

// TestEmptyClassCostsNothing: a class that nobody waits in is not owed anything when somebody comes.
func TestEmptyClassCostsNothing(t *testing.T) {
	c := newCrowd(t)
	p := c.open("u", Limits{Size: 1})
	held := c.ask(p)
	for range 10 {
		next := c.ask(p)
		c.giveBack(held)
		held = next
	}
	quick, returning := &Waiter{}, &Waiter{Returning: true}
	p.Checkout(quick, c.now)
	p.Checkout(returning, c.now)
	c.giveBack(held)
	if c.granted[returning] == nil || !quick.Waiting() {
		t.Error("a returning client did not go first")
	}
}
