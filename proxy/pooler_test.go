package proxy_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/config/load"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/proxy"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// pooler is a proxy under test in front of a real PostgreSQL.
type pooler struct {
	*proxy.Proxy
	transaction, session string // addresses
	config               string // path of its file
	postgres             *pgtest.Cluster
}

// start runs a pooler in front of c. listener lines are put into both listeners, more goes to the end of the file.
func start(t testing.TB, c *pgtest.Cluster, listener, more string) *pooler {
	t.Helper()
	return launch(t, c, configuration(t, serverAt(c), listener, more))
}

// launch runs a pooler with a configuration of configuration's; its errors are shown with the test.
func launch(t testing.TB, c *pgtest.Cluster, cfg *config.Config) *pooler {
	t.Helper()
	return launchLogging(t, c, cfg, slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelError})))
}

// launchLogging is launch with a log of the caller's.
func launchLogging(t testing.TB, c *pgtest.Cluster, cfg *config.Config, log *slog.Logger) *pooler {
	t.Helper()
	return launchIn(t, c, cfg, log, proxy.Environment{})
}

// launchIn is launchLogging in an environment of the caller's.
func launchIn(t testing.TB, c *pgtest.Cluster, cfg *config.Config, log *slog.Logger, env proxy.Environment) *pooler {
	t.Helper()
	p, err := proxy.NewIn(cfg, log, env)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	addresses := p.Addresses()
	return &pooler{Proxy: p, transaction: addresses["transaction"][0], session: addresses["session"][0], config: cfg.File, postgres: c}
}

// serverAt are the settings of [server] for a cluster.
func serverAt(c *pgtest.Cluster) string { return fmt.Sprintf("host = %q\nport = %d\n", c.Host, c.Port) }

// configuration is that of start, with these settings of [server].
func configuration(t testing.TB, server, listener, more string) *config.Config {
	t.Helper()
	text := "[server]\n" + server
	if !strings.Contains(more, "[auth]") {
		text += "[auth]\ntype = \"trust\"\n"
	}
	for _, l := range []string{"transaction", "session"} {
		text += fmt.Sprintf("[[listener]]\nname = %q\nlisten = [\"127.0.0.1:0\"]\npool_mode = %q\n%s\n", l, l, listener)
	}
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text+more), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := load.Config(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// logged keeps the pooler's log. Any goroutine.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// testWriter shows the pooler's errors with the test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("pooler: %s", b)
	return len(b), nil
}

func (p *pooler) login(t *testing.T, address string) *pgtest.Wire {
	t.Helper()
	return pgtest.Login(t, address, "postgres", "postgres", "")
}

// one is the single value that a query gives.
func one(t *testing.T, w *pgtest.Wire, sql string) string {
	t.Helper()
	rows := w.Rows(sql)
	if len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("%s: %v", sql, rows)
	}
	return rows[0][0]
}

// run sends a query and waits for its end.
func run(t *testing.T, w *pgtest.Wire, sql string) {
	t.Helper()
	w.Query(sql)
	w.ReceiveReady()
}

// pool is the snapshot of a listener's only pool.
func (p *pooler) pool(t *testing.T, listener string) stats.PoolSnapshot {
	t.Helper()
	for _, ps := range p.Snapshot().Pools {
		if ps.Listener == listener {
			return ps
		}
	}
	t.Fatalf("no pool on %s", listener)
	return stats.PoolSnapshot{}
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	pgtest.WaitFor(t, 20*time.Second, what, condition)
}

func drain(p *pooler, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return p.Drain(ctx)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
