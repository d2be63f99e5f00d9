package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/admin/history"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// attention is a sentence, with its numbers, about a thing that the operator should look at.
type attention struct {
	Level   string `json:"level"`
	Subject string `json:"subject"` // the listener, pool or application
	Text    string `json:"text"`
	Runbook string `json:"runbook"` // the section of docs/MONITORING.md
}

// Sections of docs/MONITORING.md.
const (
	bookUtilization           = "utilization"
	bookOverflow              = "overflow"
	bookClients               = "clients"
	bookConnectFailures       = "connect-failures"
	bookPostgreSQLUnreachable = "postgresql-unreachable"
	bookDraining              = "draining"
	bookPanics                = "panics"
	bookLongTransactions      = "long-transactions"
	bookLoopBusy              = "loop-busy"
	bookWrongPort             = "wrong-port"
)

// books is all of them.
var books = []string{bookUtilization, bookOverflow, bookClients, bookConnectFailures, bookPostgreSQLUnreachable, bookDraining, bookPanics, bookLongTransactions, bookLoopBusy, bookWrongPort}

// Bounds of the advice.
const (
	adviseWindow      = 10 * time.Minute // that it looks back
	adviseSamples     = 60               // seconds that must have been seen before the past means anything
	adviseWait        = 100 * time.Millisecond
	adviseFullPart    = 0.05 // of the time with all servers lent
	adviseBusyPart    = 0.9  // of the servers, on average
	adviseTransaction = time.Minute
	adviseClientsPart = 0.9
	adviseLoopBusy    = 0.9
	attentionMax      = 20
)

// attentionOf lists the things that need attention, the most urgent first. h is nil before the first sample.
func attentionOf(snap *stats.Snapshot, h *history.History) []attention {
	all := []attention{}
	add := func(l level, subject, runbook, format string, args ...any) {
		all = append(all, attention{l.String(), subject, fmt.Sprintf(format, args...), runbook})
	}
	if !snap.ServerReachable {
		add(levelEmergency, "PostgreSQL", bookPostgreSQLUnreachable, "PostgreSQL cannot be reached: %s. Clients wait in the queue until query_wait_timeout.",
			cmp.Or(snap.ServerError, "no attempt has succeeded"))
	}
	if snap.Draining {
		add(levelWarning, "process", bookDraining, "The process is about to end: it accepts no new clients, and open transactions may finish.")
	}
	if snap.Panics > 0 {
		add(levelWarning, "process", bookPanics, "%s contained since the start. Each is a bug: please report the lines of the log.", counted(snap.Panics, "panic"))
	}
	for _, l := range healthOf(snap) {
		all = append(all, listenerAttention(snap, h, &l)...)
	}
	for i := range snap.Pools {
		if p := &snap.Pools[i]; p.OldestTransaction > adviseTransaction && p.PoolMode == "transaction" {
			add(levelWarning, poolName(p), bookLongTransactions, "A transaction of pool %s has been open for %s and keeps one of %s. Look for it in pg_stat_activity; transaction time-outs are idle_transaction_timeout and transaction_timeout.",
				poolName(p), brief(p.OldestTransaction), counted(uint64(p.Size), "server"))
		}
	}
	if busy, ok := meanOf(h, history.Key{Kind: history.KindProcess}, "loop_busy", time.Minute); ok && busy > adviseLoopBusy {
		add(levelWarning, "process", bookLoopBusy, "The busiest event loop used %.0f %% of a CPU core in the last minute. Raise loops, or give the process more CPU.", 100*busy)
	}
	for _, row := range portsOf(snap) {
		if row.Advice != "" {
			all = append(all, attention{"advice", row.Application, sentence(row.Advice), bookWrongPort})
		}
	}
	slices.SortStableFunc(all, func(a, b attention) int { return cmp.Compare(severity(b.Level), severity(a.Level)) })
	return all[:min(len(all), attentionMax)]
}

// severity orders the levels of attention: advice comes last.
func severity(word string) int {
	return slices.IndexFunc(levels[:], func(l level) bool { return l.String() == word })
}

// sentence makes a line of advice a sentence.
func sentence(line string) string { return strings.ToUpper(line[:1]) + line[1:] + "." }

func poolName(p *stats.PoolSnapshot) string {
	return fmt.Sprintf("%s/%s of %s", labelValue(p.Database), labelValue(p.User), p.Listener)
}

// listenerAttention lists the things that need attention on one listener.
func listenerAttention(snap *stats.Snapshot, h *history.History, l *listenerHealth) (all []attention) {
	add := func(level, runbook, format string, args ...any) {
		all = append(all, attention{level, l.Name, fmt.Sprintf(format, args...), runbook})
	}
	var w history.Window
	if h != nil {
		w, _ = h.Window(l.Name, adviseWindow)
	}
	if text := capacityAdvice(l, w); text != "" {
		add(max(l.Level, levelWarning).String(), bookUtilization, "%s", text)
	} else if l.Level > levelOK {
		add(l.Level.String(), bookUtilization, "%s has %d of %d servers lent%s.", l.Name, l.checkedOut, l.size, waiters(l.usage))
	}
	if l.overflow > 0 {
		add(levelWarning.String(), bookOverflow, "%s uses its reserve: %s open above the size of the pool.", l.Name, counted(uint64(l.overflow), "server"))
	}
	if l.MaxClientConn > 0 && float64(l.Clients) >= adviseClientsPart*float64(l.MaxClientConn) {
		add(levelWarning.String(), bookClients, "%s has %d of at most %d clients (max_client_conn); beyond that logins are refused with 53300.", l.Name, l.Clients, l.MaxClientConn)
	}
	key := history.Key{Kind: history.KindListener, Listener: l.Name}
	if failures, ok := meanOf(h, key, "server_connect_failures", time.Minute); ok && failures > 0 && snap.ServerReachable {
		add(levelWarning.String(), bookConnectFailures, "PostgreSQL did not let %s open servers: %.0f attempts failed in the last minute. The log has its words.", l.Name, max(1, failures*60))
	}
	return all
}

// capacityAdvice says how full a listener has been, what that cost its clients, and how many servers would have been enough; empty
// where it has servers to spare, or has not been watched for long enough.
func capacityAdvice(l *listenerHealth, w history.Window) string {
	if w.Seconds < adviseSamples || w.Size == 0 {
		return ""
	}
	waited := w.FullPart >= adviseFullPart && w.WaitP99 >= adviseWait
	if !waited && w.Busy < adviseBusyPart*float64(w.Size) {
		return ""
	}
	text := fmt.Sprintf("%s had %.0f of %d servers lent on average over %s, and all of them for %.0f %% of the time",
		l.Name, w.Busy, w.Size, span(w.Seconds), 100*w.FullPart)
	if w.Checkouts > 0 {
		text += fmt.Sprintf("; 99 of 100 clients waited at most %s", brief(w.WaitP99))
	}
	switch {
	case w.Demand <= w.Size:
		text += fmt.Sprintf(". %d suffice so far, with nothing to spare.", w.Size)
	case w.FullPart > 0.95 || w.Demand > 2*w.Size:
		// With all servers lent all the time nobody can see how fast the queue would shrink; and that many servers are no remedy.
		text += fmt.Sprintf(". At its peak %d clients wanted a server at once: raise default_pool_size, shorten transactions, or move work to another listener.", w.Demand)
	default:
		text += fmt.Sprintf(". %d would have sufficed for 99 of 100 seconds (default_pool_size).", w.Demand)
	}
	return text
}

// span words a number of seconds: 10 min, 75 s.
func span(seconds int) string {
	if seconds >= 120 {
		return fmt.Sprintf("%d min", (seconds+30)/60)
	}
	return fmt.Sprintf("%d s", seconds)
}

// waiters words the queue of a listener.
func waiters(u usage) string {
	if u.waiting == 0 {
		return "; nobody waits"
	}
	return fmt.Sprintf("; %s waiting, the first for %s", counted(uint64(u.waiting), "client"), brief(u.maxWait))
}

// verdictOf puts everything into one sentence: whether all is well, and why not.
func verdictOf(snap *stats.Snapshot, list []attention) verdict {
	worst := levelOK
	for _, a := range list {
		worst = max(worst, level(max(0, severity(a.Level))))
	}
	var busy []string
	for _, l := range healthOf(snap) {
		worst = max(worst, l.Level)
		busy = append(busy, fmt.Sprintf("%s has %d of %d servers lent%s", l.Name, l.checkedOut, l.size, waiters(l.usage)))
	}
	state := strings.Join(busy, ". ") + "."
	if len(busy) == 0 {
		state = "There is no listener."
	}
	switch {
	case !snap.ServerReachable:
		return verdict{worst.String(), "PostgreSQL cannot be reached. " + state}
	case snap.Draining:
		return verdict{worst.String(), "The process is about to end. " + state}
	case worst == levelOK:
		return verdict{worst.String(), "All is well. " + state}
	}
	return verdict{worst.String(), strings.ToUpper(worst.String()[:1]) + worst.String()[1:] + ". " + state}
}
