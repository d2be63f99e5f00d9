package proxy

import (
	"cmp"
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

// copyApplications runs on the loop. What is open now is added to the copies.
func (w *worker) copyApplications() []application {
	all := make([]application, 0, len(w.applications))
	at := make(map[*application]int, len(w.applications))
	for _, a := range w.applications {
		at[a] = len(all)
		all = append(all, *a)
	}
	for _, counters := range w.counters {
		if counters != nil && counters.others != nil {
			at[counters.others] = len(all)
			all = append(all, *counters.others)
		}
	}
	now := w.loop.Now()
	for s := w.servers.first; s != nil; s = s.next {
		if s.client == nil {
			continue
		}
		one := &all[at[s.client.application]]
		one.holds(s, now)
		if age := now - s.clocks.Transaction; s.clocks.Transaction > 0 && age >= s.client.pool.longFrom() {
			one.longOpen++
			one.longest = max(one.longest, age)
		}
	}
	return all
}

// addApplications adds what one loop has counted. at says where in the Snapshot an application is.
func (snap *Snapshot) addApplications(all []application, at map[applicationKey]int) {
	for i := range all {
		a := &all[i]
		where, known := at[a.key]
		if !known {
			where = len(snap.Applications)
			at[a.key] = where
			sp := a.key.pool
			snap.Applications = append(snap.Applications, ApplicationSnapshot{
				Listener: sp.key.Listener, Database: sp.key.Database, User: sp.key.User, PoolMode: sp.mode.String(),
				Name: a.key.name, Others: a.key.others, LongFrom: sp.longFrom(), Promotions: make(map[string]uint64),
			})
		}
		snap.Applications[where].add(a)
	}
}

func (one *ApplicationSnapshot) add(a *application) {
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
			one.Promotions[promotionReason(reason).String()] += n
		}
	}
	for kind := range relay.StateKinds {
		if a.forced[kind] > 0 {
			one.addStatements(kind, a)
		}
	}
}

func (one *ApplicationSnapshot) addStatements(kind relay.StateKind, a *application) {
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

// sortApplications gives the entries an order that does not change from one Snapshot to the next.
func (snap *Snapshot) sortApplications() {
	slices.SortFunc(snap.Applications, func(a, b ApplicationSnapshot) int {
		return cmp.Or(cmp.Compare(a.Listener, b.Listener), cmp.Compare(a.Database, b.Database), cmp.Compare(a.User, b.User),
			cmp.Compare(a.Name, b.Name))
	})
	for i := range snap.Applications {
		slices.SortFunc(snap.Applications[i].Statements, func(a, b StatementSnapshot) int { return cmp.Compare(a.Kind, b.Kind) })
	}
}
