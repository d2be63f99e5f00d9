package admin

import (
	"net/http"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// /metrics/pgbouncer has the numbers under the names of prometheus-community's pgbouncer_exporter, for dashboards and alerts that know
// those. It differs in two points, because one process stands for two PgBouncers: every series of a pool has a label listener, and the
// totals of a database are given by user, so that none steps back when a pool is forgotten. Numbers that hybridbouncer does not keep are
// missing, not 0.

// exporterPrefix begins the names of pgbouncer_exporter.
const exporterPrefix = "pgbouncer_"

// exporterPool gives one value for each pool that has opened a server.
func exporterPool(name string, kind kind, help string, of func(*stats.PoolSnapshot) float64) metric {
	return metric{name: name, kind: kind, labels: []string{"database", "user", "listener"}, help: help, samples: func(s *scrape, emit emitter) {
		for _, p := range s.opened {
			emit(sample{number: of(p)}, p.Database, p.User, p.Listener)
		}
	}}
}

// exporterNumber gives one value.
func exporterNumber(name, help string, of func(*scrape) float64) metric {
	return metric{name: name, kind: gauge, help: help, samples: number(of)}
}

// exporterTable is every metric of /metrics/pgbouncer, without its prefix.
var exporterTable = []metric{
	exporterPool("pools_client_active_connections", gauge, "Clients that have a server, or need none now.", func(p *stats.PoolSnapshot) float64 { return float64(p.ClientsActive + p.ClientsIdle) }),
	exporterPool("pools_client_waiting_connections", gauge, "Clients that wait for a server.", func(p *stats.PoolSnapshot) float64 { return float64(p.ClientsWaiting) }),
	exporterPool("pools_server_active_connections", gauge, "Servers that are lent to a client.", func(p *stats.PoolSnapshot) float64 { return float64(p.ServersActive) }),
	exporterPool("pools_server_being_canceled_connections", gauge, "Servers that wait for the end of a cancel request.", func(p *stats.PoolSnapshot) float64 { return float64(p.ServersBeingCanceled) }),
	exporterPool("pools_server_idle_connections", gauge, "Servers that no client has.", func(p *stats.PoolSnapshot) float64 { return float64(p.ServersIdle) }),
	exporterPool("pools_server_testing_connections", gauge, "Servers that are being checked or cleaned.", func(p *stats.PoolSnapshot) float64 { return float64(p.ServersTested) }),
	exporterPool("pools_server_login_connections", gauge, "Servers that are being opened.", func(p *stats.PoolSnapshot) float64 { return float64(p.ServersOpening) }),
	exporterPool("pools_client_maxwait_seconds", gauge, "How long the first client in the queue has waited.", func(p *stats.PoolSnapshot) float64 { return p.MaxWait.Seconds() }),

	exporterPool("stats_totals_queries_pooled_total", counter, "Queries that PostgreSQL has answered.", func(p *stats.PoolSnapshot) float64 { return float64(p.Queries) }),
	exporterPool("stats_totals_queries_total", counter, "The same, under the exporter's older name.", func(p *stats.PoolSnapshot) float64 { return float64(p.Queries) }),
	exporterPool("stats_totals_sql_transactions_pooled_total", counter, "Transactions that have ended.", func(p *stats.PoolSnapshot) float64 { return float64(p.Transactions) }),
	exporterPool("stats_totals_queries_duration_seconds_total", counter, "Time that PostgreSQL has taken to answer queries.", func(p *stats.PoolSnapshot) float64 { return p.QueryTime.Sum.Seconds() }),
	exporterPool("stats_totals_server_in_transaction_seconds_total", counter, "Time that servers have spent in transactions.", func(p *stats.PoolSnapshot) float64 { return p.TransactTime.Sum.Seconds() }),
	exporterPool("stats_totals_client_wait_seconds_total", counter, "Time that clients have waited for a server.", func(p *stats.PoolSnapshot) float64 { return p.WaitTime.Sum.Seconds() }),
	exporterPool("stats_totals_received_bytes_total", counter, "Bytes received from clients.", func(p *stats.PoolSnapshot) float64 { return float64(p.ReceivedBytes) }),
	exporterPool("stats_totals_sent_bytes_total", counter, "Bytes sent to clients.", func(p *stats.PoolSnapshot) float64 { return float64(p.SentBytes) }),

	exporterDatabase("databases_pool_size", "Servers that the pool of a user may have.", func(p *stats.PoolSnapshot) float64 { return float64(p.Size) }),
	exporterDatabase("databases_reserve_pool", "Servers that it may have above that.", func(p *stats.PoolSnapshot) float64 { return float64(p.ReserveSize) }),
	exporterDatabase("databases_current_connections", "Servers that are open.", func(p *stats.PoolSnapshot) float64 { return float64(serversOpen(p)) }),

	exporterNumber("pools", "Pools that have opened a server.", func(s *scrape) float64 { return float64(len(s.opened)) }),
	exporterNumber("databases", "Databases of these pools.", func(s *scrape) float64 {
		return distinct(s, func(p *stats.PoolSnapshot) string { return p.Database })
	}),
	exporterNumber("users", "Users of these pools.", func(s *scrape) float64 { return distinct(s, func(p *stats.PoolSnapshot) string { return p.User }) }),
	exporterNumber("used_clients", "Clients that are logged in.", func(s *scrape) (n float64) {
		for i := range s.Listeners {
			n += float64(s.Listeners[i].Clients)
		}
		return n
	}),
	exporterNumber("free_servers", "Servers that no client has.", func(s *scrape) (n float64) {
		for _, p := range s.opened {
			n += float64(p.ServersIdle)
		}
		return n
	}),
	exporterNumber("used_servers", "All other servers.", func(s *scrape) (n float64) {
		for _, p := range s.opened {
			n += float64(serversOpen(p) - p.ServersIdle)
		}
		return n
	}),
	{
		name: "config_max_client_connections", kind: gauge, labels: []string{"listener"}, help: "max_client_conn of a listener.",
		samples: listenerNumber(func(h *listenerHealth) float64 { return float64(h.MaxClientConn) }),
	},
	{
		name: "version_info", kind: gauge, labels: []string{"version"}, help: "Always 1; tells the version of hybridbouncer.",
		samples: func(s *scrape, emit emitter) { emit(sample{number: 1}, "hybridbouncer "+s.version) },
	},
	exporterNumber("up", "1 if PostgreSQL can be reached, as far as the last attempt tells; else 0.", func(s *scrape) float64 { return truth(s.ServerReachable) }),
}

// exporterDatabase gives one value for each database, listener and user; a sum over users would step back when a pool is forgotten.
func exporterDatabase(name, help string, of func(*stats.PoolSnapshot) float64) metric {
	labels := []string{"name", "database", "force_user", "pool_mode", "listener"}
	return metric{name: name, kind: gauge, labels: labels, help: help, samples: func(s *scrape, emit emitter) {
		for _, p := range s.opened {
			emit(sample{number: of(p)}, p.Database, p.Database, p.User, p.PoolMode, p.Listener)
		}
	}}
}

func distinct(s *scrape, of func(*stats.PoolSnapshot) string) float64 {
	seen := make(map[string]struct{})
	for _, p := range s.opened {
		seen[of(p)] = struct{}{}
	}
	return float64(len(seen))
}

var exporterDescriptions = describe(exporterPrefix, exporterTable)

// servePgBouncer answers /metrics/pgbouncer.
func (e *Endpoint) servePgBouncer(w http.ResponseWriter, r *http.Request) {
	e.serveTable(w, r, exporterTable, exporterDescriptions)
}
