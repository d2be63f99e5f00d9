package proxy

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// welcome is what a client of a pool is told after its login: the parameters of a real server of that pool.
type welcome struct {
	mu    sync.Mutex
	known *parameters // nil: no server has been opened yet
}

// parameters are what a server has reported at its own login.
type parameters struct {
	// immutable
	reported map[string]string
	settings sqltext.Settings // those that are tracked
	// inRecovery is in_hot_standby. PostgreSQL reports its end with the answer to the next statement only, so that it has to be asked again
	// for a new client: see verified.
	inRecovery bool
	verified   time.Time

	mu        sync.Mutex
	greetings map[sqltext.Settings][]byte // made so far, by the client's settings
}

// greetingsMax bounds them: applications log in with the same few settings again and again.
const greetingsMax = 64

func (w *welcome) learn(reported map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known == nil || !maps.Equal(w.known.reported, reported) {
		w.known = &parameters{
			reported: reported, settings: settingsOf(reported), inRecovery: reported["in_hot_standby"] == "on",
			greetings: make(map[sqltext.Settings][]byte),
		}
	}
	w.known.verified = time.Now()
}

// recoveryMax is how long a new client may be told that PostgreSQL is a standby without asking it.
const recoveryMax = time.Second

// trusted returns what a new client may be told without asking a server; nil: a server has to be asked.
func (w *welcome) trusted() *parameters {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known != nil && w.known.inRecovery && time.Since(w.known.verified) > recoveryMax {
		return nil
	}
	return w.known
}

// verify records that a server has just been asked.
func (w *welcome) verify() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known != nil {
		w.known.verified = time.Now()
	}
}

// changed is called when a server reports a new value without being asked.
func (w *welcome) changed(name, value string) {
	known := w.get()
	if known == nil {
		return
	}
	reported := maps.Clone(known.reported)
	reported[reportedName(reported, name)] = value
	w.learn(reported)
}

// forget drops what is known. The next login waits for a server.
func (w *welcome) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = nil
}

// learnFrom: a pool that has its first server from another pool knows of it what that one knew.
func (w *welcome) learnFrom(other *welcome) {
	if known := other.get(); known != nil && w.get() == nil {
		w.learn(known.reported)
	}
}

func (w *welcome) get() *parameters {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known
}

// reported is what a server of the pool has reported at its login; nil when there has been none.
func (w *welcome) reported() map[string]string {
	if known := w.get(); known != nil {
		return known.reported
	}
	return nil
}

// greeting is the ParameterStatus messages for a client with settings of its own. Not to be changed.
func (p *parameters) greeting(own sqltext.Settings) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	made := p.greetings[own]
	if made == nil {
		if len(p.greetings) >= greetingsMax {
			clear(p.greetings)
		}
		made = p.greet(own)
		p.greetings[own] = made
	}
	return made
}

func (p *parameters) greet(own sqltext.Settings) (messages []byte) {
	shown := maps.Clone(p.reported)
	own.Each(func(name, value string) { shown[reportedName(p.reported, name)] = value })
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		status := pgproto3.ParameterStatus{Name: name, Value: shown[name]}
		messages, _ = status.Encode(messages) // fails for messages over 1 GiB only
	}
	return messages
}

// loginWait is a login that waits for the first server of its pool.
type loginWait struct {
	pool *serverPool
	done chan *protocol.Error // receives once; nil: a server is there
}

func (l *loginWait) resolve(err *protocol.Error) { l.done <- err }

// parametersFor are the parameters of a real server of the pool. When none has been opened yet, the login waits in the pool's queue
// like any client, and hears PostgreSQL's own words if it cannot be opened. Called by login goroutines.
func (p *Proxy) parametersFor(ctx context.Context, sp *serverPool) (*parameters, error) {
	if known := sp.welcome.trusted(); known != nil {
		return known, nil
	}
	for range parametersTries {
		wait := &loginWait{pool: sp, done: make(chan *protocol.Error, 1)}
		w := p.workers[0]
		w.loop.Post(func() { w.queueLogin(wait) })
		select {
		case err := <-wait.done:
			if err != nil {
				return nil, err.AsFatal()
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if known := sp.welcome.get(); known != nil {
			return known, nil
		}
	}
	return nil, protocol.ErrServerLost().AsFatal()
}

// parametersTries is how often a login waits for a server that is lost, or left behind by a reload, a moment later.
const parametersTries = 3

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
