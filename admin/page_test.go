package admin

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// The page shows the numbers of /health/db, what is wrong, and the version.
func TestPage(t *testing.T) {
	snap := busySnapshot()
	snap.Draining = true
	s := start(t, snap)
	_, _, body := s.get("/")
	for _, want := range []string{
		"<h1>hybridbouncer 1.2.3-test</h1>", "not ready: draining",
		`<tr class="ok"><td class="t">transactional</td><td class="t">transaction</td><td class="t">127.0.0.1:6432</td><td>1000</td><td>1000</td><td>18</td><td>25</td><td>72.0 %</td><td>0</td><td>0</td><td>0s</td><td class="t">ok</td></tr>`,
		`<tr class="emergency"><td class="t">session</td>`, "<td>55.0 %</td><td>2</td><td>6</td><td>5.001s</td>",
		"<th>servers being_canceled</th>", `<a href="/health/db">`, "loop 0: connections, busy for",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if jobs, web := strings.Index(body, "<td class=\"t\">jobs</td>"), strings.Index(body, "<td class=\"t\">web</td>"); jobs < 0 || jobs > web {
		t.Error("the pool in need is not the first")
	}
	for _, no := range []string{"<script", "http://", "https://", "<form"} {
		if strings.Contains(body, no) {
			t.Errorf("the page has %s: it needs nothing from elsewhere and changes nothing", no)
		}
	}
}

func TestPageWithoutPools(t *testing.T) {
	s := start(t, stats.Snapshot{ServerReachable: true})
	status, _, body := s.get("/")
	if status != 200 || !strings.Contains(body, "No client has logged in yet.") || !strings.HasSuffix(body, "</html>\n") {
		t.Errorf("%d %s", status, body)
	}
}

func TestPageIsBounded(t *testing.T) {
	var snap stats.Snapshot
	for i := range pageRowsMax + 23 {
		snap.Pools = append(snap.Pools, stats.PoolSnapshot{Database: fmt.Sprint("db", i)})
	}
	s := start(t, snap)
	_, _, body := s.get("/")
	if rows := strings.Count(body, `<td class="t">db`); rows != pageRowsMax || !strings.Contains(body, "and 23 more") {
		t.Errorf("%d rows, want %d and a word about the other 23", rows, pageRowsMax)
	}
}

// Nothing of the environment or the command line of the process may be seen, where passwords often are.
func TestNoSecrets(t *testing.T) {
	t.Setenv("DB_PASSWORD", "hunter2-environment")
	was := os.Args
	os.Args = append([]string{}, append(was, "hunter2-argument")...)
	defer func() { os.Args = was }()
	s := start(t, busySnapshot())
	for _, path := range []string{"/", "/metrics", "/health/db", "/healthz", "/readyz", "/debug/vars", "/debug/pprof/cmdline"} {
		if _, _, body := s.get(path); strings.Contains(body, "hunter2") {
			t.Errorf("%s shows the process's surroundings", path)
		}
	}
}
