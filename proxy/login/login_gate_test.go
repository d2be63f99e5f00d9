package login

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hybridbouncer/hybridbouncer/eventloop"
)

// noLoops are event loops that keep up.
func noLoops() []*eventloop.Loop { return nil }

// TestLoginGateOrder: a few logins pass the gate. The others pass as these leave, in the order in which they came.
func TestLoginGateOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newLoginGate()
		var order []int
		leave := make(chan struct{})
		for i := range gatePassedMax + 5 {
			go func() {
				out, err := g.enter(context.Background(), noLoops)
				if err != nil {
					t.Error(err)
				}
				order = append(order, i) // one at a time: synctest.Wait lies between
				<-leave
				out()
				out() // once more does nothing
			}()
			synctest.Wait()
		}
		if len(order) != gatePassedMax {
			t.Errorf("%d are past the gate", len(order))
		}
		for range gatePassedMax + 5 {
			leave <- struct{}{}
			synctest.Wait()
		}
		for at, i := range order {
			if at != i {
				t.Fatalf("passed as %v", order)
			}
		}
		if len(order) != gatePassedMax+5 || len(g.passed) != 0 || len(g.turn) != 0 {
			t.Errorf("%d passed, %d are still past the gate", len(order), len(g.passed))
		}
	})
}

// TestLoginGateDoesNotWaitForClients: logins whose clients are slow hold up the next one for gateHold only.
func TestLoginGateDoesNotWaitForClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newLoginGate()
		begin := time.Now()
		for range 10 * gatePassedMax {
			out, err := g.enter(context.Background(), noLoops)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(out)
		}
		if waited := time.Since(begin); waited != 9*gateHold {
			t.Errorf("waited %s", waited)
		}
		<-time.After(2 * gateHold)
		if n := len(g.passed); n != 0 {
			t.Errorf("%d slow logins still count", n)
		}
	})
}

// TestLoginGateGivesUp: a login whose time is over leaves the gate to the others.
func TestLoginGateGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newLoginGate()
		for range cap(g.passed) {
			g.passed <- struct{}{} // never given back
		}
		ctx, end := context.WithTimeout(context.Background(), time.Second)
		defer end()
		for range 3 { // one is next, two wait behind it
			go func() {
				if _, err := g.enter(ctx, noLoops); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}()
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if len(g.turn) != 0 {
			t.Error("a login whose time is over is next for ever")
		}
	})
}

// TestAwaitPrompt: the next login waits while a loop is behind, but not for ever.
func TestAwaitPrompt(t *testing.T) {
	l, err := eventloop.New(eventloop.Options{})
	if err != nil {
		t.Fatal(err)
	}
	loops := []*eventloop.Loop{l}
	begin := time.Now()
	awaitPrompt(context.Background(), loops) // a loop that does not turn
	if waited := time.Since(begin); waited < gatePatience {
		t.Errorf("waited %s for a loop that does nothing", waited)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	awaitPrompt(ended, loops)
	ran := make(chan struct{})
	go func() { l.Run(); close(ran) }()
	awaitPrompt(context.Background(), loops)
	l.Stop()
	<-ran
	awaitPrompt(context.Background(), loops) // one that has ended
}
