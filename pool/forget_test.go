package pool

import (
	"testing"
	"time"
)

// TestUnusedPoolIsForgotten: a pool is forgotten some time after the last that held it back has gone, and not before.
func TestUnusedPoolIsForgotten(t *testing.T) {
	const idle = time.Minute
	for name, c := range map[string]struct {
		limits Limits
		use    func(p *Pool) (leave func(now time.Duration)) // what may hold it back, and how that ends; nil: nothing does
		after  time.Duration                                 // it is forgotten; 0: never
	}{
		"held": {Limits{Size: 1, PoolIdleTimeout: idle}, func(p *Pool) func(time.Duration) {
			p.bare = false
			p.Hold()
			p.Hold()
			p.Release()
			return func(time.Duration) { p.Release() }
		}, idle},
		"with a server": {Limits{Size: 1, PoolIdleTimeout: idle}, func(p *Pool) func(time.Duration) {
			p.Checkout(&Waiter{}, 0)
			s := p.set.Actions()[0].Server
			p.Dialed(s, 0, 0)
			return func(now time.Duration) {
				p.Close(s, now)
				p.Closed(s, now)
			}
		}, idle},
		"with a waiter": {Limits{PoolIdleTimeout: idle}, func(p *Pool) func(time.Duration) {
			p.bare = false
			w := &Waiter{}
			p.Checkout(w, 0)
			return func(now time.Duration) { p.set.Leave(w, now) }
		}, idle},
		"with a minimum size": {Limits{Size: 1, MinSize: 1, PoolIdleTimeout: idle}, func(p *Pool) func(time.Duration) {
			p.Checkout(&Waiter{}, 0)
			p.DialFailed(p.set.Actions()[0].Server, noSuchDatabase{}, 0)
			return func(time.Duration) {}
		}, 0},
		"PostgreSQL has just refused": {Limits{Size: 1}, func(p *Pool) func(time.Duration) {
			p.Checkout(&Waiter{}, 0)
			p.DialFailed(p.set.Actions()[0].Server, noSuchDatabase{}, 0)
			p.retryAt = 1000 * time.Hour
			return func(now time.Duration) { p.retryAt = now }
		}, bareIdleMax},
		"switched off": {Limits{Size: 1}, func(p *Pool) func(time.Duration) {
			p.bare = false
			return func(time.Duration) {}
		}, 0},
		"bare, switched off":    {Limits{Size: 1}, nil, bareIdleMax},
		"bare, the limit later": {Limits{Size: 1, PoolIdleTimeout: idle}, nil, bareIdleMax},
		"bare, the limit soon":  {Limits{Size: 1, PoolIdleTimeout: time.Second}, nil, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			set := NewSet(1)
			other := set.Open(Key{"l", "d", "other"}, Limits{}, 0)
			other.Hold()
			set.SetDatabaseMax("d", 7)
			p := set.Open(Key{"l", "d", "u"}, c.limits, 0)
			now := time.Duration(0)
			if c.use != nil {
				leave := c.use(p)
				now = 100 * time.Hour
				set.Tick(now)
				if set.Lookup(p.Key) != p {
					t.Fatal("forgotten while in use")
				}
				leave(now)
			}
			set.Tick(now + c.after - 1)
			if set.Lookup(p.Key) != p {
				t.Fatal("forgotten too early")
			}
			set.Actions()
			set.Tick(now + c.after)
			actions := set.Actions()
			forgotten := set.Lookup(p.Key) == nil
			if forgotten != (c.after > 0) {
				t.Fatalf("forgotten: %v", forgotten)
			}
			if forgotten && (len(actions) != 1 || actions[0].Kind != ActForget || actions[0].Pool != p) {
				t.Errorf("%+v", actions)
			}
			if err := set.Verify(); err != nil {
				t.Error(err)
			}
			if set.database["d"].max != 7 || set.Lookup(other.Key) != other || (set.user["u"] == nil) != forgotten {
				t.Error("what others share with it is gone, or what nobody shares is not")
			}
			if forgotten && set.Open(p.Key, c.limits, now+c.after) == p {
				t.Error("it is back")
			}
		})
	}
}

type noSuchDatabase struct{}

func (noSuchDatabase) Error() string { return "no such database" }
func (noSuchDatabase) Refused() bool { return true }
