package pagetest

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

var prometheusProgram = flag.String("prometheus", "prometheus", "program of Prometheus, for TestPrometheus")

// prometheus is a Prometheus that scrapes a pooler each second.
type prometheus struct {
	t   *testing.T
	url string
}

// startPrometheus runs Prometheus with rules, until the test ends.
func startPrometheus(t *testing.T, target, rules string, more ...string) *prometheus {
	t.Helper()
	folder := t.TempDir()
	for name, text := range map[string]string{
		"alerts.yml": rules,
		"prometheus.yml": fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [alerts.yml]\nscrape_configs:\n"+
			"  - job_name: hybridbouncer\n    static_configs: [{targets: [%q]}]\n", target),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		t.Fatal(err)
	}
	program := exec.Command(*prometheusProgram, append([]string{
		"--config.file=" + filepath.Join(folder, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(folder, "data"),
		"--web.listen-address=" + address,
	}, more...)...)
	program.Stdout, program.Stderr = log, log
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = program.Process.Signal(os.Interrupt)
		_ = program.Wait()
		_ = log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("Prometheus says:\n%s", text)
		}
	})
	p := &prometheus{t: t, url: "http://" + address}
	pgtest.WaitFor(t, patience, "Prometheus to be ready", func() bool {
		answer, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return p
}

// query evaluates an expression; it gives how many series have a value, or what Prometheus has against it.
func (p *prometheus) query(expression string) (series int, err error) {
	var answer struct {
		Status, Error string
		Data          struct{ Result []struct{ Value [2]any } }
	}
	get(p.t, p.url+"/api/v1/query?query="+url.QueryEscape(expression), &answer)
	if answer.Status != "success" {
		return 0, fmt.Errorf("%s: %s", answer.Status, answer.Error)
	}
	return len(answer.Data.Result), nil
}

// firing says whether an alert fires.
func (p *prometheus) firing(name string) bool {
	var answer struct {
		Data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
	}
	get(p.t, p.url+"/api/v1/alerts", &answer)
	for _, a := range answer.Data.Alerts {
		if a.Labels["alertname"] == name && a.State == "firing" {
			return true
		}
	}
	return false
}

// shipped reads a file of deploy.
func shipped(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "deploy"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// durations are the for: of the rules.
var durations = regexp.MustCompile(`for: \d+[sm]`)

// Every panel of the dashboard shows something on a real scrape, every rule can be evaluated, and the alerts of this scenario fire and end.
func TestPrometheus(t *testing.T) {
	p := start(t)
	p.load(t)
	// The rules as shipped, but for the time that a state must last: promtool tests that.
	rules := durations.ReplaceAllString(shipped(t, "prometheus", "alerts.yml"), "for: 2s")
	prom := startPrometheus(t, p.endpoint.Address(), rules)
	prom.showsSomething(shipped(t, "grafana", "dashboard.json"))
	prom.rulesAreHealthy(strings.Count(rules, "- alert: "))
	t.Run("alerts", func(t *testing.T) {
		const wait, critical = "HybridbouncerWaitTooLong", "HybridbouncerUtilizationCritical"
		if prom.firing(wait) {
			t.Error("an alert fires before its time")
		}
		release := p.occupy(t, 36) // 25 servers, a reserve of 5, and 6 clients that wait
		pgtest.WaitFor(t, time.Minute, "the alerts to fire", func() bool { return prom.firing(wait) && prom.firing(critical) })
		release()
		pgtest.WaitFor(t, time.Minute, "the alerts to end", func() bool { return !prom.firing(wait) })
	})
}

// showsSomething evaluates every expression of the dashboard.
func (p *prometheus) showsSomething(dashboard string) {
	p.t.Helper()
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(dashboard), &d); err != nil {
		p.t.Fatal(err)
	}
	grafana := strings.NewReplacer("$instance", ".*", "$listener", ".*", "$__rate_interval", "10s")
	// What has not happened has no series: this load is refused nowhere, and fails to open no server.
	absent := regexp.MustCompile(`login_refusals_total`)
	seen := 0
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			expression := grafana.Replace(target.Expr)
			last := error(nil)
			if absent.MatchString(expression) {
				if _, err := p.query(expression); err != nil {
					p.t.Errorf("%s: %s: %v", panel.Title, expression, err)
				}
				continue
			}
			pgtest.WaitFor(p.t, patience, fmt.Sprintf("%s to show something: %s", panel.Title, expression), func() bool {
				n, err := p.query(expression)
				last = err
				return n > 0 || err != nil
			})
			if last != nil {
				p.t.Errorf("%s: %s: %v", panel.Title, expression, last)
			}
			seen++
		}
	}
	if seen < 20 {
		p.t.Errorf("only %d expressions: this proves little", seen)
	}
}

// rulesAreHealthy checks that Prometheus has evaluated all rules without an error.
func (p *prometheus) rulesAreHealthy(want int) {
	p.t.Helper()
	pgtest.WaitFor(p.t, patience, fmt.Sprintf("%d healthy rules", want), func() bool {
		var answer struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, Health, LastError string }
				}
			}
		}
		get(p.t, p.url+"/api/v1/rules", &answer)
		healthy := 0
		for _, g := range answer.Data.Groups {
			for _, r := range g.Rules {
				if r.LastError != "" {
					p.t.Fatalf("%s: %s", r.Name, r.LastError)
				}
				if r.Health == "ok" {
					healthy++
				}
			}
		}
		return healthy == want
	})
}

// Prometheus takes the native histograms, and they tell what the load is.
func TestPrometheusNativeHistograms(t *testing.T) {
	p := start(t)
	p.load(t)
	prom := startPrometheus(t, p.endpoint.Address(), "groups: []\n", "--enable-feature=native-histograms")
	pgtest.WaitFor(t, patience, "a native histogram", func() bool {
		// The quick queries of the load take 2 to 12 ms and the time that the machine makes them wait.
		n, err := prom.query(`histogram_quantile(0.5, sum by (listener) (rate(hybridbouncer_query_seconds{listener="transactional"}[10s]))) > 0.0001 < 1`)
		return err == nil && n == 1
	})
}

// occupy lends servers to clients that keep them, and lets the others wait, until release is called.
func (p *pooler) occupy(t *testing.T, clients int) (release func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, clients)
	for range clients {
		go func() {
			defer func() { done <- struct{}{} }()
			c, err := p.connect(ctx, work{listener: "transactional", application: "occupier"})
			if err != nil {
				return
			}
			defer c.Close(context.Background())
			_, _ = c.Exec(ctx, "begin", pgx.QueryExecModeSimpleProtocol)
			_, _ = c.Exec(ctx, "select 1", pgx.QueryExecModeSimpleProtocol)
			<-ctx.Done()
		}()
	}
	return func() {
		cancel()
		for range clients {
			<-done
		}
	}
}
