package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// level is how well off a listener is. The order is by severity.
type level uint8

const (
	// levelOK: a client finds a server.
	levelOK level = iota
	// levelWarning: more than warningPercent of the servers are lent.
	levelWarning
	// levelCritical: more than criticalPercent of the servers are lent, or PostgreSQL cannot be reached.
	levelCritical
	// levelEmergency: clients wait longer than emergencyWait, and there is nothing left that could serve them; or PostgreSQL cannot be
	// reached.
	levelEmergency
)

// levels is every level, by severity.
var levels = [...]level{levelOK, levelWarning, levelCritical, levelEmergency}

// String is the word in /health/db, in the label of the metric and on the page.
func (l level) String() string { return [...]string{"ok", "warning", "critical", "emergency"}[l] }

// The bounds of the levels; DESIGN section 9. Each is exceeded, not reached.
const (
	warningPercent  = 75
	criticalPercent = 90
	emergencyWait   = 5 * time.Second
)

// utilizationMax is the highest utilization shown, in percent. Above 100 is real and must be seen: the reserve is in use, or a reload
// has made the pool smaller than the number of servers lent. Past ten times the size the figure says nothing more, and scales of graphs suffer.
const utilizationMax = 1000.0

// usage is how much of some servers is in use: of one pool, or of all pools of a listener.
type usage struct {
	size       int // servers the pools may have without their reserve
	checkedOut int // lent, or not lendable on a client's account: being checked, cleaned, cancelled
	overflow   int // open above size: the reserve in use
	waiting    int // clients in the queue
	maxWait    time.Duration
}

// usageOf is the usage of one pool.
func usageOf(p *stats.PoolSnapshot) usage {
	return usage{
		size:       p.Size,
		checkedOut: p.ServersActive + p.ServersTested + p.ServersBeingCanceled,
		overflow:   max(0, serversOpen(p)-p.Size),
		waiting:    p.ClientsWaiting,
		maxWait:    p.MaxWait,
	}
}

// serversOpen counts every server that takes up a connection of PostgreSQL's, or is about to.
func serversOpen(p *stats.PoolSnapshot) int {
	return p.ServersOpening + p.ServersIdle + p.ServersActive + p.ServersTested + p.ServersBeingCanceled + p.ServersClosing
}

// add sums another pool into u. Overflow is summed, not computed from sums: a pool in need cannot use what another has left.
func (u *usage) add(o usage) {
	u.size += o.size
	u.checkedOut += o.checkedOut
	u.overflow += o.overflow
	u.waiting += o.waiting
	u.maxWait = max(u.maxWait, o.maxWait)
}

// percent is the utilization, from 0 to utilizationMax.
func (u usage) percent() float64 {
	if u.checkedOut == 0 {
		return 0
	}
	if u.size <= 0 {
		return utilizationMax
	}
	return min(utilizationMax, float64(u.checkedOut)/float64(u.size)*100)
}

// level is the level by utilization alone. It compares whole numbers: 75 % of 4 is 3, without rounding.
func (u usage) level() level {
	switch lent := u.checkedOut * 100; {
	case lent > criticalPercent*u.size:
		return levelCritical
	case lent > warningPercent*u.size:
		return levelWarning
	default:
		return levelOK
	}
}

// levelOf is the level of one pool. What another pool has left helps nobody here, so a listener has the level of its worst pool.
func levelOf(p *stats.PoolSnapshot, reachable bool) level {
	reachable = reachable && !p.Unreachable
	switch {
	case inEmergency(p, reachable):
		return levelEmergency
	case openedServer(p) && !reachable:
		return levelCritical
	case openedServer(p):
		return usageOf(p).level()
	}
	return levelOK // a database that somebody has made up
}

// inEmergency says whether clients of a pool wait too long and there is nothing left for them: size and reserve are in use, or
// PostgreSQL cannot be reached, so that no server can be opened at all.
func inEmergency(p *stats.PoolSnapshot, reachable bool) bool {
	if p.MaxWait <= emergencyWait {
		return false
	}
	return !reachable || serversOpen(p) >= p.Size+p.ReserveSize
}

// listenerHealth is a listener in /health/db and on the page.
type listenerHealth struct {
	*stats.ListenerSnapshot
	usage
	reserve  int // servers its pools may have above their size
	unopened int // pools that no server was opened for yet
	Level    level
}

// healthOf sums the pools of each listener, in the listeners' order. A listener that has opened no server yet has the size that its first
// pool will have.
func healthOf(snap *stats.Snapshot) []listenerHealth {
	all := make([]listenerHealth, len(snap.Listeners))
	for i := range snap.Listeners {
		h := &all[i]
		h.ListenerSnapshot = &snap.Listeners[i]
		pools := 0
		for j := range snap.Pools {
			p := &snap.Pools[j]
			if p.Listener != h.Name {
				continue
			}
			u := usageOf(p)
			if openedServer(p) {
				pools++
				h.reserve += p.ReserveSize
			} else {
				// A database that somebody has made up adds its waiters, and no servers that would make the others look idle.
				h.unopened++
				u.size = 0
			}
			h.add(u)
			h.Level = max(h.Level, levelOf(p, snap.ServerReachable))
		}
		if pools == 0 {
			h.size = h.Size
		}
		if !snap.ServerReachable {
			h.Level = max(h.Level, levelCritical)
		}
	}
	return all
}

// percentage is a number of percent that JSON shows with its one decimal, also when that is 0: 72.0.
type percentage float64

func (p percentage) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(p), 'f', 1, 64), nil
}

// healthJSON is the shape of one listener in /health/db. The first seven keys are fixed (DESIGN section 9).
type healthJSON struct {
	Size        int        `json:"size"`
	CheckedOut  int        `json:"checked_out"`
	Utilization percentage `json:"utilization"`
	Overflow    int        `json:"overflow"`
	Waiting     int        `json:"waiting"`
	MaxWait     float64    `json:"max_wait_seconds"`
	Level       string     `json:"level"`

	PoolMode        string `json:"pool_mode"`
	Clients         int    `json:"clients"`
	MaxClientConn   int    `json:"max_client_conn"`
	ServerReachable bool   `json:"server_reachable"`
}

// appendHealth writes the answer of /health/db: an object with a key for each listener, in the listeners' order, which a Go map
// would lose.
func appendHealth(snap *stats.Snapshot) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("{")
	for i, h := range healthOf(snap) {
		if i > 0 {
			b.WriteString(",")
		}
		name, err := json.Marshal(h.Name)
		if err != nil {
			return nil, err
		}
		body, err := json.Marshal(healthJSON{
			Size: h.size, CheckedOut: h.checkedOut, Utilization: percentage(h.percent()), Overflow: h.overflow,
			Waiting: h.waiting, MaxWait: seconds(h.maxWait), Level: h.Level.String(),
			PoolMode: h.PoolMode, Clients: h.Clients, MaxClientConn: h.MaxClientConn, ServerReachable: snap.ServerReachable,
		})
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "\n  %s: %s", name, body)
	}
	b.WriteString("\n}\n")
	return b.Bytes(), nil
}

// seconds is d in seconds, to the millisecond.
func seconds(d time.Duration) float64 { return math.Round(float64(d)/1e6) / 1e3 }

// serveHealth answers /health/db: 200 whatever the level, because the answer is true; 503 when there is none.
func (e *Endpoint) serveHealth(w http.ResponseWriter, r *http.Request) {
	snap := e.snapshot(w, r)
	if snap == nil {
		return
	}
	body, err := appendHealth(snap)
	if err != nil {
		e.unavailable(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the asker may have left
}

// serveAlive answers /healthz: the process is alive and no loop is stuck. It needs no answer from a loop: a loop may be busy. Neither
// draining nor PostgreSQL matter: a restart would cure neither.
func (e *Endpoint) serveAlive(w http.ResponseWriter, _ *http.Request) {
	if stuck := e.source.Stuck(); stuck > stuckMax {
		e.log.Error("an event loop is stuck", "for", stuck)
		plain(w, http.StatusServiceUnavailable, "an event loop has not come round for "+stuck.Round(time.Second).String())
		return
	}
	plain(w, http.StatusOK, "ok")
}

// stuckMax is how long a loop may take for one turn. No load explains a longer one, even on a machine that is much too busy.
const stuckMax = time.Minute

// serveReady answers /readyz: send clients here, or not and why not.
func (e *Endpoint) serveReady(w http.ResponseWriter, r *http.Request) {
	snap := e.snapshot(w, r)
	if snap == nil {
		return
	}
	if reason := notReady(snap); reason != "" {
		plain(w, http.StatusServiceUnavailable, "not ready: "+reason)
		return
	}
	plain(w, http.StatusOK, "ready")
}

// notReady is why no new client should come; empty: they may.
func notReady(snap *stats.Snapshot) string {
	switch {
	case snap.Draining:
		return "draining: the process is about to end and accepts no new clients"
	case !snap.ServerReachable && snap.ServerError != "":
		return "PostgreSQL is unreachable: " + snap.ServerError
	case !snap.ServerReachable:
		return "PostgreSQL is unreachable"
	default:
		return ""
	}
}

// snapshot returns the numbers, or nil when it has answered the request itself because there are none.
func (e *Endpoint) snapshot(w http.ResponseWriter, r *http.Request) *stats.Snapshot {
	snap, err := e.snapshots.get(r.Context())
	if err != nil {
		e.unavailable(w, r, err)
		return nil
	}
	return snap
}

// unavailable answers 503. The client reads a fixed text, or that of errLoops. Any other error may quote anything, so it goes to the
// log alone.
func (e *Endpoint) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	text := "the numbers could not be gathered; see the log"
	switch {
	case r.Context().Err() != nil: // the asker has left: nobody reads this, and nothing is wrong
	case errors.Is(err, errLoops):
		text = err.Error()
		fallthrough
	default:
		e.log.Warn("the admin endpoint cannot answer", "path", r.URL.Path, "error", err)
	}
	plain(w, http.StatusServiceUnavailable, text)
}

// plain answers with one line of text.
func plain(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, line) // the asker may have left
}
