package proxy_test

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/internal/leak"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

var (
	leakSeed    = flag.Uint64("leakseed", 7, "what the clients of TestNoLeak do")
	leakClients = flag.Int("leakclients", 60, "how many there are")
	leakLives   = flag.Int("leaklives", 3, "how often each of them comes")
	leakLoops   = flag.Int("leakloops", 2, "event loops")
)

// leakOptions are those of a run against a cluster that is prepared for it.
func leakOptions(t *testing.T, c *pgtest.Cluster) leak.Options {
	t.Helper()
	o := leak.Options{
		Clients: *leakClients, Seed: *leakSeed, Lives: *leakLives, Steps: 16, Keepers: 3, DirectMax: 8, Direct: c.Address(),
	}
	if err := leak.Prepare(t.Context(), o.Clients, func(database string) string { return c.DSN(c.Superuser, database) }); err != nil {
		t.Fatal(err)
	}
	return o
}

func leakCluster(t *testing.T) *pgtest.Cluster {
	t.Helper()
	return pgtest.New(t, pgtest.Options{Settings: map[string]string{"max_prepared_transactions": fmt.Sprint(2**leakClients + 10)}})
}

// leaky starts a pooler for a run.
func leaky(t *testing.T, c *pgtest.Cluster, isolation string, size int) *pooler {
	t.Helper()
	cfg := configuration(t, serverAt(c), fmt.Sprintf("max_client_conn = 2000\ndefault_pool_size = %d\nisolation = %q\nlong_transaction = \"50ms\"\n"+
		"query_wait_timeout = \"10m\"\nquery_wait_notify = \"0s\"\n", size, isolation), "")
	cfg.Loops = *leakLoops
	return launch(t, c, cfg)
}

// TestNoLeak: clients of a transaction pool, each a tenant, are told at each step of a random script what they would be told on a connection
// of their own, and never anything of another tenant.
func TestNoLeak(t *testing.T) {
	c := leakCluster(t)
	o := leakOptions(t, c)
	for _, isolation := range []string{"tracked", "strict"} {
		t.Run(isolation, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
			defer cancel()
			o := o
			o.Pooled, o.Hidden = leaky(t, c, isolation, 5).transaction, isolation == "strict"
			report, err := leak.Run(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			if f := report.Failure; f != nil {
				t.Errorf("%s\nagain: go test ./proxy -run TestNoLeak/%s -args -leakseed %d -leakclients %d -leaklives %d", f, isolation, o.Seed, o.Clients, o.Lives)
				o.Pooled = leaky(t, c, isolation, 1).transaction
				if shorter := leak.Shorten(ctx, o, f); shorter != nil {
					t.Errorf("shortened, among two others on one server:\n%s", shorter)
				}
			} else if want := int64(o.Clients * o.Lives); report.Lives != want {
				t.Errorf("%d lives instead of %d", report.Lives, want)
			}
		})
	}
}

// TestLeakIsFound: with isolation = "off", as behind PgBouncer, the same run finds what leaks, and a short script that shows it.
func TestLeakIsFound(t *testing.T) {
	c := leakCluster(t)
	o := leakOptions(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	o.Pooled, o.Lives = leaky(t, c, "off", 2).transaction, 0
	report, err := leak.Run(ctx, o)
	if err != nil || report.Failure == nil {
		t.Fatalf("nothing was found in %d lives: %v", report.Lives, err)
	}
	o.Pooled = leaky(t, c, "off", 1).transaction
	for range 5 { // it takes the others to leave something, and that is chance
		if shorter := leak.Shorten(ctx, o, report.Failure); shorter != nil {
			if len(shorter.Life.Steps) > report.Failure.Step+1 {
				t.Errorf("not shortened: %s", shorter)
			}
			return
		}
	}
	t.Errorf("does not fail again: %s", report.Failure)
}
