package proxy

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
)

// warnOfBudget logs a warning if the pools together may want more servers than PostgreSQL has places. It asks the first server there is,
// before anybody gets it: a connection of its own would be one more than the budgets allow. Called by dialling goroutines.
func (p *Proxy) warnOfBudget(ctx context.Context, pc *pgconn.PgConn) {
	if !p.budgetAsked.CompareAndSwap(false, true) {
		return
	}
	places, err := dial.Places(ctx, pc)
	if err != nil {
		p.log.Debug("asking PostgreSQL for max_connections", "error", err)
		return
	}
	cfg := p.settings.Load().cfg
	wanted := 0
	for i := range cfg.Listeners {
		wanted += cfg.Listeners[i].DefaultPoolSize + cfg.Listeners[i].ReservePoolSize
	}
	if cfg.AsksPostgreSQL() {
		wanted++ // for auth_query
	}
	if wanted > places {
		p.log.Warn("the pools of one database and user may open more servers than PostgreSQL has places for: lower default_pool_size or "+
			"reserve_pool_size, set max_db_connections, or raise max_connections of PostgreSQL", "pools", wanted, "places", places)
	}
}
