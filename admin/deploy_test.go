package admin

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// deployed reads a file that is shipped for operators.
func deployed(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// known are the names under which /metrics gives the table.
func known() map[string]bool {
	names := map[string]bool{}
	for i := range table {
		name := prefix + table[i].name
		names[name] = true
		if table[i].kind == histogram {
			names[name+"_bucket"], names[name+"_sum"], names[name+"_count"] = true, true, true
		}
	}
	return names
}

var metricName = regexp.MustCompile(`\b` + prefix + `[a-z0-9_]+`)

// The alerts and the dashboard speak of metrics that exist.
func TestShippedMetricsExist(t *testing.T) {
	names := known()
	for _, path := range [][]string{
		{"deploy", "prometheus", "alerts.yml"},
		{"deploy", "prometheus", "alerts_test.yml"},
		{"deploy", "grafana", "dashboard.json"},
		{"docs", "MONITORING.md"},
	} {
		found := metricName.FindAllString(deployed(t, path...), -1)
		if len(found) == 0 {
			t.Errorf("%v names no metric: this would prove nothing", path)
		}
		for _, name := range found {
			if !names[name] {
				t.Errorf("%v: there is no metric %s", path, name)
			}
		}
	}
}

// anchors are the sections of docs/MONITORING.md, as links name them.
func anchors(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	text := deployed(t, "docs", "MONITORING.md")
	for line := range strings.Lines(text) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			all[strings.ReplaceAll(strings.ToLower(strings.TrimSpace(title)), " ", "-")] = true
		}
	}
	for _, id := range regexp.MustCompile(`<a id="([^"]+)">`).FindAllStringSubmatch(text, -1) {
		all[id[1]] = true
	}
	return all
}

// Each alert has a severity and a section that says what to do; so has each need for attention of the page.
func TestRunbooks(t *testing.T) {
	sections := anchors(t)
	alerts := deployed(t, "deploy", "prometheus", "alerts.yml")
	rules := strings.Count(alerts, "- alert: ")
	links := regexp.MustCompile(`runbook_url: \S+/docs/MONITORING\.md#(\S+)`).FindAllStringSubmatch(alerts, -1)
	if rules == 0 || len(links) != rules || strings.Count(alerts, "labels: {severity: ") != rules {
		t.Errorf("%d alerts, %d runbook links", rules, len(links))
	}
	for _, link := range links {
		if !sections[link[1]] {
			t.Errorf("alerts.yml: docs/MONITORING.md has no section %s", link[1])
		}
	}
	for _, book := range books {
		if !sections[book] {
			t.Errorf("advice.go: docs/MONITORING.md has no section %s", book)
		}
	}
}

// The dashboard has the shape that Grafana imports: panels with places that do not overlap, a data source by variable, expressions.
func TestDashboardShape(t *testing.T) {
	var d struct {
		UID, Title    string
		SchemaVersion int
		Templating    struct{ List []struct{ Name, Type string } }
		Panels        []struct {
			ID         int
			Title      string
			Type       string
			Datasource struct{ UID string }
			GridPos    struct{ X, Y, W, H int }
			Targets    []struct{ RefID, Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal([]byte(deployed(t, "deploy", "grafana", "dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 36 || len(d.Templating.List) != 3 || len(d.Panels) < 20 {
		t.Errorf("%q, schema %d, %d variables, %d panels", d.UID, d.SchemaVersion, len(d.Templating.List), len(d.Panels))
	}
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if p.Title == "" || ids[p.ID] || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q: %+v", p.ID, p.Title, p)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if taken[at] != "" {
					t.Fatalf("%q lies over %q", p.Title, taken[at])
				}
				taken[at] = p.Title
			}
		}
		for _, target := range p.Targets {
			if target.Expr == "" || target.RefID == "" || target.LegendFormat == "" || !strings.Contains(target.Expr, "$instance") {
				t.Errorf("%q: %+v", p.Title, target)
			}
		}
	}
}
