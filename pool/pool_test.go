package pool

import (
	"errors"
	"flag"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// world drives a Set as the proxy does, at random, and keeps a model of its own beside it.
type world struct {
	t        *rapid.T
	set      *Set
	now      time.Duration
	pools    []*Pool
	dialing  []*Server
	active   []*Server // lent; the owner of each is in holder
	holder   map[*Server]*Waiter
	tested   []*Server
	canceled []*Server
	closing  []*Server
	queued   map[*Pool][]*Waiter // in the order of their coming
	moving   map[*Server]*Waiter // waits to be promoted
	opened   map[any]bool        // of the waiters with a server of their own, those for whom one was opened
	used     map[any]bool        // of the waiters with a server of their own, those who got it
	loops    int
	dbMax    int
	limits   Limits
}

var limits = Limits{
	Size: 3, MinSize: 1, Reserve: 1, ReserveTimeout: 2 * time.Second, WaitTimeout: 5 * time.Second, WaitNotify: time.Second,
	Lifetime: time.Minute, IdleTimeout: 20 * time.Second, LoginRetry: 3 * time.Second, CheckDelay: 10 * time.Second, DialsMax: 2,
}

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, set: NewSet(1), holder: map[*Server]*Waiter{}, queued: map[*Pool][]*Waiter{}, moving: map[*Server]*Waiter{}, opened: map[any]bool{}, used: map[any]bool{},
		loops: rapid.IntRange(1, 2).Draw(t, "loops"), dbMax: rapid.SampledFrom([]int{0, 4}).Draw(t, "max_db_connections"),
	}
	w.limits = limits
	w.limits.Size = rapid.IntRange(1, 3).Draw(t, "default_pool_size")
	w.limits.MinSize = rapid.IntRange(0, 1).Draw(t, "min_pool_size")
	w.limits.Reserve = rapid.IntRange(0, 1).Draw(t, "reserve_pool_size")
	w.set.SetDatabaseMax("db", w.dbMax)
	for _, l := range []string{"transactional", "session"} {
		p := w.set.Open(Key{l, "db", "user"}, w.limits, 0)
		p.Hold()
		w.pools = append(w.pools, p)
		w.carryOut()
	}
	return w
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
			w.forget(a.Server)
			w.closing = append(w.closing, a.Server)
		case ActCheck:
			w.tested = append(w.tested, a.Server)
		case ActExpire:
			if a.Waited < w.limits.WaitTimeout {
				w.t.Fatalf("expired after %v", a.Waited)
			}
			w.dequeue(a.Pool, a.Waiter, false)
			maps.DeleteFunc(w.moving, func(_ *Server, wt *Waiter) bool { return wt == a.Waiter })
		case ActFail:
			if a.Err == nil {
				w.t.Fatal("failed without an error")
			}
			w.dequeue(a.Pool, a.Waiter, false)
		case ActPromoted:
			if a.Server.pool != a.Pool || w.moving[a.Server] != a.Waiter || a.Pool != w.pools[1] {
				w.t.Fatal("promoted in vain")
			}
			w.dequeue(a.Pool, a.Waiter, true)
			delete(w.moving, a.Server)
		case ActMoved:
			if a.Server.pool != a.Pool || w.holder[a.Server] != nil {
				w.t.Fatal("a server that somebody has was swapped")
			}
		case ActNotify:
			if a.Waited < w.limits.WaitNotify { // it may be served by the next action already
				w.t.Fatal("notified too early")
			}
		}
	}
}

// granted checks who gets a server: with one loop exactly the first in the queue, but for those who wait for one of their own.
func (w *world) granted(s *Server, wt *Waiter) {
	if w.holder[s] != nil {
		w.t.Fatal("a server that is lent was lent again")
	}
	if s.Dedicated != wt.Dedicated {
		w.t.Fatalf("a waiter that wants %v was granted a server opened for %v", wt.Dedicated, s.Dedicated)
	}
	w.dequeue(s.pool, wt, true)
	if d := s.Dedicated; d != nil {
		if w.used[d] {
			w.t.Fatal("a server of a waiter's own was lent twice")
		}
		w.used[d] = true
	}
	w.holder[s] = wt
	w.active = append(w.active, s)
}

func (w *world) dequeue(p *Pool, wt *Waiter, granted bool) {
	i := slices.Index(w.queued[p], wt)
	if i < 0 {
		w.t.Fatal("a waiter that does not wait was served")
	}
	head := slices.IndexFunc(w.queued[p], func(head *Waiter) bool { return head.Dedicated == nil })
	if granted && wt.Dedicated == nil && i > head {
		if w.loops == 1 || wt.EnqueuedAt-w.queued[p][head].EnqueuedAt > overtakenAge || i > searchMax {
			w.t.Fatalf("waiter %d of the queue was served first", i)
		}
	}
	w.queued[p] = slices.Delete(w.queued[p], i, i+1)
}

// forget takes a server off the model's lists.
func (w *world) forget(s *Server) {
	for _, l := range []*[]*Server{&w.dialing, &w.active, &w.tested, &w.canceled} {
		if i := slices.Index(*l, s); i >= 0 {
			*l = slices.Delete(*l, i, i+1)
		}
	}
	delete(w.holder, s)
	if wt := w.moving[s]; wt != nil {
		w.unqueue(w.pools[1], wt)
		delete(w.moving, s)
	}
}

func (w *world) unqueue(p *Pool, wt *Waiter) {
	if i := slices.Index(w.queued[p], wt); i >= 0 {
		w.queued[p] = slices.Delete(w.queued[p], i, i+1)
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
		if p.Open() > w.limits.Size+w.limits.Reserve {
			w.t.Fatalf("%d servers, size %d and reserve %d", p.Open(), w.limits.Size, w.limits.Reserve)
		}
		if p.Waiting() != len(w.queued[p]) {
			w.t.Fatalf("%d wait, the model has %d", p.Waiting(), len(w.queued[p]))
		}
		if p.Count(ServerNew) > w.limits.DialsMax {
			w.t.Fatalf("%d logins at once", p.Count(ServerNew))
		}
		// No lost wake-up: somebody waits, there is room, nothing is on its way, and no pause runs.
		if wt := p.unserved(); wt != nil && p.open < w.limits.Size && p.Count(ServerClosing) == 0 && p.Count(ServerNew) < w.limits.DialsMax && w.now >= p.retryAt && !p.database.full() {
			w.t.Fatal("somebody waits for a server that nobody opens")
		}
		if p.Waiting() > 0 && p.open == 0 && w.now >= p.retryAt && !p.database.full() {
			w.t.Fatal("somebody waits for a server that nobody opens, although there is none")
		}
	}
	listening := 0
	for _, s := range w.active {
		if s.listens {
			listening++
		}
	}
	if listening > 0 && (w.limits.Size < 2 || w.dbMax > 0 && listening >= w.dbMax) {
		w.t.Fatalf("%d servers listen, and none is left for queries", listening)
	}
	if w.dbMax > 0 && total > w.dbMax {
		w.t.Fatalf("%d servers of a database that may have %d", total, w.dbMax)
	}
	if len(w.dialing)+len(w.active)+len(w.tested)+len(w.canceled)+len(w.closing)+w.idle() != total {
		w.t.Fatal("servers have been lost")
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

// TestRandomOperations: invariants 1, 3 and 5 after each of any sequence of operations.
func TestRandomOperations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		pick := func(l []*Server, name string) *Server {
			if len(l) == 0 {
				return nil
			}
			return l[rapid.IntRange(0, len(l)-1).Draw(t, name)]
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { w.check() },
			"checkout": func(t *rapid.T) {
				p := w.pools[rapid.IntRange(0, 1).Draw(t, "pool")]
				wt := &Waiter{Loop: rapid.IntRange(0, w.loops-1).Draw(t, "loop")}
				w.queued[p] = append(w.queued[p], wt)
				if s := p.Checkout(wt, w.now); s != nil {
					if len(w.queued[p]) > 1 {
						t.Fatal("served before those who wait")
					}
					w.granted(s, wt)
				}
				w.carryOut()
			},
			"checkout of its own": func(t *rapid.T) {
				p := w.pools[1]
				wt := &Waiter{Loop: rapid.IntRange(0, w.loops-1).Draw(t, "loop"), Dedicated: new(int)}
				w.queued[p] = append(w.queued[p], wt)
				if p.Checkout(wt, w.now) != nil {
					t.Fatal("a server of its own from nowhere")
				}
				w.carryOut()
			},
			"checkin": func(t *rapid.T) {
				s := pick(w.active, "server")
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
			"cleaned": func(t *rapid.T) {
				s := pick(w.tested, "server")
				if s == nil {
					return
				}
				w.outcome(s, s.pool.Checkin(s, clean, w.now))
			},
			"cancel delivered": func(t *rapid.T) {
				s := pick(w.canceled, "server")
				if s == nil {
					return
				}
				w.outcome(s, s.pool.CancelDone(s, clean, w.now))
			},
			"dialed": func(t *rapid.T) {
				s := pick(w.dialing, "server")
				if s == nil {
					return
				}
				w.outcome(s, s.pool.Dialed(s, rapid.IntRange(0, w.loops-1).Draw(t, "loop"), w.now))
			},
			"dial failed": func(t *rapid.T) {
				s := pick(w.dialing, "server")
				if s == nil {
					return
				}
				w.forget(s)
				s.pool.DialFailed(s, errors.New("refused"), w.now)
				w.carryOut()
			},
			"lost": func(t *rapid.T) {
				s := pick(w.active, "server")
				if s == nil {
					return
				}
				w.forget(s)
				s.pool.Close(s, CloseLost, w.now)
				w.closing = append(w.closing, s)
				w.carryOut()
			},
			"closed": func(t *rapid.T) {
				s := pick(w.closing, "server")
				if s == nil {
					return
				}
				i := slices.Index(w.closing, s)
				w.closing = slices.Delete(w.closing, i, i+1)
				s.pool.Closed(s, w.now)
				w.carryOut()
			},
			"leave": func(t *rapid.T) {
				p := w.pools[rapid.IntRange(0, 1).Draw(t, "pool")]
				if len(w.queued[p]) == 0 {
					return
				}
				wt := w.queued[p][rapid.IntRange(0, len(w.queued[p])-1).Draw(t, "waiter")]
				if !w.set.Leave(wt, w.now) || wt.Waiting() || w.set.Leave(wt, w.now) {
					t.Fatal("a waiter could not leave, or could leave twice")
				}
				w.unqueue(p, wt)
				maps.DeleteFunc(w.moving, func(_ *Server, other *Waiter) bool { return other == wt })
				w.carryOut()
			},
			"listen": func(t *rapid.T) {
				s := pick(w.active, "server")
				if s == nil || w.moving[s] != nil || s.listens || !s.pool.MayListen() {
					return
				}
				s.pool.Listen(s)
				if !s.pool.MayGoOnListening() {
					t.Fatal("it may listen, but not go on")
				}
			},
			"promote": func(t *rapid.T) {
				s := pick(w.active, "server")
				if s == nil || s.pool != w.pools[0] || w.moving[s] != nil || s.listens {
					return
				}
				from, to := w.pools[0], w.pools[1]
				opened, there, idle, queue := from.Open(), to.Open(), to.Count(ServerIdle), len(w.queued[to])
				var wt *Waiter
				if rapid.Bool().Draw(t, "waits") {
					wt = &Waiter{Loop: rapid.IntRange(0, w.loops-1).Draw(t, "loop")}
					w.queued[to] = append(w.queued[to], wt)
					w.moving[s] = wt
				}
				if from.Promote(s, to, wt, w.now) {
					if queue > 0 {
						t.Fatal("promoted before those who wait")
					}
					if wt != nil {
						w.unqueue(to, wt)
						delete(w.moving, s)
					}
					if s.pool != to || w.holder[s] == nil {
						t.Fatal("promoted, and not in the other pool")
					}
				} else if queue == 0 && (there < w.limits.Size || idle > 0) && to.retryAt == 0 && to.Count(ServerClosing) == 0 {
					t.Fatalf("not promoted, with %d servers there, %d idle, and %d here", there, idle, opened)
				}
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
			"reconnect": func(t *rapid.T) {
				w.pools[rapid.IntRange(0, 1).Draw(t, "pool")].MarkStale(w.now)
				w.carryOut()
			},
		})
	})
}

// TestGate: each condition of Checkin closes or keeps back a server by itself, for its own reason.
func TestGate(t *testing.T) {
	for reason, f := range map[CloseReason]Facts{
		CloseDoubt:         {TxStatus: 'I', Doubt: true},
		CloseLost:          {TxStatus: 'I', Lost: true},
		CloseMidMessage:    {TxStatus: 'I', MidMessage: true},
		CloseInCopy:        {TxStatus: 'I', InCopy: true},
		CloseRepliesOwed:   {TxStatus: 'I', RepliesOwed: 1},
		CloseUnreadBytes:   {TxStatus: 'I', Unread: true},
		CloseInTransaction: {TxStatus: 'T'},
	} {
		p, s := lent(t, limits)
		if o := p.Checkin(s, f, 0); o.Kind != Closing || o.Reason != reason {
			t.Errorf("%v: got %+v", reason, o)
		}
	}
	p, s := lent(t, limits)
	if o := p.Checkin(s, Facts{TxStatus: 'I', CancelsInFlight: 1}, 0); o.Kind != BeingCanceled {
		t.Errorf("a cancel in flight: %+v", o)
	}
	if o := p.CancelDone(s, clean, 0); o.Kind != Idle {
		t.Errorf("the cancel has been delivered: %+v", o)
	}
}

// lent is a pool with one server, which is lent.
func lent(t *testing.T, l Limits) (*Pool, *Server) {
	t.Helper()
	l.MinSize = 0
	set := NewSet(1)
	p := set.Open(Key{"l", "d", "u"}, l, 0)
	if p.Checkout(&Waiter{}, 0) != nil {
		t.Fatal("a server from nowhere")
	}
	s := set.Actions()[0].Server
	if o := p.Dialed(s, 0, 0); o.Kind != Lent {
		t.Fatalf("dialled: %+v", o)
	}
	return p, s
}

// TestNoAllocation: lending and taking back cost none.
func TestNoAllocation(t *testing.T) {
	p, s := lent(t, limits)
	p.Checkin(s, clean, 0)
	w := &Waiter{}
	if n := testing.AllocsPerRun(1000, func() { p.Checkin(p.Checkout(w, 0), clean, 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// refusal is PostgreSQL's no.
type refusal struct{ error }

func (refusal) Refused() bool { return true }

// TestRefused: after PostgreSQL has refused the pool's login, who comes during the pause hears so at once; after it another try is made.
// Where PostgreSQL could only not be reached, the next try is waited for.
func TestRefused(t *testing.T) {
	for _, err := range []error{refusal{errors.New("no such database")}, errors.New("unreachable")} {
		set := NewSet(1)
		p := set.Open(Key{"l", "d", "u"}, Limits{Size: 2, LoginRetry: time.Second}, 0)
		p.Checkout(&Waiter{}, 0)
		p.DialFailed(set.Actions()[0].Server, err, 0)
		set.Actions()
		w := &Waiter{}
		p.Checkout(w, 1)
		_, said := err.(refusal) //nolint:errorlint // made above
		if a := set.Actions(); said != (len(a) == 1 && a[0].Kind == ActFail && a[0].Waiter == w && errors.Is(a[0].Err, err)) {
			t.Errorf("during the pause after %q: %+v", err, a)
		}
		if w.Waiting() == said {
			t.Errorf("%q: waiting %v", err, w.Waiting())
		}
		p.Checkout(&Waiter{}, 2*time.Second)
		if a := set.Actions(); len(a) == 0 || a[0].Kind != ActDial {
			t.Errorf("after the pause: %+v", a)
		}
	}
}

// TestSameParameters: an idle server that has the parameters that are wanted is lent before the one used last; any other will do.
func TestSameParameters(t *testing.T) {
	p, a := lent(t, limits)
	p.Checkout(&Waiter{}, 0)
	b := p.set.Actions()[0].Server
	p.Dialed(b, 0, 0)
	one := sqltext.Session{Own: sqltext.Settings{}.With("app.tenant_id", "1")}
	two := sqltext.Session{Own: sqltext.Settings{}.With("app.tenant_id", "2")}
	a.Session, b.Session = one, two
	p.Checkin(a, clean, 0)
	p.Checkin(b, clean, 0)
	for want, server := range map[sqltext.Session]*Server{one: a, two: b, {}: nil} {
		last := p.states[ServerIdle].first
		s := p.Checkout(&Waiter{Session: want}, 0)
		if server == nil {
			server = last
		}
		if s != server {
			t.Errorf("%v: another server", want)
		}
		p.Checkin(s, clean, 0)
	}
}

// TestSmallerBudget: where a budget that pools share is made smaller, no more servers are closed than have to be, also while those are
// still on their way out.
func TestSmallerBudget(t *testing.T) {
	set := NewSet(1)
	l := Limits{Size: 3}
	var pools []*Pool
	var servers []*Server
	for _, user := range []string{"a", "b"} {
		p := set.Open(Key{"l", "d", user}, l, 0)
		pools = append(pools, p)
		for range l.Size {
			p.Checkout(&Waiter{}, 0)
			s := set.Actions()[0].Server
			p.Dialed(s, 0, 0)
			servers = append(servers, s)
		}
	}
	idle := servers[1:]
	for _, s := range idle {
		s.pool.Checkin(s, clean, 0)
	}
	set.SetDatabaseMax("d", 4)
	for _, p := range pools {
		set.SetLimits(p, l, 0)
	}
	set.Tick(0)
	busy := servers[0]
	if o := busy.pool.Checkin(busy, clean, 0); o.Kind != Idle {
		t.Errorf("a server within the budget: %+v", o)
	}
	if n := len(set.Actions()); n != 2 {
		t.Errorf("%d of 6 servers are closed to be 4", n)
	}
	if err := set.Verify(); err != nil {
		t.Error(err)
	}
}

// TestReserve: the reserve is for those who have waited for reserve_pool_timeout.
func TestReserve(t *testing.T) {
	p, _ := lent(t, Limits{Size: 1, Reserve: 1, ReserveTimeout: 2 * time.Second})
	p.set.Actions()
	p.Checkout(&Waiter{}, 0)
	p.set.Tick(time.Second)
	if a := p.set.Actions(); len(a) != 0 {
		t.Errorf("after a second: %+v", a)
	}
	p.set.Tick(2 * time.Second)
	if a := p.set.Actions(); len(a) != 1 || a[0].Kind != ActDial {
		t.Errorf("after two: %+v", a)
	}
}

// TestLifetime: a server that has reached its lifetime is not lent any more, though nobody has closed it yet.
func TestLifetime(t *testing.T) {
	p, s := lent(t, Limits{Size: 1, Lifetime: time.Minute})
	p.Checkin(s, clean, 0)
	p.set.Actions()
	if p.Checkout(&Waiter{}, time.Minute) != nil {
		t.Error("lent")
	}
	if a := p.set.Actions(); len(a) != 1 || a[0].Kind != ActClose || a[0].Reason != CloseLifetime {
		t.Errorf("%+v", a)
	}
}

// TestSwappedServerIsNotTheLastUsed: a server that comes from another pool in exchange takes its place by when it was used. One used later is
// lent without it being checked first.
func TestSwappedServerIsNotTheLastUsed(t *testing.T) {
	set := NewSet(1)
	l := Limits{Size: 2, CheckDelay: time.Second}
	from, to := set.Open(Key{"t", "d", "u"}, l, 0), set.Open(Key{"s", "d", "u"}, Limits{Size: 1}, 0)
	open := func(p *Pool, now time.Duration) *Server {
		p.Checkout(&Waiter{}, now)
		s := set.Actions()[0].Server
		if o := p.Dialed(s, 0, now); o.Kind != Lent {
			t.Fatalf("%+v", o)
		}
		return s
	}
	old := open(to, 0)
	to.Checkin(old, clean, 0)
	const now = 2 * time.Second
	promoted, fresh := open(from, now), open(from, now)
	from.Checkin(fresh, clean, now)
	if !from.Promote(promoted, to, nil, now) || old.Pool() != from {
		t.Fatal("they were not swapped")
	}
	set.Actions()
	if s := from.Checkout(&Waiter{}, now); s != fresh {
		t.Errorf("lent %v, and not the one just used", s)
	}
	if a := set.Actions(); len(a) > 0 {
		t.Errorf("%+v", a)
	}
	if s := from.states[ServerIdle].last; s != old {
		t.Errorf("the other is %v", s)
	}
	if err := set.Verify(); err != nil {
		t.Error(err)
	}
}
