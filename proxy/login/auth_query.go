package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sync/semaphore"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/sockets"
)

// authQueries runs auth_query: it asks PostgreSQL for the secrets of users. It keeps one connection for each database that it asks. No client
// ever uses that connection, and nothing is set on it that came from a client (CVE-2025-12819 of PgBouncer). The connection is closed when it
// was not used for a while, or when another database needs its place.
type authQueries struct {
	logins *Logins
	places *semaphore.Weighted // one for each connection, until it is closed

	// guarded by mu
	mu      sync.Mutex
	servers map[authTarget]*authServer
	waiting int // logins that wait for a place
}

// AuthServersMax bounds the connections for auth_query. They do not count in the pools: a login would have to wait for a server while all are
// busy, and nobody could get in when it matters. They need a bound of their own, because a client may name any database.
const AuthServersMax = 5

// authTarget says where to ask, and as which user.
type authTarget struct {
	host   string
	port   int
	dbname string
	user   string
}

// authServer is a connection for auth_query. It serves one question at a time.
type authServer struct {
	// guarded by authQueries.mu
	users int         // logins that ask on it, or are about to
	idle  *time.Timer // closes it

	mu sync.Mutex     // held during a question
	pc *pgconn.PgConn // guarded by mu; nil: none open
}

const (
	// authIdleMax is how long an unused connection stays open.
	authIdleMax = time.Minute
	// authAskMax is how long opening a connection and asking may take if server_connect_timeout sets no limit.
	authAskMax = 15 * time.Second
	// authCloseMax is how long PostgreSQL may take to close a connection that was told goodbye.
	authCloseMax = time.Second
)

func newAuthQueries(s *Logins) *authQueries {
	return &authQueries{logins: s, places: semaphore.NewWeighted(AuthServersMax), servers: make(map[authTarget]*authServer)}
}

// ask is auth.Ask.
func (a *authQueries) ask(database, user string) (auth.Secret, bool, error) {
	cfg, log := a.logins.Config(), a.logins.Log
	q, ok := cfg.AuthQueryOf(database)
	if !ok {
		return auth.Secret{}, false, nil
	}
	limit := cfg.Server.ConnectTimeout
	if limit <= 0 {
		limit = authAskMax
	}
	ctx, cancel := context.WithTimeout(a.logins.Life, limit)
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
		log.Debug("auth_query: no such database, or no name of a user", "database", database, "error", err)
		return auth.Secret{}, false, nil // the client invented a name, and hears the same as an unknown user
	}
	log.Warn("auth_query failed: users who are not in the user file cannot log in", "database", database, "auth_user", q.User, "error", err)
	return auth.Secret{}, false, protocol.ErrLookup()
}

// secretOf reads a row as strictly as a line of the user file. A user without a row, or with NULL for a secret, may not log in.
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

// row asks for the row of a user. A connection that has died unnoticed since the last question is replaced once.
func (a *authQueries) row(ctx context.Context, q *config.AuthQuery, user string) ([][]byte, error) {
	target := authTarget{host: q.Host, port: q.Port, dbname: q.DBName, user: q.User}
	s := a.take(ctx, target)
	if s == nil {
		return nil, fmt.Errorf("auth_query in %d other databases takes too long: %w", AuthServersMax, ctx.Err())
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

// rowOn asks on a server. It opens the connection if there is none. The caller holds the server's mu.
func (a *authQueries) rowOn(ctx context.Context, s *authServer, q *config.AuthQuery, user string) (row [][]byte, err error) {
	if s.pc == nil {
		if s.pc, err = a.logins.OpenServer(ctx, q); err != nil {
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

// take finds or makes the server of a target. It waits for a place while others are asked. It returns nil when ctx ends first. The caller
// calls leave.
func (a *authQueries) take(ctx context.Context, target authTarget) *authServer {
	a.mu.Lock()
	if s := a.join(target); s != nil {
		a.mu.Unlock()
		return s
	}
	if a.places.TryAcquire(1) {
		defer a.mu.Unlock()
		return a.add(target)
	}
	a.waiting++
	spare := a.spare()
	a.mu.Unlock()
	if spare != nil {
		a.end(spare)
	}
	err := a.places.Acquire(ctx, 1)

	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting--
	if err != nil {
		return nil
	}
	if s := a.join(target); s != nil { // another login was faster
		a.places.Release(1)
		return s
	}
	return a.add(target)
}

// add makes the server of a target. The caller holds mu and has a place for it.
func (a *authQueries) add(target authTarget) *authServer {
	s := &authServer{users: 1}
	s.idle = time.AfterFunc(authIdleMax, func() { a.retire(target, s) })
	s.idle.Stop()
	a.servers[target] = s
	return s
}

// join finds the server of a target for one more login. The caller holds mu.
func (a *authQueries) join(target authTarget) *authServer {
	s := a.servers[target]
	if s != nil {
		s.users++
		s.idle.Stop()
	}
	return s
}

// spare forgets a server that no login uses now. The caller holds mu, and ends the server when it has given mu back.
func (a *authQueries) spare() *authServer {
	for target, s := range a.servers {
		if s.users == 0 {
			delete(a.servers, target)
			return s
		}
	}
	return nil
}

// leave takes back take.
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

// retire closes and forgets a server that no login uses. It must not be kept: a client may name any database.
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

// end closes a server that has been forgotten, and gives its place to the next login.
func (a *authQueries) end(s *authServer) {
	s.idle.Stop()
	s.close()
	a.places.Release(1)
}

// close says goodbye and waits a moment until PostgreSQL has closed the connection too, which counts there until then.
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
	if err := h.Conn.SetDeadline(time.Now().Add(authCloseMax)); err != nil {
		return
	}
	goodbye, _ := (&pgproto3.Terminate{}).Encode(nil) // cannot fail
	if _, err := h.Conn.Write(goodbye); err == nil {
		_, _ = io.Copy(io.Discard, h.Conn) // the end is all that is to come
	}
}

// close closes all servers. No login is under way any more.
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
