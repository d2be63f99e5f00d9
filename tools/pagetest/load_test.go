package pagetest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hybridbouncer/hybridbouncer/admin"
	"github.com/hybridbouncer/hybridbouncer/config/load"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/proxy"
)

// hostileName is an application_name that would run, if the page took names for markup.
const hostileName = `<img src=x onerror=alert(1)>`

// pooler is a pooler in front of a real PostgreSQL, with its admin endpoint.
type pooler struct {
	*proxy.Proxy
	endpoint *admin.Endpoint
}

// Version is shown on the page.
func (pooler) Version() string { return "page-test" }

const poolerConfig = `
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
max_client_conn = 1000
default_pool_size = 25
reserve_pool_size = 5
[[listener]]
name = "session"
listen = ["127.0.0.1:0"]
pool_mode = "session"
max_client_conn = 100
default_pool_size = 10
`

// start runs the pooler, and stops it with the test.
func start(t *testing.T) *pooler {
	t.Helper()
	cluster := pgtest.New(t, pgtest.Options{})
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, fmt.Appendf(nil, poolerConfig, cluster.Host, cluster.Port), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := load.Config(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	p, err := proxy.New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	all := &pooler{Proxy: p}
	all.endpoint = admin.New(cfg.Admin, all, log)
	if err := all.endpoint.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := all.endpoint.Close(); err != nil {
			t.Error(err)
		}
	})
	return all
}

// work is what the clients of one application do again and again.
type work struct {
	listener, application string
	clients               int
	sql                   string
	pause                 time.Duration // on average, between two queries
}

// load runs clients until the test ends: quick web requests, long embedding jobs on the wrong port, batch jobs, errors.
func (p *pooler) load(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	for _, w := range []work{
		{"transactional", "fastapi", 40, "select pg_sleep(0.002 + 0.01 * random())", 25 * time.Millisecond},
		{"transactional", "sse", 20, "select count(*) from generate_series(1, 2000)", 80 * time.Millisecond},
		{"transactional", "embedder", 6, "select pg_sleep(1.2 + random())", 4 * time.Second},
		{"transactional", "reports", 1, "select 1/0", 300 * time.Millisecond},
		{"transactional", hostileName, 1, "select 1", time.Second},
		{"session", "worker", 5, "select pg_sleep(0.4 * random())", 200 * time.Millisecond},
		{"session", "cron", 2, "insert into nothing values (1)", 900 * time.Millisecond},
	} {
		for range w.clients {
			running.Go(func() { p.client(ctx, w) })
		}
	}
	// A rush each half minute: more clients than servers.
	for range 30 {
		running.Go(func() {
			p.client(ctx, work{listener: "transactional", application: "rush", sql: "select pg_sleep(0.12)", pause: -1})
		})
	}
}

// client works until ctx ends; every few minutes it logs in anew.
func (p *pooler) client(ctx context.Context, w work) {
	for ctx.Err() == nil {
		c, err := p.connect(ctx, w)
		if err != nil {
			continue
		}
		for range 50 + rand.IntN(400) {
			_, _ = c.Exec(ctx, w.sql)
			if !rest(ctx, w.pause) {
				break
			}
		}
		_ = c.Close(context.Background())
	}
}

// connect logs in under the application's name.
func (p *pooler) connect(ctx context.Context, w work) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", p.Addresses()[w.listener][0]))
	if err != nil {
		return nil, err
	}
	cfg.RuntimeParams["application_name"] = w.application
	return pgx.ConnectConfig(ctx, cfg)
}

// rest waits for about d, or, where d is negative, until the next rush has begun; false: the test is over.
func rest(ctx context.Context, d time.Duration) bool {
	wait := time.Duration(float64(d) * 2 * rand.Float64())
	if d < 0 {
		wait = 0
		if s := time.Now().Second() % 30; s >= 6 {
			wait = time.Duration(30-s) * time.Second
		}
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}
