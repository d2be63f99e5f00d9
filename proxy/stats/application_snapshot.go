package stats

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
)

// ApplicationSnapshot is what is known of the clients of one application_name in one pool. Both names of the key are the client's own
// choice; Name is at most 63 printable ASCII characters.
type ApplicationSnapshot struct {
	Listener, Database, User, PoolMode string
	// Name is the application_name; empty: the clients give none. Others stands for all of the pool that are not told apart.
	Name   string
	Others bool

	Clients          int // that have the name now
	Transactions     uint64
	LongFrom         time.Duration // from when on a transaction is long
	LongTransactions uint64        // of those that have ended
	LongOpen         int           // of those that are open now
	Longest          time.Duration // open ones included
	InTransaction    time.Duration // time in transactions that have ended
	InLong           time.Duration // of that, in long ones
	Held             time.Duration // time that clients had servers
	Promoted         time.Duration // of that, with servers that counted in the session pool
	Sets             uint64        // parameters that were set or reset for a session and followed; on transaction listeners
	Promotions       map[string]uint64

	// Statements are those that made what only a connection can hold, by kind. On a session listener Forced counts clients instead, and
	// there are no samples.
	Statements []StatementSnapshot
}

// StatementSnapshot tells of statements of one kind.
type StatementSnapshot struct {
	Kind    string
	What    string // the kind in words
	Forced  uint64
	Refused uint64 // of those, the ones that were refused, for want of room or by promotion = "error"
	Sample  string // one of them, without its constants; empty: none was kept
}

// ApplicationsCopy is a copy of an Applications table.
type ApplicationsCopy struct {
	all []Application
	at  map[*Application]int // where the copy of an entry is in all
}

// Copy copies the table, the pools' applications that are not told apart included. counters are all PoolCounters of the loop.
func (t *Applications) Copy(counters iter.Seq[*PoolCounters]) ApplicationsCopy {
	c := ApplicationsCopy{all: make([]Application, 0, len(t.byKey)), at: make(map[*Application]int, len(t.byKey))}
	for _, a := range t.byKey {
		c.add(a)
	}
	for of := range counters {
		if of.others != nil {
			c.add(of.others)
		}
	}
	return c
}

func (c *ApplicationsCopy) add(a *Application) {
	c.at[a] = len(c.all)
	c.all = append(c.all, *a)
}

// AddOpen adds to the copy the use of a server that a client of the application has now.
func (c *ApplicationsCopy) AddOpen(a *Application, u ServerUse) {
	one := &c.all[c.at[a]]
	one.holds(u)
	if u.Transaction > 0 && u.Transaction >= a.key.pool.Pool.LongFrom() {
		one.longOpen++
		one.longest = max(one.longest, u.Transaction)
	}
}

// AddApplications adds the counts of one loop.
func (snap *Snapshot) AddApplications(c ApplicationsCopy) {
	for i := range c.all {
		snap.applicationOf(&c.all[i].key).add(&c.all[i])
	}
}

// applicationOf finds or makes the entry of an application.
func (snap *Snapshot) applicationOf(key *applicationKey) *ApplicationSnapshot {
	p := key.pool.Pool
	id := snapshotKey{pool: p, name: key.name, others: key.others}
	where, known := snap.applicationAt[id]
	if !known {
		if snap.applicationAt == nil {
			snap.applicationAt = make(map[snapshotKey]int)
		}
		where = len(snap.Applications)
		snap.applicationAt[id] = where
		snap.Applications = append(snap.Applications, ApplicationSnapshot{
			Listener: p.Listener, Database: p.Database, User: p.User, PoolMode: p.PoolMode,
			Name: key.name, Others: key.others, LongFrom: p.LongFrom(), Promotions: make(map[string]uint64),
		})
	}
	return &snap.Applications[where]
}

// snapshotKey identifies an application over all loops.
type snapshotKey struct {
	pool   *Pool
	name   string
	others bool
}

func (one *ApplicationSnapshot) add(a *Application) {
	one.Clients += a.clients
	one.Transactions += a.transactions
	one.LongTransactions += a.long
	one.LongOpen += a.longOpen
	one.Longest = max(one.Longest, a.longest)
	one.InTransaction += a.inTransaction
	one.InLong += a.inLong
	one.Held += a.held
	one.Promoted += a.promoted
	one.Sets += a.sets
	for reason, n := range a.promotions {
		if n > 0 {
			one.Promotions[Promotion(reason).String()] += n
		}
	}
	for kind := range relay.StateKinds {
		if a.forced[kind] > 0 {
			one.addStatements(kind, a)
		}
	}
}

func (one *ApplicationSnapshot) addStatements(kind relay.StateKind, a *Application) {
	i := slices.IndexFunc(one.Statements, func(s StatementSnapshot) bool { return s.Kind == kind.String() })
	if i < 0 {
		i = len(one.Statements)
		one.Statements = append(one.Statements, StatementSnapshot{Kind: kind.String(), What: kind.What()})
	}
	s := &one.Statements[i]
	s.Forced += a.forced[kind]
	s.Refused += a.refused[kind]
	s.Sample = cmp.Or(s.Sample, a.samples[kind])
}

// SortApplications gives the entries an order that does not change from one Snapshot to the next.
func (snap *Snapshot) SortApplications() {
	slices.SortFunc(snap.Applications, func(a, b ApplicationSnapshot) int {
		return cmp.Or(cmp.Compare(a.Listener, b.Listener), cmp.Compare(a.Database, b.Database), cmp.Compare(a.User, b.User),
			cmp.Compare(a.Name, b.Name))
	})
	for i := range snap.Applications {
		slices.SortFunc(snap.Applications[i].Statements, func(a, b StatementSnapshot) int { return cmp.Compare(a.Kind, b.Kind) })
	}
}
