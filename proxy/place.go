package proxy

import (
	"context"
	"sync/atomic"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// location says where the servers of a pool are, and how the pooler logs in there. Two that are equal lead to the same servers.
type location struct {
	host, dbname, user, password string
	port                         int

	passFile, sslMode, sslNegotiation, sslRootCert, sslCert, sslKey string
}

func locationOf(r *config.Resolved, s *config.Server) location {
	return location{
		host: r.Host, port: r.Port, dbname: r.DBName, user: r.ServerUser, password: r.ServerPassword,
		passFile: s.PassFile, sslMode: s.SSLMode, sslNegotiation: s.SSLNegotiation,
		sslRootCert: s.SSLRootCert, sslCert: s.SSLCert, sslKey: s.SSLKey,
	}
}

// place is where a pool opens its servers, until a reload points the pool elsewhere. Each server knows its place: from then on the server is
// not lent again. Any goroutine may look.
type place struct {
	at    location
	left  atomic.Bool
	until context.Context // ends when the place is left: so does a login to PostgreSQL that is under way there
	end   context.CancelFunc
}

func newPlace(at location) *place {
	p := &place{at: at}
	p.until, p.end = context.WithCancel(context.Background())
	return p
}

func (p *place) leave() {
	p.left.Store(true)
	p.end()
}

// movedError is why a login to PostgreSQL has been given up: a reload points the pool elsewhere. The pool tries there.
type movedError struct{}

func (movedError) Error() string { return "the configuration points elsewhere now" }

// Transient tells the pool that whoever waits goes on waiting.
func (movedError) Transient() bool { return true }
