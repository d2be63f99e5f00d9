// Package sim owns a world in memory, with sockets, a clock, PostgreSQL servers and clients, in which the real hot path of the pooler
// (packages eventloop, proxy, proxy/relay and pool) runs deterministically: a seed decides everything, and the same seed fails the same
// way each time. It must not know how the pooler decides: it sees bytes at both ends, and what proxy.Simulation shows. Logins,
// dialling, TLS and cancel requests over the network are not in it; tests with a real PostgreSQL cover them.
//
// Run is for tests, one goroutine each. Read sim.go (a run), oracle.go (what a client must hear), invariants.go (what must hold), then
// postgres.go and server.go (a model of PostgreSQL), client.go (scripts), world.go and kernel.go (time and sockets).
package sim

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
)

// run is one simulation.
type run struct {
	world *world
	sim   *proxy.Simulation

	pools   []pool.Key
	clients []*client
	servers []*server // all there ever were; by process id, from 1
	dialing map[pool.Key]int

	size, reserve int
	waitTimeout   time.Duration
	cancels       bool // clients send cancel requests
	faults        bool // servers crash and logins fail
	statements    bool // pool_mode = "statement"
	sessions      bool // pool_mode = "session"
	passes        bool // RESET goes past the startup parameters
	tracks        bool // settings that no server reports stay with their client
	prepares      bool // so do prepared statements
	defers        bool // defer_begin is on, and clients say BEGIN and COMMIT plainly
	refuses       bool // what only a connection can hold is refused
	listens       bool // LISTEN works

	notes map[pool.Key][]note // by database, in the order of their commits
	noted int                 // of all databases
}

// pulse is how often the loops turn when nothing happens.
const pulse = 20 * time.Millisecond

// quietTime is how long the world goes on after the last client has left: longer than every deadline of the pooler.
const quietTime = 40 * time.Second

// Run simulates until every client is through, or for a number of steps at most. The error says how to see it again. What happens is
// written to out; nil: nowhere.
func Run(seed uint64, steps int, out io.Writer) error {
	r := &run{world: newWorld(seed), dialing: make(map[pool.Key]int), notes: make(map[pool.Key][]note)}
	if out != nil {
		r.world.trace = &trace{out: out, now: &r.world.now}
	}
	err := r.prepare(seed)
	if err == nil {
		err = r.play(steps)
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("seed %d: at %v: %w\nreplay: go test -tags checks -count=1 -v -run TestSeeds ./internal/sim -args -seed %d", seed, r.world.now, err, seed)
}

// prepare chooses a configuration and makes the clients.
func (r *run) prepare(seed uint64) error {
	rnd := r.world.rnd
	cfg := r.configuration(seed)
	env := proxy.Environment{
		NewKernel: func(int) eventloop.Kernel { return &kernel{world: r.world} },
		Dial:      r.dial, Cancel: r.cancel, Seed: seed + 1,
	}
	var err error
	if r.sim, err = proxy.NewSimulation(cfg, r.world.trace.logger(), env); err != nil {
		return err
	}
	for i := range 1 + rnd.IntN(2) {
		r.pools = append(r.pools, pool.Key{Listener: "sim", Database: fmt.Sprintf("d%d", i), User: "u"})
	}
	for i := range 1 + rnd.IntN(12) {
		r.world.after(r.world.between(0, 50*time.Millisecond), func() {
			if err := r.enter(i); err != nil {
				r.world.fail("%w", err)
			}
		})
	}
	return nil
}

func (r *run) configuration(seed uint64) *config.Config {
	w := r.world
	cfg := config.Default()
	cfg.Loops = 1 + w.rnd.IntN(2)
	cfg.Auth.Type = "trust"
	l := config.DefaultListener()
	l.Name = "sim"
	l.PoolMode = []string{"transaction", "transaction", "transaction", "session", "statement"}[w.rnd.IntN(5)]
	l.Isolation = []string{"tracked", "tracked", "strict", "off"}[w.rnd.IntN(4)]
	l.MaxPreparedStatements = w.rnd.IntN(5)
	r.statements, r.sessions = l.PoolMode == "statement", l.PoolMode == "session"
	r.tracks = l.PoolMode == "session" || l.Isolation != "off"
	r.passes = l.PoolMode == "session" && l.Isolation == "off"
	r.prepares = l.PoolMode == "session" || l.MaxPreparedStatements > 0
	if l.PoolMode == "transaction" && w.chance(3) {
		l.Promotion, r.refuses = "error", true
	}
	r.size, r.reserve = 1+w.rnd.IntN(4), w.rnd.IntN(2)
	l.DefaultPoolSize, l.ReservePoolSize, l.ReservePoolTimeout = r.size, r.reserve, w.between(0, 500*time.Millisecond)
	r.waitTimeout = w.between(100*time.Millisecond, 3*time.Second)
	l.QueryWaitTimeout = r.waitTimeout
	l.QueryWaitNotify = w.between(50*time.Millisecond, 2*time.Second)
	l.ServerLifetime = w.between(50*time.Millisecond, 5*time.Second)
	l.ServerIdleTimeout = w.between(50*time.Millisecond, 5*time.Second)
	l.PoolIdleTimeout = w.between(50*time.Millisecond, 2*time.Second)
	l.ServerCheckDelay = w.between(10*time.Millisecond, time.Second)
	l.ServerRoundRobin = w.chance(2)
	r.listens = r.sessions || r.tracks && r.size > 1 // one server has to be left
	cfg.Listeners = []config.Listener{l}
	r.cancels = w.chance(2)
	r.faults = w.chance(4)
	r.defers = seed/2%2 == 0 && l.PoolMode == "transaction"
	cfg.Listeners[0].DeferBegin = r.defers
	return cfg
}

// play lets things happen.
func (r *run) play(steps int) error {
	end := time.Duration(-1)
	r.beat()
	for range steps {
		if !r.world.next() {
			return errors.New("nothing happens any more")
		}
		if !r.world.chance(5) {
			first := r.world.rnd.IntN(r.sim.Loops())
			for i := range r.sim.Loops() {
				r.sim.Turn((first + i) % r.sim.Loops())
			}
		}
		if err := r.check(); err != nil {
			return err
		}
		switch {
		case end < 0 && r.through():
			end = r.world.now + quietTime
		case end >= 0 && r.world.now > end:
			return r.finish()
		}
	}
	return errors.Join(errors.New("the steps were not enough"), r.finish())
}

// through reports whether every client has come and gone.
func (r *run) through() bool {
	if r.world.now < time.Second+60*time.Millisecond {
		return false
	}
	for _, c := range r.clients {
		if !c.done {
			return false
		}
	}
	return true
}

// beat keeps time going.
func (r *run) beat() {
	r.world.after(pulse, r.beat)
	if r.world.chance(10) && len(r.servers) > 0 && r.world.now < 5*time.Second {
		r.servers[r.world.rnd.IntN(len(r.servers))].remarks()
	}
	if r.faults && r.world.chance(50) && len(r.servers) > 0 && r.world.now < 5*time.Second {
		v := r.servers[r.world.rnd.IntN(len(r.servers))]
		if r.world.chance(2) {
			v.crash()
		} else {
			v.terminated()
		}
	}
}

// parameters are what a server reports at its login.
func parameters() map[string]string {
	return map[string]string{"application_name": "", "server_version": "18.0", "client_encoding": "UTF8"}
}

// enter brings a client in.
func (r *run) enter(i int) error {
	c := &client{run: r, name: fmt.Sprintf("c%d", i), key: r.pools[i%len(r.pools)], socket: r.world.open()}
	if r.world.chance(2) {
		c.app = c.name
	}
	c.batches = 1 + r.world.rnd.IntN(12)
	c.oracle = newOracle(c.app)
	c.oracle.defers = !r.statements && !r.sessions
	c.oracle.hearing = hearing{run: r, key: c.key, got: map[int]bool{}, from: map[string]int{}, floor: map[string]int{}}
	if r.passes {
		c.oracle.session.base = settingsOf("")
		c.oracle.base = c.oracle.session
	}
	c.oracle.session.refuses, c.oracle.base.refuses = r.refuses, r.refuses
	c.socket.onData, c.socket.onEnd = c.receive, c.ended
	var err error
	c.proxy, err = r.sim.Adopt(c.key, c.app, parameters(), r.world.rnd.IntN(r.sim.Loops()), c.socket.fd)
	if err != nil {
		return err
	}
	r.clients = append(r.clients, c)
	c.plan(0, 50*time.Millisecond)
	return nil
}

var errLogin = errors.New("the simulation's server does not let anybody in")

// dial is proxy.Environment's.
func (r *run) dial(target dial.Target, done func(dial.Opened, error)) {
	r.dialing[target.Pool]++
	r.world.trace.say("pooler", "dials for %v", target.Pool)
	r.world.after(r.world.between(0, 20*time.Millisecond), func() {
		r.dialing[target.Pool]--
		if r.faults && r.world.chance(10) {
			done(dial.Opened{}, errLogin)
			return
		}
		v := &server{run: r, pool: target.Pool, pid: uint32(len(r.servers) + 1), socket: r.world.open(), session: newSession("")}
		v.socket.onSend, v.socket.onData, v.socket.onEnd = v.sent, v.receive, v.ended
		r.servers = append(r.servers, v)
		r.world.trace.say(v.name(), "is up")
		done(dial.Opened{
			Source: eventloop.Source{FD: v.socket.fd}, Key: protocol.CancelKey{ProcessID: v.pid}, Parameters: parameters(),
		}, nil)
	})
}

// cancel is proxy.Environment's. Some requests are given up on, and arrive all the same.
func (r *run) cancel(target dial.CancelTarget, done func(late bool)) {
	if r.world.chance(4) {
		r.world.after(r.world.between(0, 20*time.Millisecond), func() {
			done(true)
			r.world.after(r.world.between(0, 200*time.Millisecond), r.servers[target.Key.ProcessID-1].canceled)
		})
		return
	}
	r.world.after(r.world.between(0, 20*time.Millisecond), func() {
		r.servers[target.Key.ProcessID-1].canceled()
		r.world.after(r.world.between(0, 2*time.Millisecond), func() { done(false) })
	})
}
