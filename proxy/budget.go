package proxy

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// budgetQuery asks PostgreSQL how many connections it has for ordinary users.
const budgetQuery = `select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int -
	coalesce(current_setting('reserved_connections', true)::int, 0)`

// warnOfBudget compares, once a pool can log in, what the pools may open together with what PostgreSQL has. A goroutine of the cold world.
func (p *Proxy) warnOfBudget() {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-look.C:
		case <-p.life.Done():
			return
		}
		pools := p.allPools()
		if len(pools) == 0 || pools[0].welcome.get() == nil {
			continue
		}
		p.compareBudget(pools)
		return
	}
}

// compareBudget logs a warning if the pools together may want more servers than PostgreSQL has places.
func (p *Proxy) compareBudget(pools []*serverPool) {
	cfg := p.settings.Load().cfg
	wanted := 0
	for i := range cfg.Listeners {
		wanted += cfg.Listeners[i].DefaultPoolSize + cfg.Listeners[i].ReservePoolSize
	}
	places, err := p.placesOf(pools[0])
	if err != nil {
		p.log.Debug("asking PostgreSQL for max_connections", "error", err)
		return
	}
	if wanted > places {
		p.log.Warn("the pools of one database and user may open more servers than PostgreSQL has places for: lower default_pool_size or "+
			"reserve_pool_size, set max_db_connections, or raise max_connections of PostgreSQL", "pools", wanted, "places", places)
	}
}

// placesOf asks through a connection of its own, which is closed at once.
func (p *Proxy) placesOf(sp *serverPool) (int, error) {
	ctx, cancel := p.context(cancelDialMax)
	defer cancel()
	cfg, err := dialConfig(p.targetOf(sp))
	if err != nil {
		return 0, err
	}
	pc, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer func() { _ = pc.Close(context.WithoutCancel(ctx)) }()
	results, err := pc.Exec(ctx, budgetQuery).ReadAll()
	if err != nil {
		return 0, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return 0, protocol.ErrProtocol("max_connections: no answer")
	}
	return strconv.Atoi(string(results[0].Rows[0][0]))
}
