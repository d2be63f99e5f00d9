package login

import (
	"context"
	"sync"
	"time"

	"github.com/hybridbouncer/hybridbouncer/eventloop"
)

// loginGate lets logins pass so that a storm of them does not take the processors away from running queries. Few logins are past the gate at
// a time. They pass in the order in which they came. While others are past it, the next login waits until the event loops keep up. A client
// that waits at the gate computes nothing for its login either, which holds back its share of the machine, too. Logins that come one by one
// never wait here.
type loginGate struct {
	turn   chan struct{} // held by the login that is next; the others wait in the order in which they came
	passed chan struct{} // one for each login that is past the gate
	asked  time.Time     // when the loops were last found to keep up; belongs to the holder of turn
}

const (
	// gatePassedMax is how many logins may be past the gate.
	gatePassedMax = 16
	// gateFree is how many may be past the gate before the next one waits for the loops.
	gateFree = 2
	// gateHold is how long a login counts as past the gate. A login that takes longer waits for its client, not for a processor.
	gateHold = 10 * time.Millisecond
	// gateAskEvery is how long an answer of the loops is good for. A question wakes each loop, which would cost a quarter of a login's processor
	// time if every login asked.
	gateAskEvery = time.Millisecond
	// loopPrompt is how soon a loop that has a processor runs a function that is posted to it.
	loopPrompt = 200 * time.Microsecond
	// gatePatience is how long the next login waits for the loops at most, however busy they are.
	gatePatience = 10 * time.Millisecond
)

func newLoginGate() loginGate {
	return loginGate{turn: make(chan struct{}, 1), passed: make(chan struct{}, gatePassedMax)}
}

// enter waits until a login may pass. The caller calls leave when its login is over. openLoops returns the loops that must keep up.
func (g *loginGate) enter(ctx context.Context, openLoops func() []*eventloop.Loop) (leave func(), err error) {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-g.turn }()
	select {
	case g.passed <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	uncount := sync.OnceFunc(func() { <-g.passed })
	hold := time.AfterFunc(gateHold, uncount)
	if len(g.passed) > gateFree && time.Since(g.asked) > gateAskEvery {
		awaitPrompt(ctx, openLoops())
		g.asked = time.Now()
	}
	return func() { hold.Stop(); uncount() }, nil
}

// awaitPrompt returns when the loops run at once the functions that are posted to them, or after gatePatience.
func awaitPrompt(ctx context.Context, loops []*eventloop.Loop) {
	enough := time.NewTimer(gatePatience)
	defer enough.Stop()
	ran := make(chan struct{}, len(loops))
	for prompt := false; !prompt; {
		asked := time.Now()
		for _, loop := range loops {
			loop.Post(func() { ran <- struct{}{} })
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
		prompt = time.Since(asked) < loopPrompt
	}
}
