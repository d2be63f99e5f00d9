package proxy

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
	"github.com/hybridbouncer/hybridbouncer/proxy/login"
)

// placesKept is how long what PostgreSQL said about its places is believed: it may be restarted with another max_connections.
const placesKept = time.Minute

// askPlaces asks a new server how many connections PostgreSQL has places for, before a client gets it: a connection of its own would be one
// more than the budget allows. It asks the first server, and then one in placesKept. Called by dialling goroutines.
func (p *Proxy) askPlaces(ctx context.Context, pc *pgconn.PgConn) {
	now := p.workers[0].clock()
	asked := p.placesAsked.Load()
	if asked != 0 && now-time.Duration(asked) < placesKept || !p.placesAsked.CompareAndSwap(asked, int64(max(now, 1))) {
		return
	}
	places, err := dial.Places(ctx, pc)
	if err != nil {
		p.log.Debug("asking PostgreSQL for max_connections", "error", err)
		return
	}
	p.places.Store(int64(places))
	p.budgetChanged()
}

// budgetChanged has the budget worked out anew. Any goroutine may call it.
func (p *Proxy) budgetChanged() {
	w := p.workers[0]
	w.loop.Post(func() {
		w.setBudget()
		w.act()
	})
}

// setBudget tells the pools how many servers there may be in all. The first loop's thread.
func (w *worker) setBudget() {
	p := w.proxy
	cfg := p.settings.Load().cfg
	p.catalogues.mu.Lock()
	catalogues := len(p.catalogues.all)
	p.catalogues.mu.Unlock()
	budget := budgetOf(cfg, int(p.places.Load()), catalogues)
	if budget != w.budget {
		w.budget = budget
		p.log.Info("the budget of all pools together", "servers", budget, "places_of_postgresql", p.places.Load())
	}
	w.pools(func() {
		p.set.SetBudget(budget, w.loop.Now())
	})
}

// budgetOf works out how many servers all pools together may have; 0: no limit. places is how many connections PostgreSQL has for ordinary
// users, 0: not known; catalogues is how many connections the pooler has for catalogues.
func budgetOf(cfg *config.Config, places, catalogues int) int {
	budget := cfg.Server.MaxConnections
	if budget == 0 {
		if places == 0 {
			return 0
		}
		for _, d := range cfg.Databases {
			if d.Host != "" && d.Host != cfg.Server.Host || d.Port != 0 && d.Port != cfg.Server.Port {
				return 0 // what one PostgreSQL says holds for its own servers only
			}
		}
		budget = places - min(max(places/20, 1), 5)
	}
	budget -= catalogues
	if cfg.AsksPostgreSQL() {
		budget -= login.AuthServersMax
	}
	return max(budget, 1)
}
