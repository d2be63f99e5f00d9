// Package login owns an accepted socket until its client has proved its identity: the PROXY header, the requests for encryption, TLS, the
// startup packet, the exchange that package auth prescribes, and the limits on logins and clients. It must not know pools, servers, the
// clients that are logged in, or the relay.
//
// The result of a login is an Admitted: user, database and startup parameters of a client that may come in. Package proxy then finds the
// pool, welcomes the client, and takes the socket out of the Attempt with Release. A login that fails ends with Refuse.
//
// Every Attempt belongs to one goroutine, which may block. All other types are safe for use by several goroutines.
//
// Read logins.go and attempt.go first, then startup_packets.go and authenticate.go, which are the walk of a login. login_gate.go,
// rate_limiter.go and client_limits.go protect the pooler from too many of them.
package login

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"runtime"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/semaphore"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/eventloop"
)

// Options connect the logins to the rest of the pooler. Login goroutines call all of the functions.
type Options struct {
	Log *slog.Logger
	// Life ends with the process. No login outlives it.
	Life context.Context
	// Config returns the configuration in force.
	Config func() *config.Config
	// Draining reports whether the pooler is shutting down and lets no new client in.
	Draining func() bool
	// OpenLoops returns the event loops that take new clients. The next login waits while they are busy.
	OpenLoops func() []*eventloop.Loop
	// Refused counts a login that has failed, by listener. The reason is an SQLSTATE, or a word where the client hears none.
	Refused func(listener, reason string)
	// OpenServer logs in to PostgreSQL to run auth_query there. The caller closes the connection.
	OpenServer func(context.Context, *config.AuthQuery) (*pgconn.PgConn, error)
}

// Logins holds the state that all listeners share: the authentication of clients, and the limits on logins.
type Logins struct {
	Options

	verifier    *auth.Verifier
	authQueries *authQueries
	rateLimiter loginRateLimiter
	gate        loginGate
	// computing is held while an answer or a signature is computed: login_slots at once. A storm of logins must not take the processors
	// away from running queries.
	computing *semaphore.Weighted
	limits    clientLimits
}

// New reads the files that the configuration names for authentication.
func New(o Options) (*Logins, error) {
	cfg := o.Config()
	s := &Logins{
		Options:   o,
		gate:      newLoginGate(),
		computing: semaphore.NewWeighted(int64(cmp.Or(cfg.Auth.LoginSlots, max(1, runtime.GOMAXPROCS(0)/2)))),
	}
	s.authQueries = newAuthQueries(s)
	policy, err := s.Policy(cfg)
	if err != nil {
		return nil, err
	}
	s.verifier, err = auth.NewVerifier(policy)
	return s, err
}

// Verifier returns the verifier of all logins. Its policy is replaced when the configuration is reloaded.
func (s *Logins) Verifier() *auth.Verifier { return s.verifier }

// Policy reads the [auth] settings of a configuration and the files that they name.
func (s *Logins) Policy(cfg *config.Config) (policy auth.Policy, err error) {
	if policy.Method, err = auth.ParseMethod(cfg.Auth.Type); err != nil {
		return policy, err
	}
	if cfg.Auth.UserFile != "" {
		if policy.Users, err = auth.LoadUserFile(cfg.Auth.UserFile); err != nil {
			return policy, err
		}
	}
	if cfg.AsksPostgreSQL() {
		policy.Lookup = auth.NewLookup(cfg.Auth.AuthQueryCache, s.authQueries.ask)
	}
	if cfg.Auth.HBAFile != "" {
		if policy.HBA, err = auth.LoadHBA(cfg.Auth.HBAFile, cfg.Auth.IdentFile); err != nil {
			return policy, err
		}
	}
	_, err = fit(&policy, cfg)
	return policy, err
}

// fit compares the policy with the TLS settings of the listeners. The error says why nobody could log in.
func fit(policy *auth.Policy, cfg *config.Config) (warnings []string, err error) {
	speakTLS, askCertificates := false, false
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		on := l.ClientTLSMode != "disable" && l.ClientTLSMode != ""
		speakTLS = speakTLS || on
		askCertificates = askCertificates || on && l.ClientTLSCAFile != ""
	}
	switch {
	case policy.HBA != nil:
		return policy.HBA.Fit(speakTLS, askCertificates)
	case policy.Method == auth.Cert && !askCertificates:
		return nil, errors.New(`[auth] type = "cert" needs a listener with TLS and client_tls_ca_file, which says whose certificates count`)
	case policy.Method == auth.SCRAMPlus && !speakTLS:
		return nil, errors.New(`[auth] type = "scram-sha-256-plus" works over TLS alone, and no listener speaks TLS (client_tls_sslmode)`)
	}
	return nil, nil
}

// Warnings names the settings in force that belong together and have no effect as they are.
func (s *Logins) Warnings() []string {
	cfg := s.Config()
	policy, err := s.Policy(cfg)
	if err != nil {
		return nil // New has told it
	}
	warnings, _ := fit(&policy, cfg)
	return warnings
}

// Close closes the connections of auth_query. It is called when every login has ended.
func (s *Logins) Close() { s.authQueries.close() }
