package admin

import (
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "embed" // openapi.json

	"github.com/hybridbouncer/hybridbouncer/admin/history"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// The API under /api/v1, for the page, for `hybridbouncer top` and for programs. openapi.json describes it; a test walks every path
// and compares. Fields may be added; none changes its meaning within v1.

//go:embed openapi.json
var openAPI []byte

// Bounds of an answer.
const (
	overviewRowsMax = 100 // pools, and applications, in an overview; the lists of their own have all
	spanMin         = 10 * time.Second
	spanMax         = 24 * time.Hour
	spanDefault     = 15 * time.Minute
	pointsMax       = 1440
	pointsDefault   = 240
)

// overview is the first thing that an operator wants to see.
type overview struct {
	Now              time.Time         `json:"now"`
	Version          string            `json:"version"`
	UptimeSeconds    float64           `json:"uptime_seconds"` // of the endpoint
	Ready            bool              `json:"ready"`
	Verdict          verdict           `json:"verdict"`
	Attention        []attention       `json:"attention"`
	Listeners        []listenerJSON    `json:"listeners"`
	Pools            []poolJSON        `json:"pools"`
	PoolsLeft        int               `json:"pools_left"`
	Applications     []applicationJSON `json:"applications"`
	ApplicationsLeft int               `json:"applications_left"`
	Process          processJSON       `json:"process"`
}

// verdict is one sentence about everything.
type verdict struct {
	Level    string `json:"level"`
	Sentence string `json:"sentence"`
}

// quantilesJSON are of one second.
type quantilesJSON struct {
	P50 *float64 `json:"p50"`
	P95 *float64 `json:"p95"`
	P99 *float64 `json:"p99"`
}

// ratesJSON holds the rates of a listener in the last second; null until two samples were taken.
type ratesJSON struct {
	Transactions  float64       `json:"transactions_per_second"`
	Queries       float64       `json:"queries_per_second"`
	ReceivedBytes float64       `json:"received_bytes_per_second"`
	SentBytes     float64       `json:"sent_bytes_per_second"`
	Errors        float64       `json:"errors_per_second"`
	Wait          quantilesJSON `json:"wait_seconds"`
	Transaction   quantilesJSON `json:"transaction_seconds"`
	Query         quantilesJSON `json:"query_seconds"`
}

type listenerJSON struct {
	Name              string     `json:"name"`
	PoolMode          string     `json:"pool_mode"`
	Addresses         []string   `json:"addresses"`
	SessionListener   string     `json:"session_listener"`
	Level             string     `json:"level"`
	Size              int        `json:"size"`
	ReserveSize       int        `json:"reserve_size"`
	CheckedOut        int        `json:"checked_out"`
	Open              int        `json:"open"`
	Utilization       percentage `json:"utilization"`
	Overflow          int        `json:"overflow"`
	Waiting           int        `json:"waiting"`
	MaxWait           float64    `json:"max_wait_seconds"`
	OldestTransaction float64    `json:"oldest_transaction_seconds"`
	Clients           int        `json:"clients"`
	MaxClientConn     int        `json:"max_client_conn"`
	Rates             *ratesJSON `json:"rates"`
}

type poolJSON struct {
	Listener          string            `json:"listener"`
	Database          string            `json:"database"`
	User              string            `json:"user"`
	PoolMode          string            `json:"pool_mode"`
	Size              int               `json:"size"`
	MinSize           int               `json:"min_size"`
	ReserveSize       int               `json:"reserve_size"`
	CheckedOut        int               `json:"checked_out"`
	Utilization       percentage        `json:"utilization"`
	Overflow          int               `json:"overflow"`
	Waiting           int               `json:"waiting"`
	MaxWait           float64           `json:"max_wait_seconds"`
	OldestTransaction float64           `json:"oldest_transaction_seconds"`
	Clients           map[string]int    `json:"clients"`
	Servers           map[string]int    `json:"servers"`
	Transactions      uint64            `json:"transactions"`
	Queries           uint64            `json:"queries"`
	ReceivedBytes     uint64            `json:"received_bytes"`
	SentBytes         uint64            `json:"sent_bytes"`
	Errors            map[string]uint64 `json:"errors"`
	ServerConnects    uint64            `json:"server_connects"`
	ServerFailures    uint64            `json:"server_connect_failures"`
	ServerCloses      map[string]uint64 `json:"server_closes"`
	ClientCloses      map[string]uint64 `json:"client_closes"`
	Promotions        map[string]uint64 `json:"promotions"`
	ListeningClients  int               `json:"listening_clients"`
}

// applicationJSON is a row of /report/ports.
type applicationJSON = portRow

type loopJSON struct {
	Index       int     `json:"index"`
	Connections int     `json:"connections"`
	BusySeconds float64 `json:"busy_seconds"`
}

type processJSON struct {
	ServerReachable  bool              `json:"server_reachable"`
	ServerError      string            `json:"server_error"`
	Draining         bool              `json:"draining"`
	Logins           uint64            `json:"logins"`
	Refusals         map[string]uint64 `json:"refusals"`
	Cancels          uint64            `json:"cancel_requests"`
	CancelsForwarded uint64            `json:"cancel_requests_forwarded"`
	Panics           uint64            `json:"panics"`
	Statements       int               `json:"statements"`
	StatementBytes   int               `json:"statement_bytes"`
	LoopBusy         *float64          `json:"loop_busy"` // of the busiest loop, in the last second
	Loops            []loopJSON        `json:"loops"`
}

// overviewOf puts an overview together.
func (e *Endpoint) overviewOf(snap *stats.Snapshot) *overview {
	now := time.Now()
	o := &overview{
		Now: now.UTC().Truncate(time.Millisecond), Version: e.source.Version(), UptimeSeconds: seconds(now.Sub(e.sampler.began)),
		Ready: notReady(snap) == "", Pools: poolsJSON(snap), Applications: portsOf(snap), Process: processOf(snap),
	}
	if left := len(o.Pools) - overviewRowsMax; left > 0 {
		o.Pools, o.PoolsLeft = o.Pools[:overviewRowsMax], left
	}
	if left := len(o.Applications) - overviewRowsMax; left > 0 {
		o.Applications, o.ApplicationsLeft = o.Applications[:overviewRowsMax], left
	}
	e.sampler.read(func(h *history.History) {
		o.Listeners = listenersJSON(snap, h)
		o.Attention = attentionOf(snap, h)
		if busy, ok := meanOf(h, history.Key{Kind: history.KindProcess}, "loop_busy", sampleEvery); ok {
			o.Process.LoopBusy = &busy
		}
	})
	o.Verdict = verdictOf(snap, o.Attention)
	return o
}

// meanOf is h.Mean, rounded, also before the first sample.
func meanOf(h *history.History, key history.Key, field string, span time.Duration) (float64, bool) {
	if h == nil {
		return 0, false
	}
	v, ok := h.Mean(key, field, span)
	return math.Round(v*1e6) / 1e6, ok
}

// listenersJSON describes the listeners, with their rates in the last second.
func listenersJSON(snap *stats.Snapshot, h *history.History) []listenerJSON {
	all := make([]listenerJSON, 0, len(snap.Listeners))
	for _, l := range healthOf(snap) {
		one := listenerJSON{
			Name: l.Name, PoolMode: l.PoolMode, Addresses: append([]string{}, l.Addresses...), SessionListener: l.SessionListener,
			Level: l.Level.String(), Size: l.size, CheckedOut: l.checkedOut, Utilization: percentage(l.percent()), Overflow: l.overflow,
			Waiting: l.waiting, MaxWait: seconds(l.maxWait), Clients: l.Clients, MaxClientConn: l.MaxClientConn, Rates: ratesOf(h, l.Name),
		}
		for i := range snap.Pools {
			if p := &snap.Pools[i]; p.Listener == l.Name {
				one.Open += serversOpen(p)
				one.ReserveSize += p.ReserveSize
				one.OldestTransaction = max(one.OldestTransaction, seconds(p.OldestTransaction))
			}
		}
		all = append(all, one)
	}
	return all
}

// ratesOf returns the rates of a listener in the last second, or nil until two samples were taken.
func ratesOf(h *history.History, listener string) *ratesJSON {
	key := history.Key{Kind: history.KindListener, Listener: listener}
	if _, ok := meanOf(h, key, "transactions", sampleEvery); !ok {
		return nil
	}
	value := func(field string) *float64 {
		if v, ok := meanOf(h, key, field, sampleEvery); ok {
			return &v
		}
		return nil
	}
	rate := func(field string) float64 {
		v, _ := meanOf(h, key, field, sampleEvery)
		return v
	}
	three := func(of string) quantilesJSON {
		return quantilesJSON{value(of + "_p50"), value(of + "_p95"), value(of + "_p99")}
	}
	return &ratesJSON{
		Transactions: rate("transactions"), Queries: rate("queries"), ReceivedBytes: rate("received"), SentBytes: rate("sent"),
		Errors: rate("errors"), Wait: three("wait"), Transaction: three("transaction"), Query: three("query"),
	}
}

// poolsJSON describes the pools; those in trouble come first.
func poolsJSON(snap *stats.Snapshot) []poolJSON {
	all := make([]poolJSON, 0, len(snap.Pools))
	for i := range snap.Pools {
		p := &snap.Pools[i]
		u := usageOf(p)
		one := poolJSON{
			Listener: p.Listener, Database: labelValue(p.Database), User: labelValue(p.User), PoolMode: p.PoolMode, Size: p.Size, MinSize: p.MinSize,
			ReserveSize: p.ReserveSize, CheckedOut: u.checkedOut, Utilization: percentage(u.percent()), Overflow: u.overflow, Waiting: u.waiting,
			MaxWait: seconds(u.maxWait), OldestTransaction: seconds(p.OldestTransaction), Clients: map[string]int{}, Servers: map[string]int{},
			Transactions: p.Transactions, Queries: p.Queries, ReceivedBytes: p.ReceivedBytes, SentBytes: p.SentBytes, Errors: named(p.ErrorsByClass),
			ServerConnects: p.ServerConnects, ServerFailures: p.ServerFailures, ServerCloses: named(p.ServerCloses),
			ClientCloses: named(p.ClientCloses), Promotions: named(p.Promotions), ListeningClients: p.ListeningClients,
		}
		for _, state := range clientStatesOf(p) {
			one.Clients[state.name] = state.count
		}
		for _, state := range serverStatesOf(p) {
			one.Servers[state.name] = state.count
		}
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(a, b poolJSON) int {
		return cmp.Or(cmp.Compare(b.MaxWait, a.MaxWait), cmp.Compare(b.Utilization, a.Utilization), cmp.Compare(b.Transactions, a.Transactions))
	})
	return all
}

// named is a map that JSON shows as an object also when it is nil.
func named(m map[string]uint64) map[string]uint64 {
	if m == nil {
		return map[string]uint64{}
	}
	return m
}

func processOf(snap *stats.Snapshot) processJSON {
	p := processJSON{
		ServerReachable: snap.ServerReachable, ServerError: snap.ServerError, Draining: snap.Draining, Logins: snap.Logins,
		Refusals: named(snap.Refusals), Cancels: snap.Cancels, CancelsForwarded: snap.CancelsForwarded, Panics: snap.Panics,
		Statements: snap.Statements, StatementBytes: snap.StatementBytes, Loops: make([]loopJSON, 0, len(snap.Loops)),
	}
	for _, l := range snap.Loops {
		p.Loops = append(p.Loops, loopJSON{l.Index, l.Connections, seconds(l.BusyTotal)})
	}
	return p
}

// overviewMessage is an overview as a server-sent event.
func (e *Endpoint) overviewMessage(snap *stats.Snapshot) ([]byte, error) {
	body, err := json.Marshal(e.overviewOf(snap))
	if err != nil {
		return nil, err
	}
	return slices.Concat([]byte("event: overview\ndata: "), body, []byte("\n\n")), nil
}

// historyJSON is an excerpt of the memory.
type historyJSON struct {
	Start  int64        `json:"start"` // Unix seconds
	Step   int64        `json:"step_seconds"`
	Series []seriesJSON `json:"series"`
	Events []eventJSON  `json:"events"`
}

type seriesJSON struct {
	Kind     string `json:"kind"`
	Listener string `json:"listener"`
	Database string `json:"database"`
	User     string `json:"user"`
	Name     string `json:"name"`
	Field    string `json:"field"`
	Unit     string `json:"unit"`
	Merge    string `json:"merge"` // how several moments become one: mean, max
	Values   values `json:"values"`
}

type eventJSON struct {
	At   float64 `json:"at"` // Unix seconds
	Kind string  `json:"kind"`
	Text string  `json:"text"`
}

// values are numbers with four digits, or null.
type values []float32

// MarshalJSON implements json.Marshaler.
func (v values) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, 2+4*len(v))
	b = append(b, '[')
	for i, x := range v {
		if i > 0 {
			b = append(b, ',')
		}
		switch {
		case x != x:
			b = append(b, "null"...)
		case x == float32(int32(x)):
			b = strconv.AppendInt(b, int64(x), 10)
		default:
			b = strconv.AppendFloat(b, float64(x), 'g', 4, 32)
		}
	}
	return append(b, ']'), nil
}

// historyOf reads an excerpt.
func historyOf(h *history.History, span time.Duration, points int, kind string) *historyJSON {
	out := &historyJSON{Step: 1, Series: []seriesJSON{}, Events: []eventJSON{}}
	if h == nil {
		return out
	}
	past := h.Read(span, points)
	out.Start, out.Step = past.Start.Unix(), int64(past.Step.Seconds())
	for _, s := range past.Series {
		if kind != "" && s.Kind != kind {
			continue
		}
		one := seriesJSON{
			Kind: s.Kind, Listener: s.Listener, Database: labelValue(s.Database), User: labelValue(s.User), Name: s.Name,
			Field: s.Field.Name, Unit: s.Field.Unit, Merge: "mean", Values: s.Values,
		}
		if s.Field.Peak() {
			one.Merge = "max"
		}
		out.Series = append(out.Series, one)
	}
	out.Events = eventsOf(h, past.Start)
	return out
}

func eventsOf(h *history.History, from time.Time) []eventJSON {
	all := []eventJSON{}
	if h == nil {
		return all
	}
	for _, e := range h.Events(from) {
		all = append(all, eventJSON{At: float64(e.At.UnixMilli()) / 1000, Kind: e.Kind, Text: e.Text})
	}
	return all
}

// serveOverview, serveListeners, servePools and serveApplications answer the lists of the API.
func (e *Endpoint) serveOverview(w http.ResponseWriter, r *http.Request) {
	e.withSnapshot(w, r, func(snap *stats.Snapshot) any { return e.overviewOf(snap) })
}

func (e *Endpoint) serveListeners(w http.ResponseWriter, r *http.Request) {
	e.withSnapshot(w, r, func(snap *stats.Snapshot) (body any) {
		e.sampler.read(func(h *history.History) { body = map[string]any{"listeners": listenersJSON(snap, h)} })
		return body
	})
}

func (e *Endpoint) servePools(w http.ResponseWriter, r *http.Request) {
	e.withSnapshot(w, r, func(snap *stats.Snapshot) any { return map[string]any{"pools": poolsJSON(snap)} })
}

func (e *Endpoint) serveApplications(w http.ResponseWriter, r *http.Request) {
	e.withSnapshot(w, r, func(snap *stats.Snapshot) any { return map[string]any{"applications": portsOf(snap)} })
}

// serveHistory answers /api/v1/history?span=SECONDS&points=N&kind=KIND.
func (e *Endpoint) serveHistory(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	span, points, kind, text := historyQuery(q)
	if text != "" {
		e.fault(w, http.StatusBadRequest, text)
		return
	}
	var body *historyJSON
	e.sampler.read(func(h *history.History) { body = historyOf(h, span, points, kind) })
	e.answer(w, r, body)
}

// historyQuery reads the parameters of a history; text names the wrong one; empty: all are right.
func historyQuery(q url.Values) (span time.Duration, points int, kind, text string) {
	span, points, kind = spanDefault, pointsDefault, q.Get("kind")
	if v := q.Get("span"); v != "" {
		n, err := strconv.Atoi(v)
		span = time.Duration(min(n, 1<<30)) * time.Second
		if err != nil || span < spanMin || span > spanMax {
			return 0, 0, "", fmt.Sprintf("span is a number of seconds from %.0f to %.0f", spanMin.Seconds(), spanMax.Seconds())
		}
	}
	if v := q.Get("points"); v != "" {
		n, err := strconv.Atoi(v)
		if points = n; err != nil || n < 1 || n > pointsMax {
			return 0, 0, "", fmt.Sprintf("points is a number from 1 to %d", pointsMax)
		}
	}
	if kind != "" && history.Fields(kind) == nil {
		return 0, 0, "", "there is no such kind of series"
	}
	return span, points, kind, ""
}

// serveEvents answers /api/v1/events.
func (e *Endpoint) serveEvents(w http.ResponseWriter, r *http.Request) {
	var all []eventJSON
	e.sampler.read(func(h *history.History) { all = eventsOf(h, time.Time{}) })
	e.answer(w, r, map[string]any{"events": all})
}

// serveOpenAPI answers /api/v1/openapi.json.
func (e *Endpoint) serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI) // the asker may have left
}

// withSnapshot answers with what body makes of a Snapshot.
func (e *Endpoint) withSnapshot(w http.ResponseWriter, r *http.Request, body func(*stats.Snapshot) any) {
	if snap := e.snapshot(w, r); snap != nil {
		e.answer(w, r, body(snap))
	}
}

// answer sends JSON, packed where the asker takes that.
func (e *Endpoint) answer(w http.ResponseWriter, r *http.Request, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		e.unavailable(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Vary", "Accept-Encoding")
	to := io.Writer(w)
	if len(text) > 1<<10 && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		packed, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is one of gzip's
		defer packed.Close()
		to = packed
	}
	_, _ = to.Write(append(text, '\n')) // the asker may have left
}

// fault answers with an error as the API's documentation has it.
func (e *Endpoint) fault(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text}) // the asker may have left
}
