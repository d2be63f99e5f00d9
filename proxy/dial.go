package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// DialTarget says where a new server is to be opened, and as whom.
type DialTarget struct {
	Pool     pool.Key
	Resolved config.Resolved
	Server   config.Server
	// Credentials serve when Resolved has no password.
	Credentials auth.Credentials
	// Replication are the startup parameters of the one client that a walsender is opened for; nil: an ordinary server.
	Replication map[string]string
}

// Dialed is a server that has logged in and is ready for queries. Whoever receives it owns the source.
type Dialed struct {
	Source     eventloop.Source
	Key        protocol.CancelKey
	Address    net.Addr          // where cancel requests for it go
	TLS        *ServerTLS        // nil: plain
	Parameters map[string]string // as reported at login
}

// dialError is a failed dial. server is PostgreSQL's own word, if it spoke.
type dialError struct {
	cause  error
	server *protocol.Error
}

func (e *dialError) Error() string { return e.cause.Error() }
func (e *dialError) Unwrap() error { return e.cause }

// Transient: PostgreSQL is there and will let us in later (starting up, shutting down, full). Waiters keep waiting.
func (e *dialError) Transient() bool {
	if e.server == nil {
		return false
	}
	switch e.server.Code {
	case "57P03", "57P01", "57P02", "53300":
		return true
	}
	return false
}

// Refused: PostgreSQL has said no, and would say so again.
func (e *dialError) Refused() bool { return e.server != nil && !e.Transient() }

// startDial opens the server that a pool has asked for, in a goroutine. The loop hears of the result.
func (w *worker) startDial(ps *pool.Server) {
	p := w.proxy
	sp := ps.Pool().Owner.(*serverPool)
	s := &Server{ps: ps, pool: sp, worker: w, relay: relay.NewServer()}
	ps.Owner = s
	p.mu.Lock()
	ps.Loop = w.index
	p.mu.Unlock()
	target := p.targetOf(sp)
	if r, ok := ps.Dedicated.(*replication); ok {
		s.replication, target.Replication = r, r.parameters
	}
	var once sync.Once
	p.env.Dial(target, func(d Dialed, err error) {
		once.Do(func() {
			w.loop.Post(func() {
				if err != nil {
					w.dialFailed(s, err)
				} else {
					w.dialed(s, d)
				}
				w.act()
			})
		})
	})
}

// targetOf says where the servers of a pool are, as the configuration is now.
func (p *Proxy) targetOf(sp *serverPool) DialTarget {
	target := DialTarget{Pool: sp.key, Resolved: sp.limits.Load().resolved, Server: p.settings.Load().cfg.Server}
	target.Credentials = p.verifier.ServerLogin(sp.key.Database, sp.key.User, target.Resolved.ServerUser)
	return target
}

// dialed takes a new server into the loop and its pool.
func (w *worker) dialed(s *Server, d Dialed) {
	p := w.proxy
	s.key, s.address, s.tls = d.Key, d.Address, d.TLS
	s.settings = settingsOf(d.Parameters)
	s.base, s.relay.Base = s.settings, s.settings
	s.pool.dials.connects.Add(1)
	p.reachable.note(addressIn(&s.pool.limits.Load().resolved), nil)
	if s.replication == nil {
		s.pool.welcome.learn(d.Parameters)
	} else {
		s.reported = d.Parameters
	}
	s.relay.Tally = &w.countersOf(s.pool).Tally
	w.servers.add(s)
	if err := w.loop.Adopt(&s.conn, d.Source, s); err != nil {
		s.gone(err)
		return
	}
	if p.settings.Load().cfg.Log.Connections {
		p.log.Info("server opened", "listener", s.pool.key.Listener, "database", s.pool.key.Database, "user", s.pool.key.User,
			"pid", s.key.ProcessID, "tls", d.TLS != nil)
	}
	var out pool.Outcome
	w.pools(func() {
		s.ps.Session = sqltext.Session{Reported: s.settings}
		out = s.ps.Pool().Dialed(s.ps, w.index, w.loop.Now())
		s.moved(s.ps.Pool())
	})
	w.follow(s, out)
}

func (w *worker) dialFailed(s *Server, err error) {
	p := w.proxy
	s.pool.dials.failures.Add(1)
	text := "PostgreSQL could not be reached or refused the login; the pool tries again after a pause (server_login_retry)"
	if s.replication != nil {
		text = "PostgreSQL could not be reached or refused a replication connection, and its client was told so"
	}
	var refused *dialError
	if s.replication == nil || !errors.As(err, &refused) || refused.server == nil {
		p.reachable.note(addressIn(&s.pool.limits.Load().resolved), err)
	}
	p.log.Warn(text, "listener", s.pool.key.Listener, "database", s.pool.key.Database, "user", s.pool.key.User, "error", err)
	w.pools(func() {
		s.ps.Pool().DialFailed(s.ps, err, w.loop.Now())
	})
}

// dial is the real one: pgconn logs in (SCRAM, MD5, TLS, several hosts), then the connection is taken from it.
func (p *Proxy) dial(target DialTarget, done func(Dialed, error)) {
	p.spawn(func() {
		ctx, cancel := p.context(target.Server.ConnectTimeout)
		defer cancel()
		d, err := p.connect(ctx, target)
		if err != nil {
			err = &dialError{cause: fmt.Errorf("dial for pool %s/%s: %w", target.Pool.Database, target.Pool.User, err), server: serverError(err)}
		}
		done(d, err)
	})
}

// serverError is what PostgreSQL itself said, if it did.
func serverError(err error) *protocol.Error {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return nil
	}
	return &protocol.Error{
		Severity: pe.Severity, Code: pe.Code, Message: pe.Message, Detail: pe.Detail, Hint: pe.Hint,
	}
}

func (p *Proxy) connect(ctx context.Context, target DialTarget) (Dialed, error) {
	cfg, err := dialConfig(target)
	if err != nil {
		return Dialed{}, err
	}
	reader := readerOf(cfg)
	pc, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return Dialed{}, err
	}
	if target.Replication == nil {
		p.warnOfBudget(ctx, pc)
	}
	h, err := pc.Hijack()
	if err != nil {
		return Dialed{}, errors.Join(err, pc.Close(ctx))
	}
	return fromHijacked(h, *reader, target)
}

// readerOf is where pgconn, when it has connected, reads from.
func readerOf(cfg *pgconn.Config) *io.Reader {
	reader, build := new(io.Reader), cfg.BuildFrontend
	cfg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		*reader = r
		return build(r, w)
	}
	return reader
}

// fromHijacked takes the socket out of pgconn's hands.
func fromHijacked(h *pgconn.HijackedConn, reader io.Reader, target DialTarget) (Dialed, error) {
	if err := letGo(h, reader); err != nil {
		return Dialed{}, errors.Join(err, h.Conn.Close())
	}
	h.Conn = withoutLogin(h.Conn)
	setSocketOptions(h.Conn, target.Server, false)
	address := h.Conn.RemoteAddr()
	src, err := eventloop.Take(h.Conn)
	if err != nil {
		return Dialed{}, errors.Join(err, h.Conn.Close())
	}
	d := Dialed{
		Source: src, Parameters: h.ParameterStatuses, Address: address,
		Key: protocol.CancelKey{ProcessID: h.PID, Secret: h.SecretKey},
	}
	if h.TLSConfig != nil {
		d.TLS = &ServerTLS{config: h.TLSConfig, direct: h.Config.SSLNegotiation == "direct"}
	}
	return d, nil
}

// letGo makes sure that pgconn neither holds bytes that it has read ahead nor goes on reading: when a write took long, it reads in the
// background, and may do so still. Its reader waits for that one before it reads itself, and both find that there is no time left.
func letGo(h *pgconn.HijackedConn, reader io.Reader) error {
	if err := h.Conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	var ahead [1]byte
	n, err := reader.Read(ahead[:])
	if n += h.Frontend.ReadBufferLen(); n > 0 {
		return errors.New("something follows the server's ReadyForQuery") // PostgreSQL says nothing unasked: this is not ours
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the server's connection ended with its login: %w", err)
	}
	return h.Conn.SetReadDeadline(time.Time{})
}

// dialConfig is pgconn's configuration for a target. Everything is said explicitly, so that no PG* variable of the pooler's own
// environment leaks into it.
func dialConfig(target DialTarget) (*pgconn.Config, error) {
	r, sv := target.Resolved, target.Server
	var b strings.Builder
	for _, kv := range [][2]string{
		{"host", r.Host},
		{"port", strconv.Itoa(r.Port)},
		{"user", r.ServerUser},
		{"dbname", r.DBName},
		{"password", cmp.Or(r.ServerPassword, target.Credentials.Password)},
		{"passfile", sv.PassFile},
		{"sslmode", sv.SSLMode},
		{"sslnegotiation", sv.SSLNegotiation},
		{"sslrootcert", sv.SSLRootCert},
		{"sslcert", sv.SSLCert},
		{"sslkey", sv.SSLKey},
		{"sslcertmode", "allow"},
		{"sslsni", "1"},
		{"channel_binding", "prefer"},
		{"application_name", sv.ApplicationName},
		{"max_protocol_version", "3.2"},
	} {
		if kv[1] != "" || explicit[kv[0]] {
			fmt.Fprintf(&b, "%s='%s' ", kv[0], valueEscaper.Replace(kv[1]))
		}
	}
	cfg, err := pgconn.ParseConfig(b.String())
	if err != nil {
		return nil, fmt.Errorf("settings for %s: %w", r.Host, err)
	}
	maps.Copy(cfg.RuntimeParams, target.Replication)
	withCredentials(cfg, target.Credentials)
	cfg.MaxProtocolMessageBodyLen = loginMessageMax
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{KeepAlive: noKeepAlive} // setSocketOptions arms it
		nc, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return eventloop.NewTransport(nc), nil
	}
	return cfg, nil
}

// loginMessageMax bounds a message of PostgreSQL's as long as pgconn reads it, and so what it may be made to allocate, in bytes. What is
// longest is the answer to auth_query.
const loginMessageMax = 1 << 20

// explicit are said even when empty: otherwise PGPASSWORD or PGSSLROOTCERT of the pooler's own environment would be used.
var explicit = map[string]bool{"password": true, "passfile": true, "sslrootcert": true, "sslcert": true, "sslkey": true, "application_name": true}

var valueEscaper = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

// context is bound to the proxy's life and, unless 0, to a time-out.
func (p *Proxy) context(limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return context.WithCancel(p.life)
	}
	return context.WithTimeout(p.life, limit)
}
