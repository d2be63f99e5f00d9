// Package launch owns the processes of a benchmark: PostgreSQL, PgBouncer, hybridbouncer at this commit or another, and the bare relay.
// Each pooler is started with the same Settings, written in its own language. It must not know the measurements, nor how a pooler
// works inside: a pooler is a port and process ids.
//
// The caller that starts a process stops it, by the stop function that came with it. Read this file first.
package launch

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/measure"
	"github.com/hybridbouncer/hybridbouncer/bench/wire"
)

// Settings of a pooler that is started for a run. Every product gets the same ones, written in its own language.
type Settings struct {
	Server        *Postgres
	AuthType      string // trust or scram-sha-256
	PoolSize      int    // servers of the transaction port
	ReserveSize   int    // its reserve_pool_size
	SessionSize   int    // servers of the session port; 0: no such port
	MaxClientConn int
	Password      string // of both users, postgres and applicationUser, or its SCRAM secret
	Admin         bool   // wants the HTTP endpoint, if the product has one
	Loops         int    // event loops of hybridbouncer; 0: as it decides
	Certificate   *Certificate
	QueryWait     time.Duration // query_wait_timeout; 0: 30 s
	Backlog       int           // listen_backlog of PgBouncer; 0: its default. Ours is what the system allows
	Listener      string        // further lines of each [[listener]] of hybridbouncer
}

// waitSeconds is query_wait_timeout.
func (s Settings) waitSeconds() int {
	if s.QueryWait == 0 {
		return 30
	}
	return int(s.QueryWait.Seconds())
}

// ApplicationUser is in the user list of each pooler beside postgres. It is no superuser: row-level security holds for it.
const ApplicationUser = "bench_app"

// Certificate, if there is one, makes a pooler insist on TLS with its clients.
type Certificate struct{ Signed, Key string }

// files are those that a pooler's configuration names, relative to its folder.
func (s Settings) files(name, configuration string) map[string]string {
	all := map[string]string{name: configuration, "userlist.txt": userList(s.Password)}
	if s.Certificate != nil {
		all["server.crt"], all["server.key"] = s.Certificate.Signed, s.Certificate.Key
	}
	return all
}

// Pooler is a running pooler: its ports, to load it, and its processes, to measure it.
type Pooler struct {
	Name            string
	TransactionPort int
	SessionPort     int    // 0 when there is none
	Health          string // URL of /health/db, "" when there is none
	PIDs            []int
	Stop            func() // no-op when it was not started here
}

// Target makes a login at the transaction port.
func (p *Pooler) Target(user, password, database string) (*wire.Target, error) {
	return wire.NewTarget("127.0.0.1", p.TransactionPort, user, password, database)
}

// Product can be started, each time as a fresh process, or stands for one that runs already.
type Product struct {
	Name, Version string
	Fresh         bool // start gives a new process: memory and logins can be measured again
	LoadOnly      bool // it is no pooler: only the load can be measured
	Start         func(ctx context.Context, s Settings) (*Pooler, error)
}

// GivenProduct stands for a pooler that was started elsewhere: "name=port:pid", or "name=port:pid,pid" for several processes.
func GivenProduct(text string) (Product, error) {
	const form = `-pooler wants name=port:pid (or port:pid,pid), as in "odyssey=7432:4711", not %q`
	name, place, okName := strings.Cut(text, "=")
	portText, pidsText, okPlace := strings.Cut(place, ":")
	port, err := strconv.Atoi(portText)
	if !okName || !okPlace || name == "" || err != nil {
		return Product{}, fmt.Errorf(form, text)
	}
	given := &Pooler{Name: name, TransactionPort: port, Stop: func() {}}
	for pidText := range strings.SplitSeq(pidsText, ",") {
		pid, err := strconv.Atoi(pidText)
		if err != nil {
			return Product{}, fmt.Errorf(form, text)
		}
		given.PIDs = append(given.PIDs, pid)
	}
	if _, err := measure.ReadUsage(given.PIDs); err != nil {
		return Product{}, err
	}
	return Product{Name: name, Version: "given, process " + pidsText, Start: func(context.Context, Settings) (*Pooler, error) { return given, nil }}, nil
}

// userList is PgBouncer's format, which both products read.
func userList(password string) string {
	return fmt.Sprintf("\"postgres\" \"%s\"\n\"%s\" \"%s\"\n", password, ApplicationUser, password)
}

// Address is host:port of a port on 127.0.0.1.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
