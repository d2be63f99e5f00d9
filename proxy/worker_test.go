package proxy

import (
	"testing"

	"github.com/hybridbouncer/hybridbouncer/pool"
)

// TestActionsSurviveAPanic: what one action breaks costs neither the others nor those to come (invariant 8).
func TestActionsSurviveAPanic(t *testing.T) {
	w := &worker{}
	panics := func() (panicked bool) {
		defer func() { panicked = recover() != nil }()
		w.act()
		return false
	}
	faulty := pool.Action{Kind: pool.ActClose} // of no server
	w.actions = []pool.Action{faulty, faulty}
	for range 2 {
		if !panics() {
			t.Fatal("an action has been lost")
		}
	}
	if panics() || len(w.actions) != 0 {
		t.Errorf("%d actions are left", len(w.actions))
	}
}
