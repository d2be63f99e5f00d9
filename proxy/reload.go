package proxy

import (
	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/proxy/login"
)

// Reload puts a new, validated configuration in force and tells what that changes, and when: at once, for new logins, or only after a
// restart. On an error the old one stays in force as a whole. Clients and servers are kept.
func (p *Proxy) Reload(cfg *config.Config) ([]config.Change, error) {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	users := config.Watch(cfg.Auth.UserFile)
	policy, err := p.logins.Policy(cfg)
	if err != nil {
		return nil, err
	}
	secure, err := p.loadTLS(cfg)
	if err != nil {
		return nil, err
	}
	if err := p.verifier.Replace(policy); err != nil {
		return nil, err
	}
	p.userFile = userFile{read: users}
	old := p.settings.Load()
	changes := config.Diff(old.cfg, cfg)
	next := newSettings(cfg)
	p.settings.Store(next)
	p.reachable.Forget()
	for l, t := range secure {
		l.logins.SetTLS(t)
		l.prepareSockets(cfg.Server)
	}
	w := p.workers[0]
	done := make(chan struct{})
	w.loop.Post(func() {
		w.resize(next)
		close(done)
	})
	select {
	case <-done:
	case <-p.life.Done():
	}
	for _, w := range p.workers {
		w.loop.Post(w.watch) // a time-out may have been switched on
	}
	return changes, nil
}

// loadTLS reads the certificates of all listeners that the configuration still has.
func (p *Proxy) loadTLS(cfg *config.Config) (map[*listener]*login.ClientTLS, error) {
	all := make(map[*listener]*login.ClientTLS)
	for _, l := range p.listeners {
		for i := range cfg.Listeners {
			if cfg.Listeners[i].Name != l.name {
				continue
			}
			t, err := l.logins.LoadTLS(&cfg.Listeners[i])
			if err != nil {
				return nil, err
			}
			all[l] = t
		}
	}
	return all, nil
}

// resize gives every pool its new limits. Where the servers of a pool are elsewhere now, its old ones are closed as they become free. A pool
// whose database or listener is gone from the configuration keeps its old limits until it is empty. Runs on a loop, as all calls into pools do.
func (w *worker) resize(s *settings) {
	p := w.proxy
	for _, sp := range p.allPools() {
		limits, ok := s.resolve(sp.key.Listener, sp.key.Database, sp.key.User)
		if !ok {
			continue
		}
		moved := sp.setLimits(limits)
		w.pools(func() {
			now := w.loop.Now()
			if moved {
				now = w.clock() // no other loop has opened a server later than that, with what it knew before
				sp.pool.MarkStale(now)
				now++ // what is opened from here on is not stale
			}
			p.setBudgets(limits.resolved, sp.key)
			p.set.SetLimits(sp.pool, limits.pool, now)
		})
		if moved {
			sp.welcome.forget()
			w.stopListeningFor(sp)
		}
	}
	w.setBudget()
	w.act()
}
