package proxy

import (
	"context"
	"sync"
	"time"
)

// door lets logins in so that a storm of them does not take the processors away from running queries: few at a time, in the order of
// coming, and, while others are inside, the next one only when the loops keep up. Clients that wait for their login's answers compute
// nothing either, so that this holds back what they would take of the machine, too. Logins that come one by one never wait here.
type door struct {
	turn   chan struct{} // held by who stands at the door; the others wait in the order of coming
	places chan struct{} // held by who is inside
	asked  time.Time     // when the loops were last found to keep up; belongs to who stands at the door
}

const (
	// doorPlaces is how many logins may be under way inside.
	doorPlaces = 16
	// doorFree is how many may be inside before anybody asks how the loops do.
	doorFree = 2
	// doorHold is how long a login keeps its place: one that takes longer waits for its client, not for a processor.
	doorHold = 10 * time.Millisecond
	// doorAsk is how long an answer of the loops is good for. To ask wakes each of them: a quarter of a login's processor time, if every one
	// did.
	doorAsk = time.Millisecond
	// doorPrompt is how soon a loop that has a processor runs what is posted to it.
	doorPrompt = 200 * time.Microsecond
	// doorPatience is how long the next login waits for the loops at most, however busy they are.
	doorPatience = 10 * time.Millisecond
)

func newDoor() door {
	return door{turn: make(chan struct{}, 1), places: make(chan struct{}, doorPlaces)}
}

// enter waits until a login may go on. Whoever is let in calls leave when it is over.
func (d *door) enter(ctx context.Context, loops []*worker) (leave func(), err error) {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-d.turn }()
	select {
	case d.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	give := sync.OnceFunc(func() { <-d.places })
	hold := time.AfterFunc(doorHold, give)
	if len(d.places) > doorFree && time.Since(d.asked) > doorAsk {
		awaitPrompt(ctx, loops)
		d.asked = time.Now()
	}
	return func() { hold.Stop(); give() }, nil
}

// awaitPrompt returns when the loops run at once what is posted to them, or after doorPatience.
func awaitPrompt(ctx context.Context, loops []*worker) {
	enough := time.NewTimer(doorPatience)
	defer enough.Stop()
	ran := make(chan struct{}, len(loops))
	for prompt := false; !prompt; {
		asked := time.Now()
		for _, w := range loops {
			w.loop.Post(func() { ran <- struct{}{} })
		}
		for range loops {
			select {
			case <-ran:
			case <-enough.C:
				return
			case <-ctx.Done():
				return
			}
		}
		prompt = time.Since(asked) < doorPrompt
	}
}
