package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// places counts the clients that are in, over all listeners: max_db_client_connections and max_user_client_connections. A client has a
// place from the end of its authentication on, so that nobody without a password can keep others out.
type places struct {
	mu        sync.Mutex
	databases map[string]int
	users     map[string]int
}

// loginsReserve is how many logins may be under way at a listener beyond max_client_conn: cancel requests come that way too.
const loginsReserve = 100

// full tells a client early what takePlace would tell it after its authentication.
func (l *listener) full() error {
	cfg := l.proxy.settings.Load().listener(l.name)
	if cfg != nil && l.clients.Load() >= int64(cfg.MaxClientConn) {
		return protocol.ErrTooManyClients("max_client_conn", cfg.MaxClientConn)
	}
	return nil
}

// takePlace counts a client of a pool in, unless there are enough. From then on until leavePlace it holds the pool.
func (l *listener) takePlace(sp *serverPool) error {
	p := l.proxy
	if p.draining.Load() {
		return protocol.ErrShutdown()
	}
	if err := l.full(); err != nil {
		return err
	}
	r := sp.limits.Load().resolved
	if err := p.places.take(sp.key, &r); err != nil {
		return err
	}
	p.hold(sp)
	n := l.clients.Add(1)
	if cfg := p.settings.Load().listener(l.name); cfg != nil && n > int64(cfg.MaxClientConn) {
		l.leavePlace(sp) // another login was faster
		return protocol.ErrTooManyClients("max_client_conn", cfg.MaxClientConn)
	}
	return nil
}

func (l *listener) leavePlace(sp *serverPool) {
	l.clients.Add(-1)
	l.proxy.places.leave(sp.key)
	l.proxy.release(sp)
}

func (s *places) take(key pool.Key, r *config.Resolved) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.MaxDBClientConnections > 0 && s.databases[key.Database] >= r.MaxDBClientConnections:
		return protocol.ErrTooManyClients("max_db_client_connections", r.MaxDBClientConnections)
	case r.MaxUserClientConnections > 0 && s.users[key.User] >= r.MaxUserClientConnections:
		return protocol.ErrTooManyClients("max_user_client_connections", r.MaxUserClientConnections)
	}
	if s.databases == nil {
		s.databases, s.users = make(map[string]int), make(map[string]int)
	}
	s.databases[key.Database]++
	s.users[key.User]++
	return nil
}

func (s *places) leave(key pool.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	decrement(s.databases, key.Database)
	decrement(s.users, key.User)
}

func decrement(counts map[string]int, name string) {
	if counts[name]--; counts[name] <= 0 {
		delete(counts, name)
	}
}

// turnstile spreads logins over time: login_rate. Each login is given its time in the order of coming; a second's worth may come at once.
type turnstile struct {
	mu   sync.Mutex
	next time.Time // when the next one may pass
}

// pass waits for the turn of a login. It refuses at once a login whose turn would come too late.
func (t *turnstile) pass(ctx context.Context, rate int) error {
	if rate <= 0 {
		return nil
	}
	now := time.Now()
	t.mu.Lock()
	if earliest := now.Add(-time.Second); t.next.Before(earliest) {
		t.next = earliest
	}
	wait := t.next.Sub(now)
	if deadline, ok := ctx.Deadline(); ok && now.Add(wait).After(deadline) {
		t.mu.Unlock()
		return protocol.ErrTooManyClients("login_rate", rate)
	}
	t.next = t.next.Add(time.Second / time.Duration(rate))
	t.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	turn := time.NewTimer(wait)
	defer turn.Stop()
	select {
	case <-turn.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
