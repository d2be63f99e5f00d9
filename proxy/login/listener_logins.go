package login

import (
	"math"
	"net"
	"sync"
	"sync/atomic"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/sockets"
)

// loginsReserve is the number of logins that may be under way at a listener beyond max_client_conn. Cancel requests come that way too.
const loginsReserve = 100

// Listener holds the logins that are under way at one listener, the way it speaks TLS, and the number of its clients.
type Listener struct {
	// immutable
	logins      *Logins
	name        string
	mode        string // pool_mode
	replication bool   // clients may ask for replication

	// atomic
	clients atomic.Int64              // that have logged in, for max_client_conn
	tls     atomic.Pointer[ClientTLS] // replaced with its settings and files; nil: no TLS

	underWay struct {
		sync.Mutex
		sockets map[net.Conn]struct{} // not yet released: closed by Close
	}
}

// NewListener prepares the logins at a listener of the configuration. It reads the files that the TLS settings name. replication says
// whether clients may ask for replication here.
func (s *Logins) NewListener(cfg *config.Listener, replication bool) (*Listener, error) {
	l := &Listener{logins: s, name: cfg.Name, mode: cfg.PoolMode, replication: replication}
	l.underWay.sockets = make(map[net.Conn]struct{})
	secure, err := l.LoadTLS(cfg)
	if err != nil {
		return nil, err
	}
	l.SetTLS(secure)
	return l, nil
}

// settings returns the settings of the listener in the configuration in force. It returns nil if a reload has dropped the listener, which then
// closes with the process.
func (l *Listener) settings() *config.Listener {
	return l.logins.Config().Listener(l.name)
}

// clientsMax returns max_client_conn.
func (l *Listener) clientsMax() int {
	if cfg := l.settings(); cfg != nil {
		return cfg.MaxClientConn
	}
	return math.MaxInt32
}

// track remembers a socket, so that Close can end its login. It reports false when too many logins are under way.
func (l *Listener) track(nc net.Conn) (ok bool) {
	l.underWay.Lock()
	l.underWay.sockets[nc] = struct{}{}
	n := len(l.underWay.sockets)
	l.underWay.Unlock()
	if l.logins.Life.Err() != nil {
		sockets.CloseQuietly(nc)
	}
	return n <= l.clientsMax()+loginsReserve
}

func (l *Listener) untrack(nc net.Conn) {
	l.underWay.Lock()
	delete(l.underWay.sockets, nc)
	l.underWay.Unlock()
}

// Close closes the sockets of all logins under way.
func (l *Listener) Close() {
	l.underWay.Lock()
	defer l.underWay.Unlock()
	for nc := range l.underWay.sockets {
		sockets.CloseQuietly(nc)
	}
}

// Clients returns the number of clients that have been added and not removed.
func (l *Listener) Clients() int { return int(l.clients.Load()) }

// full refuses a client early, for the reason that AddClient would have after its authentication.
func (l *Listener) full() error {
	if limit := l.clientsMax(); l.clients.Load() >= int64(limit) {
		return protocol.ErrTooManyClients("max_client_conn", limit)
	}
	return nil
}

// AddClient counts a client that has authenticated itself, unless one of the limits is reached. r holds the limits of its database and
// user. The caller calls RemoveClient when the client leaves. A client counts from the end of its authentication on, so that nobody
// without a password can keep others out.
func (l *Listener) AddClient(database, user string, r *config.Resolved) error {
	if l.logins.Draining() {
		return protocol.ErrShutdown()
	}
	if err := l.full(); err != nil {
		return err
	}
	if err := l.logins.limits.add(database, user, r); err != nil {
		return err
	}
	n := l.clients.Add(1)
	if limit := l.clientsMax(); n > int64(limit) {
		l.RemoveClient(database, user) // another login was faster
		return protocol.ErrTooManyClients("max_client_conn", limit)
	}
	return nil
}

// RemoveClient takes back AddClient.
func (l *Listener) RemoveClient(database, user string) {
	l.clients.Add(-1)
	l.logins.limits.remove(database, user)
}
