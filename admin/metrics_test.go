package admin

import (
	"bufio"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

func TestGenerated(t *testing.T) {
	golden(t, filepath.Join("..", "docs", "metrics.md"), MetricsDoc())
}

func collectorOf(snap stats.Snapshot) collector {
	return collector{scrapeOf(&snap, "1.2.3-test")}
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
		snap.Pools = append(snap.Pools, stats.PoolSnapshot{Listener: "session", Database: name, User: name, Size: 100 + i})
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
