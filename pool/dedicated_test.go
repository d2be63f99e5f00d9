package pool

import (
	"errors"
	"testing"
	"time"
)

// single is a pool with one server, which is lent, and room for no other.
func single(t *testing.T) (*Pool, *Server) {
	t.Helper()
	return lent(t, Limits{Size: 1, LoginRetry: time.Second})
}

// verified are the actions since the last call, of a set in order.
func verified(t *testing.T, p *Pool) []Action {
	t.Helper()
	if err := p.set.Verify(); err != nil {
		t.Fatal(err)
	}
	return append([]Action(nil), p.set.Actions()...)
}

// TestDedicatedTakesItsTurn: who wants a server of its own stands in the queue like others. When its turn comes and the pool is full, the
// server that has become free is closed for it, and the one behind it goes on waiting; it is lent to nobody else afterwards.
func TestDedicatedTakesItsTurn(t *testing.T) {
	p, busy := single(t)
	one, other := &Waiter{Dedicated: "one"}, &Waiter{}
	if p.Checkout(one, 1) != nil || p.Checkout(other, 2) != nil || len(verified(t, p)) != 0 {
		t.Fatal("the pool is full, and does something")
	}
	if o := p.Checkin(busy, clean, 3); o.Kind != Closing || o.Reason != CloseEvicted {
		t.Fatalf("given back while somebody waits for its place: %+v", o)
	}
	p.Closed(busy, 4)
	a := verified(t, p)
	if len(a) != 1 || a[0].Kind != ActDial || a[0].Server.Dedicated != "one" || !one.Waiting() {
		t.Fatalf("a place is free: %+v", a)
	}
	own := a[0].Server
	if o := p.Dialed(own, 0, 5); o.Kind != Lent || o.Waiter != one || one.Waiting() || !other.Waiting() {
		t.Fatalf("opened: %+v", o)
	}
	if a := verified(t, p); len(a) != 0 {
		t.Fatalf("the pool is full, and does %+v", a)
	}
	if o := p.Checkin(own, clean, 6); o.Kind != Closing || o.Reason != CloseDedicated {
		t.Fatalf("given back: %+v", o)
	}
	p.Closed(own, 7)
	if a := verified(t, p); len(a) != 1 || a[0].Kind != ActDial || a[0].Server.Dedicated != nil {
		t.Fatalf("it is the other's turn: %+v", a)
	}
}

// TestDedicatedEvicts: an idle server does not serve who wants its own; it makes room. One place is enough for one.
func TestDedicatedEvicts(t *testing.T) {
	p, _ := checkPool(t, 3)
	w, other := &Waiter{Dedicated: 1}, &Waiter{}
	if p.Checkout(w, 1) != nil {
		t.Fatal("an ordinary server was lent")
	}
	a := verified(t, p)
	if len(a) != 1 || a[0].Kind != ActClose || a[0].Reason != CloseEvicted {
		t.Fatalf("three are idle, one is wanted: %+v", a)
	}
	p.Checkout(other, 2)
	if grant := verified(t, p); len(grant) != 1 || grant[0].Kind != ActGrant || grant[0].Waiter != other {
		t.Fatalf("two are idle, and the one before has its place: %+v", grant)
	}
	p.Closed(a[0].Server, 3)
	if a := verified(t, p); len(a) != 1 || a[0].Kind != ActDial || a[0].Server.Dedicated != 1 {
		t.Fatalf("a place is free: %+v", a)
	}
}

// TestDedicatedIsUnderWay: a waiter whose own server is being opened needs no other: those behind it are served. And a server that is being
// opened for any is none for it.
func TestDedicatedIsUnderWay(t *testing.T) {
	set := NewSet(1)
	p := set.Open(Key{"l", "d", "u"}, Limits{Size: 2}, 0)
	first, own, other := &Waiter{}, &Waiter{Dedicated: 1}, &Waiter{}
	p.Checkout(first, 0)
	p.Checkout(own, 0)
	a := verified(t, p)
	if len(a) != 2 || a[0].Server.Dedicated != nil || a[1].Server.Dedicated != 1 {
		t.Fatalf("two servers are wanted: %+v", a)
	}
	p.Checkout(other, 0)
	if o := p.Dialed(a[0].Server, 0, 0); o.Waiter != first {
		t.Fatalf("opened: %+v", o)
	}
	if o := p.Checkin(a[0].Server, clean, 0); o.Kind != Lent || o.Waiter != other {
		t.Fatalf("given back while a server is opened for one alone: %+v", o)
	}
}

// TestDedicatedIsNoCheck: who waits for a place does not have a server checked.
func TestDedicatedIsNoCheck(t *testing.T) {
	p, _ := checkPool(t, 3)
	p.Checkout(&Waiter{Dedicated: 1}, afterCheckDelay)
	if a := verified(t, p); len(a) != 1 || a[0].Kind != ActClose {
		t.Fatalf("a place is wanted: %+v", a)
	}
	p.Checkout(&Waiter{}, afterCheckDelay)
	if more := checked(t, p); len(more) != 1 {
		t.Fatalf("%d servers are checked for one waiter", len(more))
	}
}

// TestDedicatedOfNobody: a server whose waiter has left or expired while it was being opened is closed unused; no other waiter gets it.
func TestDedicatedOfNobody(t *testing.T) {
	for name, goes := range map[string]func(p *Pool, w *Waiter){
		"left":    func(p *Pool, w *Waiter) { p.set.Leave(w, 1) },
		"expired": func(p *Pool, _ *Waiter) { p.set.Tick(3 * time.Second) },
	} {
		set := NewSet(1)
		p := set.Open(Key{"l", "d", "u"}, Limits{Size: 1, WaitTimeout: 2 * time.Second}, 0)
		w, other := &Waiter{Dedicated: 1}, &Waiter{}
		p.Checkout(w, 0)
		own := set.Actions()[0].Server
		p.Checkout(other, 2*time.Second)
		goes(p, w)
		if w.Waiting() {
			t.Fatalf("%s: it waits", name)
		}
		if o := p.Dialed(own, 0, 3*time.Second); o.Kind != Closing || o.Reason != CloseDedicated {
			t.Fatalf("%s: %+v", name, o)
		}
		p.Closed(own, 3*time.Second)
		a := verified(t, p)
		if last := a[len(a)-1]; last.Kind != ActDial || last.Server.Dedicated != nil {
			t.Fatalf("%s: it is the other's turn: %+v", name, last)
		}
	}
}

// TestDedicatedFails: what PostgreSQL says to the login of such a server is for its waiter alone, and the pool does not pause for it; nor
// does that one wait for the pause of others, or hear what they are told.
func TestDedicatedFails(t *testing.T) {
	set := NewSet(1)
	p := set.Open(Key{"l", "d", "u"}, Limits{Size: 3, LoginRetry: time.Second}, 0)
	no := errors.New("no pg_hba.conf entry for replication connection")
	w, other := &Waiter{Dedicated: 1}, &Waiter{}
	p.Checkout(w, 0)
	p.Checkout(other, 0)
	a := verified(t, p)
	p.DialFailed(a[0].Server, no, 1)
	if told := verified(t, p); len(told) != 1 || told[0].Kind != ActFail || told[0].Waiter != w || !errors.Is(told[0].Err, no) || !other.Waiting() {
		t.Fatalf("one login has failed: %+v", told)
	}
	later := &Waiter{Dedicated: 2}
	p.Checkout(later, 2)
	p.DialFailed(a[1].Server, refusal{errors.New("no such database")}, 3)
	told := verified(t, p)
	if len(told) != 2 || told[0].Kind != ActDial || told[0].Server.Dedicated != 2 || told[1].Waiter != other || !later.Waiting() {
		t.Fatalf("the other has failed: %+v", told)
	}
	again := &Waiter{Dedicated: 3}
	p.Checkout(again, 4)
	if a := verified(t, p); len(a) != 1 || a[0].Kind != ActDial || a[0].Server.Dedicated != 3 {
		t.Fatalf("in the pause of the others: %+v", a)
	}
}

// TestDedicatedHasNoMinimum: a pool that is used for such servers alone opens no others for min_pool_size: their logins may be refused.
func TestDedicatedHasNoMinimum(t *testing.T) {
	set := NewSet(1)
	p := set.Open(Key{"l", "replication", "u"}, Limits{Size: 3, MinSize: 2}, 0)
	p.Checkout(&Waiter{Dedicated: 1}, 0)
	set.Tick(1)
	if a := verified(t, p); len(a) != 1 {
		t.Fatalf("one server is wanted: %+v", a)
	}
	p.Checkout(&Waiter{}, 2)
	set.Tick(3)
	if n := p.Count(ServerNew); n != 2 {
		t.Fatalf("%d servers are opened", n)
	}
}

// TestDedicatedHasNoLifetime: server_lifetime is for servers that can be replaced unnoticed.
func TestDedicatedHasNoLifetime(t *testing.T) {
	set := NewSet(1)
	p := set.Open(Key{"l", "d", "u"}, Limits{Size: 1, Lifetime: time.Second}, 0)
	p.Checkout(&Waiter{Dedicated: 1}, 0)
	own := set.Actions()[0].Server
	p.Dialed(own, 0, 0)
	set.Tick(time.Hour)
	if a := verified(t, p); len(a) != 0 || own.State() != ServerActive {
		t.Fatalf("after an hour: %+v", a)
	}
}
