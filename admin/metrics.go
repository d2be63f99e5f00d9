package admin

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// prefix begins the name of each of our metrics.
const prefix = "hybridbouncer_"

// descriptions belong to the rows of the table, by index.
var descriptions = describe(prefix, table)

// describe makes the descriptions of a table's rows.
func describe(prefix string, rows []metric) []*prometheus.Desc {
	all := make([]*prometheus.Desc, len(rows))
	for i := range rows {
		m := &rows[i]
		all[i] = prometheus.NewDesc(prefix+m.name, strings.TrimSuffix(m.help, "."), m.labels, nil)
	}
	return all
}

// collector gives client_golang the metrics of one Snapshot. It keeps no numbers of its own: each value is made from the Snapshot, so
// that a scrape costs O(pools) and the way of a query nothing.
type collector struct {
	scrape       *scrape
	rows         []metric
	descriptions []*prometheus.Desc // of the rows
}

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descriptions {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	for i := range c.rows {
		m, desc := &c.rows[i], c.descriptions[i]
		m.samples(c.scrape, func(v sample, labels ...string) {
			for j, value := range labels {
				labels[j] = labelValue(value)
			}
			to <- newMetric(m, desc, v, labels)
		})
	}
}

// newMetric makes one value of a row. A value that client_golang refuses becomes an error of the scrape, which is logged; the other
// values are still shown.
func newMetric(m *metric, desc *prometheus.Desc, v sample, labels []string) prometheus.Metric {
	var made prometheus.Metric
	var err error
	if m.kind == histogram {
		made, err = newHistogram(desc, v.histogram, labels)
	} else {
		made, err = prometheus.NewConstMetric(desc, valueTypes[m.kind], v.number, labels...)
	}
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return made
}

// bothHistograms is one histogram in both forms: text formats have the classic buckets alone, the protocol buffers that Prometheus asks for
// when it takes native histograms have both.
type bothHistograms struct{ classic, native prometheus.Metric }

// newHistogram makes both forms of a histogram.
func newHistogram(desc *prometheus.Desc, h *stats.Histogram, labels []string) (prometheus.Metric, error) {
	count, buckets := cumulative(h)
	classic, err := prometheus.NewConstHistogram(desc, count, h.Sum.Seconds(), buckets, labels...)
	if err != nil {
		return nil, err
	}
	fine := make(map[int]int64)
	for i, n := range h.Fine[1:] {
		if n > 0 {
			fine[stats.FineFirst+i] = int64(n)
		}
	}
	native, err := prometheus.NewConstNativeHistogram(desc, count, h.Sum.Seconds(), fine, nil, h.Fine[0], stats.FineSchema,
		stats.FineZero.Seconds(), time.Time{}, labels...)
	return bothHistograms{classic, native}, err
}

// Desc implements prometheus.Metric.
func (b bothHistograms) Desc() *prometheus.Desc { return b.classic.Desc() }

// Write implements prometheus.Metric.
func (b bothHistograms) Write(to *dto.Metric) error {
	var classic dto.Metric
	if err := errors.Join(b.classic.Write(&classic), b.native.Write(to)); err != nil {
		return err
	}
	to.Histogram.Bucket = classic.Histogram.Bucket
	to.Histogram.CreatedTimestamp = nil // nobody knows when a pool began
	return nil
}

// labelValue makes a name fit for a label. Names of databases and users are bytes that a client chose; Prometheus takes UTF-8 alone,
// and one bad name must not cost the others their numbers. Such a name is shown as a Go literal: "caf\xe9".
func labelValue(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return strconv.Quote(name)
}

// serveMetrics answers /metrics: one Snapshot through a registry that lives as long as the request, then the process's own numbers.
// The Snapshot is taken first, so that a scrape without numbers is a 503, which Prometheus shows as up = 0, and not a 200 in which
// ours are missing.
func (e *Endpoint) serveMetrics(w http.ResponseWriter, r *http.Request) {
	e.serveTable(w, r, table, descriptions, e.process)
}

// serveTable answers with the metrics of one table and those of other registries.
func (e *Endpoint) serveTable(w http.ResponseWriter, r *http.Request, rows []metric, of []*prometheus.Desc, more ...prometheus.Gatherer) {
	snap := e.snapshot(w, r)
	if snap == nil {
		return
	}
	ours := prometheus.NewRegistry()
	ours.MustRegister(collector{scrapeOf(snap, e.source.Version()), rows, of})
	promhttp.HandlerFor(append(prometheus.Gatherers{ours}, more...), promhttp.HandlerOpts{
		ErrorHandling:     promhttp.ContinueOnError,
		ErrorLog:          errorLog{e},
		EnableOpenMetrics: true,
	}).ServeHTTP(w, r)
}

// errorLog lets promhttp write to our log.
type errorLog struct{ *Endpoint }

// Println implements promhttp.Logger.
func (l errorLog) Println(what ...any) {
	l.log.Warn("a scrape of /metrics was incomplete", "error", what)
}
