package proxy

import (
	"slices"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
)

const (
	// probeEvery is how often PostgreSQL is asked whether it is there, while nothing else tells.
	probeEvery = 5 * time.Second
	// probeMax is how long the answer may take.
	probeMax = 2 * time.Second
)

// watchReachability asks PostgreSQL where no server is open and where the last attempt has failed. A goroutine of the cold world.
func (p *Proxy) watchReachability() {
	look := time.NewTicker(p.probeEvery)
	defer look.Stop()
	for {
		for _, a := range p.unsure() {
			p.reachable.Note(a, p.probe(a))
		}
		select {
		case <-look.C:
		case <-p.life.Done():
			return
		}
	}
}

// unsure are the addresses of which nothing else tells whether PostgreSQL can be reached there.
func (p *Proxy) unsure() (asked []dial.Address) {
	open := make(map[dial.Address]bool)
	p.mu.Lock()
	for _, one := range p.set.Pools() {
		busy := one.Open() - one.Count(pool.ServerNew) - one.Count(pool.ServerClosing)
		if busy > 0 {
			open[dial.AddressIn(&one.Owner.(*serverPool).limits.Load().resolved)] = true
		}
	}
	p.mu.Unlock()
	for _, a := range addressesOf(p.settings.Load().cfg) {
		if !open[a] || p.reachable.Failed(a) {
			asked = append(asked, a)
		}
	}
	return asked
}

// addressesOf are those that clients of this configuration can be led to.
func addressesOf(cfg *config.Config) (all []dial.Address) {
	names := []string{""} // stands for any: without [databases] they are all at one address
	for name := range cfg.Databases {
		names = append(names, name)
	}
	for _, name := range names {
		if r, ok := cfg.Resolve(&cfg.Listeners[0], name, ""); ok && !slices.Contains(all, dial.AddressIn(&r)) {
			all = append(all, dial.AddressIn(&r))
		}
	}
	return all
}

func (p *Proxy) probe(a dial.Address) error {
	ctx, cancel := p.context(probeMax)
	defer cancel()
	return dial.Probe(ctx, a)
}
