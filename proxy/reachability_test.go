package proxy_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/proxy"
)

// probing is a pooler that asks PostgreSQL so often whether it is there.
func probing(t *testing.T, c *pgtest.Cluster, every time.Duration, more string) *pooler {
	t.Helper()
	p, err := proxy.New(configuration(t, serverAt(c), single, more), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.ProbeEvery(every)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return &pooler{Proxy: p, transaction: p.Addresses()["transaction"][0], postgres: c}
}

// TestReachability: that PostgreSQL has gone, and that it is back, is noticed without any client; else a pooler that gets no clients
// because it is not ready would never be ready again.
func TestReachability(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	p := probing(t, c, 20*time.Millisecond, "")
	reachable := func() bool { return p.Snapshot().ServerReachable }
	for range 2 {
		c.Kill()
		waitFor(t, "PostgreSQL to be missed", func() bool { return !reachable() })
		if p.Snapshot().ServerError == "" {
			t.Error("no reason is given")
		}
		if err := c.Restart(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "PostgreSQL to be found", reachable)
		run(t, p.login(t, p.transaction), "select 1") // the next round has a server that is lost
	}
}

// TestRefusedIsReachable: a PostgreSQL that answers a login with a refusal is there.
func TestRefusedIsReachable(t *testing.T) {
	p := probing(t, pgtest.Shared(t), time.Hour, "")
	w := pgtest.Dial(t, p.transaction)
	w.Startup(map[string]string{"user": "postgres", "database": "nowhere"})
	if e := w.TryAuthenticate("postgres", ""); e == nil || e.Code != "3D000" {
		t.Fatalf("%+v", e)
	}
	if s := p.Snapshot(); !s.ServerReachable {
		t.Error("not reachable: " + s.ServerError)
	}
}

// TestReachableSomewhere: of two PostgreSQL one is enough to be of use to somebody.
func TestReachableSomewhere(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	p := probing(t, c, 20*time.Millisecond, "[databases.\"*\"]\n[databases.elsewhere]\nhost = \"127.0.0.1\"\nport = 1\n")
	w := pgtest.Dial(t, p.transaction)
	w.Startup(map[string]string{"user": "postgres", "database": "elsewhere"})
	if e := w.TryAuthenticate("postgres", ""); e == nil || e.Code != "08006" {
		t.Fatalf("%+v", e)
	}
	if s := p.Snapshot(); !s.ServerReachable { // also before the first round has found the other one
		t.Error("not reachable: " + s.ServerError)
	}
	c.Kill()
	waitFor(t, "the other one to be missed", func() bool { return !p.Snapshot().ServerReachable })
}
