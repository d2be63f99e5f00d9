package stats

import (
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Clients are grouped by application_name, the only name that applications give themselves, so that an operator sees which application uses
// the wrong port. The client chooses that text. Its length, its characters and the number of names are therefore bounded, and further names
// are counted together.

const (
	// ApplicationsMax is the number of applications that each event loop tells apart. An application is an application_name in a pool.
	ApplicationsMax = 200
	// applicationNameMax is the length at which PostgreSQL cuts a name off (NAMEDATALEN - 1).
	applicationNameMax = 63
)

// applicationKey identifies an application.
type applicationKey struct {
	pool   *PoolCounters // of the same loop
	name   string        // as shownName makes it
	others bool          // all names that are not told apart
}

// Application holds the counts of one loop for one application. Only that loop may call its methods.
type Application struct {
	key     applicationKey
	clients int           // clients that have the name now; the entry is kept as long as there are any
	left    time.Duration // when the last client left
	applicationCounts
	samples [relay.StateKinds]string

	// PromotionLog and RefusalLog keep the application from filling the log.
	PromotionLog, RefusalLog LogLimit
}

// applicationCounts are plain numbers.
type applicationCounts struct {
	transactions uint64
	long         uint64 // transactions of those that lasted for long_transaction
	sets         uint64 // parameters set or reset for a session that were followed
	forced       [relay.StateKinds]uint64
	refused      [relay.StateKinds]uint64 // of those, the refused ones
	promotions   [promotions]uint64

	longest       time.Duration
	inTransaction time.Duration // time between a transaction's first message and its end
	inLong        time.Duration // of that, in long ones
	held          time.Duration // time that clients had servers
	promoted      time.Duration // of that, with servers that counted in the session pool

	longOpen int // long transactions that are open now; filled in a copy only
}

func (a *applicationCounts) add(other *applicationCounts) {
	a.transactions += other.transactions
	a.long += other.long
	a.sets += other.sets
	for i := range other.forced {
		a.forced[i] += other.forced[i]
		a.refused[i] += other.refused[i]
	}
	for i := range other.promotions {
		a.promotions[i] += other.promotions[i]
	}
	a.longest = max(a.longest, other.longest)
	a.inTransaction += other.inTransaction
	a.inLong += other.inLong
	a.held += other.held
	a.promoted += other.promoted
	a.longOpen += other.longOpen
}

// ServerUse tells how long a client has had its server. All of it is up to now.
type ServerUse struct {
	Held        time.Duration // since the server was linked
	Promoted    time.Duration // since the server was promoted; 0: it was not
	Transaction time.Duration // since the open transaction began; 0: none is open
}

// IsNamed reports that the application is the one of clients with this application_name.
func (a *Application) IsNamed(name string) bool {
	return !a.key.others && a.key.name == shownName(name)
}

// Leave takes a client out of the count.
func (a *Application) Leave(now time.Duration) {
	a.clients--
	a.left = now
}

// Transacted counts a transaction that has ended after d.
func (a *Application) Transacted(d time.Duration) {
	a.transactions++
	a.inTransaction += d
	a.longest = max(a.longest, d)
	if d >= a.key.pool.Pool.LongFrom() {
		a.long++
		a.inLong += d
	}
}

// Released counts the use of a server that a client is about to lose. For the client, an open transaction ends with it.
func (a *Application) Released(u ServerUse) {
	if u.Transaction > 0 {
		a.Transacted(u.Transaction)
	}
	a.holds(u)
}

func (a *applicationCounts) holds(u ServerUse) {
	a.held += u.Held
	a.promoted += u.Promoted
}

// Sets counts parameters that were set or reset for a session and followed.
func (a *Application) Sets(n int) { a.sets += uint64(n) }

// Promoted counts a promotion of a client's server.
func (a *Application) Promoted(why Promotion) { a.promotions[why]++ }

// Forces counts a statement, at the start of b, that makes session state of a kind that only a connection can hold. The first of each kind
// is kept as a sample, without its constants.
func (a *Application) Forces(kind relay.StateKind, b []byte, d sqltext.Dialect) {
	a.forced[kind]++
	if a.samples[kind] == "" && !a.key.others {
		a.samples[kind] = string(sqltext.AppendSample(nil, relay.StatementText(b), d, kind.Effects()))
	}
}

// Observes counts a transaction of a session listener's client that made such state.
func (a *Application) Observes(kind relay.StateKind) { a.forced[kind]++ }

// Refuses counts a statement that Forces has counted and that was refused.
func (a *Application) Refuses(kind relay.StateKind) { a.refused[kind]++ }

// remarkable reports that there is something to say about an application.
func (a *Application) remarkable() bool { return a.long > 0 || a.forced != [relay.StateKinds]uint64{} }

// Applications is the table of one loop. Only that loop may call its methods.
type Applications struct {
	byKey map[applicationKey]*Application // at most ApplicationsMax
}

// Enter counts a client with the others of its application. pool are the loop's counters of the client's pool.
func (t *Applications) Enter(pool *PoolCounters, name string) *Application {
	key := applicationKey{pool: pool, name: shownName(name)}
	a := t.byKey[key]
	if a == nil {
		a = t.make(key)
	}
	a.clients++
	return a
}

// make adds an application. Where there is no room, it returns the entry of the applications that are not told apart.
func (t *Applications) make(key applicationKey) *Application {
	if t.byKey == nil {
		t.byKey = make(map[applicationKey]*Application)
	}
	if len(t.byKey) >= ApplicationsMax && !t.fold() {
		return key.pool.otherApplications()
	}
	key.name = strings.Clone(key.name) // it is a part of something longer
	a := &Application{key: key}
	t.byKey[key] = a
	return a
}

// otherApplications returns the entry of the pool's applications that are not told apart.
func (c *PoolCounters) otherApplications() *Application {
	if c.others == nil {
		c.others = &Application{key: applicationKey{pool: c, others: true}}
	}
	return c.others
}

// fold makes room by counting an application without clients among the others of its pool: preferably one about which there is nothing to
// say, and of those the one that left first. It reports false when every application has clients.
func (t *Applications) fold() bool {
	var least *Application
	for _, a := range t.byKey {
		if a.clients > 0 {
			continue
		}
		if least == nil || a.remarkable() == least.remarkable() && a.left < least.left || !a.remarkable() && least.remarkable() {
			least = a
		}
	}
	if least == nil {
		return false
	}
	delete(t.byKey, least.key)
	least.key.pool.otherApplications().add(&least.applicationCounts)
	return true
}

// Forget drops the applications of a pool that is no more.
func (t *Applications) Forget(pool *PoolCounters) {
	for key, a := range t.byKey {
		if key.pool == pool && a.clients == 0 {
			delete(t.byKey, key)
		}
	}
}

// shownName makes an application_name fit to be shown and bounded in length, as PostgreSQL does: "Only printable ASCII characters may be
// used in the application_name value. Other characters are replaced" (manual 20.8), and it is cut off behind 63 bytes.
func shownName(name string) string {
	if len(name) > applicationNameMax {
		name = name[:applicationNameMax]
	}
	if strings.IndexFunc(name, unprintable) < 0 {
		return name
	}
	shown := []byte(name)
	for i, c := range shown {
		if unprintable(rune(c)) {
			shown[i] = '?'
		}
	}
	return string(shown)
}

func unprintable(c rune) bool { return c < ' ' || c > '~' }
