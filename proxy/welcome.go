package proxy

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// welcome is what a client of a pool is told after its login: the parameters of a real server of that pool.
type welcome struct {
	mu         sync.Mutex
	parameters map[string]string // nil: no server has been opened yet. Never changed, only replaced
}

func (w *welcome) learn(parameters map[string]string) {
	w.mu.Lock()
	w.parameters = parameters
	w.mu.Unlock()
}

func (w *welcome) get() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.parameters
}

// loginWait is a login that waits for the first server of its pool.
type loginWait struct {
	pool *serverPool
	done chan *protocol.Error // receives once; nil: a server is there
}

func (l *loginWait) resolve(err *protocol.Error) { l.done <- err }

// parametersFor are the parameters of a real server of the pool. When none has been opened yet, the login waits in the pool's queue
// like any client, and hears PostgreSQL's own words if it cannot be opened. Called by login goroutines.
func (p *Proxy) parametersFor(ctx context.Context, sp *serverPool) (map[string]string, error) {
	if known := sp.welcome.get(); known != nil {
		return known, nil
	}
	wait := &loginWait{pool: sp, done: make(chan *protocol.Error, 1)}
	w := p.workers[0]
	w.loop.Post(func() { w.queueLogin(wait) })
	select {
	case err := <-wait.done:
		if err != nil {
			return nil, err.AsFatal()
		}
		return sp.welcome.get(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// queueLogin puts a login into the queue of its pool; with a server there already it is through at once.
func (w *worker) queueLogin(l *loginWait) {
	wt := w.newWaiter(l)
	var ps *pool.Server
	w.pools(func() {
		ps = l.pool.pool.Checkout(wt, w.loop.Now())
	})
	if ps != nil {
		w.lend(serverOf(ps), wt)
	}
	w.act()
}

// appendWelcome writes what follows AuthenticationOk: parameters as this client will see them, its cancel key, ReadyForQuery.
func appendWelcome(dst []byte, server map[string]string, own protocol.Settings, key protocol.CancelKey) []byte {
	shown := maps.Clone(server)
	own.Each(func(name, value string) { shown[reportedName(server, name)] = value })
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		status := pgproto3.ParameterStatus{Name: name, Value: shown[name]}
		dst, _ = status.Encode(dst) // fails for messages over 1 GiB only
	}
	dst = protocol.AppendBackendKeyData(dst, key)
	return append(dst, readyIdle...)
}
