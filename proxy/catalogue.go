package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/catalog"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
)

// Each database whose clients are followed from server to server has a catalogue: what its functions, triggers and the like do to a session
// (package catalog). A goroutine of the cold world loads it by a connection of its own, and again whenever something has changed: at once
// after a definition that came through the pooler, otherwise within catalogueRefresh. Until it is loaded, and where it cannot be, there is
// none, and the relay has servers cleaned behind each text that calls a function which is not PostgreSQL's own.

const (
	// catalogueRefresh is how often PostgreSQL is asked whether anything has changed without the pooler's knowing.
	catalogueRefresh = 10 * time.Second
	// catalogueFirst is how long the first login to a database waits for its catalogue.
	catalogueFirst = time.Second
	// catalogueMax bounds one load.
	catalogueMax = time.Minute
)

// catalogueKey names a database of a PostgreSQL.
type catalogueKey struct {
	address dial.Address
	name    string
}

// databaseCatalogue is the catalogue of one database. Any goroutine may call its methods.
type databaseCatalogue struct {
	current atomic.Pointer[catalog.Catalogue]
	// definitions counts what has been defined through the pooler: a catalogue that was read before the last of them is not stored.
	definitions atomic.Uint64
	wake        chan struct{} // holds one: something has been defined
	tried       chan struct{} // closed when it has been loaded once, or could not be
}

// get returns the catalogue; nil while there is none.
func (d *databaseCatalogue) get() *catalog.Catalogue {
	if d == nil {
		return nil
	}
	return d.current.Load()
}

// outdate drops the catalogue, because a definition has come through the pooler, and has it loaded again.
func (d *databaseCatalogue) outdate() {
	if d == nil {
		return
	}
	d.definitions.Add(1)
	d.current.Store(nil)
	select {
	case d.wake <- struct{}{}:
	default: // it is woken already
	}
}

// put stores a catalogue that was read when so many definitions had come through the pooler. Where there are more now, the next load, which
// outdate has asked for, stores another.
func (d *databaseCatalogue) put(c *catalog.Catalogue, definitions uint64) {
	d.current.Store(c)
	if d.definitions.Load() != definitions {
		d.current.Store(nil)
	}
}

// catalogues are those of all databases.
type catalogues struct {
	loads atomic.Bool // set by Start: a simulation loads none
	mu    sync.Mutex
	all   map[catalogueKey]*databaseCatalogue
}

// catalogueFor finds the catalogue of a pool's database, or begins to load it. It returns nil for a pool that has no use for one.
func (p *Proxy) catalogueFor(sp *serverPool) *databaseCatalogue {
	limits := sp.limits.Load()
	if !p.catalogues.loads.Load() || !followsSessions(sp, limits) {
		return nil
	}
	key := catalogueKey{address: dial.AddressIn(&limits.resolved), name: limits.resolved.DBName}
	p.catalogues.mu.Lock()
	defer p.catalogues.mu.Unlock()
	d := p.catalogues.all[key]
	if d == nil {
		d = &databaseCatalogue{wake: make(chan struct{}, 1), tried: make(chan struct{})}
		if p.catalogues.all == nil {
			p.catalogues.all = make(map[catalogueKey]*databaseCatalogue)
		}
		p.catalogues.all[key] = d
		p.budgetChanged()
		p.spawn(func() { p.keepCatalogue(key, d) })
	}
	return d
}

// provideCatalogue gives a new pool the catalogue of its database. The first login waits a moment for it to be loaded.
func (p *Proxy) provideCatalogue(ctx context.Context, sp *serverPool) {
	d := p.catalogueFor(sp)
	if d == nil {
		return
	}
	enough := time.NewTimer(catalogueFirst)
	defer enough.Stop()
	select {
	case <-d.tried:
	case <-enough.C:
	case <-ctx.Done():
	}
	sp.catalogue.Store(d)
}

// keepCatalogue loads a catalogue and loads it again after changes, as long as a pool of its database exists.
func (p *Proxy) keepCatalogue(key catalogueKey, d *databaseCatalogue) {
	var k catalogueKeeper
	defer func() { k.close() }()
	tried := sync.OnceFunc(func() { close(d.tried) })
	defer tried()
	complained := ""
	for {
		sp := p.poolOf(key)
		if sp == nil && p.forgetCatalogue(key) {
			return
		}
		if sp == nil {
			continue // a pool has come meanwhile
		}
		err := p.refreshCatalogue(&k, sp, d)
		if err != nil {
			d.current.Store(nil)
			k.close()
		}
		tried()
		if text := fmt.Sprint(err); err != nil && text != complained && p.life.Err() == nil {
			complained = text
			p.log.Warn("what functions and triggers do to a session could not be read; servers are cleaned behind every function that is not "+
				"PostgreSQL's own until it can", "database", key.name, "error", err)
		}
		if !p.awaitChange(&k, d) {
			return
		}
	}
}

// awaitChange returns when the catalogue is to be looked at again: after catalogueRefresh, when something has been defined through the pooler,
// or when PostgreSQL notifies of a definition (catalog.NotifySQL). A connection that is lost costs the catalogue at once: what happens
// meanwhile would go unnoticed. It reports false when the proxy ends.
func (p *Proxy) awaitChange(k *catalogueKeeper, d *databaseCatalogue) bool {
	ctx, cancel := p.context(catalogueRefresh)
	defer cancel()
	if k.pc != nil {
		heard := make(chan error, 1)
		waiting, stop := context.WithCancel(ctx)
		go func() { heard <- k.pc.WaitForNotification(waiting) }()
		select {
		case <-d.wake:
		case err := <-heard:
			heard <- err
		}
		stop()
		if err := <-heard; err != nil && k.pc.IsClosed() && p.life.Err() == nil {
			d.current.Store(nil)
		}
		return p.life.Err() == nil
	}
	select {
	case <-d.wake:
	case <-ctx.Done():
	}
	return p.life.Err() == nil
}

// forgetCatalogue drops a catalogue of whose database no pool exists. It reports false when there is one after all.
func (p *Proxy) forgetCatalogue(key catalogueKey) bool {
	p.catalogues.mu.Lock()
	defer p.catalogues.mu.Unlock()
	if p.poolOf(key) != nil {
		return false
	}
	delete(p.catalogues.all, key)
	p.budgetChanged()
	return true
}

// poolOf returns a pool of a database that has use for a catalogue; nil: there is none any more.
func (p *Proxy) poolOf(key catalogueKey) *serverPool {
	for _, sp := range p.allPools() {
		limits := sp.limits.Load()
		if followsSessions(sp, limits) && (catalogueKey{address: dial.AddressIn(&limits.resolved), name: limits.resolved.DBName}) == key {
			return sp
		}
	}
	return nil
}

// catalogueKeeper is the connection by which a catalogue is loaded, and what it was made of.
type catalogueKeeper struct {
	pc    *pgconn.PgConn
	state string             // the answer to catalog.ChangeSQL
	made  *catalog.Catalogue // of that state
}

func (k *catalogueKeeper) close() {
	if k.pc == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = k.pc.Close(ctx) // it is of no use any more
	k.pc, k.state, k.made = nil, "", nil
}

// refreshCatalogue loads the catalogue if there is none or something has changed.
func (p *Proxy) refreshCatalogue(k *catalogueKeeper, sp *serverPool, d *databaseCatalogue) error {
	ctx, cancel := p.context(catalogueMax)
	defer cancel()
	if k.pc == nil || k.pc.IsClosed() {
		target := p.targetOf(sp)
		target.Server.ApplicationName += " catalogue" // so that pg_stat_activity tells it from a pool's server
		pc, err := dial.Connect(ctx, target)
		if err != nil {
			return err
		}
		k.pc, k.state = pc, ""
		if _, err := pc.Exec(ctx, "LISTEN "+catalog.NotifyChannel).ReadAll(); err != nil {
			return err
		}
	}
	definitions := d.definitions.Load()
	state, err := catalogueState(ctx, k.pc)
	if err != nil {
		return err
	}
	if state == k.state && k.made != nil {
		d.put(k.made, definitions)
		return nil
	}
	c, err := loadCatalogue(ctx, k.pc)
	if err != nil {
		return err
	}
	k.state, k.made = state, c
	d.put(c, definitions)
	s := c.Stats()
	p.log.Info("what functions, triggers and relations do to a session has been read", "database", sp.limits.Load().resolved.DBName,
		"functions", s.Functions, "harmless_functions", s.HarmlessFunctions, "relations", s.Relations, "harmless_relations", s.HarmlessRelations)
	for f := range c.Found() {
		p.log.Debug("it does something to a session", "kind", f.Kind, "name", f.Name, "does", f.Does.String(), "via", f.Via, "why", f.Why)
	}
	return nil
}

// catalogueState asks for a text that is another after any change.
func catalogueState(ctx context.Context, pc *pgconn.PgConn) (string, error) {
	result := pc.ExecParams(ctx, catalog.ChangeSQL, nil, nil, nil, nil).Read()
	switch {
	case result.Err != nil:
		return "", result.Err
	case len(result.Rows) != 1 || len(result.Rows[0]) != 1:
		return "", errors.New("the question whether anything has changed gave no row")
	}
	return string(result.Rows[0][0]), nil
}

// loadCatalogue runs the queries of a catalog.Loading in one transaction.
func loadCatalogue(ctx context.Context, pc *pgconn.PgConn) (_ *catalog.Catalogue, err error) {
	if _, err := pc.Exec(ctx, catalog.BeginSQL).ReadAll(); err != nil {
		return nil, err
	}
	defer func() {
		_, endErr := pc.Exec(ctx, catalog.EndSQL).ReadAll()
		err = errors.Join(err, endErr)
	}()
	loading := catalog.NewLoading(nil)
	for loading.Next() {
		results := pc.Exec(ctx, loading.SQL())
		for results.NextResult() {
			for results.ResultReader().NextRow() && err == nil {
				err = loading.Row(results.ResultReader().Values())
			}
		}
		if closeErr := results.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", loading.Step(), err)
		}
	}
	return loading.Catalogue()
}
