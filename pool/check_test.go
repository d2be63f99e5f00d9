package pool

import (
	"testing"
	"time"
)

// checkPool is a pool of n idle servers that have to be checked after ten seconds.
func checkPool(t *testing.T, n int) (*Pool, []*Server) {
	t.Helper()
	set := NewSet(1)
	p := set.Open(Key{"l", "d", "u"}, Limits{Size: n, CheckDelay: 10 * time.Second}, 0)
	var servers []*Server
	for range n {
		p.Checkout(&Waiter{}, 0)
	}
	for _, a := range set.Actions() {
		p.Dialed(a.Server, 0, 0)
		servers = append(servers, a.Server)
	}
	for _, s := range servers {
		if o := p.Checkin(s, clean, 0); o.Kind != Idle {
			t.Fatalf("given back: %+v", o)
		}
	}
	return p, servers
}

// checked are the servers that the pool has asked to be checked since the last call.
func checked(t *testing.T, p *Pool) (servers []*Server) {
	t.Helper()
	for _, a := range p.set.Actions() {
		if a.Kind != ActCheck {
			t.Fatalf("action %d of a pool that only has to check", a.Kind)
		}
		servers = append(servers, a.Server)
	}
	if err := p.set.Verify(); err != nil {
		t.Fatal(err)
	}
	return servers
}

const afterCheckDelay = 11 * time.Second

// TestCheckedForWaiters: of servers that nobody has used for long as many are checked as there are waiters, and each waiter gets one.
func TestCheckedForWaiters(t *testing.T) {
	p, _ := checkPool(t, 3)
	waiters := []*Waiter{{}, {}}
	var tested []*Server
	for i, w := range waiters {
		if p.Checkout(w, afterCheckDelay) != nil {
			t.Fatal("lent without a check")
		}
		more := checked(t, p)
		if len(more) != 1 {
			t.Fatalf("%d servers are checked for waiter %d, not one", len(more), i)
		}
		tested = append(tested, more...)
	}
	if n := p.Count(ServerIdle); n != 1 {
		t.Errorf("%d servers are left idle, not one", n)
	}
	for i, s := range tested {
		if o := p.Checkin(s, clean, afterCheckDelay); o.Kind != Lent || o.Waiter != waiters[i] {
			t.Errorf("check %d has passed: %+v", i, o)
		}
	}
	if more := checked(t, p); more != nil {
		t.Errorf("%d servers are checked for nobody", len(more))
	}
}

// TestFreshServerFirst: one that was used lately is lent at once, whatever the state of the others.
func TestFreshServerFirst(t *testing.T) {
	for _, roundRobin := range []bool{false, true} {
		p, servers := checkPool(t, 2)
		p.limits.RoundRobin = roundRobin
		fresh := servers[1] // the one given back last
		fresh.usedAt = afterCheckDelay
		if s := p.Checkout(&Waiter{}, afterCheckDelay); s != fresh {
			t.Errorf("round robin %t: not the server that was used lately", roundRobin)
		}
	}
}

// TestCheckFails: a waiter does not stay behind idle servers when the one that was checked for it is lost or refused at the gate, not
// even until that one has been closed.
func TestCheckFails(t *testing.T) {
	for name, fail := range map[string]func(*Pool, *Server){
		"lost":    func(p *Pool, s *Server) { p.Close(s, afterCheckDelay) },
		"refused": func(p *Pool, s *Server) { p.Checkin(s, Facts{TxStatus: 'I', Doubt: true}, afterCheckDelay) },
	} {
		p, _ := checkPool(t, 2)
		w := &Waiter{}
		p.Checkout(w, afterCheckDelay)
		dead := checked(t, p)[0]
		fail(p, dead)
		next := checked(t, p)
		if len(next) != 1 || next[0] == dead {
			t.Fatalf("%s: %d servers are checked in its place", name, len(next))
		}
		if o := p.Checkin(next[0], clean, afterCheckDelay); o.Kind != Lent || o.Waiter != w {
			t.Errorf("%s: the second check has passed: %+v", name, o)
		}
	}
}

// TestCheckHangs: a server that is given back while the check of another hangs goes to the waiter; nobody is left for the checked one.
func TestCheckHangs(t *testing.T) {
	p, servers := checkPool(t, 2)
	busy := servers[1] // the one given back last
	busy.usedAt = afterCheckDelay
	if p.Checkout(&Waiter{}, afterCheckDelay) != busy {
		t.Fatal("not the server that was used lately")
	}
	w := &Waiter{}
	p.Checkout(w, afterCheckDelay)
	hanging := checked(t, p)[0]
	if o := p.Checkin(busy, clean, afterCheckDelay); o.Kind != Lent || o.Waiter != w {
		t.Errorf("given back while somebody waits for a check: %+v", o)
	}
	if o := p.Checkin(hanging, clean, afterCheckDelay); o.Kind != Idle {
		t.Errorf("checked for nobody: %+v", o)
	}
}
