package proxy

import (
	"context"
	"errors"
	"sync"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// startDial opens the server that a pool has asked for, in a goroutine. The loop hears of the result.
func (w *worker) startDial(ps *pool.Server) {
	p := w.proxy
	sp := ps.Pool().Owner.(*serverPool)
	s := &Server{ps: ps, pool: sp, worker: w, relay: relay.NewServer(), place: sp.place.Load()}
	ps.Owner = s
	p.mu.Lock()
	ps.Loop = w.index
	p.mu.Unlock()
	target := p.targetOf(sp)
	if r, ok := ps.Dedicated.(*replication); ok {
		s.replication, target.Replication = r, r.parameters
	} else {
		target.Until = s.place.until
	}
	var once sync.Once
	p.env.Dial(target, func(d dial.Opened, err error) {
		once.Do(func() {
			w.loop.Post(func() {
				if err != nil {
					w.dialFailed(s, err)
				} else {
					w.dialed(s, d)
				}
				w.act()
			})
		})
	})
}

// targetOf says where the servers of a pool are, as the configuration is now.
func (p *Proxy) targetOf(sp *serverPool) dial.Target {
	target := dial.Target{Pool: sp.key, Resolved: sp.limits.Load().resolved, Server: p.settings.Load().cfg.Server}
	target.Credentials = p.verifier.ServerLogin(sp.key.Database, sp.key.User, target.Resolved.ServerUser)
	return target
}

// dialed takes a new server into the loop and its pool.
func (w *worker) dialed(s *Server, d dial.Opened) {
	p := w.proxy
	s.key, s.address, s.tls = d.Key, d.Address, d.TLS
	s.settings = settingsOf(d.Parameters)
	s.base, s.relay.Base = s.settings, s.settings
	s.inRecovery = d.Parameters["in_hot_standby"] == "on"
	s.pool.dials.connects.Add(1)
	p.reachable.Note(dial.AddressIn(&s.pool.limits.Load().resolved), nil)
	switch {
	case s.replication != nil:
		s.reported = d.Parameters
	case !s.place.left.Load():
		s.pool.welcome.learn(d.Parameters)
	}
	s.relay.Tally = &w.countersOf(s.pool).Tally
	w.servers.add(s)
	if err := w.loop.Adopt(&s.conn, d.Source, s); err != nil {
		s.gone(err)
		return
	}
	if p.settings.Load().cfg.Log.Connections {
		p.log.Info("server opened", "listener", s.pool.key.Listener, "database", s.pool.key.Database, "user", s.pool.key.User,
			"pid", s.key.ProcessID, "tls", d.TLS != nil)
	}
	var out pool.Outcome
	w.pools(func() {
		s.ps.Session = sqltext.Session{Reported: s.settings}
		out = s.ps.Pool().Dialed(s.ps, w.index, w.loop.Now())
		s.pool = s.ps.Pool().Owner.(*serverPool)
	})
	w.follow(s, out)
}

func (w *worker) dialFailed(s *Server, err error) {
	p := w.proxy
	if s.replication == nil && s.place.left.Load() {
		w.pools(func() {
			s.ps.Pool().DialFailed(s.ps, movedError{}, w.loop.Now())
		})
		return
	}
	s.pool.dials.failures.Add(1)
	text := "PostgreSQL could not be reached or refused the login; the pool tries again after a pause (server_login_retry)"
	if s.replication != nil {
		text = "PostgreSQL could not be reached or refused a replication connection, and its client was told so"
	}
	var refused *dial.Error
	if s.replication == nil || !errors.As(err, &refused) || refused.Server == nil {
		p.reachable.Note(dial.AddressIn(&s.pool.limits.Load().resolved), err)
	}
	p.log.Warn(text, "listener", s.pool.key.Listener, "database", s.pool.key.Database, "user", s.pool.key.User, "error", err)
	w.pools(func() {
		s.ps.Pool().DialFailed(s.ps, err, w.loop.Now())
	})
}

// dial is the real Environment.Dial. done is called from a goroutine of its own.
func (p *Proxy) dial(target dial.Target, done func(dial.Opened, error)) {
	p.spawn(func() {
		ctx, cancel := p.context(target.Server.ConnectTimeout)
		defer cancel()
		if target.Until != nil {
			defer context.AfterFunc(target.Until, cancel)()
		}
		first := p.askPlaces
		if target.Replication != nil {
			first = nil // a walsender takes no such question
		}
		done(dial.Server(ctx, target, first))
	})
}
