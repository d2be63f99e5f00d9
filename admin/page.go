package admin

import (
	"bytes"
	"cmp"
	_ "embed" // page.html
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// pageRowsMax bounds the tables of pools and of applications on the page: a person reads the first ones, /metrics and /report/ports have all.
const pageRowsMax = 100

//go:embed page.html
var pageHTML string

// pageTemplate escapes what it shows: names of databases and users come from clients.
var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"percent": func(u usage) string { return fmt.Sprintf("%.1f %%", u.percent()) },
	"round":   func(d time.Duration) string { return d.Round(time.Millisecond).String() },
	"share":   func(part float64) string { return fmt.Sprintf("%.1f %%", 100*part) },
	"join":    func(list []string) string { return strings.Join(list, ", ") },
}).Parse(pageHTML))

// pageData is what the page shows.
type pageData struct {
	Version   string
	NotReady  string // empty: ready
	Listeners []pageListener
	Pools     []pagePool
	PoolsLeft int // pools that are not shown
	Ports     []portRow
	PortsLeft int // applications that are not shown
	Loops     []stats.LoopSnapshot
	Snapshot  *stats.Snapshot
}

type pageListener struct {
	*stats.ListenerSnapshot
	Usage      usage
	CheckedOut int
	Capacity   int
	Overflow   int
	Waiting    int
	MaxWait    time.Duration
	Level      string
}

type pagePool struct {
	*stats.PoolSnapshot
	Usage    usage
	Overflow int
	Clients  []stateCount
	Servers  []stateCount
}

// Name and Count are for the template, which sees only what is exported.
func (s stateCount) Name() string { return s.name }

// Count is how many are in the state.
func (s stateCount) Count() int { return s.count }

// pageOf picks what the page shows. Pools that are in trouble come first.
func pageOf(snap *stats.Snapshot, version string) pageData {
	d := pageData{Version: version, NotReady: notReady(snap), Loops: snap.Loops, Snapshot: snap}
	for _, h := range healthOf(snap) {
		d.Listeners = append(d.Listeners, pageListener{
			ListenerSnapshot: h.ListenerSnapshot, Usage: h.usage, CheckedOut: h.checkedOut, Capacity: h.size,
			Overflow: h.overflow, Waiting: h.waiting, MaxWait: h.maxWait, Level: h.Level.String(),
		})
	}
	for i := range snap.Pools {
		p := &snap.Pools[i]
		u := usageOf(p)
		d.Pools = append(d.Pools, pagePool{
			PoolSnapshot: p, Usage: u, Overflow: u.overflow, Clients: clientStatesOf(p), Servers: serverStatesOf(p),
		})
	}
	slices.SortStableFunc(d.Pools, func(a, b pagePool) int {
		if a.MaxWait != b.MaxWait {
			return cmp.Compare(b.MaxWait, a.MaxWait)
		}
		return cmp.Compare(b.Usage.percent(), a.Usage.percent())
	})
	if left := len(d.Pools) - pageRowsMax; left > 0 {
		d.Pools, d.PoolsLeft = d.Pools[:pageRowsMax], left
	}
	d.Ports = portsOf(snap)
	if left := len(d.Ports) - pageRowsMax; left > 0 {
		d.Ports, d.PortsLeft = d.Ports[:pageRowsMax], left
	}
	return d
}

// servePage answers /.
func (e *Endpoint) servePage(w http.ResponseWriter, r *http.Request) {
	snap := e.snapshot(w, r)
	if snap == nil {
		return
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, pageOf(snap, e.source.Version())); err != nil {
		e.unavailable(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(w) // the asker may have left
}
