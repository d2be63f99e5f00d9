// Package dial owns the way to PostgreSQL: it opens servers (address, TLS, login), knows at which addresses PostgreSQL can be reached, and
// delivers cancel requests. It must not know pools' decisions, clients or event loops: what it opens is handed over as an eventloop.Source,
// with everything that the server reported.
//
// Everything here blocks and belongs into a goroutine of its own. pgconn does the login, and gives the socket up when it is done.
//
// Read dial.go first. key_login.go logs in with what pgconn does not take in the place of a password, server_tls.go secures cancel requests,
// reachability.go remembers what attempts have shown.
package dial

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
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/sockets"
)

// Target says where a new server is to be opened, and as whom.
type Target struct {
	Pool     pool.Key
	Resolved config.Resolved
	Server   config.Server
	// Credentials serve when Resolved has no password.
	Credentials auth.Credentials
	// Replication are the startup parameters of the one client that a walsender is opened for; nil: an ordinary server.
	Replication map[string]string
	// Until ends when nobody wants the server any more. nil: never.
	Until context.Context
}

// Opened is a server that has logged in and is ready for queries. Whoever receives it owns the source.
type Opened struct {
	Source     eventloop.Source
	Key        protocol.CancelKey
	Address    net.Addr          // where cancel requests for it go
	TLS        *TLS              // nil: plain
	Parameters map[string]string // as reported at login
}

// Error tells why a server could not be opened.
type Error struct {
	cause error
	// Server is PostgreSQL's answer; nil when PostgreSQL did not speak.
	Server *protocol.Error
	full   bool
}

func (e *Error) Error() string { return e.cause.Error() }
func (e *Error) Unwrap() error { return e.cause }

// Transient: PostgreSQL is there and will let us in later (starting up, shutting down, full). Waiters keep waiting.
func (e *Error) Transient() bool {
	if e.Server == nil {
		return false
	}
	switch e.Server.Code {
	case "57P03", "57P01", "57P02", "53300":
		return true
	}
	return false
}

// Full reports that PostgreSQL has no place for another connection, whichever role and database it is for.
func (e *Error) Full() bool { return e.full }

// Refused: PostgreSQL has said no, and would say so again.
func (e *Error) Refused() bool { return e.Server != nil && !e.Transient() }

// Server opens a server: it connects, logs in and takes the socket out of pgconn's hands. first, unless nil, may ask the server something
// before anybody gets it. An error is an *Error.
func Server(ctx context.Context, target Target, first func(context.Context, *pgconn.PgConn)) (Opened, error) {
	opened, err := open(ctx, target, first)
	if err != nil {
		return Opened{}, &Error{
			cause:  fmt.Errorf("dial for pool %s/%s: %w", target.Pool.Database, target.Pool.User, err),
			Server: serverError(err), full: isFull(err),
		}
	}
	return opened, nil
}

// Connect logs in for a question of the pooler's own. The caller closes the connection.
func Connect(ctx context.Context, target Target) (*pgconn.PgConn, error) {
	cfg, err := configFor(target)
	if err != nil {
		return nil, err
	}
	return pgconn.ConnectConfig(ctx, cfg)
}

// isFull tells "too many clients" and "slots are reserved" from the limits of one role or one database, which have the same SQLSTATE. The text
// depends on lc_messages; the function that raises the error does not.
func isFull(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "53300" && pe.Routine != "InitializeSessionUserId" && pe.Routine != "CheckMyDatabase"
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

func open(ctx context.Context, target Target, first func(context.Context, *pgconn.PgConn)) (Opened, error) {
	cfg, err := configFor(target)
	if err != nil {
		return Opened{}, err
	}
	reader := readerOf(cfg)
	pc, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return Opened{}, err
	}
	if first != nil {
		first(ctx, pc)
	}
	h, err := pc.Hijack()
	if err != nil {
		return Opened{}, errors.Join(err, pc.Close(ctx))
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
func fromHijacked(h *pgconn.HijackedConn, reader io.Reader, target Target) (Opened, error) {
	if err := letGo(h, reader); err != nil {
		return Opened{}, errors.Join(err, h.Conn.Close())
	}
	h.Conn = withoutLogin(h.Conn)
	sockets.SetOptions(h.Conn, target.Server, false)
	address := h.Conn.RemoteAddr()
	src, err := eventloop.Take(h.Conn)
	if err != nil {
		return Opened{}, errors.Join(err, h.Conn.Close())
	}
	d := Opened{
		Source: src, Parameters: h.ParameterStatuses, Address: address,
		Key: protocol.CancelKey{ProcessID: h.PID, Secret: h.SecretKey},
	}
	if h.TLSConfig != nil {
		d.TLS = &TLS{config: h.TLSConfig, direct: h.Config.SSLNegotiation == "direct"}
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

// configFor is pgconn's configuration for a target. Everything is said explicitly, so that no PG* variable of the pooler's own
// environment leaks into it.
func configFor(target Target) (*pgconn.Config, error) {
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
		d := net.Dialer{KeepAlive: sockets.NoKeepAlive} // setSocketOptions arms it
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
