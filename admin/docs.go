package admin

import (
	"fmt"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/proxy"
)

//go:generate go test . -run TestGenerated -rewrite

// MetricsDoc gives docs/metrics.md: every metric of the table, and the paths.
func MetricsDoc() string {
	var b strings.Builder
	b.WriteString(metricsIntro)
	bounds := make([]string, len(proxy.HistogramBounds))
	for i, bound := range proxy.HistogramBounds {
		bounds[i] = bound.String()
	}
	fmt.Fprintf(&b, "- Bounds of every histogram: %s.\n", strings.Join(bounds, ", "))
	b.WriteString("\n| name | kind | labels | meaning | at pgbouncer_exporter |\n|---|---|---|---|---|\n")
	for i := range table {
		m := &table[i]
		fmt.Fprintf(&b, "| `%s%s` | %s | %s | %s | %s |\n", prefix, m.name, m.kind, codes(m.labels), m.help, m.exporter)
	}
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

The endpoint listens on ` + "`listen` of `[admin]`" + ` and asks for no password: keep it off public networks. It answers GET and HEAD, changes nothing and shows no secret.

## /metrics

- Text format of Prometheus, or OpenMetrics when asked for. Besides the table it has the numbers of the Go runtime (` + "`go_*`" + `) and of the process (` + "`process_*`" + `).
- A scrape gathers its numbers once, each event loop giving a copy of its own between two turns. ` + "`/health/db`" + ` and the page show the same ones. Askers at the same moment share one gathering.
- A pool appears with its first client. Its labels are ` + "`listener`, `database`, `user`" + `, as the client named them; never a query, never an application.
- Counters start at 0 with the process.
`

const healthIntro = `
## /health/db

An object with a key per listener. Fixed keys: ` + "`size`, `checked_out`, `utilization`, `overflow`, `waiting`, `max_wait_seconds`, `level`" + `; others may be added.

- ` + "`size`" + `: servers its pools may have without their reserve, summed over the pools that exist; ` + "`default_pool_size`" + ` before the first.
- ` + "`checked_out`" + `: servers lent to a client, or being checked, cleaned or cancelled on one's account.
- ` + "`utilization`" + `: checked_out in percent of size. Above 100 while the reserve is in use; at most 1000.
- ` + "`overflow`" + `: servers open above the size of their pool: the reserve in use.
- ` + "`waiting`, `max_wait_seconds`" + `: clients in the queue for a server, and how long the first one has been there.
- ` + "`level`" + `: **ok**; **warning** above %d %% utilization; **critical** above %d %%; **emergency** when the clients of a pool wait longer than %d s and nothing is left for them: its size and its reserve are in use, or PostgreSQL cannot be reached.

The answer is 200 at every level. Utilization is of the listener as a whole; ` + "`hybridbouncer_pool_utilization_ratio`" + ` tells it by pool.

## /healthz, /readyz

| path | 200 | 503, with the reason as text |
|---|---|---|
| ` + "`/healthz`" + ` (liveness) | the process is alive and its event loops answer, also while it drains and while PostgreSQL is away | the loops do not answer: restart it |
| ` + "`/readyz`" + ` (readiness) | new clients are welcome | it drains; PostgreSQL is unreachable; the loops do not answer |

Every path answers 503 when the event loops do not within %s: give probes a longer timeout than that (Kubernetes: ` + "`timeoutSeconds: 2`" + `).
`
