package pool

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// crowd is a Set whose actions are carried out at once, but for closing, which takes a step. PostgreSQL has room for places servers.
type crowd struct {
	t       *testing.T
	set     *Set
	now     time.Duration
	places  int
	closing []*Server
	granted map[*Waiter]*Server
	failed  map[*Waiter]error
	peak    int
	closes  int // servers that were closed
}

func newCrowd(t *testing.T) *crowd {
	return &crowd{t: t, set: NewSet(1), places: unlimited, granted: map[*Waiter]*Server{}, failed: map[*Waiter]error{}}
}

func (c *crowd) open(user string, l Limits) *Pool {
	p := c.set.Open(Key{"l", "d", user}, l, c.now)
	p.Hold()
	return p
}

// ask takes a server for a new waiter, or queues it.
func (c *crowd) ask(p *Pool) *Waiter {
	w := &Waiter{}
	if s := p.Checkout(w, c.now); s != nil {
		c.granted[w] = s
	}
	c.settle()
	return w
}

// settle carries out all actions.
func (c *crowd) settle() {
	c.t.Helper()
	for again := true; again; {
		again = false
		for _, a := range slices.Clone(c.set.Actions()) {
			again = true
			switch a.Kind {
			case ActDial:
				c.dialed(a.Server)
			case ActGrant:
				c.granted[a.Waiter] = a.Server
			case ActClose:
				c.closing = append(c.closing, a.Server)
			case ActExpire, ActFail:
				c.failed[a.Waiter] = a.Err
			default:
				c.t.Fatalf("action %d", a.Kind)
			}
		}
		c.verify()
	}
}

func (c *crowd) dialed(s *Server) {
	connected := -s.pool.states[ServerNew].Len()
	for _, p := range c.set.pools {
		connected += p.open
	}
	if connected >= c.places {
		s.pool.DialFailed(s, full{errors.New("sorry, too many clients already")}, c.now)
		return
	}
	c.outcome(s, s.pool.Dialed(s, 0, c.now))
}

func (c *crowd) outcome(s *Server, o Outcome) {
	switch o.Kind {
	case Lent:
		c.granted[o.Waiter] = s
	case Closing:
		c.closing = append(c.closing, s)
	case Idle:
	default:
		c.t.Fatalf("outcome %d", o.Kind)
	}
}

// giveBack ends the use of a server.
func (c *crowd) giveBack(w *Waiter) {
	s := c.granted[w]
	delete(c.granted, w)
	c.outcome(s, s.pool.Checkin(s, clean, c.now))
	c.settle()
}

// closed lets PostgreSQL free the places of the servers that are closing.
func (c *crowd) closed() {
	for _, s := range c.closing {
		s.pool.Closed(s, c.now)
	}
	c.closes += len(c.closing)
	c.closing = nil
	c.settle()
}

func (c *crowd) tick(d time.Duration) {
	c.now += d
	c.set.Tick(c.now)
	c.settle()
}

func (c *crowd) verify() {
	c.t.Helper()
	if err := c.set.Verify(); err != nil {
		c.t.Fatal(err)
	}
	if n := c.set.total.open; n > c.set.total.max {
		c.t.Fatalf("%d servers, and there may be %d", n, c.set.total.max)
	}
	c.peak = max(c.peak, c.set.total.open)
}

// TestIdleServersMakeRoom: the first client of a role takes the place of the longest idle server of any other pool that has more than its
// minimum, in one step; several clients take several places at once.
func TestIdleServersMakeRoom(t *testing.T) {
	c := newCrowd(t)
	c.set.SetBudget(9, 0)
	old := c.open("old", Limits{Size: 3, MinSize: 3})
	rich, late, next := c.open("rich", Limits{Size: 3}), c.open("late", Limits{Size: 3}), c.open("next", Limits{Size: 6})
	for _, p := range []*Pool{old, rich, late} {
		held := []*Waiter{c.ask(p), c.ask(p), c.ask(p)}
		for _, w := range held {
			c.now += time.Millisecond
			c.giveBack(w)
		}
	}
	longest := rich.states[ServerIdle].Last()
	first := c.ask(next)
	if len(c.closing) != 1 || c.closing[0] != longest {
		t.Fatalf("%d servers are closed for one client, or not the longest idle one", len(c.closing))
	}
	c.closed()
	if c.granted[first] == nil {
		t.Fatal("a place is free, and its client has no server")
	}
	more := []*Waiter{c.ask(next), c.ask(next), c.ask(next), c.ask(next), c.ask(next)}
	if len(c.closing) != 5 || old.Open() != 3 {
		t.Fatalf("%d servers are closed for five clients; %d are left of a minimum of 3", len(c.closing), old.Open())
	}
	c.closed()
	last := c.open("last", Limits{Size: 1})
	w := c.ask(last) // now only the minimum is idle
	c.closed()
	for i, w := range append(more, w) {
		if c.granted[w] == nil {
			t.Errorf("client %d has no server", i)
		}
	}
}

// crowdOf has each role run clients that never stop asking, for so many steps. It returns how often each role was served, and the most steps
// that any client waited.
func crowdOf(t *testing.T, budget int, roles []string, weight func(string) int, clients, steps int) (served map[string]int, longest int) {
	t.Helper()
	c := newCrowd(t)
	c.set.SetBudget(budget, 0)
	served = make(map[string]int)
	type client struct {
		p     *Pool
		w     *Waiter
		since int
	}
	var all []*client
	for _, r := range roles {
		p := c.open(r, Limits{Size: clients})
		c.set.SetUserWeight(r, weight(r))
		for range clients {
			all = append(all, &client{p: p})
		}
	}
	closes := 0
	for step := range steps {
		if step == steps/2 {
			closes = c.closes
		}
		c.now += time.Millisecond
		had := maps.Clone(c.granted) // what is granted in this step is given back in the next
		for _, one := range all {
			switch {
			case one.w == nil:
				one.w, one.since = c.ask(one.p), step
			case had[one.w] != nil:
				served[one.p.Key.User]++
				longest = max(longest, step-one.since)
				c.giveBack(one.w)
				one.w, one.since = c.ask(one.p), step
			}
		}
		c.closed()
	}
	for _, one := range all {
		longest = max(longest, steps-one.since)
	}
	if n := c.closes - closes; len(roles) <= budget && n > 0 {
		t.Errorf("%d servers were closed after the shares were equal", n)
	}
	if c.peak < budget {
		t.Errorf("at most %d servers of %d were open", c.peak, budget)
	}
	return served, longest
}

func roleNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("role%d", i))
	}
	return names
}

func noWeight(string) int { return 1 }

// TestFairShares: ten roles with 25 clients each on a budget for 40 servers get equal parts, and no client waits for more than its turn.
func TestFairShares(t *testing.T) {
	roles := roleNames(10)
	const steps = 400
	served, longest := crowdOf(t, 40, roles, noWeight, 25, steps)
	most, least := 0, unlimited
	for _, r := range roles {
		most, least = max(most, served[r]), min(least, served[r])
	}
	if least*10 < most*8 {
		t.Errorf("roles were served %d to %d times: %v", least, most, served)
	}
	// Each role has four servers, so a client waits for 25/4 rounds of two steps, and a few steps until the shares are equal.
	if longest > 60 {
		t.Errorf("a client waited for %d steps", longest)
	}
}

// TestWeights: a role of weight 3 gets about three times the servers of the others.
func TestWeights(t *testing.T) {
	weight := func(role string) int {
		if role == "role0" {
			return 3
		}
		return 1
	}
	served, _ := crowdOf(t, 24, roleNames(4), weight, 25, 400)
	for _, other := range []string{"role1", "role2", "role3"} {
		if ratio := float64(served["role0"]) / float64(served[other]); ratio < 2.2 || ratio > 3.8 {
			t.Errorf("weight 3 was served %.1f times as often as %s: %v", ratio, other, served)
		}
	}
}

// TestMoreRolesThanPlaces: twelve roles share three places, and every client of each is served: they take turns.
func TestMoreRolesThanPlaces(t *testing.T) {
	roles := roleNames(12)
	served, longest := crowdOf(t, 3, roles, noWeight, 4, 1500)
	for _, r := range roles {
		if served[r] < 20 {
			t.Errorf("%s was served %d times", r, served[r])
		}
	}
	if longest > 200 {
		t.Errorf("a client waited for %d steps", longest)
	}
}

// TestYieldsAsNeeded: as many servers are given up for another role as that lacks, though they are given back before the first has ended.
func TestYieldsAsNeeded(t *testing.T) {
	c := newCrowd(t)
	c.set.SetBudget(5, 0)
	a, b := c.open("a", Limits{Size: 5}), c.open("b", Limits{Size: 5})
	var held []*Waiter
	for range 5 {
		held = append(held, c.ask(a))
	}
	for range 5 {
		c.ask(a)
	}
	w := c.ask(b)
	for _, h := range held {
		c.giveBack(h)
	}
	if len(c.closing) != 1 {
		t.Fatalf("%d servers are given up for one client", len(c.closing))
	}
	if c.closed(); c.granted[w] == nil {
		t.Fatal("it has none")
	}
}

// TestFairAmongPools: two pools of one role share its budget, though one of them has all the servers at first and never stops asking.
func TestFairAmongPools(t *testing.T) {
	c := newCrowd(t)
	c.set.SetUserMax("u", 4)
	one, two := c.set.Open(Key{"l", "one", "u"}, Limits{Size: 4}, 0), c.set.Open(Key{"l", "two", "u"}, Limits{Size: 4}, 0)
	var held []*Waiter
	for range 8 {
		held = append(held, c.ask(one))
	}
	wants := []*Waiter{c.ask(two), c.ask(two), c.ask(two)}
	for range 12 {
		i := slices.IndexFunc(held, func(w *Waiter) bool { return c.granted[w] != nil })
		c.giveBack(held[i])
		held = append(slices.Delete(held, i, i+1), c.ask(one))
		c.closed()
	}
	if one.Open() != 2 || two.Open() != 2 || c.granted[wants[0]] == nil || c.granted[wants[1]] == nil {
		t.Errorf("%d and %d servers", one.Open(), two.Open())
	}
}

// TestPostgreSQLIsFull: when PostgreSQL has no place for a server its word lowers the budget. Nobody is told an error for it: waiters wait, idle
// servers of other pools make room, and one more server is tried now and then. Those that wait for too long are told what PostgreSQL said.
func TestPostgreSQLIsFull(t *testing.T) {
	c := newCrowd(t)
	c.places = 3
	l := Limits{Size: 5, WaitTimeout: 10 * time.Second, LoginRetry: time.Second}
	a, b := c.open("a", l), c.open("b", l)
	idle, busy := c.ask(a), []*Waiter{c.ask(a), c.ask(a)}
	c.giveBack(idle)
	w := c.ask(b) // refused, as PostgreSQL has three
	if len(c.failed) != 0 || len(c.closing) != 1 {
		t.Fatalf("%d failed, %d servers make room", len(c.failed), len(c.closing))
	}
	c.closed()
	if c.granted[w] == nil {
		t.Fatal("an idle server has made room for nobody")
	}
	late := []*Waiter{c.ask(b), c.ask(b)}
	for range 40 {
		c.tick(200 * time.Millisecond)
	}
	if len(c.failed) != 0 || c.set.total.err == nil {
		t.Fatalf("%d failed; PostgreSQL is full: %v", len(c.failed), c.set.total.err)
	}
	c.places = unlimited // somebody else has left
	for range 6 {
		c.tick(200 * time.Millisecond)
		if c.granted[late[0]] != nil && c.granted[late[1]] == nil {
			t.Fatal("PostgreSQL has let one in, and the next is not tried at once")
		}
	}
	if c.granted[late[1]] == nil {
		t.Fatal("PostgreSQL has places, and nobody has tried")
	}
	c.places = 0
	never := c.ask(b)
	for range 55 {
		c.tick(200 * time.Millisecond)
	}
	if err := c.failed[never]; err == nil || !errors.As(err, &full{}) {
		t.Errorf("told after query_wait_timeout: %v", err)
	}
	for _, w := range busy {
		c.giveBack(w)
	}
	c.tick(2 * ceilingKept)
	if c.set.total.err != nil || c.set.total.max != unlimited {
		t.Errorf("PostgreSQL was full long ago: %d, %v", c.set.total.max, c.set.total.err)
	}
}

// TestDialsWhenPostgreSQLIsFull: a full PostgreSQL is not stormed with logins.
func TestDialsWhenPostgreSQLIsFull(t *testing.T) {
	set := NewSet(1)
	p := set.Open(Key{"l", "d", "u"}, Limits{Size: 25, LoginRetry: 15 * time.Second, DialsMax: 3}, 0)
	for range 100 {
		p.Checkout(&Waiter{}, 0)
	}
	dials := 0
	for now := time.Duration(0); now < time.Minute; now += 100 * time.Millisecond {
		set.Tick(now)
		for again := true; again; {
			again = false
			for _, a := range slices.Clone(set.Actions()) {
				if again = true; a.Kind != ActDial {
					t.Fatalf("action %d", a.Kind)
				}
				dials++
				p.DialFailed(a.Server, full{errors.New("full")}, now)
			}
		}
	}
	if dials < 6 || dials > 16 {
		t.Errorf("%d logins in a minute", dials)
	}
}

// TestRaisedBudget: a budget that is raised is used at once; one that is lowered closes idle servers only.
func TestRaisedBudget(t *testing.T) {
	c := newCrowd(t)
	c.set.SetBudget(1, 0)
	p := c.open("u", Limits{Size: 4})
	ws := []*Waiter{c.ask(p), c.ask(p), c.ask(p)}
	if p.Open() != 1 {
		t.Fatalf("%d servers", p.Open())
	}
	c.set.SetBudget(3, c.now)
	c.settle()
	if p.Open() != 3 || c.granted[ws[2]] == nil {
		t.Fatalf("%d servers", p.Open())
	}
	c.giveBack(ws[0])
	c.set.SetBudget(1, c.now)
	for _, a := range slices.Clone(c.set.Actions()) {
		if a.Reason != CloseOverSize {
			t.Errorf("action %d, reason %s", a.Kind, a.Reason)
		}
		c.closing = append(c.closing, a.Server)
	}
	if len(c.closing) != 1 || c.granted[ws[1]].State() != ServerActive {
		t.Errorf("%d servers are closed", len(c.closing))
	}
}
