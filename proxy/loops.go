package proxy

import (
	"runtime"
	"time"
)

// autoLoops is how many loops loops = 0 may open: one per processor the runtime may use, as a container's quota says.
func autoLoops() int { return max(1, runtime.GOMAXPROCS(0)) }

// How loops = 0 packs clients. One loop is cheaper per query than two at equal load (cross-loop wake-ups, servers that change loops), so
// a second one opens only when the first has hardly any time left, and closes when the rest could carry its load easily. What counts is
// processor time: a loop that has to share its processor with PostgreSQL does not get more of it by being two.
const (
	loopsLookEvery  = 500 * time.Millisecond
	loopsBusyShare  = 0.85 // all open loops use this much of a processor: open one more
	loopsIdleShare  = 0.35 // together the open loops would keep one loop less this busy: close one
	loopsBusyLooks  = 4    // so many looks in a row
	loopsIdleLooks  = 60
	loopsShedAtOnce = 256 // idle clients that change loops at one look
)

// watchLoops opens and closes loops as they are busy. A goroutine of the cold world.
func (p *Proxy) watchLoops() {
	if len(p.workers) == 1 || p.settings.Load().cfg.Loops != 0 {
		return
	}
	last := make([]time.Duration, len(p.workers))
	look := time.NewTicker(loopsLookEvery)
	defer look.Stop()
	busyLooks, idleLooks := 0, 0
	for {
		select {
		case <-look.C:
		case <-p.life.Done():
			return
		}
		open := int(p.openLoops.Load())
		least, sum := 1.0, 0.0
		for i, w := range p.workers[:open] {
			busy := w.loop.ThreadTime()
			share := float64(busy-last[i]) / float64(loopsLookEvery)
			last[i] = busy
			least, sum = min(least, share), sum+share
		}
		busyLooks, idleLooks = count(busyLooks, least > loopsBusyShare), count(idleLooks, open > 1 && sum/float64(open-1) < loopsIdleShare)
		switch {
		case busyLooks >= loopsBusyLooks && open < len(p.workers):
			p.openLoops.Store(int32(open + 1))
			last[open] = p.workers[open].loop.ThreadTime()
			busyLooks = 0
			p.log.Info("the event loops are busy: one more is opened", "loops", open+1)
		case idleLooks >= loopsIdleLooks:
			p.openLoops.Store(int32(open - 1))
			idleLooks = 0
			p.log.Info("the event loops are idle: one less is used", "loops", open-1)
		}
		p.rebalance()
	}
}

func count(n int, again bool) int {
	if again {
		return n + 1
	}
	return 0
}

// rebalance moves idle clients from loops that have more than their share, or are no longer open, to the others.
func (p *Proxy) rebalance() {
	open := int(p.openLoops.Load())
	total := 0
	for _, w := range p.workers {
		total += w.loop.Connections()
	}
	share := total/open + 1
	for i, w := range p.workers {
		excess := w.loop.Connections() - share
		if i >= open {
			excess = w.loop.Connections()
		}
		if excess > share/8 || i >= open && excess > 0 {
			w.loop.Post(func() { w.shed(min(excess, loopsShedAtOnce)) })
		}
	}
}

// shed hands up to n idle clients to other loops. Busy ones stay.
func (w *worker) shed(n int) {
	for c := w.clients.first; c != nil && n > 0; {
		next := c.next
		to := w.proxy.workerForClient()
		if c.state == clientIdle && !c.relay.Deferred() && c.conn.Kept() == 0 && c.conn.Backlog() == 0 && c.listens == nil && to != w {
			w.moveClient(c, to)
			n--
		}
		c = next
	}
}

// moveClient hands an idle client to another loop. Ownership passes with the message.
func (w *worker) moveClient(c *Client, to *worker) {
	w.clients.remove(c)
	c.counters.Clients--
	c.application.Leave(w.loop.Now())
	src := c.conn.Detach()
	c.info.home.Store(homeless) // from here on this loop must not look at it
	to.loop.Post(func() { to.adoptClient(c, src) })
}

// workerForClient is the open loop with the fewest connections.
func (p *Proxy) workerForClient() *worker {
	best := p.workers[0]
	for _, w := range p.workers[1:p.openLoops.Load()] {
		if w.loop.Connections() < best.loop.Connections() {
			best = w
		}
	}
	return best
}
