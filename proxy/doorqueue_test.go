package proxy

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hybridbouncer/hybridbouncer/eventloop"
)

// TestDoor: a few logins are inside, the others come in as these leave, in the order of coming.
func TestDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		var order []int
		leave := make(chan struct{})
		for i := range doorPlaces + 5 {
			go func() {
				out, err := d.enter(context.Background(), nil)
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
		if len(order) != doorPlaces {
			t.Errorf("%d are inside", len(order))
		}
		for range doorPlaces + 5 {
			leave <- struct{}{}
			synctest.Wait()
		}
		for at, i := range order {
			if at != i {
				t.Fatalf("came in as %v", order)
			}
		}
		if len(order) != doorPlaces+5 || len(d.places) != 0 || len(d.turn) != 0 {
			t.Errorf("%d came in, %d are still inside", len(order), len(d.places))
		}
	})
}

// TestDoorDoesNotWaitForClients: logins whose clients take their time keep nobody out for long, nor do they keep their places.
func TestDoorDoesNotWaitForClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		begin := time.Now()
		for range 10 * doorPlaces {
			out, err := d.enter(context.Background(), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(out)
		}
		if waited := time.Since(begin); waited != 9*doorHold {
			t.Errorf("waited %s", waited)
		}
		<-time.After(2 * doorHold)
		if n := len(d.places); n != 0 {
			t.Errorf("%d places are taken by logins that are slow", n)
		}
	})
}

// TestDoorEnds: a login whose time is over stands nowhere any more.
func TestDoorEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		for range cap(d.places) {
			d.places <- struct{}{} // never given back
		}
		ctx, end := context.WithTimeout(context.Background(), time.Second)
		defer end()
		for range 3 { // one at the door, two behind it
			go func() {
				if _, err := d.enter(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}()
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if len(d.turn) != 0 {
			t.Error("somebody stands at the door for ever")
		}
	})
}

// TestAwaitPrompt: the next login waits while a loop is behind, and not for ever.
func TestAwaitPrompt(t *testing.T) {
	l, err := eventloop.New(eventloop.Options{})
	if err != nil {
		t.Fatal(err)
	}
	loops := []*worker{{loop: l}}
	begin := time.Now()
	awaitPrompt(context.Background(), loops) // a loop that does not turn
	if waited := time.Since(begin); waited < doorPatience {
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
