package pool

import (
	"slices"
	"testing"
	"time"
)

// hybrid is a transaction pool and a session pool of one role, of the given sizes.
type hybrid struct {
	*crowd
	tx, session *Pool
	moved       []*Server
	promoted    map[*Waiter]*Server
}

func newHybrid(t *testing.T, size, sessions int) *hybrid {
	h := &hybrid{crowd: newCrowd(t), promoted: map[*Waiter]*Server{}}
	l := Limits{Size: size, OwnShare: 50, WaitTimeout: time.Hour}
	h.tx = h.open("u", l)
	l.Size = sessions
	h.session = h.set.Open(Key{"session", "d", "u"}, l, 0)
	return h
}

// act carries out what is particular to promotion, and then the rest.
func (h *hybrid) act() {
	h.t.Helper()
	var rest []Action
	for _, a := range slices.Clone(h.set.Actions()) {
		switch a.Kind {
		case ActMoved:
			h.moved = append(h.moved, a.Server)
		case ActPromoted:
			h.promoted[a.Waiter] = a.Server
		default:
			rest = append(rest, a)
		}
	}
	h.set.actions = rest
	h.settle()
}

func (h *hybrid) take(p *Pool) *Server {
	h.t.Helper()
	w := &Waiter{}
	if s := p.Checkout(w, h.now); s != nil {
		return s
	}
	h.act()
	if h.granted[w] == nil {
		h.t.Fatal("no server")
	}
	return h.granted[w]
}

func (h *hybrid) wait(p *Pool) *Waiter {
	h.t.Helper()
	w := &Waiter{}
	if p.Checkout(w, h.now) != nil {
		h.t.Fatal("served at once")
	}
	h.act()
	return w
}

func (h *hybrid) pin(s *Server) bool {
	ok := h.tx.Pin(s, h.session, nil, h.now)
	h.act()
	return ok
}

// TestLongTransactionsMoveUnderPressure: the server of a long transaction stays where it is as long as nobody waits in its pool. Then it moves, if
// the other pool has room, and the waiter gets a server.
func TestLongTransactionsMoveUnderPressure(t *testing.T) {
	h := newHybrid(t, 2, 1)
	a, b := h.take(h.tx), h.take(h.tx)
	if h.tx.Promote(a, h.session, h.now) {
		t.Fatal("promoted, and nobody waits")
	}
	w := h.wait(h.tx)
	if !h.tx.Promote(a, h.session, h.now) {
		t.Fatal("not promoted under pressure")
	}
	h.act()
	if a.Pool() != h.session || h.granted[w] == nil || h.tx.Open() != 2 || h.session.Open() != 1 {
		t.Fatalf("%d and %d servers", h.tx.Open(), h.session.Open())
	}
	h.wait(h.tx)
	if h.tx.Promote(b, h.session, h.now) {
		t.Fatal("promoted into a full pool")
	}
}

// TestOwnShare: guests leave half of a pool to its own clients while these use it, and may have all of it a minute later.
func TestOwnShare(t *testing.T) {
	h := newHybrid(t, 6, 4)
	s := h.take(h.session)
	h.session.Checkin(s, clean, h.now)
	var servers []*Server
	for range 6 {
		servers = append(servers, h.take(h.tx))
	}
	promoted := 0
	try := func() {
		for _, s := range servers {
			if s.Pool() == h.tx && h.tx.Promote(s, h.session, h.now) {
				promoted++
				h.act()
			}
		}
	}
	for range 6 {
		h.wait(h.tx)
	}
	if try(); promoted != 2 {
		t.Errorf("%d guests in a pool of 4 that has clients of its own", promoted)
	}
	h.now += ownKept
	h.set.Tick(h.now)
	if h.act(); h.session.guests.Len() != 2 {
		t.Fatal("moved without being asked for")
	}
	for range 4 {
		w := &Waiter{}
		h.tx.Checkout(w, h.now)
	}
	if try(); promoted != 4 {
		t.Errorf("%d guests in a pool of 4 that nobody else uses", promoted)
	}
}

// TestGuestsGoHome: a guest leaves when a client of the pool waits and its own pool has room, for an idle server if there is one.
func TestGuestsGoHome(t *testing.T) {
	for _, idle := range []bool{false, true} {
		h := newHybrid(t, 1, 1)
		guest := h.take(h.tx)
		w := h.wait(h.tx)
		if !h.tx.Promote(guest, h.session, h.now) {
			t.Fatal("not promoted")
		}
		h.act()
		second := h.granted[w]
		if idle {
			h.tx.Checkin(second, clean, h.now)
		} else {
			h.tx.Close(second, h.now)
			h.tx.Closed(second, h.now)
		}
		own := h.wait(h.session)
		if guest.Pool() != h.tx || h.granted[own] == nil || idle && h.granted[own] != second {
			t.Errorf("idle %t: the guest is in %v, the session has %v", idle, guest.Pool().Key, h.granted[own])
		}
	}
}

// TestGuestsStay: a guest whose own pool is short, or has no room, stays.
func TestGuestsStay(t *testing.T) {
	h := newHybrid(t, 1, 1)
	guest := h.take(h.tx)
	h.wait(h.tx)
	h.tx.Promote(guest, h.session, h.now)
	h.act()
	w := h.wait(h.session)
	if guest.Pool() != h.session || !w.Waiting() {
		t.Error("a guest went home to a pool that is full")
	}
}

// TestPinned: a client with state keeps its server where it counts, up to 60 per cent of its pool. Beyond, and when its pool is short, the
// servers move, oldest state first.
func TestPinned(t *testing.T) {
	h := newHybrid(t, 5, 2)
	var servers []*Server
	for range 5 {
		s := h.take(h.tx)
		if servers = append(servers, s); len(servers) <= 3 && !h.pin(s) {
			t.Fatalf("the %d. client of 5 may not have state", len(servers))
		}
	}
	if h.session.Open() != 0 {
		t.Fatal("moved without need")
	}
	if !h.pin(servers[3]) || servers[3].Pool() != h.session {
		t.Fatal("the fourth does not move")
	}
	h.take(h.tx) // in its place
	w := h.wait(h.tx)
	if servers[0].Pool() != h.session || h.granted[w] == nil {
		t.Fatal("the pool is short, and no state moves")
	}
	if more := h.wait(h.tx); !more.Waiting() || h.pin(servers[4]) {
		t.Fatal("both pools are full")
	}
	h.tx.Unpin(servers[1], h.now)
	if servers[1].Use() != UseQuick || h.tx.slow.Len() != 1 {
		t.Error("the state is gone, and it counts")
	}
}

// TestWaitsForState: a client in a transaction that waits for a place keeps its server; it goes on when the other pool has room.
func TestWaitsForState(t *testing.T) {
	h := newHybrid(t, 1, 1)
	own, s := h.take(h.session), h.take(h.tx)
	w := &Waiter{}
	if h.tx.Pin(s, h.session, w, h.now) || !w.Waiting() {
		t.Fatal("both are full")
	}
	h.outcome(own, h.session.Checkin(own, clean, h.now))
	if h.act(); h.promoted[w] != s || s.Pool() != h.session {
		t.Fatal("the other pool has room, and it waits")
	}
}

// TestStateAtHome: a client that waits for a place in the other pool goes on where it is when its own pool has room for its state.
func TestStateAtHome(t *testing.T) {
	h := newHybrid(t, 2, 1)
	h.take(h.session)
	other, s := h.take(h.tx), h.take(h.tx)
	h.pin(other)
	w := &Waiter{}
	if h.tx.Pin(s, h.session, w, h.now) || !w.Waiting() {
		t.Fatal("state of two clients in a pool of two, and the other is full")
	}
	h.outcome(other, h.tx.Checkin(other, clean, h.now))
	h.set.Tick(h.now)
	if h.act(); h.promoted[w] != s || s.Pool() != h.tx || s.Use() != UsePinned {
		t.Fatal("its own pool has room, and it waits")
	}
}

// TestWaitsWithoutServer: a client that needs a server for long and has none waits in the other pool while its own is short, holds nothing
// there, and is served by the pool that has room first.
func TestWaitsWithoutServer(t *testing.T) {
	for _, first := range []string{"transaction", "session"} {
		h := newHybrid(t, 5, 1)
		own := h.take(h.session)
		var busy []*Server
		for range 5 {
			busy = append(busy, h.take(h.tx))
		}
		w := &Waiter{}
		if h.tx.CheckoutFor(UsePinned, w, h.session, h.now) != nil || w.queue.pool != h.session || h.tx.Waiting() != 0 {
			t.Fatal("it does not wait in the other pool")
		}
		if first == "transaction" {
			h.outcome(busy[0], h.tx.Checkin(busy[0], clean, h.now))
		} else {
			h.now += ownKept
			h.outcome(own, h.session.Checkin(own, clean, h.now))
			h.now += ownKept
		}
		h.set.Tick(h.now)
		h.act()
		if s := h.granted[w]; s == nil || s.Use() != UsePinned || s.Pool().Key.Listener == "session" != (first == "session") {
			t.Errorf("%s: served with %+v", first, s)
		}
	}
}

// TestKnownLong: transactions that are known to be long leave as many servers as quick clients had at once in the last minute, and 40 per cent;
// a minute later they may have more.
func TestKnownLong(t *testing.T) {
	h := newHybrid(t, 10, 1)
	h.take(h.session)
	var quick []*Server
	for range 7 {
		quick = append(quick, h.take(h.tx))
	}
	for _, s := range quick {
		h.outcome(s, h.tx.Checkin(s, clean, h.now))
	}
	long := func() (served int) {
		for range 10 {
			w := &Waiter{}
			if h.tx.CheckoutFor(UseLong, w, h.session, h.now) != nil {
				served++
			}
			h.act()
			if h.granted[w] != nil {
				served++
			}
		}
		return served
	}
	if n := long(); n != 3 {
		t.Errorf("%d of 10 servers, when quick clients used 7", n)
	}
	for range 3 {
		h.now += 61 * time.Second
		h.set.Tick(h.now)
		h.act()
	}
	if n := h.tx.slow.Len(); n > 6 {
		t.Errorf("%d of 10 servers", n)
	}
	if n := long() + 3; n != 6 && h.tx.slow.Len() != 6 {
		t.Errorf("%d of 10 servers, when quick clients used none", h.tx.slow.Len())
	}
}
