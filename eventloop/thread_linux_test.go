package eventloop

import (
	"testing"
	"time"
)

// TestThreadTime: a loop that is kept from its processor has been busy all the same, but has not used it.
func TestThreadTime(t *testing.T) {
	l := running(t, Options{})
	free := make(chan struct{})
	call(l, func() {}) // it has its thread
	used, busy := l.ThreadTime(), l.BusyTotal()
	blocked := make(chan struct{})
	l.Post(func() { close(blocked); <-free })
	<-blocked
	<-time.After(100 * time.Millisecond)
	close(free)
	call(l, func() {})
	call(l, func() {}) // the turn that was blocked has been counted
	used, busy = l.ThreadTime()-used, l.BusyTotal()-busy
	if busy < 100*time.Millisecond {
		t.Errorf("blocked for 100 ms, the loop has been busy for %s", busy)
	}
	if used >= busy {
		t.Errorf("of %s that it was busy the thread has used %s, all of which it waited", busy, used)
	}
	before := l.ThreadTime()
	call(l, func() {
		for sum := 0; l.Clock() >= 0 && sum < 1e6; sum++ {
		}
	})
	if l.ThreadTime() <= before {
		t.Error("work on the loop has used no processor time")
	}
}
