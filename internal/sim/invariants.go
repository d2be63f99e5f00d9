package sim

import (
	"fmt"
	"time"

	"github.com/hybridbouncer/hybridbouncer/pool"
)

// patience is how much later than its time-out a waiter may hear of it: one tick of the pools, and the pace of the simulation.
const patience = 200*time.Millisecond + 2*pulse

// check walks what must hold after every step.
func (r *run) check() error {
	if r.world.err != nil {
		return r.world.err
	}
	if err := r.sim.Verify(); err != nil {
		return err
	}
	if n := r.sim.Panics(); n > 0 {
		return fmt.Errorf("%d panics were contained", n)
	}
	if err := r.budgets(); err != nil {
		return err
	}
	return r.queues()
}

// budgets: servers open or opening never exceed what the configuration allows.
func (r *run) budgets() error {
	for _, key := range r.pools {
		n := r.dialing[key]
		for _, v := range r.servers {
			if v.pool == key && v.takesPlace() {
				n++
			}
		}
		if n > r.size+r.reserve {
			return fmt.Errorf("pool %v has %d servers, its size is %d+%d", key, n, r.size, r.reserve)
		}
	}
	return nil
}

// queues: nobody waits for longer than query_wait_timeout, and with one loop whoever came first is served first.
func (r *run) queues() error {
	served := map[pool.Key]time.Duration{}
	for _, c := range r.clients {
		if c.waiting && r.sim.Linked(c.proxy) {
			served[c.key] = max(served[c.key], c.since)
		}
	}
	for _, c := range r.clients {
		c.since, c.waiting = r.sim.Waits(c.proxy)
		if !c.waiting {
			continue
		}
		if waited := r.world.now - c.since; waited > r.waitTimeout+patience {
			return fmt.Errorf("client %s has waited for %v, query_wait_timeout is %v", c.name, waited, r.waitTimeout)
		}
		if last := served[c.key]; r.sim.Loops() == 1 && c.since < last {
			return fmt.Errorf("client %s has waited since %v, and one that came at %v was served first", c.name, c.since, last)
		}
	}
	return nil
}

// finish checks that everybody was answered and every server is idle.
func (r *run) finish() error {
	for _, c := range r.clients {
		if !c.done {
			return fmt.Errorf("client %s is not through: %d of %d ReadyForQuery, left %v, replies %q", c.name, c.oracle.ready, c.ready,
				c.left, c.oracle.seen)
		}
	}
	for _, key := range r.pools {
		if open, busy := r.sim.Busy(key); busy != 0 {
			return fmt.Errorf("of %d servers of pool %v %d are not idle at the end", open, key, busy)
		}
	}
	for _, v := range r.servers {
		if !v.gone && (v.session.tx != 'I' || v.session.copying != copyNone || v.working || v.batch) {
			return fmt.Errorf("server %d is not at rest at the end", v.pid)
		}
		if v.gone != v.socket.closed {
			return fmt.Errorf("server %d: it has ended %v, the pooler has closed it %v", v.pid, v.gone, v.socket.closed)
		}
	}
	return nil
}
