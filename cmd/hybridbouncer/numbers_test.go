package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/admin"
	"github.com/hybridbouncer/hybridbouncer/config/load"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/proxy"
)

// numbers are what a view says of the two listeners.
type numbers struct {
	lent, waiting, sessionLent, open int
}

const numbersConfig = `
[server]
host = %q
port = %d
[auth]
type = "trust"
[admin]
listen = "127.0.0.1:0"
[[listener]]
name = "transactional"
listen = ["127.0.0.1:0"]
pool_mode = "transaction"
default_pool_size = 5
[[listener]]
name = "session"
listen = ["127.0.0.1:0"]
pool_mode = "session"
default_pool_size = 10
`

// views reads the numbers in every way the admin endpoint has, from one pooler.
type views struct {
	t    *testing.T
	base string
}

func (v *views) text(path string) string {
	answer, err := http.Get(v.base + path)
	if err != nil {
		v.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return string(body)
}

func (v *views) json(path string, to any) {
	if err := json.Unmarshal([]byte(v.text(path)), to); err != nil {
		v.t.Fatalf("%s: %v", path, err)
	}
}

// metric sums the series of a metric that have all these labels.
func (v *views) metric(body, name string, labels ...string) (sum int) {
	for _, line := range regexp.MustCompile(`(?m)^`+name+`\{(.*)\} (\S+)$`).FindAllStringSubmatch(body, -1) {
		has := true
		for _, label := range labels {
			has = has && strings.Contains(line[1], label)
		}
		if n, err := strconv.ParseFloat(line[2], 64); err == nil && has {
			sum += int(n)
		}
	}
	return sum
}

// listener is a listener in /health/db and in the API.
type listenerNumbers struct {
	Name       string
	CheckedOut int `json:"checked_out"`
	Waiting    int
	Open       int
}

func (v *views) all() map[string]numbers {
	seen := map[string]numbers{}
	var health map[string]listenerNumbers
	v.json("/health/db", &health)
	var overview struct {
		Listeners []listenerNumbers
		Pools     []struct {
			Listener   string
			CheckedOut int `json:"checked_out"`
			Waiting    int
			Servers    map[string]int
		}
	}
	v.json("/api/v1/overview", &overview)
	byName := func(list []listenerNumbers) (tx, session listenerNumbers) {
		for _, l := range list {
			if l.Name == "session" {
				session = l
			} else {
				tx = l
			}
		}
		return tx, session
	}
	tx, session := byName(overview.Listeners)
	seen["overview"] = numbers{tx.CheckedOut, tx.Waiting, session.CheckedOut, tx.Open + session.Open}
	seen["health"] = numbers{health["transactional"].CheckedOut, health["transactional"].Waiting, health["session"].CheckedOut, tx.Open + session.Open}
	var pools numbers
	for _, p := range overview.Pools {
		if p.Listener == "session" {
			pools.sessionLent += p.CheckedOut
		} else {
			pools.lent += p.CheckedOut
			pools.waiting += p.Waiting
		}
		for _, n := range p.Servers {
			pools.open += n
		}
	}
	seen["pools"] = pools
	metrics, exporter := v.text("/metrics"), v.text("/metrics/pgbouncer")
	const inTx, inSession = `listener="transactional"`, `listener="session"`
	seen["metrics"] = numbers{
		v.metric(metrics, "hybridbouncer_servers", inTx, `state="active"`), v.metric(metrics, "hybridbouncer_listener_waiters", inTx),
		v.metric(metrics, "hybridbouncer_servers", inSession, `state="active"`), v.metric(metrics, "hybridbouncer_servers"),
	}
	seen["pgbouncer"] = numbers{
		v.metric(exporter, "pgbouncer_pools_server_active_connections", inTx), v.metric(exporter, "pgbouncer_pools_client_waiting_connections", inTx),
		v.metric(exporter, "pgbouncer_pools_server_active_connections", inSession), v.metric(exporter, "pgbouncer_databases_current_connections"),
	}
	seen["history"] = v.history()
	return seen
}

// history is what the last second of the past says.
func (v *views) history() (n numbers) {
	var past struct {
		Series []struct {
			Listener, Field string
			Values          []*float64
		}
	}
	v.json("/api/v1/history?kind=listener&span=10&points=10", &past)
	for _, s := range past.Series {
		if len(s.Values) == 0 || s.Values[len(s.Values)-1] == nil {
			continue
		}
		last := int(*s.Values[len(s.Values)-1])
		switch s.Listener + " " + s.Field {
		case "transactional busy":
			n.lent = last
		case "transactional waiting":
			n.waiting = last
		case "session busy":
			n.sessionLent = last
		case "transactional open", "session open":
			n.open += last
		}
	}
	return n
}

// Every view of the admin endpoint tells the same numbers, and they are PostgreSQL's: with five servers lent, two clients in the queue, and
// three sessions.
func TestViewsAgree(t *testing.T) {
	cluster := pgtest.New(t, pgtest.Options{})
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, fmt.Appendf(nil, numbersConfig, cluster.Host, cluster.Port), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := load.Config(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := proxy.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	endpoint := admin.New(cfg.Admin, status{p}, slog.New(slog.DiscardHandler))
	if err := endpoint.Start(); err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer endpoint.Close()
	for listener, clients := range map[string]int{"transactional": 7, "session": 3} {
		for i := range clients {
			w := pgtest.Login(t, p.Addresses()[listener][0], "postgres", "postgres", "")
			defer w.Close()
			w.Query("begin; select 1")
			if listener == "session" || i < 5 {
				w.ReceiveReady()
			}
		}
	}
	want := numbers{lent: 5, waiting: 2, sessionLent: 3, open: 8}
	v := &views{t, "http://" + endpoint.Address()}
	var have map[string]numbers
	defer func() {
		if t.Failed() {
			t.Logf("the views said: %+v", have)
		}
	}()
	pgtest.WaitFor(t, stepLimit, "every view to tell the same", func() bool {
		have = v.all()
		for _, n := range have {
			if n != want {
				return false
			}
		}
		return true
	})
	// The connection by which the pooler reads the catalogue is no server of a pool: it is in no transaction.
	rows, err := cluster.Query(`select count(*) from pg_stat_activity where state = 'idle in transaction' and pid <> pg_backend_pid()`)
	if err != nil {
		t.Fatal(err)
	}
	if rows[0][0] != "8" {
		t.Errorf("PostgreSQL has %s servers in a transaction; the views say %+v", rows[0][0], have)
	}
}
