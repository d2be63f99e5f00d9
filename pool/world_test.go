package pool

import (
	"errors"
	"flag"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world drives a Set as the proxy does, at random, and keeps a model of its own beside it.
type world struct {
	t        *rapid.T
	set      *Set
	now      time.Duration
	pools    []*Pool // of each role the transaction pool and, behind it, the session pool
	dialing  []*Server
	active   []*Server // a client has it, which may be idle; the waiter it was is in holder
	holder   map[*Server]*Waiter
	tested   []*Server
	canceled []*Server
	closing  []*Server
	recalled []*Server           // of active: the set has asked for it
	queued   map[Class][]*Waiter // in the order of their coming, all pools
	moving   map[*Server]*Waiter // waits to be promoted
	opened   map[any]bool        // of the waiters with a server of their own, those for whom one was opened
	used     map[any]bool        // of the waiters with a server of their own, those who got it
	served   map[*Pool][]Class   // the classes of those that were served, while others waited
	loops    int
	dbMax    int
	total    int
	postgres int // places that PostgreSQL has
	limits   Limits
}

var limits = Limits{
	Size: 3, MinSize: 1, Reserve: 1, ReserveTimeout: 2 * time.Second, WaitTimeout: 5 * time.Second, WaitNotify: time.Second,
	Lifetime: time.Minute, IdleTimeout: 20 * time.Second, LoginRetry: 3 * time.Second, CheckDelay: 10 * time.Second, DialsMax: 2,
}

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, set: NewSet(1), holder: map[*Server]*Waiter{}, queued: map[Class][]*Waiter{}, moving: map[*Server]*Waiter{},
		opened: map[any]bool{}, used: map[any]bool{}, served: map[*Pool][]Class{},
		loops: rapid.IntRange(1, 2).Draw(t, "loops"), dbMax: rapid.SampledFrom([]int{0, 4}).Draw(t, "max_db_connections"),
		total: rapid.SampledFrom([]int{0, 3, 6}).Draw(t, "max_connections"), postgres: rapid.IntRange(3, 12).Draw(t, "places of PostgreSQL"),
	}
	w.limits = limits
	w.limits.Size = rapid.IntRange(1, 4).Draw(t, "default_pool_size")
	w.limits.MinSize = rapid.IntRange(0, 1).Draw(t, "min_pool_size")
	w.limits.Reserve = rapid.IntRange(0, 1).Draw(t, "reserve_pool_size")
	w.limits.OwnShare = rapid.SampledFrom([]int{0, 50}).Draw(t, "own share")
	w.limits.LendAfter = rapid.SampledFrom([]time.Duration{0, 50 * time.Millisecond}).Draw(t, "lend after")
	w.set.SetDatabaseMax("db", w.dbMax)
	w.set.SetBudget(w.total, 0)
	for i, user := range []string{"one", "two"}[:rapid.IntRange(1, 2).Draw(t, "roles")] {
		for _, l := range []string{"transactional", "session"} {
			p := w.set.Open(Key{l, "db", user}, w.limits, 0)
			p.Hold()
			w.pools = append(w.pools, p)
		}
		w.set.SetUserWeight(user, i+1)
	}
	w.carryOut()
	return w
}

// sessionOf is the session pool that the servers of a transaction pool are promoted to; nil for a session pool.
func (w *world) sessionOf(p *Pool) *Pool {
	if i := slices.Index(w.pools, p); i%2 == 0 {
		return w.pools[i+1]
	}
	return nil
}

// carryOut does what the Set asks for, and checks that each action makes sense.
func (w *world) carryOut() {
	for _, a := range slices.Clone(w.set.Actions()) {
		switch a.Kind {
		case ActDial:
			if d := a.Server.Dedicated; d != nil {
				if w.opened[d] {
					w.t.Fatal("two servers were opened for one waiter")
				}
				w.opened[d] = true
			}
			w.dialing = append(w.dialing, a.Server)
		case ActGrant:
			w.granted(a.Server, a.Waiter)
		case ActClose:
			if w.holder[a.Server] != nil {
				w.t.Fatal("a server that a client has is closed")
			}
			w.forget(a.Server)
			w.closing = append(w.closing, a.Server)
		case ActCheck:
			w.tested = append(w.tested, a.Server)
		case ActRecall:
			if !slices.Contains(w.active, a.Server) || w.now-a.Server.lendableAt < w.limits.LendAfter {
				w.t.Fatal("a server is called back that does not rest, or has not for long")
			}
			w.recalled = append(w.recalled, a.Server)
		case ActExpire:
			if a.Waited < w.limits.WaitTimeout {
				w.t.Fatalf("expired after %v", a.Waited)
			}
			w.dequeue(a.Waiter)
			maps.DeleteFunc(w.moving, func(_ *Server, wt *Waiter) bool { return wt == a.Waiter })
		case ActFail:
			if a.Err == nil {
				w.t.Fatal("failed without an error")
			}
			w.dequeue(a.Waiter)
		case ActPromoted:
			if w.moving[a.Server] != a.Waiter || a.Waiter.Waiting() || a.Server.use != UsePinned {
				w.t.Fatal("promoted in vain")
			}
			w.dequeue(a.Waiter)
			delete(w.moving, a.Server)
		case ActMoved:
			if w.moving[a.Server] != nil {
				w.t.Fatal("a server that somebody wants a place for was moved")
			}
		case ActNotify:
			if a.Waited < w.limits.WaitNotify { // it may be served by the next action already
				w.t.Fatal("notified too early")
			}
		}
	}
}

// granted checks which waiter gets a server: with one loop exactly the first of its class, but for those who wait for one of their own.
func (w *world) granted(s *Server, wt *Waiter) {
	if w.holder[s] != nil {
		w.t.Fatal("a server that is lent was lent again")
	}
	if s.Dedicated != wt.Dedicated {
		w.t.Fatalf("a waiter that wants %v was granted a server opened for %v", wt.Dedicated, s.Dedicated)
	}
	if s.pool != wt.home && s.pool != wt.refuge {
		w.t.Fatal("a waiter was granted a server of a pool that is neither its own nor the other one")
	}
	w.inOrder(s.pool, wt)
	w.dequeue(wt)
	if d := s.Dedicated; d != nil {
		if w.used[d] {
			w.t.Fatal("a server of a waiter's own was lent twice")
		}
		w.used[d] = true
	}
	w.holder[s] = wt
	w.active = append(w.active, s)
}

// inOrder checks that nobody of the same class, who waits in the same pool, has waited for longer.
func (w *world) inOrder(p *Pool, wt *Waiter) {
	for i, other := range w.queued[wt.class()] {
		if other == wt || wt.Dedicated != nil {
			return
		}
		if other.Dedicated != nil || other.promotes != nil || other.queue == nil || other.queue.pool != p || other.EnqueuedAt >= wt.EnqueuedAt {
			continue
		}
		if w.loops == 1 || wt.EnqueuedAt-other.EnqueuedAt > overtakenAge || i > searchMax {
			w.t.Fatalf("one that came at %v was served before one that came at %v", wt.EnqueuedAt, other.EnqueuedAt)
		}
	}
}

func (w *world) dequeue(wt *Waiter) {
	for c := range w.queued {
		if i := slices.Index(w.queued[c], wt); i >= 0 {
			w.queued[c] = slices.Delete(w.queued[c], i, i+1)
			return
		}
	}
	w.t.Fatal("a waiter that does not wait was served")
}

// forget takes a server off the model's lists.
func (w *world) forget(s *Server) {
	for _, l := range []*[]*Server{&w.dialing, &w.active, &w.tested, &w.canceled, &w.recalled} {
		if i := slices.Index(*l, s); i >= 0 {
			*l = slices.Delete(*l, i, i+1)
		}
	}
	delete(w.holder, s)
	if wt := w.moving[s]; wt != nil {
		w.dequeue(wt)
		delete(w.moving, s)
	}
}

func (w *world) outcome(s *Server, o Outcome) {
	w.forget(s)
	switch o.Kind {
	case Lent:
		w.granted(s, o.Waiter)
	case Tested:
		w.tested = append(w.tested, s)
	case BeingCanceled:
		w.canceled = append(w.canceled, s)
	case Closing:
		w.closing = append(w.closing, s)
	case Idle:
	}
	w.carryOut()
}

// check is run after every step.
func (w *world) check() {
	if err := w.set.Verify(); err != nil {
		w.t.Fatal(err)
	}
	total := 0
	for _, p := range w.pools {
		total += p.Open()
		w.checkPool(p)
	}
	listening := 0
	for _, s := range w.active {
		if s.listens {
			listening++
		}
	}
	if listening > 0 && (w.limits.Size < 2 || w.dbMax > 0 && listening >= w.dbMax || w.total > 0 && listening >= w.total) {
		w.t.Fatalf("%d servers listen, and none is left for queries", listening)
	}
	if w.dbMax > 0 && total > w.dbMax {
		w.t.Fatalf("%d servers of a database that may have %d", total, w.dbMax)
	}
	if w.total > 0 && total > w.total {
		w.t.Fatalf("%d servers, and there may be %d", total, w.total)
	}
	if len(w.dialing)+len(w.active)+len(w.tested)+len(w.canceled)+len(w.closing)+w.idle() != total {
		w.t.Fatal("servers have been lost")
	}
}

func (w *world) checkPool(p *Pool) {
	switch {
	case p.Open() > w.limits.Size+w.limits.Reserve:
		w.t.Fatalf("%d servers, size %d and reserve %d", p.Open(), w.limits.Size, w.limits.Reserve)
	case p.Count(ServerNew) > w.limits.DialsMax:
		w.t.Fatalf("%d logins at once", p.Count(ServerNew))
	case p.slow.Len() > w.limits.Size-share(w.limits.Size, 40):
		w.t.Fatalf("%d clients of %d have their server for long", p.slow.Len(), w.limits.Size)
	}
	// No lost wake-up: somebody waits, there is room, nothing is on its way, and no pause runs.
	if wt := p.undialed(w.now); wt != nil && p.open < w.limits.Size {
		if p.affordable() {
			w.t.Fatal("somebody waits for a server that nobody opens")
		}
		w.checkStarving(p)
	}
	if wt := p.unserved(w.now); wt != nil && wt.promotes != nil && p.open < w.limits.Size {
		w.t.Fatal("somebody waits for a place that is free")
	}
}

// checkStarving: no server is idle whose end would make room for a pool that starves, unless as many as it lacks end already.
func (w *world) checkStarving(p *Pool) {
	if !p.starves.Linked() {
		w.t.Fatal("a pool starves that nobody knows of")
	}
	for _, other := range w.pools {
		if other != p && p.relieves(other) && other.Count(ServerIdle) > 0 && p.placesComing() < p.lacks(w.now) {
			w.t.Fatalf("%d servers are idle while another pool starves", other.Count(ServerIdle))
		}
	}
}

func (w *world) idle() (n int) {
	for _, p := range w.pools {
		n += p.Count(ServerIdle)
	}
	return n
}

var clean = Facts{TxStatus: 'I'}

// TestMain asks for many runs, each long enough that both pools fill up; the command line has the last word.
func TestMain(m *testing.M) {
	if err := errors.Join(flag.Set("rapid.steps", "120"), flag.Set("rapid.checks", "2000")); err != nil {
		panic(err)
	}
	m.Run()
}

// full is PostgreSQL's word that it has no place for another connection.
type full struct{ error }

func (full) Full() bool      { return true }
func (full) Transient() bool { return true }

// pick draws one of the servers; nil if there is none.
func pick(t *rapid.T, l []*Server) *Server {
	if len(l) == 0 {
		return nil
	}
	return l[rapid.IntRange(0, len(l)-1).Draw(t, "server")]
}

func (w *world) pickPool(t *rapid.T) *Pool {
	return w.pools[rapid.IntRange(0, len(w.pools)-1).Draw(t, "pool")]
}

// queue puts a waiter into the model's queues, before the set sees it. Its class is known only afterwards.
func (w *world) queue(wt *Waiter, ask func() *Server) {
	const unknown = classes
	w.queued[unknown] = append(w.queued[unknown], wt)
	s := ask()
	if s != nil {
		w.granted(s, wt)
	} else {
		w.queued[unknown] = nil
		w.queued[wt.class()] = append(w.queued[wt.class()], wt)
	}
	w.carryOut()
}

// TestRandomOperations: invariants 1, 3 and 5 after each of any sequence of operations.
func TestRandomOperations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		actions := map[string]func(*rapid.T){"": func(*rapid.T) { w.check() }}
		for _, more := range []map[string]func(*rapid.T){w.clients(), w.servers(), w.promotions()} {
			maps.Copy(actions, more)
		}
		t.Repeat(actions)
	})
}

// clients are the steps of clients, and of time.
func (w *world) clients() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"checkout": func(t *rapid.T) {
			p := w.pickPool(t)
			wt := &Waiter{Loop: rapid.IntRange(0, w.loops-1).Draw(t, "loop"), Returning: rapid.Bool().Draw(t, "returning")}
			others := p.Waiting()
			w.queue(wt, func() *Server {
				s := p.Checkout(wt, w.now)
				if s != nil && others > 0 {
					t.Fatal("served before those who wait")
				}
				return s
			})
		},
		"checkout for long": func(t *rapid.T) {
			p := w.pickPool(t)
			if w.sessionOf(p) == nil {
				return
			}
			wt := &Waiter{Loop: rapid.IntRange(0, w.loops-1).Draw(t, "loop")}
			use := rapid.SampledFrom([]Use{UseLong, UsePinned}).Draw(t, "use")
			w.queue(wt, func() *Server { return p.CheckoutFor(use, wt, w.sessionOf(p), w.now) })
		},
		"checkout of its own": func(t *rapid.T) {
			p := w.pools[1]
			wt := &Waiter{Loop: rapid.IntRange(0, w.loops-1).Draw(t, "loop"), Dedicated: new(int)}
			w.queue(wt, func() *Server {
				if p.Checkout(wt, w.now) != nil {
					t.Fatal("a server of its own from nowhere")
				}
				return nil
			})
		},
		"checkin": func(t *rapid.T) {
			s := pick(t, w.active)
			if s == nil {
				return
			}
			f := clean
			switch rapid.IntRange(0, 9).Draw(t, "facts") {
			case 0:
				f.TxStatus = 'T'
			case 1:
				f.RepliesOwed = 1
			case 2:
				f.CancelsInFlight = 1
			case 3:
				f.Dirty = true
			case 4:
				f.Doubt = true
			}
			o := s.pool.Checkin(s, f, w.now)
			if (o.Kind == Idle || o.Kind == Lent) && (f != clean || s.Dedicated != nil) {
				t.Fatalf("%+v of %v passed the gate", f, s.Dedicated)
			}
			w.outcome(s, o)
		},
		"rest": func(t *rapid.T) {
			if s := pick(t, w.active); s != nil && s.state == ServerActive && w.sessionOf(s.home) == nil {
				s.pool.Rest(s, w.now)
			}
		},
		"resume": func(t *rapid.T) {
			s := pick(t, w.active)
			if s == nil || s.state == ServerActive {
				return
			}
			s.pool.Resume(s, w.now)
			w.recalled = slices.DeleteFunc(w.recalled, func(other *Server) bool { return other == s })
			w.carryOut()
		},
		"given back as asked": func(t *rapid.T) {
			if s := pick(t, w.recalled); s != nil {
				w.outcome(s, s.pool.Checkin(s, clean, w.now))
			}
		},
		"leave": func(t *rapid.T) {
			var all []*Waiter
			for c := range classes {
				all = append(all, w.queued[c]...)
			}
			if len(all) == 0 {
				return
			}
			wt := all[rapid.IntRange(0, len(all)-1).Draw(t, "waiter")]
			if !w.set.Leave(wt, w.now) || wt.Waiting() || w.set.Leave(wt, w.now) {
				t.Fatal("a waiter could not leave, or could leave twice")
			}
			w.dequeue(wt)
			maps.DeleteFunc(w.moving, func(_ *Server, other *Waiter) bool { return other == wt })
			w.carryOut()
		},
		"time": func(t *rapid.T) {
			w.now += time.Duration(rapid.IntRange(1, 3000).Draw(t, "milliseconds")) * time.Millisecond
			w.set.Tick(w.now)
			w.carryOut()
			for _, p := range w.pools {
				if p.OldestWait(w.now) >= w.limits.WaitTimeout {
					t.Fatal("somebody waits beyond query_wait_timeout")
				}
			}
		},
	}
}

// servers are the steps of servers.
func (w *world) servers() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"cleaned": func(t *rapid.T) {
			if s := pick(t, w.tested); s != nil {
				w.outcome(s, s.pool.Checkin(s, clean, w.now))
			}
		},
		"cancel delivered": func(t *rapid.T) {
			if s := pick(t, w.canceled); s != nil {
				w.outcome(s, s.pool.CancelDone(s, clean, w.now))
			}
		},
		"dialed": func(t *rapid.T) {
			s := pick(t, w.dialing)
			if s == nil {
				return
			}
			if w.set.total.open-len(w.dialing)+1 > w.postgres { // those that close count until PostgreSQL has freed them
				w.forget(s)
				s.pool.DialFailed(s, full{errors.New("too many clients")}, w.now)
				w.carryOut()
				return
			}
			w.outcome(s, s.pool.Dialed(s, rapid.IntRange(0, w.loops-1).Draw(t, "loop"), w.now))
		},
		"dial failed": func(t *rapid.T) {
			s := pick(t, w.dialing)
			if s == nil {
				return
			}
			w.forget(s)
			s.pool.DialFailed(s, errors.New("refused"), w.now)
			w.carryOut()
		},
		"lost": func(t *rapid.T) {
			s := pick(t, w.active)
			if s == nil {
				return
			}
			w.forget(s)
			s.pool.Close(s, w.now)
			w.closing = append(w.closing, s)
			w.carryOut()
		},
		"closed": func(t *rapid.T) {
			s := pick(t, w.closing)
			if s == nil {
				return
			}
			i := slices.Index(w.closing, s)
			w.closing = slices.Delete(w.closing, i, i+1)
			s.pool.Closed(s, w.now)
			w.carryOut()
		},
		"listen": func(t *rapid.T) {
			s := pick(t, w.active)
			if s == nil || s.state != ServerActive || w.moving[s] != nil || s.listens || !s.pool.MayListen() {
				return
			}
			s.pool.Listen(s)
			if !s.pool.MayGoOnListening() {
				t.Fatal("it may listen, but not go on")
			}
		},
	}
}

// promotions are the steps of clients that need a server for long.
func (w *world) promotions() map[string]func(*rapid.T) {
	candidate := func(t *rapid.T) *Server {
		s := pick(t, w.active)
		if s == nil || s.state != ServerActive || w.sessionOf(s.home) == nil || w.moving[s] != nil || s.listens {
			return nil
		}
		return s
	}
	return map[string]func(*rapid.T){
		"promote": func(t *rapid.T) {
			s := candidate(t)
			if s == nil {
				return
			}
			from, to, pressed := s.home, w.sessionOf(s.home), s.home.pressed(w.now)
			if from.Promote(s, to, w.now) {
				if !pressed || s.pool != to || w.holder[s] == nil {
					t.Fatal("promoted without need, or not in the other pool")
				}
			}
			w.carryOut()
		},
		"pin": func(t *rapid.T) {
			s := candidate(t)
			if s == nil {
				return
			}
			from, to := s.home, w.sessionOf(s.home)
			var wt *Waiter
			if rapid.Bool().Draw(t, "waits") {
				wt = &Waiter{Loop: rapid.IntRange(0, w.loops-1).Draw(t, "loop")}
				w.queued[ClassPromotion] = append(w.queued[ClassPromotion], wt)
				w.moving[s] = wt
			}
			if from.Pin(s, to, wt, w.now) {
				if wt != nil {
					w.dequeue(wt)
					delete(w.moving, s)
				}
				if s.use != UsePinned || s.pool != to && s.pool != from {
					t.Fatal("pinned, and counted as something else")
				}
			}
			w.carryOut()
		},
		"detach": func(t *rapid.T) {
			s := pick(t, w.active)
			if s == nil || w.moving[s] == nil {
				return
			}
			if !w.set.Detach(w.moving[s]) {
				t.Fatal("a waiter that waits is in no queue")
			}
			delete(w.moving, s)
			w.outcome(s, s.pool.Checkin(s, clean, w.now))
		},
		"unpin": func(t *rapid.T) {
			if s := pick(t, w.active); s != nil {
				s.pool.Unpin(s, w.now)
				w.carryOut()
			}
		},
	}
}
