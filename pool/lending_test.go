package pool

import (
	"slices"
	"testing"
	"time"
)

// lender is a full session pool with two servers, of which one rests since restedAt.
func lender(t *testing.T) (c *crowd, p *Pool, rests, busy *Server) {
	t.Helper()
	c = newCrowd(t)
	p = c.open("u", Limits{Size: 2, LendAfter: 50 * time.Millisecond})
	a, b := c.ask(p), c.ask(p)
	rests, busy = c.granted[a], c.granted[b]
	p.Rest(rests, restedAt)
	return c, p, rests, busy
}

const restedAt = time.Second

// recalledIn returns the servers that the pool asked for since the last call.
func recalledIn(t *testing.T, set *Set) (servers []*Server) {
	t.Helper()
	for _, a := range slices.Clone(set.Actions()) {
		if a.Kind != ActRecall {
			t.Fatalf("action %d", a.Kind)
		}
		servers = append(servers, a.Server)
	}
	if err := set.Verify(); err != nil {
		t.Fatal(err)
	}
	return servers
}

// TestLending: the server of an idle client is called back for a waiter after LendAfter and not before, and only one for one waiter. The client
// that had it goes before one that never had a server.
func TestLending(t *testing.T) {
	c, p, rests, busy := lender(t)
	first := &Waiter{}
	p.Checkout(first, restedAt+20*time.Millisecond)
	if got := recalledIn(t, c.set); len(got) != 0 {
		t.Fatal("called back at once")
	}
	c.set.Tick(restedAt + 50*time.Millisecond)
	if got := recalledIn(t, c.set); len(got) != 1 || got[0] != rests {
		t.Fatalf("%d servers are called back after LendAfter", len(got))
	}
	p.Rest(busy, restedAt+60*time.Millisecond)
	c.set.Tick(restedAt + time.Second)
	if got := recalledIn(t, c.set); len(got) != 0 {
		t.Fatal("two servers are called back for one waiter")
	}
	now := restedAt + time.Second
	if o := p.Checkin(rests, clean, now); o.Kind != Lent || o.Waiter != first {
		t.Fatalf("given back: %+v", o)
	}
	p.Resume(busy, now)
	fresh, returning := &Waiter{}, &Waiter{Returning: true}
	p.Checkout(fresh, now)
	p.Checkout(returning, now+1)
	if o := p.Checkin(busy, clean, now+2); o.Kind != Lent || o.Waiter != returning {
		t.Fatalf("given back: %+v", o)
	}
}

// TestNobodyLendsWithoutNeed: a client keeps its server while nobody waits, while another server is on its way, and where LendAfter is 0.
func TestNobodyLendsWithoutNeed(t *testing.T) {
	c, _, _, _ := lender(t)
	c.set.Tick(time.Hour)
	if got := recalledIn(t, c.set); len(got) != 0 {
		t.Error("called back for nobody")
	}
	c = newCrowd(t)
	p := c.open("u", Limits{Size: 2, LendAfter: 50 * time.Millisecond})
	p.Rest(c.granted[c.ask(p)], 0)
	p.Checkout(&Waiter{}, time.Minute)
	if a := c.set.Actions(); len(a) != 1 || a[0].Kind != ActDial {
		t.Errorf("the pool has room, and does %+v", a)
	}
	c = newCrowd(t)
	p = c.open("u", Limits{Size: 1})
	p.Rest(c.granted[c.ask(p)], 0)
	p.Checkout(&Waiter{}, time.Minute)
	c.set.Tick(time.Hour)
	if got := recalledIn(t, c.set); len(got) != 0 {
		t.Error("called back although that is switched off")
	}
}

// TestClientGoesOnFirst: a client that goes on before its server is taken keeps it, and another is called back for the waiter.
func TestClientGoesOnFirst(t *testing.T) {
	c, p, rests, busy := lender(t)
	now := restedAt + time.Second
	p.Rest(busy, now)
	p.Checkout(&Waiter{}, now+100*time.Millisecond)
	if got := recalledIn(t, c.set); len(got) != 1 || got[0] != rests {
		t.Fatal("not the longest idle one")
	}
	p.Resume(rests, now+101*time.Millisecond)
	if got := recalledIn(t, c.set); rests.State() != ServerActive || len(got) != 1 || got[0] != busy {
		t.Fatalf("%s; %d others are called back", rests.State(), len(got))
	}
}

// TestLendableMakesRoom: for a role without a place the idle client of another role gives its server up, when no server is idle.
func TestLendableMakesRoom(t *testing.T) {
	c, p, rests, _ := lender(t)
	c.set.SetBudget(2, restedAt)
	other := c.open("other", Limits{Size: 2})
	w := &Waiter{}
	now := restedAt + 60*time.Millisecond
	other.Checkout(w, now)
	if got := recalledIn(t, c.set); len(got) != 1 || got[0] != rests {
		t.Fatalf("%d servers are called back", len(got))
	}
	if o := p.Checkin(rests, clean, now); o.Kind != Idle {
		t.Fatalf("%+v", o)
	}
	c.settle()
	c.closed()
	if c.granted[w] == nil {
		t.Error("its place has gone to nobody")
	}
}

// TestRecalledIsKeptBack: a server that was called back and cannot be lent yet does not leave its waiter behind: another is called back.
func TestRecalledIsKeptBack(t *testing.T) {
	c, p, rests, busy := lender(t)
	now := restedAt + time.Second
	p.Rest(busy, restedAt)
	p.Checkout(&Waiter{}, now)
	if got := recalledIn(t, c.set); len(got) != 1 || got[0] != rests {
		t.Fatalf("%d servers are called back", len(got))
	}
	if o := p.Checkin(rests, Facts{TxStatus: 'I', CancelsInFlight: 1}, now); o.Kind != BeingCanceled {
		t.Fatalf("%+v", o)
	}
	if got := recalledIn(t, c.set); len(got) != 1 || got[0] != busy {
		t.Errorf("%d others are called back", len(got))
	}
}
