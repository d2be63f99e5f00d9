package admin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// The report on applications that use the wrong port. Long transactions, and state that only a connection can hold, belong on a session
// listener. A client with quick transactions and no such state belongs on a transaction listener.

const (
	// adviseQuickFrom is how many transactions must have been quick before a session listener's client is told to go: fewer tell nothing.
	adviseQuickFrom = 100
	// adviseLongShare: an application is told to go for its long transactions when these take at least one part in so many of its time in
	// transactions. One slow query among a million is no reason.
	adviseLongShare = 4
)

// portRow is an application as the report shows it.
type portRow struct {
	Application  string            `json:"application_name"`
	Others       bool              `json:"others,omitempty"` // all that are not told apart
	Listener     string            `json:"listener"`
	PoolMode     string            `json:"pool_mode"`
	Database     string            `json:"database"`
	User         string            `json:"user"`
	Clients      int               `json:"clients"`
	Transactions uint64            `json:"transactions"`
	Long         portLong          `json:"long_transactions"`
	Held         float64           `json:"server_seconds"`
	Promoted     float64           `json:"promoted_seconds"`
	PromotedPart float64           `json:"promoted_share"`       // of server_seconds
	BusyPart     float64           `json:"in_transaction_share"` // of server_seconds
	Promotions   map[string]uint64 `json:"promotions"`
	Sets         uint64            `json:"sets"`
	SetsEach     float64           `json:"sets_per_transaction"`
	Statements   []portStatement   `json:"session_state"`
	Advice       string            `json:"advice"`
}

// portLong holds the long transactions of a row.
type portLong struct {
	Count   uint64  `json:"count"`
	Open    int     `json:"open"`
	Longest float64 `json:"longest_seconds"` // of all transactions
	From    float64 `json:"from_seconds"`
	Time    float64 `json:"seconds"`
}

// portStatement holds one kind of session state of a row.
type portStatement struct {
	Kind    string `json:"kind"`
	Count   uint64 `json:"count"`
	Refused uint64 `json:"refused"`
	Sample  string `json:"sample,omitempty"`
}

// portsOf is the report: those with an advice first, and of those the ones that use servers most.
func portsOf(snap *stats.Snapshot) []portRow {
	rows := make([]portRow, 0, len(snap.Applications))
	for i := range snap.Applications {
		rows = append(rows, portRowOf(snap, &snap.Applications[i]))
	}
	slices.SortStableFunc(rows, func(a, b portRow) int {
		if (a.Advice == "") != (b.Advice == "") {
			return cmp.Compare(b.Advice, a.Advice) // an empty text comes last
		}
		return cmp.Compare(b.Held, a.Held)
	})
	return rows
}

func portRowOf(snap *stats.Snapshot, a *stats.ApplicationSnapshot) portRow {
	row := portRow{
		Application: a.Name, Others: a.Others, Listener: labelValue(a.Listener), PoolMode: a.PoolMode, Database: labelValue(a.Database), User: labelValue(a.User),
		Clients: a.Clients, Transactions: a.Transactions,
		Long: portLong{
			Count: a.LongTransactions, Open: a.LongOpen, Longest: seconds(a.Longest), From: seconds(a.LongFrom), Time: seconds(a.InLong),
		},
		Held: seconds(a.Held), Promoted: seconds(a.Promoted), PromotedPart: share(a.Promoted, a.Held), BusyPart: share(a.InTransaction, a.Held),
		Promotions: named(a.Promotions), Sets: a.Sets, Statements: make([]portStatement, 0, len(a.Statements)), Advice: advice(snap, a),
	}
	if a.Transactions > 0 {
		row.SetsEach = rounded(float64(a.Sets) / float64(a.Transactions))
	}
	for _, s := range a.Statements {
		row.Statements = append(row.Statements, portStatement{Kind: s.Kind, Count: s.Forced, Refused: s.Refused, Sample: s.Sample})
	}
	return row
}

// advice is the one line for an application; empty where it is on the right port, or nobody can tell.
func advice(snap *stats.Snapshot, a *stats.ApplicationSnapshot) string {
	switch {
	case a.Others: // many applications, each of another kind
	case a.PoolMode == "session":
		return adviceQuick(snap, a)
	case a.PoolMode == "transaction":
		return adviceSession(snap, a)
	}
	return ""
}

// adviceSession advises an application to leave a transaction listener.
func adviceSession(snap *stats.Snapshot, a *stats.ApplicationSnapshot) string {
	to := ""
	if l := listenerOf(snap, a.Listener); l != nil && l.SessionListener != "" {
		to = listenerWithPort(snap, l.SessionListener)
	}
	if to == "" {
		return ""
	}
	who, why := applicationOf(a), []string{}
	if a.LongTransactions > 0 && a.InLong >= a.InTransaction/adviseLongShare {
		why = append(why, fmt.Sprintf("%s over %s, longest %s", counted(a.LongTransactions, "transaction"), brief(a.LongFrom), brief(a.Longest)))
		if len(a.Statements) == 0 && a.LongTransactions < a.Transactions/2 {
			who = "the long transactions of " + who
		}
	}
	for _, s := range a.Statements {
		reason := fmt.Sprintf("%s for %s", counted(s.Forced, "statement"), s.What)
		if s.Refused > 0 {
			reason += fmt.Sprintf(" (%d refused)", s.Refused)
		}
		why = append(why, reason)
	}
	if len(why) == 0 {
		return ""
	}
	return fmt.Sprintf("move %s to the session listener %s: %s", who, to, strings.Join(why, "; "))
}

// adviceQuick advises an application to leave a session listener.
func adviceQuick(snap *stats.Snapshot, a *stats.ApplicationSnapshot) string {
	to := ""
	for i := range snap.Listeners {
		if l := &snap.Listeners[i]; l.PoolMode == "transaction" && to == "" {
			to = listenerWithPort(snap, l.Name)
		}
	}
	if to == "" || a.Transactions < adviseQuickFrom || a.Longest >= a.LongFrom || len(a.Statements) > 0 {
		return ""
	}
	return fmt.Sprintf("move %s to the transaction listener %s: %s, longest %s, and no session state; its servers were in transactions for %.0f %% of the time",
		applicationOf(a), to, counted(a.Transactions, "transaction"), brief(a.Longest), 100*share(a.InTransaction, a.Held))
}

func listenerOf(snap *stats.Snapshot, name string) *stats.ListenerSnapshot {
	for i := range snap.Listeners {
		if snap.Listeners[i].Name == name {
			return &snap.Listeners[i]
		}
	}
	return nil
}

// listenerWithPort names a listener as one would look for it: by its port.
func listenerWithPort(snap *stats.Snapshot, name string) string {
	if l := listenerOf(snap, name); l != nil {
		for _, address := range l.Addresses {
			if _, port, err := net.SplitHostPort(address); err == nil {
				return fmt.Sprintf("%q (%s)", name, port)
			}
		}
	}
	return strconv.Quote(name)
}

func applicationOf(a *stats.ApplicationSnapshot) string {
	if a.Name == "" {
		return fmt.Sprintf("the clients of user %q without application_name", a.User)
	}
	return strconv.Quote(a.Name)
}

func counted(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// brief is a duration for people: 28s, 1.5s, 12ms.
func brief(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Microsecond).String()
}

func rounded(x float64) float64 { return math.Round(x*1e3) / 1e3 }

// share is a part of a time, at most 1: the two are not read at the same instant.
func share(part, of time.Duration) float64 {
	if of <= 0 {
		return 0
	}
	return rounded(min(1, part.Seconds()/of.Seconds()))
}

// servePorts answers /report/ports.
func (e *Endpoint) servePorts(w http.ResponseWriter, r *http.Request) {
	snap := e.snapshot(w, r)
	if snap == nil {
		return
	}
	body, err := json.MarshalIndent(struct {
		Applications []portRow `json:"applications"`
	}{portsOf(snap)}, "", "  ")
	if err != nil {
		e.unavailable(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // the asker may have left
}

// applicationTotal sums what /metrics tells of an application: by listener and name alone, so that the number of series is bounded.
type applicationTotal struct {
	listener, name string
	stats.ApplicationSnapshot
}

// otherApplications is the label of applications that are not told apart. An application of that name shares it.
const otherApplications = "other"

// applicationTotals sums the applications over databases and users.
func applicationTotals(snap *stats.Snapshot) []applicationTotal {
	var all []applicationTotal
	at := make(map[[2]string]int)
	for i := range snap.Applications {
		a := &snap.Applications[i]
		key := [2]string{a.Listener, a.Name}
		if a.Others {
			key[1] = otherApplications
		}
		where, known := at[key]
		if !known {
			where = len(all)
			at[key] = where
			all = append(all, applicationTotal{listener: key[0], name: key[1]})
			all[where].Promotions = make(map[string]uint64)
		}
		all[where].add(a)
	}
	return all
}

func (t *applicationTotal) add(a *stats.ApplicationSnapshot) {
	t.Clients += a.Clients
	t.Transactions += a.Transactions
	t.LongTransactions += a.LongTransactions
	t.Held += a.Held
	t.Promoted += a.Promoted
	t.Sets += a.Sets
	for reason, n := range a.Promotions {
		t.Promotions[reason] += n
	}
	for _, s := range a.Statements {
		i := slices.IndexFunc(t.Statements, func(have stats.StatementSnapshot) bool { return have.Kind == s.Kind })
		if i < 0 {
			t.Statements = append(t.Statements, s)
			continue
		}
		t.Statements[i].Forced += s.Forced
		t.Statements[i].Refused += s.Refused
	}
}
