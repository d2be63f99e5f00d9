package proxy

import (
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Who uses the wrong port is told by application_name, the only name that applications give themselves. It is a text of the client's
// choosing, so its length, its letters and the number of names are bounded; what is beyond that is counted together, as others.

const (
	// ApplicationsMax is how many applications each event loop tells apart: one is an application_name in a pool.
	ApplicationsMax = 200
	// applicationNameMax is where PostgreSQL cuts a name off (NAMEDATALEN - 1).
	applicationNameMax = 63
	// longByDefault is from when on a transaction is long where long_transaction is 0.
	longByDefault = time.Second
)

// applicationKey is what makes an application one of its own.
type applicationKey struct {
	pool   *serverPool
	name   string // as shownName makes it
	others bool   // all that are not told apart
}

// application is what one loop knows of an application. It belongs to the loop, like everything that points to it.
type application struct {
	key     applicationKey
	clients int           // that have the name now; it is kept as long as there are any
	left    time.Duration // when the last client went
	applicationCounts
	samples      [relay.StateKinds]string
	promotionLog logLimit
	refusalLog   logLimit
}

// applicationCounts are plain numbers with one writer. A Snapshot copies them by message.
type applicationCounts struct {
	transactions uint64
	long         uint64 // of those, the ones that lasted for long_transaction
	sets         uint64 // parameters set or reset for a session that were followed
	forced       [relay.StateKinds]uint64
	refused      [relay.StateKinds]uint64 // of those, the ones that were not let through
	promotions   [promotionReasons]uint64

	longest       time.Duration
	inTransaction time.Duration // time between a transaction's first message and its end
	inLong        time.Duration // of that, in long ones
	held          time.Duration // time that clients had servers
	promoted      time.Duration // of that, with servers that counted in the session pool

	// of this moment, in a copy
	longOpen int
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

// applicationName is the client's application_name as it is now.
func (c *Client) applicationName() string {
	if name, ok := c.settings.Get("application_name"); ok {
		return name
	}
	return c.info.application
}

// shownName makes an application_name fit to be shown and bounded in length, as PostgreSQL does: "Only printable ASCII characters may be
// used in the application_name value. Other characters are replaced" (manual 20.8), and it is cut off behind 63 bytes.
func shownName(name string) string {
	if len(name) > applicationNameMax {
		name = name[:applicationNameMax]
	}
	for i := range len(name) {
		if !shownByte(name[i]) {
			shown := []byte(name)
			for i, c := range shown {
				if !shownByte(c) {
					shown[i] = '?'
				}
			}
			return string(shown)
		}
	}
	return name
}

func shownByte(c byte) bool { return c >= ' ' && c <= '~' }

// longFrom is from when on a transaction of the pool's clients is called long.
func (sp *serverPool) longFrom() time.Duration {
	if long := sp.limits.Load().longTransaction; long > 0 {
		return long
	}
	return longByDefault
}

// enterApplication counts a client with the others of its application.
func (w *worker) enterApplication(c *Client) *application {
	key := applicationKey{pool: c.pool, name: shownName(c.applicationName())}
	a := w.applications[key]
	if a == nil {
		a = w.newApplication(key)
	}
	a.clients++
	return a
}

// newApplication makes room for another, or finds that of the others.
func (w *worker) newApplication(key applicationKey) *application {
	if len(w.applications) >= ApplicationsMax && !w.foldApplication() {
		return w.others(key.pool)
	}
	key.name = strings.Clone(key.name) // it is a part of something longer
	a := &application{key: key}
	w.applications[key] = a
	return a
}

// others are the applications of a pool that are not told apart.
func (w *worker) others(sp *serverPool) *application {
	counters := w.countersOf(sp)
	if counters.others == nil {
		counters.others = &application{key: applicationKey{pool: sp, others: true}}
	}
	return counters.others
}

// foldApplication counts one that has no clients with the others: one about which there is nothing to say if there is any, and of those the one
// that has been gone for longest. It reports false when all have clients.
func (w *worker) foldApplication() bool {
	var least *application
	for _, a := range w.applications {
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
	delete(w.applications, least.key)
	w.others(least.key.pool).add(&least.applicationCounts)
	return true
}

// forgetApplications drops those of a pool that is no more.
func (w *worker) forgetApplications(sp *serverPool) {
	for key, a := range w.applications {
		if key.pool == sp && a.clients == 0 {
			delete(w.applications, key)
		}
	}
}

// remarkable reports that there is something to say about an application.
func (a *application) remarkable() bool {
	return a.long > 0 || a.forced != [relay.StateKinds]uint64{}
}

// leave takes a client out of the count.
func (a *application) leave(now time.Duration) {
	a.clients--
	a.left = now
}

// renamed is called when the client's parameters have changed: perhaps it calls itself something else.
func (c *Client) renamed() {
	if a := c.application; a.key.name == shownName(c.applicationName()) && !a.key.others {
		return
	}
	c.application.leave(c.worker.loop.Now())
	c.application = c.worker.enterApplication(c)
}

// transacted counts a transaction that has ended.
func (a *application) transacted(d time.Duration, sp *serverPool) {
	a.transactions++
	a.inTransaction += d
	a.longest = max(a.longest, d)
	if d >= sp.longFrom() {
		a.long++
		a.inLong += d
	}
}

// released counts what a client has had of the server that it is about to lose. A transaction that is open is over for it.
func (a *application) released(s *Server, now time.Duration) {
	if s.clocks.Transaction > 0 {
		a.transacted(now-s.clocks.Transaction, s.client.pool)
	}
	a.holds(s, now)
}

// holds adds the time that a client has had its server.
func (a *applicationCounts) holds(s *Server, now time.Duration) {
	a.held += now - s.linkedAt
	if s.promotedAt > 0 {
		a.promoted += now - s.promotedAt
	}
}

// forces counts a statement, at the start of b, that makes what only a connection can hold. The first of each kind is kept as a sample,
// without its constants.
func (a *application) forces(kind relay.StateKind, b []byte, d sqltext.Dialect) {
	a.forced[kind]++
	if a.samples[kind] == "" && !a.key.others {
		a.samples[kind] = string(sqltext.AppendSample(nil, relay.StatementText(b), d, kind.Effects()))
	}
}

// logLimit keeps one application from filling the log.
type logLimit struct {
	last   time.Duration
	told   bool
	untold uint64
}

// allows reports whether a line may be written now, and how many were not since the last.
func (l *logLimit) allows(now, every time.Duration) (untold uint64, ok bool) {
	if l.told && now-l.last < every {
		l.untold++
		return 0, false
	}
	untold = l.untold
	*l = logLimit{last: now, told: true}
	return untold, true
}
