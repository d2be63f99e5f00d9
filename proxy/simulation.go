package proxy

import (
	"errors"
	"log/slog"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// Simulation is a Proxy without sockets, goroutines or a clock of its own: what it needs of the world is in the Environment it is given,
// and its loops turn when Turn is called. Package internal/sim drives it; the program has no use for it. One goroutine calls it all.
type Simulation struct {
	proxy     *Proxy
	listeners map[string]*listener
}

// NewSimulation is NewIn with listeners that nobody can connect to. The environment has to be complete.
func NewSimulation(cfg *config.Config, log *slog.Logger, env Environment) (*Simulation, error) {
	if env.NewKernel == nil || env.Dial == nil || env.Cancel == nil || env.Seed == 0 {
		return nil, errors.New("a simulation needs a whole environment")
	}
	p, err := NewIn(cfg, log, env)
	if err != nil {
		return nil, err
	}
	m := &Simulation{proxy: p, listeners: make(map[string]*listener)}
	for i := range cfg.Listeners {
		l, err := newListener(p, &cfg.Listeners[i])
		if err != nil {
			return nil, err
		}
		m.listeners[l.name] = l
	}
	p.workers[0].loop.Post(p.workers[0].startJanitor)
	return m, nil
}

// Loops is how many there are to turn.
func (m *Simulation) Loops() int { return len(m.proxy.workers) }

// Turn lets one loop handle what there is.
func (m *Simulation) Turn(loop int) { m.proxy.workers[loop].loop.Turn(false) }

// Adopt puts a client onto a loop as if it had just logged in. parameters are those of the pool's servers, as a first login learns them.
func (m *Simulation) Adopt(key pool.Key, application string, parameters map[string]string, loop, fd int) (*Client, error) {
	p, l := m.proxy, m.listeners[key.Listener]
	if l == nil {
		return nil, errors.New("no listener " + key.Listener)
	}
	sp, ok := p.poolFor(l, key.Database, key.User)
	if !ok {
		return nil, errors.New("no database " + key.Database)
	}
	defer p.release(sp)
	startup := protocol.Startup{Params: []protocol.Param{{Name: "application_name", Value: application}}}
	base, err := baselineOf(&startup, settingsOf(parameters))
	if err != nil {
		return nil, err
	}
	c := newClient(sp, base, nil)
	c.info.application = application
	if err := p.cancels.add(c, p.nextID.Add(1), 4); err != nil {
		return nil, err
	}
	if err := l.addClient(sp); err != nil {
		return nil, err
	}
	w := p.workers[loop]
	w.loop.Post(func() { w.adoptClient(c, eventloop.Source{FD: fd}) })
	return c, nil
}

// Cancel is a cancel request for a client; done is called when it has been dealt with.
func (m *Simulation) Cancel(c *Client, done func()) {
	m.proxy.cancelOn(c, m.proxy.workers[0], m.proxy.cancelHops(), done)
}

// Verify walks the invariants of all pools.
func (m *Simulation) Verify() error {
	m.proxy.mu.Lock()
	defer m.proxy.mu.Unlock()
	return m.proxy.set.Verify()
}

// Panics is how many panics were contained: each is a fault.
func (m *Simulation) Panics() uint64 { return m.proxy.counts.panics.Load() }

// Waits reports whether a client stands in a queue, and since when.
func (m *Simulation) Waits(c *Client) (since time.Duration, waits bool) {
	if c.state != clientWaiting || c.waiter == nil || !c.waiter.Waiting() {
		return 0, false
	}
	return c.waiter.EnqueuedAt, true
}

// Linked reports whether a client has a server now.
func (m *Simulation) Linked(c *Client) bool { return c.state == clientActive }

// Busy is how many servers of a pool count against its size, and how many of them are not idle.
func (m *Simulation) Busy(key pool.Key) (open, busy int) {
	m.proxy.mu.Lock()
	defer m.proxy.mu.Unlock()
	p := m.proxy.set.Lookup(key)
	if p == nil {
		return 0, 0
	}
	return p.Open(), p.Open() - p.Count(pool.ServerIdle)
}
