package admin

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// prefix begins the name of each of our metrics.
const prefix = "hybridbouncer_"

// descriptions belong to the rows of the table, by index.
var descriptions = func() []*prometheus.Desc {
	all := make([]*prometheus.Desc, len(table))
	for i := range table {
		m := &table[i]
		all[i] = prometheus.NewDesc(prefix+m.name, strings.TrimSuffix(m.help, "."), m.labels, nil)
	}
	return all
}()

// collector gives client_golang the metrics of one Snapshot. It keeps no numbers of its own: each value is made from the Snapshot, so
// that a scrape costs O(pools) and the way of a query nothing.
type collector struct{ scrape *scrape }

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	for i := range table {
		m, desc := &table[i], descriptions[i]
		m.samples(c.scrape, func(v sample, labels ...string) {
			for j, value := range labels {
				labels[j] = labelValue(value)
			}
			to <- newMetric(m, desc, v, labels)
		})
	}
}

// newMetric makes one value of a row. What client_golang refuses becomes an error of the scrape, which is logged, and the other
// values are still shown.
func newMetric(m *metric, desc *prometheus.Desc, v sample, labels []string) prometheus.Metric {
	var made prometheus.Metric
	var err error
	if m.kind == histogram {
		count, buckets := cumulative(v.histogram)
		made, err = prometheus.NewConstHistogram(desc, count, v.histogram.Sum.Seconds(), buckets, labels...)
	} else {
		made, err = prometheus.NewConstMetric(desc, valueTypes[m.kind], v.number, labels...)
	}
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return made
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
	snap := e.snapshot(w, r)
	if snap == nil {
		return
	}
	ours := prometheus.NewRegistry()
	ours.MustRegister(collector{scrapeOf(snap, e.source.Version())})
	promhttp.HandlerFor(prometheus.Gatherers{ours, e.process}, promhttp.HandlerOpts{
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
