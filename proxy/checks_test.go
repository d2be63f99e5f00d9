//go:build checks

package proxy

import (
	"log/slog"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/pool"
)

// TestPoolsAreLocked: a pool that is called without the lock that guards it panics.
func TestPoolsAreLocked(t *testing.T) {
	p, err := New(&config.Config{Auth: config.Auth{Type: "trust"}, Loops: 1}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.workers[0].loop.Run() // returns at once, and closes the loop's descriptors
	defer p.workers[0].loop.Stop()
	p.mu.Lock()
	one := p.set.Open(pool.Key{Database: "d", User: "u"}, pool.Limits{Size: 1}, 0)
	p.mu.Unlock()
	server := &pool.Server{}
	for method, call := range map[string]func(){
		"Set.Open":        func() { p.set.Open(pool.Key{}, pool.Limits{}, 0) },
		"Set.SetLimits":   func() { p.set.SetLimits(one, pool.Limits{}, 0) },
		"Set.Actions":     func() { p.set.Actions() },
		"Set.Tick":        func() { p.set.Tick(time.Second) },
		"Set.Verify":      func() { _ = p.set.Verify() },
		"Pool.Count":      func() { one.Count(pool.ServerIdle) },
		"Pool.Open":       func() { one.Open() },
		"Pool.Waiting":    func() { one.Waiting() },
		"Pool.OldestWait": func() { one.OldestWait(0) },
		"Pool.Checkout":   func() { one.Checkout(&pool.Waiter{}, 0) },
		"Set.Leave":       func() { p.set.Leave(&pool.Waiter{}, 0) },
		"Pool.Checkin":    func() { one.Checkin(server, pool.Facts{}, 0) },
		"Pool.Close":      func() { one.Close(server, 0) },
		"Pool.Closed":     func() { one.Closed(server, 0) },
		"Pool.Dialed":     func() { one.Dialed(server, 0, 0) },
		"Pool.DialFailed": func() { one.DialFailed(server, nil, 0) },
		"Pool.Holding":    func() { one.Holding() },
		"Pool.Rest":       func() { one.Rest(server, 0) },
		"Pool.Resume":     func() { one.Resume(server, 0) },
		"Pool.Promote":    func() { one.Promote(server, one, 0) },
		"Pool.Pressed":    func() { one.Pressed(0) },
		"Pool.Pin":        func() { one.Pin(server, one, nil, 0) },
		"Pool.Unpin":      func() { one.Unpin(server, 0) },
		"Set.Detach":      func() { p.set.Detach(&pool.Waiter{}) },
		"Set.SetBudget":   func() { p.set.SetBudget(1, 0) },
	} {
		got := func() (v any) {
			defer func() { v = recover() }()
			call()
			return nil
		}()
		if got != "bug: a pool was called without Proxy.mu" {
			t.Errorf("%s without the lock: %v", method, got)
		}
	}
}
