package admin

import (
	"fmt"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

//go:generate go test . -run TestGenerated -rewrite

// MetricsDoc gives docs/metrics.md: every metric of the table, and the paths.
func MetricsDoc() string {
	var b strings.Builder
	fmt.Fprintf(&b, metricsIntro, stats.ApplicationsMax)
	bounds := make([]string, len(stats.HistogramBounds))
	for i, bound := range stats.HistogramBounds {
		bounds[i] = bound.String()
	}
	fmt.Fprintf(&b, "- Bounds of every histogram: %s.\n", strings.Join(bounds, ", "))
	b.WriteString("\n| name | kind | labels | meaning | at pgbouncer_exporter |\n|---|---|---|---|---|\n")
	for i := range table {
		m := &table[i]
		fmt.Fprintf(&b, "| `%s%s` | %s | %s | %s | %s |\n", prefix, m.name, m.kind, codes(m.labels), m.help, m.exporter)
	}
	b.WriteString(exporterIntro)
	b.WriteString("\n| name | kind | labels | meaning |\n|---|---|---|---|\n")
	for i := range exporterTable {
		m := &exporterTable[i]
		fmt.Fprintf(&b, "| `%s%s` | %s | %s | %s |\n", exporterPrefix, m.name, m.kind, codes(m.labels), m.help)
	}
	b.WriteString(apiIntro)
	b.WriteString(portsIntro)
	fmt.Fprintf(&b, healthIntro, warningPercent, criticalPercent, emergencyWait/time.Second, answerMax)
	return b.String()
}

// codes sets names in code type, separated by commas.
func codes(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "`" + strings.Join(names, "`, `") + "`"
}

const metricsIntro = `# Metrics and health

Printed from the table in ` + "`admin/table.go`" + ` by ` + "`go generate ./admin`" + `; a test fails when the two differ.

The endpoint listens on ` + "`listen` of `[admin]`" + `. It answers GET and HEAD, changes nothing and shows no secret. ` + "`/metrics`, `/metrics/pgbouncer`, `/health/db`, `/healthz` and `/readyz`" + ` need no password. The page (` + "`/`" + `), ` + "`/report/ports`" + ` and ` + "`/api/v1`" + ` answer on the loopback address, or, where ` + "`password` of `[admin]`" + ` is set, to everybody who gives it (HTTP basic authentication, any user name). [MONITORING.md](MONITORING.md) says what to do about each alert.

## /metrics

- Text format of Prometheus, or OpenMetrics when asked for. Besides the table it has the numbers of the Go runtime (` + "`go_*`" + `) and of the process (` + "`process_*`" + `).
- A scrape gathers its numbers once, each event loop giving a copy of its own between two turns. ` + "`/health/db`" + ` and the page show the same ones. Askers at the same moment share one gathering.
- A pool appears with its first server: a client can ask for any database it makes up. Until then its clients count with its listener (` + "`listener_waiters`, `listener_oldest_wait_seconds`, `listener_unopened_pools`" + `). Its labels are ` + "`listener`, `database`, `user`" + `, as the client named them; never a query.
- ` + "`application`" + ` is the clients' application_name as it is now, cut to 63 bytes, with a ? for whatever is not printable ASCII. Each event loop tells at most %d apart (by listener, database, user and name). Beyond that one that has no clients makes room, and is counted as ` + "`other`" + ` from then on: its own series ends, and begins anew at 0 should it come back. Where all have clients, a new one is ` + "`other`" + ` from the start.
- Counters start at 0 with the process.
- Every histogram is also a native one (schema 2: a bucket is a fifth wider than the one before, 61 us to 512 s). Prometheus takes both with ` + "`scrape_native_histograms: true`" + ` (before 3.0: ` + "`--enable-feature=native-histograms`" + `) and ` + "`always_scrape_classic_histograms: true`" + `.
`

const exporterIntro = `
## /metrics/pgbouncer

The numbers under the names of prometheus-community's pgbouncer_exporter, so that its dashboards and alerts go on working. One process stands for two PgBouncers, so every series of a pool has the label ` + "`listener`" + `, and totals are given by user too. Numbers that hybridbouncer does not keep are missing: ` + "`paused`, `disabled`, `max_connections`" + `, the cancel states of clients, counts of Parse and Bind, DNS.
`

const apiIntro = `
## /api/v1

JSON for programs, described by ` + "`/api/v1/openapi.json`" + ` ([openapi.json](../admin/openapi.json)). The page and ` + "`hybridbouncer top`" + ` use it.

| path | answer |
|---|---|
| ` + "`/api/v1/overview`" + ` | one sentence about everything, what needs attention, listeners, pools, applications, the process |
| ` + "`/api/v1/listeners`, `/api/v1/pools`, `/api/v1/applications`" + ` | the whole lists |
| ` + "`/api/v1/history?span=900&points=240&kind=listener`" + ` | the past: one hour by the second, one day by the minute, and the events |
| ` + "`/api/v1/events`" + ` | the last 256 events: start, reload, unreachable, reachable, drain, bursts of promotions and refusals, panics |
| ` + "`/api/v1/stream`" + ` | an overview each second as server-sent events; at most 16 readers, and one that does not read is dropped |

The past is kept in the process, in about 2.5 MB that do not grow: each listener (at most 8), the 8 busiest pools, the 8 busiest applications and the 6 most frequent classes of errors have series. It begins anew with the process.
`

const portsIntro = `
## /report/ports

Who uses the wrong port: a JSON object whose ` + "`applications`" + ` has an entry for each listener, database, user and application_name, those with an advice first. The status page shows the same as a table. The same bound as for ` + "`application`" + ` above holds; ` + "`others`" + ` is true for those that are not told apart.

- ` + "`advice`" + `: one line, such as ` + "`move \"embedder\" to the session listener \"session\" (6433): 83 transactions over 1s, longest 28s`" + `; empty where there is nothing to say. A transaction listener's application is told to go when it makes what only a connection can hold, or when a quarter of its time in transactions goes into long ones; a session listener's when all of at least 100 transactions were quick and no statement was seen that needs a connection of its own.
- ` + "`session_state`" + `: statements that make what only a connection can hold, by ` + "`kind`" + `: ` + "`temporary_table`, `with_hold_cursor`, `prepare`, `advisory_lock`, `listen`, `load`, `other`" + `; how many were ` + "`refused`" + `; and one as a ` + "`sample`" + ` without its constants: no number, no string, no comment, no quoted name. On a session listener clients are counted instead, each once, and ` + "`other`" + ` includes statements that nobody can tell from their text, such as DO and CALL.
- ` + "`long_transactions`" + `: how many lasted for ` + "`from_seconds`" + ` (` + "`long_transaction`" + `, 1 s where that is 0), how many such are open, how long the longest of all transactions took.
- ` + "`server_seconds`" + `: time that clients had servers; ` + "`promoted_share`, `in_transaction_share`" + `: the part of it with servers that had been moved to a session pool, and the part within transactions.
- ` + "`sets`" + `: parameters set or reset for a session and followed, on transaction listeners.
`

const healthIntro = `
## /health/db

An object with a key per listener. Fixed keys: ` + "`size`, `checked_out`, `utilization`, `overflow`, `waiting`, `max_wait_seconds`, `level`" + `; others may be added.

- ` + "`size`" + `: servers its pools may have without their reserve, summed over the pools that have opened a server; ` + "`default_pool_size`" + ` before the first.
- ` + "`checked_out`" + `: servers lent to a client, or being checked, cleaned or cancelled on one's account.
- ` + "`utilization`" + `: checked_out in percent of size. Above 100 while the reserve is in use; at most 1000.
- ` + "`overflow`" + `: servers open above the size of their pool: the reserve in use.
- ` + "`waiting`, `max_wait_seconds`" + `: clients in the queue for a server, and how long the first one has been there.
- ` + "`level`" + `: **ok**; **warning** above %d %% utilization; **critical** above %d %%, or when PostgreSQL cannot be reached; **emergency** when the clients of a pool wait longer than %d s and nothing is left for them: its size and its reserve are in use, or PostgreSQL cannot be reached. The listener has the level of its worst pool.

The answer is 200 at every level. Utilization is of the listener as a whole; ` + "`hybridbouncer_pool_utilization_ratio`" + ` tells it by pool.

## /healthz, /readyz

| path | 200 | 503, with the reason as text |
|---|---|---|
| ` + "`/healthz`" + ` (liveness) | the process is alive, also while its loops are busy, while it drains and while PostgreSQL is away | a loop has not come round for a minute: restart the process |
| ` + "`/readyz`" + ` (readiness) | new clients are welcome | it drains; PostgreSQL is unreachable; the loops do not answer |

Every path but ` + "`/healthz`" + ` answers 503 when the event loops do not within %s: give probes a longer timeout than that (Kubernetes: ` + "`timeoutSeconds: 2`" + `).
`
