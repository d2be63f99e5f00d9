package admin

import (
	"bufio"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

func TestGenerated(t *testing.T) {
	golden(t, filepath.Join("..", "docs", "metrics.md"), MetricsDoc())
}

func collectorOf(snap stats.Snapshot) collector {
	return collector{scrapeOf(&snap, "1.2.3-test"), table, descriptions}
}

// promlint knows how Prometheus wants names, units and help texts.
func TestMetricsLint(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(collectorOf(busySnapshot()))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// A pedantic registry also checks that what is collected was described.
func TestMetricsArePedantic(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(collectorOf(busySnapshot()))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]bool{}
	for _, f := range families {
		given[f.GetName()] = true
	}
	for i := range table {
		if !given[prefix+table[i].name] {
			t.Errorf("%s: a busy proxy gives no value of it", table[i].name)
		}
	}
	if len(given) != len(table) {
		t.Errorf("%d metrics given, %d in the table", len(given), len(table))
	}
}

func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for i := range table {
		m := &table[i]
		if seen[m.name] {
			t.Errorf("%s is there twice", m.name)
		}
		seen[m.name] = true
		if !strings.HasSuffix(m.help, ".") || strings.Contains(m.help+m.exporter, "|") {
			t.Errorf("%s: the help must be a sentence, and fit into a table: %q", m.name, m.help)
		}
		if (m.kind == counter) != strings.HasSuffix(m.name, "_total") {
			t.Errorf("%s is a %s", m.name, m.kind)
		}
	}
}

// goVersion is what differs from one toolchain to the next.
var goVersion = regexp.MustCompile(`goversion="[^"]*"`)

// ours are the lines of /metrics that are not of the Go runtime or the process.
func ours(body string) string {
	var b strings.Builder
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		if strings.Contains(lines.Text(), prefix) {
			fmt.Fprintln(&b, goVersion.ReplaceAllString(lines.Text(), `goversion="go"`))
		}
	}
	return b.String()
}

func TestMetricsGolden(t *testing.T) {
	s := start(t, busySnapshot())
	_, _, body := s.get("/metrics")
	golden(t, filepath.Join("testdata", "metrics.txt"), ours(body))
	for _, name := range []string{"\ngo_goroutines ", "\nprocess_cpu_seconds_total ", "\nprocess_open_fds "} {
		if !strings.Contains(body, name) {
			t.Errorf("no%s", strings.TrimSpace(name))
		}
	}
	if n := s.source.count(); n != 1 {
		t.Errorf("a scrape took %d snapshots, want 1", n)
	}
	if log := s.logged.String(); log != "" {
		t.Errorf("logged: %s", log)
	}
}

// A value on a bound belongs to that bound's bucket; the last bucket holds the rest; the count is the sum of all.
func TestHistogram(t *testing.T) {
	var h stats.Histogram
	for _, bound := range stats.HistogramBounds {
		h.Observe(bound)
		h.Observe(bound + 1)
	}
	count, buckets := cumulative(&h)
	if want := uint64(2 * len(stats.HistogramBounds)); count != want {
		t.Errorf("count %d, want %d", count, want)
	}
	for i, bound := range stats.HistogramBounds {
		if want := uint64(2*i + 1); buckets[bound.Seconds()] != want {
			t.Errorf("at most %s: %d, want %d", bound, buckets[bound.Seconds()], want)
		}
	}
}

// Names of databases and users are bytes that a client chose: none of them may cost the others their numbers.
func TestHostileNames(t *testing.T) {
	snap := busySnapshot()
	for i, name := range []string{"caf\xe9", "\xff\xfe", "a\"} 1\nhybridbouncer_panics_total 99", "<script>alert(1)</script>", "", strings.Repeat("x", 9000)} {
		snap.Pools = append(snap.Pools, stats.PoolSnapshot{Listener: "session", Database: name, User: name, Size: 100 + i, ServerConnects: 1})
	}
	s := start(t, snap)
	_, _, body := s.get("/metrics")
	for _, want := range []string{
		`hybridbouncer_pool_size{database="app",listener="transactional",user="web"} 25`,
		`hybridbouncer_pool_size{database="\"caf\\xe9\"",listener="session",user="\"caf\\xe9\""} 100`,
		`hybridbouncer_pool_size{database="\"\\xff\\xfe\"",listener="session",user="\"\\xff\\xfe\""} 101`,
		`hybridbouncer_pool_size{database="a\"} 1\nhybridbouncer_panics_total 99",listener="session",`,
		"\nhybridbouncer_panics_total 1\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
	if log := s.logged.String(); log != "" {
		t.Errorf("logged: %s", log)
	}
	if _, _, list := s.get("/api/v1/pools"); strings.Contains(list, "<script>alert") || !strings.Contains(list, `\u003cscript\u003ealert(1)`) {
		t.Error("the API does not escape names")
	}
}

// Two pools that look the same to Prometheus: the scrape goes on without the second, and the log says so.
func TestDoubleSeries(t *testing.T) {
	snap := busySnapshot()
	snap.Pools = append(snap.Pools, snap.Pools[0])
	s := start(t, snap)
	status, _, body := s.get("/metrics")
	if status != 200 || !strings.Contains(body, `hybridbouncer_pool_size{database="app",listener="session",user="jobs"} 10`) {
		t.Errorf("status %d, and the other pools are missing", status)
	}
	if log := s.logged.String(); !strings.Contains(log, "incomplete") {
		t.Errorf("the log says nothing: %q", log)
	}
}

func BenchmarkScrape(b *testing.B) {
	snap := busySnapshot()
	for i := range 97 {
		p := snap.Pools[0]
		p.User = fmt.Sprint("user", i)
		snap.Pools = append(snap.Pools, p)
	}
	for b.Loop() {
		r := prometheus.NewRegistry()
		r.MustRegister(collectorOf(snap))
		if _, err := r.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}

// A login to a database that somebody made up adds no series; its waiters are seen with the listener. The first server gives it its own.
func TestMadeUpDatabases(t *testing.T) {
	seriesOf := func(snap stats.Snapshot) (series int, body string) {
		s := start(t, snap)
		for _, path := range []string{"/metrics", "/metrics/pgbouncer"} {
			_, _, text := s.get(path)
			body += text
		}
		for line := range strings.Lines(body) {
			if !strings.HasPrefix(line, "#") && (strings.HasPrefix(line, prefix) || strings.HasPrefix(line, exporterPrefix)) {
				series++
			}
		}
		return series, body
	}
	snap := busySnapshot()
	before, _ := seriesOf(snap)
	for i := range 100 {
		snap.Pools = append(snap.Pools, stats.PoolSnapshot{
			Listener: "session", Database: fmt.Sprint("made_up_", i), User: "web", Size: 10, ServersOpening: 1, ClientsWaiting: 1,
			MaxWait: 9 * time.Second, ServerFailures: 3, ClientCloses: map[string]uint64{"gone": 1},
		})
	}
	during, body := seriesOf(snap)
	if during != before {
		t.Errorf("%d series, and %d after 100 logins to databases that do not exist", before, during)
	}
	for _, want := range []string{
		`hybridbouncer_listener_waiters{listener="session"} 106`, `hybridbouncer_listener_oldest_wait_seconds{listener="session"} 9`,
		`hybridbouncer_listener_unopened_pools{listener="session"} 100`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
	snap.Pools[len(snap.Pools)-1].ServerConnects = 1
	if after, body := seriesOf(snap); after <= during || !strings.Contains(body, `database="made_up_99"`) {
		t.Errorf("a pool with a server has no series: %d, then %d", during, after)
	}
}

// The protocol buffers that Prometheus asks for have both forms of a histogram, and they agree.
func TestNativeHistograms(t *testing.T) {
	snap := busySnapshot()
	for range 1000 {
		snap.Pools[0].QueryTime.Observe(3 * time.Millisecond)
	}
	r := prometheus.NewRegistry()
	r.MustRegister(collectorOf(snap))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "hybridbouncer_query_seconds" {
			continue
		}
		all := f.GetMetric()
		h := all[slices.IndexFunc(all, func(m *dto.Metric) bool { return m.GetHistogram().GetSampleCount() > 1000 })].GetHistogram()
		native := h.GetZeroCount()
		count, most, at, index := int64(0), int64(0), int32(0), int32(0)
		deltas := h.GetPositiveDelta()
		for _, span := range h.GetPositiveSpan() {
			index += span.GetOffset()
			for range span.GetLength() {
				count += deltas[0]
				deltas = deltas[1:]
				native += uint64(count)
				if count > most {
					most, at = count, index
				}
				index++
			}
		}
		if h.GetSchema() != stats.FineSchema || native != h.GetSampleCount() || len(h.GetBucket()) != len(stats.HistogramBounds) {
			t.Errorf("schema %d, %d of %d samples in native buckets, %d classic buckets", h.GetSchema(), native, h.GetSampleCount(), len(h.GetBucket()))
		}
		upper := math.Exp2(float64(at) / 4)
		if upper < 0.003 || upper > 0.003*1.19 {
			t.Errorf("most queries are in the native bucket up to %v s; they took 3 ms", upper)
		}
		return
	}
	t.Error("there is no histogram of queries")
}

// /metrics/pgbouncer has the exporter's names, values as PgBouncer would give them.
func TestPgBouncerNames(t *testing.T) {
	s := start(t, busySnapshot())
	_, _, body := s.get("/metrics/pgbouncer")
	for _, want := range []string{
		`pgbouncer_pools_client_active_connections{database="app",listener="transactional",user="web"} 1000`,
		`pgbouncer_pools_client_waiting_connections{database="app",listener="session",user="jobs"} 6`,
		`pgbouncer_pools_server_idle_connections{database="app",listener="transactional",user="web"} 7`,
		`pgbouncer_pools_client_maxwait_seconds{database="app",listener="session",user="jobs"} 5.001`,
		`pgbouncer_stats_totals_queries_pooled_total{database="app",listener="transactional",user="web"} 234567`,
		`pgbouncer_databases_pool_size{database="app",force_user="web",listener="transactional",name="app",pool_mode="transaction"} 25`,
		`pgbouncer_config_max_client_connections{listener="transactional"} 1000`, "pgbouncer_up 1", "pgbouncer_used_clients 1027",
		`pgbouncer_version_info{version="hybridbouncer 1.2.3-test"} 1`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
	if log := s.logged.String(); log != "" {
		t.Errorf("logged: %s", log)
	}
	for i := range exporterTable {
		if m := &exporterTable[i]; !strings.HasSuffix(m.help, ".") || (m.kind == counter) != strings.HasSuffix(m.name, "_total") {
			t.Errorf("%s: %q", m.name, m.help)
		}
	}
}
