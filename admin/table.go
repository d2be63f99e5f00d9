package admin

import (
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// kind is what Prometheus knows a metric as.
type kind uint8

const (
	gauge kind = iota
	counter
	histogram
)

// String is the word in Prometheus' TYPE lines and in docs/metrics.md.
func (k kind) String() string { return [...]string{"gauge", "counter", "histogram"}[k] }

// metric is a row of the table: what /metrics gives, and what docs/metrics.md says about it.
type metric struct {
	name   string // without the prefix hybridbouncer_
	kind   kind
	labels []string
	help   string // one sentence, with the unit where the name does not say it
	// exporter is the name of the same fact at pgbouncer_exporter, for operators that move their dashboards; empty: it has none.
	exporter string
	// samples emits the values of the metric; label values in the order of labels.
	samples func(s *scrape, emit emitter)
}

// emitter takes one value. A histogram has no number, any other metric no histogram.
type emitter func(v sample, labels ...string)

type sample struct {
	number    float64
	histogram *stats.Histogram
}

// scrape holds the input of the rows: one Snapshot, and numbers that are computed from it once.
type scrape struct {
	*stats.Snapshot
	opened       []*stats.PoolSnapshot // pools that a server was opened for
	listeners    []listenerHealth
	applications []applicationTotal
	version      string
}

// scrapeOf computes what several rows read. A pool has series of its own from its first server on: a client may ask for any database it
// makes up, and PostgreSQL alone knows which there are. Until then its clients count with its listener.
func scrapeOf(snap *stats.Snapshot, version string) *scrape {
	s := &scrape{Snapshot: snap, listeners: healthOf(snap), applications: applicationTotals(snap), version: version}
	for i := range snap.Pools {
		if p := &snap.Pools[i]; openedServer(p) {
			s.opened = append(s.opened, p)
		}
	}
	return s
}

// openedServer says whether a server was ever opened for a pool, or moved to it.
func openedServer(p *stats.PoolSnapshot) bool {
	return p.ServerConnects > 0 || serversOpen(p) > p.ServersOpening
}

// byApplication gives the labels of an application and more.
func byApplication(more ...string) []string {
	return append([]string{"listener", "application"}, more...)
}

// with gives the labels of a pool and more.
func with(more ...string) []string { return append([]string{"listener", "database", "user"}, more...) }

// table is every metric but those of the Go runtime and the process, in the order of docs/metrics.md.
var table = []metric{
	// Time
	{name: "client_wait_seconds", kind: histogram, labels: with(), samples: poolHistogram(func(p *stats.PoolSnapshot) *stats.Histogram { return &p.WaitTime }), exporter: "pgbouncer_stats_totals_client_wait_seconds_total (sum)", help: "Time clients waited for a server, in vain included; a client that finds one free waits 0."},
	{name: "transaction_seconds", kind: histogram, labels: with(), samples: poolHistogram(func(p *stats.PoolSnapshot) *stats.Histogram { return &p.TransactTime }), exporter: "pgbouncer_stats_totals_server_in_transaction_seconds_total (sum)", help: "Time from a transaction's first message to its end, while its client holds a server."},
	{name: "query_seconds", kind: histogram, labels: with(), samples: poolHistogram(func(p *stats.PoolSnapshot) *stats.Histogram { return &p.QueryTime }), exporter: "pgbouncer_stats_totals_queries_duration_seconds_total (sum)", help: "Time from sending a query to PostgreSQL to the end of its answer."},
	{name: "oldest_wait_seconds", kind: gauge, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return p.MaxWait.Seconds() }), exporter: "pgbouncer_pools_client_maxwait_seconds", help: "How long the first client in the queue has been waiting for a server; 0 when none waits."},
	{name: "oldest_transaction_seconds", kind: gauge, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return p.OldestTransaction.Seconds() }), help: "Age of the oldest open transaction; 0 when none is open."},

	// Clients and servers
	{name: "clients", kind: gauge, labels: with("state"), samples: clientStates, exporter: "pgbouncer_pools_client_active_connections, pgbouncer_pools_client_waiting_connections", help: "Clients that are logged in. idle: need no server now; active: have one; waiting: in the queue for one."},
	{name: "waiters", kind: gauge, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.ClientsWaiting) }), exporter: "pgbouncer_pools_client_waiting_connections", help: "Clients in the queue for a server: those of hybridbouncer_clients in state waiting."},
	{name: "servers", kind: gauge, labels: with("state"), samples: serverStates, exporter: "pgbouncer_pools_server_active_connections, pgbouncer_pools_server_idle_connections, ...", help: "Connections to PostgreSQL. new: being opened; idle: ready; active: lent to a client; tested: being checked or cleaned; being_canceled: a cancel request for them is under way; closing: not closed yet."},
	{name: "dedicated_servers", kind: gauge, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.ServersDedicated) }), help: "Servers that were opened for one replication client alone: those of hybridbouncer_servers, new or active, that no other client gets."},
	{name: "pool_size", kind: gauge, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.Size) }), exporter: "pgbouncer_databases_pool_size", help: "Servers the pool may have (pool_size or default_pool_size)."},
	{name: "pool_min_size", kind: gauge, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.MinSize) }), help: "Servers the pool keeps open once it has been used (min_pool_size)."},
	{name: "pool_reserve_size", kind: gauge, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.ReserveSize) }), exporter: "pgbouncer_databases_reserve_pool", help: "Servers the pool may have above its size while clients wait long (reserve_pool_size)."},
	{name: "pool_overflow", kind: gauge, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(usageOf(p).overflow) }), help: "Servers open above the pool's size: the reserve in use."},
	{name: "pool_utilization_ratio", kind: gauge, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return usageOf(p).percent() / 100 }), help: "Servers in use (active, tested, being_canceled) over the pool's size; above 1 with the reserve in use, at most 10."},

	// Work
	{name: "transactions_total", kind: counter, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.Transactions) }), exporter: "pgbouncer_stats_totals_sql_transactions_pooled_total", help: "Transactions that ended."},
	{name: "queries_total", kind: counter, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.Queries) }), exporter: "pgbouncer_stats_totals_queries_pooled_total", help: "Batches of messages that PostgreSQL answered with ReadyForQuery: queries."},
	{name: "received_bytes_total", kind: counter, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.ReceivedBytes) }), exporter: "pgbouncer_stats_totals_received_bytes_total", help: "Bytes received from clients."},
	{name: "sent_bytes_total", kind: counter, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.SentBytes) }), exporter: "pgbouncer_stats_totals_sent_bytes_total", help: "Bytes sent to clients."},
	{name: "errors_total", kind: counter, labels: with("class"), samples: poolMap(func(p *stats.PoolSnapshot) map[string]uint64 { return p.ErrorsByClass }), help: "Errors PostgreSQL answered with, by the first two characters of their SQLSTATE; a class appears with its first error."},

	// Prepared statements
	{name: "parses_saved_total", kind: counter, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.ParsesSaved) }), exporter: "pgbouncer_stats_totals_client_parses_total less server_parses_total", help: "Parse messages of clients that the pooler answered itself, because the server had the statement."},
	{name: "parses_injected_total", kind: counter, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.ParsesInjected) }), help: "Parse messages the pooler sent ahead of a Bind or Describe, because the server lacked the statement, or had it from before the client that asks for its types."},
	{name: "statements_evicted_total", kind: counter, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.StatementsEvicted) }), help: "Statements closed on a server to make room for others; many, with many parses injected: raise max_prepared_statements."},
	{name: "statements_healed_total", kind: counter, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.StatementsHealed) }), help: "Batches the pooler sent again behind a new Parse, because the columns of a result had changed since the statement was prepared."},
	{name: "statements_compared_total", kind: counter, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.StatementsCompared) }), help: "Round trips that a Bind waited for: its statement was prepared anew, and the server had to say first whether it still looks as the client was told."},
	{name: "statements_changed_total", kind: counter, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.StatementsChanged) }), help: "Of those, the ones where it does not: the client got 0A000 (cached plan must not change result type), as on a direct connection."},
	{name: "statements", kind: gauge, samples: number(func(s *scrape) float64 { return float64(s.Statements) }), help: "Distinct prepared statements that clients or servers of transaction listeners hold."},
	{name: "statement_bytes", kind: gauge, samples: number(func(s *scrape) float64 { return float64(s.StatementBytes) }), help: "Memory of these statements and of their names."},

	// LISTEN on transaction listeners
	{name: "listening_clients", kind: gauge, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.ListeningClients) }), help: "Clients that LISTEN and share one server of the pool for it."},
	{name: "notifications_total", kind: counter, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.Notifications) }), help: "Notifications sent to these clients. Those that were closed because they do not read are in client_closes_total, with the reason notifications_unread."},
	{name: "listening_server_losses_total", kind: counter, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.ListenLosses) }), help: "Times that this server was lost while somebody listened; the clients were told that notifications may have been lost."},

	// Comings and goings
	{name: "client_closes_total", kind: counter, labels: with("reason"), samples: poolMap(func(p *stats.PoolSnapshot) map[string]uint64 { return p.ClientCloses }), help: "Clients that ended after their login, by reason; a reason appears with its first client."},
	{name: "server_connects_total", kind: counter, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.ServerConnects) }), help: "Servers opened."},
	{name: "server_connect_failures_total", kind: counter, labels: with(), samples: poolNumber(func(p *stats.PoolSnapshot) float64 { return float64(p.ServerFailures) }), help: "Servers that could not be opened: PostgreSQL unreachable, or it refused the login."},
	{name: "server_closes_total", kind: counter, labels: with("reason"), samples: poolMap(func(p *stats.PoolSnapshot) map[string]uint64 { return p.ServerCloses }), help: "Servers closed, by reason; a reason appears with its first server."},
	{name: "promotions_total", kind: counter, labels: with("reason"), samples: poolMap(func(p *stats.PoolSnapshot) map[string]uint64 { return p.Promotions }), help: "Links of a transaction pool whose server was moved to a session pool, by reason."},
	{name: "logins_total", kind: counter, samples: number(func(s *scrape) float64 { return float64(s.Logins) }), help: "Clients that finished their login."},
	{name: "login_refusals_total", kind: counter, labels: []string{"listener", "reason"}, samples: refusals, help: "Clients that did not finish their login, by the SQLSTATE they were told, or by what happened instead."},
	{name: "cancel_requests_total", kind: counter, samples: number(func(s *scrape) float64 { return float64(s.Cancels) }), help: "Cancel requests received."},
	{name: "cancel_requests_forwarded_total", kind: counter, samples: number(func(s *scrape) float64 { return float64(s.CancelsForwarded) }), help: "Cancel requests passed on to PostgreSQL; the others came too late, or with a key nobody has."},

	// Applications: what /report/ports says
	{name: "application_clients", kind: gauge, labels: byApplication(), samples: applicationNumber(func(a *applicationTotal) float64 { return float64(a.Clients) }), help: "Clients that have this application_name now."},
	{name: "application_transactions_total", kind: counter, labels: byApplication(), samples: applicationNumber(func(a *applicationTotal) float64 { return float64(a.Transactions) }), help: "Transactions of an application that ended, those cut off included."},
	{name: "application_long_transactions_total", kind: counter, labels: byApplication(), samples: applicationNumber(func(a *applicationTotal) float64 { return float64(a.LongTransactions) }), help: "Transactions of an application that lasted for long_transaction (1 s where that is 0)."},
	{name: "application_server_seconds_total", kind: counter, labels: byApplication(), samples: applicationNumber(func(a *applicationTotal) float64 { return a.Held.Seconds() }), help: "Time that clients of an application had servers."},
	{name: "application_promoted_seconds_total", kind: counter, labels: byApplication(), samples: applicationNumber(func(a *applicationTotal) float64 { return a.Promoted.Seconds() }), help: "Time that clients of an application had servers which had been moved to a session pool."},
	{name: "application_sets_total", kind: counter, labels: byApplication(), samples: applicationNumber(func(a *applicationTotal) float64 { return float64(a.Sets) }), help: "Parameters that clients of a transaction listener set or reset for their session, and that were followed."},
	{name: "application_promotions_total", kind: counter, labels: byApplication("reason"), samples: applicationPromotions, help: "Links of an application whose server was moved to a session pool, by reason."},
	{name: "application_session_state_total", kind: counter, labels: byApplication("kind"), samples: applicationStatements(func(s *stats.StatementSnapshot) uint64 { return s.Forced }), help: "Statements that make what only a connection can hold, by what they make; on a session listener the clients that said such a thing."},
	{name: "application_session_state_refusals_total", kind: counter, labels: byApplication("kind"), samples: applicationStatements(func(s *stats.StatementSnapshot) uint64 { return s.Refused }), help: "Statements that were refused because they make what only a connection can hold: no room in the session pool, or promotion is error."},

	// Listeners: what /health/db says
	{name: "listener_info", kind: gauge, labels: []string{"listener", "pool_mode"}, samples: listenerInfo, help: "Always 1; tells the pool mode of a listener."},
	{name: "listener_clients", kind: gauge, labels: []string{"listener"}, samples: listenerNumber(func(h *listenerHealth) float64 { return float64(h.Clients) }), exporter: "pgbouncer_used_clients", help: "Clients of a listener that have proved who they are."},
	{name: "listener_max_client_conn", kind: gauge, labels: []string{"listener"}, samples: listenerNumber(func(h *listenerHealth) float64 { return float64(h.MaxClientConn) }), exporter: "pgbouncer_config_max_client_connections", help: "Clients a listener accepts (max_client_conn)."},
	{name: "listener_utilization_ratio", kind: gauge, labels: []string{"listener"}, samples: listenerNumber(func(h *listenerHealth) float64 { return h.percent() / 100 }), help: "Servers in use over the size of all pools of a listener, as utilization in /health/db; above 1 with the reserve in use, at most 10."},
	{name: "listener_waiters", kind: gauge, labels: []string{"listener"}, samples: listenerNumber(func(h *listenerHealth) float64 { return float64(h.waiting) }), help: "Clients of a listener in the queue for a server, those of pools without a server included."},
	{name: "listener_oldest_wait_seconds", kind: gauge, labels: []string{"listener"}, samples: listenerNumber(func(h *listenerHealth) float64 { return h.maxWait.Seconds() }), help: "How long the client of a listener has waited that has waited longest; 0 when none waits."},
	{name: "listener_overflow", kind: gauge, labels: []string{"listener"}, samples: listenerNumber(func(h *listenerHealth) float64 { return float64(h.overflow) }), help: "Servers open above the size of their pools: the reserve in use."},
	{name: "listener_reserve_size", kind: gauge, labels: []string{"listener"}, samples: listenerNumber(func(h *listenerHealth) float64 { return float64(h.reserve) }), help: "Servers that the pools of a listener may have above their size (reserve_pool_size)."},
	{name: "listener_unopened_pools", kind: gauge, labels: []string{"listener"}, samples: listenerNumber(func(h *listenerHealth) float64 { return float64(h.unopened) }), help: "Pools that no server was opened for yet: they have no series of their own."},
	{name: "listener_level", kind: gauge, labels: []string{"listener", "level"}, samples: listenerLevels, help: "1 for the level of a listener in /health/db, 0 for the other levels."},

	// The process
	{name: "server_reachable", kind: gauge, samples: number(func(s *scrape) float64 { return truth(s.ServerReachable) }), exporter: "pgbouncer_up", help: "1 if PostgreSQL can be reached, as far as the last attempt tells; else 0."},
	{name: "draining", kind: gauge, samples: number(func(s *scrape) float64 { return truth(s.Draining) }), help: "1 if the process is about to end and accepts no new clients, else 0."},
	{name: "loop_connections", kind: gauge, labels: []string{"loop"}, samples: loopNumber(func(l *stats.LoopSnapshot) float64 { return float64(l.Connections) }), help: "Connections, of clients and servers, that an event loop carries."},
	{name: "loop_busy_seconds_total", kind: counter, labels: []string{"loop"}, samples: loopNumber(func(l *stats.LoopSnapshot) float64 { return l.BusyTotal.Seconds() }), help: "Time an event loop was not waiting for events; a rate near 1 is a full CPU core."},
	{name: "panics_total", kind: counter, samples: number(func(s *scrape) float64 { return float64(s.Panics) }), help: "Panics that were contained: a bug each, please report them; the log has the place."},
	{name: "build_info", kind: gauge, labels: []string{"version", "goversion"}, samples: buildInfo, exporter: "pgbouncer_version_info", help: "Always 1; tells the version of hybridbouncer and of Go."},
}

// poolNumber gives one value per pool.
func poolNumber(of func(*stats.PoolSnapshot) float64) func(*scrape, emitter) {
	return func(s *scrape, emit emitter) {
		for _, p := range s.opened {
			emit(sample{number: of(p)}, p.Listener, p.Database, p.User)
		}
	}
}

// poolHistogram gives one histogram per pool.
func poolHistogram(of func(*stats.PoolSnapshot) *stats.Histogram) func(*scrape, emitter) {
	return func(s *scrape, emit emitter) {
		for _, p := range s.opened {
			emit(sample{histogram: of(p)}, p.Listener, p.Database, p.User)
		}
	}
}

// poolMap gives a value for each key of a map per pool.
func poolMap(of func(*stats.PoolSnapshot) map[string]uint64) func(*scrape, emitter) {
	return func(s *scrape, emit emitter) {
		for _, p := range s.opened {
			for key, n := range of(p) {
				emit(sample{number: float64(n)}, p.Listener, p.Database, p.User, key)
			}
		}
	}
}

// applicationNumber gives one value per listener and application_name.
func applicationNumber(of func(*applicationTotal) float64) func(*scrape, emitter) {
	return func(s *scrape, emit emitter) {
		for i := range s.applications {
			a := &s.applications[i]
			emit(sample{number: of(a)}, a.listener, a.name)
		}
	}
}

func applicationPromotions(s *scrape, emit emitter) {
	for i := range s.applications {
		a := &s.applications[i]
		for reason, n := range a.Promotions {
			emit(sample{number: float64(n)}, a.listener, a.name, reason)
		}
	}
}

func applicationStatements(of func(*stats.StatementSnapshot) uint64) func(*scrape, emitter) {
	return func(s *scrape, emit emitter) {
		for i := range s.applications {
			a := &s.applications[i]
			for j := range a.Statements {
				emit(sample{number: float64(of(&a.Statements[j]))}, a.listener, a.name, a.Statements[j].Kind)
			}
		}
	}
}

// listenerNumber gives one value per listener.
func listenerNumber(of func(*listenerHealth) float64) func(*scrape, emitter) {
	return func(s *scrape, emit emitter) {
		for i := range s.listeners {
			emit(sample{number: of(&s.listeners[i])}, s.listeners[i].Name)
		}
	}
}

// loopNumber gives one value per event loop.
func loopNumber(of func(*stats.LoopSnapshot) float64) func(*scrape, emitter) {
	return func(s *scrape, emit emitter) {
		for i := range s.Loops {
			emit(sample{number: of(&s.Loops[i])}, strconv.Itoa(s.Loops[i].Index))
		}
	}
}

// number gives one value.
func number(of func(*scrape) float64) func(*scrape, emitter) {
	return func(s *scrape, emit emitter) { emit(sample{number: of(s)}) }
}

func clientStates(s *scrape, emit emitter) {
	for _, p := range s.opened {
		for _, state := range clientStatesOf(p) {
			emit(sample{number: float64(state.count)}, p.Listener, p.Database, p.User, state.name)
		}
	}
}

func serverStates(s *scrape, emit emitter) {
	for _, p := range s.opened {
		for _, state := range serverStatesOf(p) {
			emit(sample{number: float64(state.count)}, p.Listener, p.Database, p.User, state.name)
		}
	}
}

// stateCount is how many clients or servers are in a state; the name is PgBouncer's, as in the SQL console.
type stateCount struct {
	name  string
	count int
}

func clientStatesOf(p *stats.PoolSnapshot) []stateCount {
	return []stateCount{{"idle", p.ClientsIdle}, {"active", p.ClientsActive}, {"waiting", p.ClientsWaiting}}
}

func serverStatesOf(p *stats.PoolSnapshot) []stateCount {
	return []stateCount{
		{"new", p.ServersOpening},
		{"idle", p.ServersIdle},
		{"active", p.ServersActive},
		{"tested", p.ServersTested},
		{"being_canceled", p.ServersBeingCanceled},
		{"closing", p.ServersClosing},
	}
}

func refusals(s *scrape, emit emitter) {
	for i := range s.Listeners {
		for reason, n := range s.Listeners[i].Refusals {
			emit(sample{number: float64(n)}, s.Listeners[i].Name, reason)
		}
	}
}

func listenerInfo(s *scrape, emit emitter) {
	for i := range s.listeners {
		emit(sample{number: 1}, s.listeners[i].Name, s.listeners[i].PoolMode)
	}
}

func listenerLevels(s *scrape, emit emitter) {
	for i := range s.listeners {
		for _, l := range levels {
			emit(sample{number: truth(l == s.listeners[i].Level)}, s.listeners[i].Name, l.String())
		}
	}
}

func buildInfo(s *scrape, emit emitter) { emit(sample{number: 1}, s.version, runtime.Version()) }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// boundSeconds are the bounds of every histogram, in seconds.
var boundSeconds = func() (all [len(stats.HistogramBounds)]float64) {
	for i, bound := range stats.HistogramBounds {
		all[i] = float64(bound) / float64(time.Second)
	}
	return all
}()

// cumulative gives a histogram as Prometheus wants it: how many were at most each bound, and how many in all.
func cumulative(h *stats.Histogram) (count uint64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(boundSeconds))
	for i, bound := range boundSeconds {
		count += h.Counts[i]
		buckets[bound] = count
	}
	return count + h.Counts[len(boundSeconds)], buckets
}

// valueTypes are Prometheus' kinds of plain numbers.
var valueTypes = map[kind]prometheus.ValueType{gauge: prometheus.GaugeValue, counter: prometheus.CounterValue}
