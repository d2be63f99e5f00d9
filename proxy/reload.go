package proxy

import (
	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/config"
)

// Reload puts a new, validated configuration in force and tells what that changes, and when: at once, for new logins, or only after a
// restart. On an error the old one stays in force as a whole. Clients and servers are kept.
func (p *Proxy) Reload(cfg *config.Config) ([]config.Change, error) {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	users := config.Watch(cfg.Auth.UserFile)
	policy, err := p.authOf(cfg)
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
		l.tls.Store(t)
		t.warn(l)
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
func (p *Proxy) loadTLS(cfg *config.Config) (map[*listener]*clientTLS, error) {
	all := make(map[*listener]*clientTLS)
	for _, l := range p.listeners {
		for i := range cfg.Listeners {
			if cfg.Listeners[i].Name != l.name {
				continue
			}
			t, err := p.loadClientTLS(&cfg.Listeners[i])
			if err != nil {
				return nil, err
			}
			all[l] = t
		}
	}
	return all, nil
}

// resize gives every pool its new limits. A pool whose database or listener is gone from the configuration keeps its old ones until it
// is empty. Runs on a loop, as all calls into pools do.
func (w *worker) resize(s *settings) {
	p := w.proxy
	for _, sp := range p.allPools() {
		limits, ok := s.resolve(sp.key.Listener, sp.key.Database, sp.key.User)
		if !ok {
			continue
		}
		sp.setLimits(limits)
		w.pools(func() {
			p.setBudgets(limits.resolved, sp.key)
			p.set.SetLimits(sp.pool, limits.pool, w.loop.Now())
		})
	}
	w.act()
}

// authOf reads what the configuration says about logins, and the files that it names.
func (p *Proxy) authOf(cfg *config.Config) (policy auth.Policy, err error) {
	if policy.Method, err = auth.ParseMethod(cfg.Auth.Type); err != nil {
		return policy, err
	}
	if cfg.Auth.UserFile != "" {
		if policy.Users, err = auth.LoadUserFile(cfg.Auth.UserFile); err != nil {
			return policy, err
		}
	}
	if cfg.AsksPostgreSQL() {
		policy.Lookup = auth.NewLookup(cfg.Auth.AuthQueryCache, p.authQueries.ask)
	}
	if cfg.Auth.HBAFile != "" {
		policy.HBA, err = auth.LoadHBA(cfg.Auth.HBAFile, cfg.Auth.IdentFile)
	}
	return policy, err
}

func (p *Proxy) newVerifier(cfg *config.Config) (*auth.Verifier, error) {
	p.userFile = userFile{read: config.Watch(cfg.Auth.UserFile)}
	policy, err := p.authOf(cfg)
	if err != nil {
		return nil, err
	}
	return auth.NewVerifier(policy)
}
