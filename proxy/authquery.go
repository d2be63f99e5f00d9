package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
	"github.com/hybridbouncer/hybridbouncer/proxy/sockets"
)

// authQueries asks PostgreSQL for the secrets of users: auth_query. Each database asked has one connection of its own, which no client
// ever uses and on which nothing is set that came from a client (CVE-2025-12819 of PgBouncer). It is closed when nobody has asked for a
// while, or when another database needs its place. Safe for use by several goroutines.
type authQueries struct {
	proxy  *Proxy
	places slots // one for each connection, until it is closed

	mu      sync.Mutex
	servers map[authTarget]*authServer
	waiting int // for a place
}

// authServersMax is how many of these connections there are at most. They do not count in the pools: a login would have to wait for a
// server while all are busy, and nobody could get in when it matters. So they have a bound of their own, since anybody may name databases.
const authServersMax = 5

// authTarget is where and as whom to ask.
type authTarget struct {
	host   string
	port   int
	dbname string
	user   string
}

// authServer is a connection for questions, one at a time.
type authServer struct {
	// guarded by authQueries.mu
	users int         // who ask, or are about to
	idle  *time.Timer // closes it

	mu sync.Mutex     // one question at a time
	pc *pgconn.PgConn // guarded by mu; nil: none open
}

// authIdleMax is how long an unused connection for questions stays open; authAskMax how long opening one and asking may take if
// server_connect_timeout sets no limit.
const (
	authIdleMax = time.Minute
	authAskMax  = 15 * time.Second
)

// ask is auth.Ask.
func (a *authQueries) ask(database, user string) (auth.Secret, bool, error) {
	p := a.proxy
	cfg := p.settings.Load().cfg
	q, ok := cfg.AuthQueryOf(database)
	if !ok {
		return auth.Secret{}, false, nil
	}
	ctx, cancel := p.context(limitOr(cfg.Server.ConnectTimeout, authAskMax))
	defer cancel()
	row, err := a.row(ctx, &q, user)
	if err == nil {
		var secret auth.Secret
		if secret, ok, err = secretOf(row, user); err == nil {
			return secret, ok, nil
		}
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) && (pe.Code == "3D000" || strings.HasPrefix(pe.Code, "22")) {
		p.log.Debug("auth_query: no such database, or no name of a user", "database", database, "error", err)
		return auth.Secret{}, false, nil // what the client made up exists nowhere: it hears the same as for an unknown user
	}
	p.log.Warn("auth_query failed: users who are not in the user file cannot log in", "database", database, "auth_user", q.User, "error", err)
	return auth.Secret{}, false, protocol.ErrLookup()
}

func limitOr(limit, otherwise time.Duration) time.Duration {
	if limit <= 0 {
		return otherwise
	}
	return limit
}

// secretOf judges a row as strictly as a line of the user file. No row, or NULL in the place of the secret: may not log in.
func secretOf(row [][]byte, user string) (auth.Secret, bool, error) {
	switch {
	case row == nil:
		return auth.Secret{}, false, nil
	case len(row) < 2:
		return auth.Secret{}, false, errors.New("auth_query must give two columns: the user's name and the secret")
	case string(row[0]) != user:
		return auth.Secret{}, false, errors.New("auth_query gave another user than the one who was asked for")
	case row[1] == nil:
		return auth.Secret{}, false, nil
	}
	secret, err := auth.ParseSecret(string(row[1]))
	if err != nil {
		return auth.Secret{}, false, fmt.Errorf("auth_query, user %q: %w", user, err)
	}
	return secret, true, nil
}

// row asks. A connection that has died unnoticed since the last question is replaced once.
func (a *authQueries) row(ctx context.Context, q *config.AuthQuery, user string) ([][]byte, error) {
	target := authTarget{host: q.Host, port: q.Port, dbname: q.DBName, user: q.User}
	s := a.take(ctx, target)
	if s == nil {
		return nil, fmt.Errorf("auth_query in %d other databases takes too long: %w", authServersMax, ctx.Err())
	}
	defer a.leave(target, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	reused := s.pc != nil
	row, err := a.rowOn(ctx, s, q, user)
	var pe *pgconn.PgError
	if err != nil && reused && s.pc == nil && !errors.As(err, &pe) && ctx.Err() == nil {
		row, err = a.rowOn(ctx, s, q, user)
	}
	return row, err
}

// rowOn asks on a server, which is opened if need be and closed if it does not work. The caller holds its mu.
func (a *authQueries) rowOn(ctx context.Context, s *authServer, q *config.AuthQuery, user string) (row [][]byte, err error) {
	if s.pc == nil {
		if s.pc, err = a.dial(ctx, q); err != nil {
			return nil, err
		}
	}
	result := s.pc.ExecParams(ctx, q.Query, [][]byte{[]byte(user)}, nil, nil, nil).Read()
	if s.pc.IsClosed() {
		s.pc = nil
	}
	switch {
	case result.Err != nil:
		return nil, result.Err
	case len(result.Rows) > 1:
		return nil, errors.New("auth_query gave more than one row")
	case len(result.Rows) == 0:
		return nil, nil
	}
	return result.Rows[0], nil
}

// dial logs in as auth_user. Nothing of a client's is in this.
func (a *authQueries) dial(ctx context.Context, q *config.AuthQuery) (*pgconn.PgConn, error) {
	p := a.proxy
	target := dial.Target{
		Pool: pool.Key{Database: q.DBName, User: q.User}, Server: p.settings.Load().cfg.Server,
		Resolved: config.Resolved{Host: q.Host, Port: q.Port, DBName: q.DBName, ServerUser: q.User, ServerPassword: q.Password},
	}
	target.Credentials = p.verifier.ServerLogin("", q.User, q.User)
	return dial.Connect(ctx, target)
}

// take finds or makes the server of a target; nil if none of the others is free of questions as long as ctx allows. The caller has to leave
// it.
func (a *authQueries) take(ctx context.Context, target authTarget) *authServer {
	a.mu.Lock()
	if s := a.join(target); s != nil {
		a.mu.Unlock()
		return s
	}
	a.waiting++
	spare := a.spare()
	a.mu.Unlock()
	if spare != nil {
		a.end(spare)
	}
	placed := a.places.take(ctx)

	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting--
	if !placed {
		return nil
	}
	if s := a.join(target); s != nil { // somebody was faster
		a.places.free()
		return s
	}
	s := &authServer{users: 1}
	s.idle = time.AfterFunc(authIdleMax, func() { a.retire(target, s) })
	s.idle.Stop()
	a.servers[target] = s
	return s
}

// join finds the server of a target for one more who asks. The caller holds mu.
func (a *authQueries) join(target authTarget) *authServer {
	s := a.servers[target]
	if s != nil {
		s.users++
		s.idle.Stop()
	}
	return s
}

// spare forgets a server that nobody asks just now, if all places are taken; the caller, who holds mu, has to end it.
func (a *authQueries) spare() *authServer {
	if len(a.places) < cap(a.places) {
		return nil
	}
	for target, s := range a.servers {
		if s.users == 0 {
			delete(a.servers, target)
			return s
		}
	}
	return nil
}

func (a *authQueries) leave(target authTarget, s *authServer) {
	a.mu.Lock()
	s.users--
	wanted := s.users == 0 && a.waiting > 0
	if s.users == 0 && !wanted {
		s.idle.Reset(authIdleMax)
	}
	a.mu.Unlock()
	if wanted {
		a.retire(target, s)
	}
}

// retire closes a server that nobody asks, and forgets it: names of databases can be made up by anybody.
func (a *authQueries) retire(target authTarget, s *authServer) {
	a.mu.Lock()
	unused := s.users == 0 && a.servers[target] == s
	if unused {
		delete(a.servers, target)
	}
	a.mu.Unlock()
	if unused {
		a.end(s)
	}
}

// end closes a server that has been forgotten, and gives its place to the next.
func (a *authQueries) end(s *authServer) {
	s.idle.Stop()
	s.close()
	a.places.free()
}

// close says goodbye and waits a moment for PostgreSQL to close, too: so long the connection counts there.
func (s *authServer) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pc == nil {
		return
	}
	h, err := s.pc.Hijack()
	s.pc = nil
	if err != nil {
		return // it is closed
	}
	defer sockets.CloseQuietly(h.Conn)
	if err := h.Conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return
	}
	if _, err := h.Conn.Write(terminateMessage); err == nil {
		_, _ = io.Copy(io.Discard, h.Conn) // the end is all that is to come
	}
}

// close closes all. Nobody asks any more.
func (a *authQueries) close() {
	a.mu.Lock()
	servers := a.servers
	a.servers = make(map[authTarget]*authServer)
	a.mu.Unlock()
	for _, s := range servers {
		s.idle.Stop()
		s.close()
	}
}
