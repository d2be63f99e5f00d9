package pool

import (
	"errors"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

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
		last := p.states[ServerIdle].First()
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

// TestSwappedServerIsNotTheLastUsed: a server that comes from another pool in exchange takes its place by when it was used. A server used
// later is lent first, without a check.
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
	fresh := open(from, now)
	from.Checkin(fresh, clean, now)
	old.enter(from)
	if s := from.Checkout(&Waiter{}, now); s != fresh {
		t.Errorf("lent %v, and not the one just used", s)
	}
	if a := set.Actions(); len(a) > 0 {
		t.Errorf("%+v", a)
	}
	if s := from.states[ServerIdle].Last(); s != old {
		t.Errorf("the other is %v", s)
	}
	if err := set.Verify(); err != nil {
		t.Error(err)
	}
}
