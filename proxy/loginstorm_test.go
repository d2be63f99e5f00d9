package proxy_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

var (
	stormLogins  = flag.Int("storm", 300, "how many logins at once in TestLoginStorm")
	stormQueries = flag.Int("storm-queries", 20, "how many clients run queries meanwhile")
	stormFactor  = flag.Float64("storm-factor", 0, "fail if their 99th percentile grows by more; 0: show it alone, as on a busy machine")
)

// TestLoginStorm: many SCRAM logins at once while others run queries. Every login is served, or refused in words, and the queries go on.
// `make storm` runs it with 5000. All is one process here, so that the queries also wait behind the storm's own clients. The secret has one iteration, since it is the clients of this very process that
// would have to compute the others; what the pooler computes is the same.
func TestLoginStorm(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users.txt")
	secret, err := auth.BuildSCRAMSecret("right", 1)
	if err != nil {
		t.Fatal(err)
	}
	write(t, users, fmt.Sprintf("\"postgres\" %q\n", secret))
	listener := fmt.Sprintf("max_client_conn = %d\nquery_wait_timeout = \"60s\"\n", *stormLogins+*stormQueries+100)
	p := start(t, pgtest.Shared(t), listener, fmt.Sprintf("[auth]\nuser_file = %q\n", users))
	host, port, _ := net.SplitHostPort(p.transaction)
	dsn := fmt.Sprintf("host=%s port=%s user=postgres password=right dbname=postgres sslmode=disable", host, port)

	work := newWork(t, dsn, *stormQueries)
	defer work.end()
	calm := work.measure(func() { <-time.After(2 * time.Second) })
	told := map[string]int{}
	begin := time.Now()
	storm := work.measure(func() { told = logInAtOnce(dsn, *stormLogins) })
	took := time.Since(begin)

	served := told[""]
	for word, n := range told {
		if word != "" && !strings.Contains(word, "53300") {
			t.Errorf("%d logins ended with %s", n, word)
		}
	}
	t.Logf("%d logins at once: %d served in %s (%.0f a second), %v; queries: p99 %s in calm (%d), %s in the storm (%d)", *stormLogins, served,
		took.Round(time.Millisecond), float64(served)/took.Seconds(), told, calm.p99, calm.n, storm.p99, storm.n)
	if served == 0 || storm.n == 0 {
		t.Error("nothing went on")
	}
	if f := *stormFactor; f > 0 && float64(storm.p99) > f*float64(calm.p99) {
		t.Errorf("the 99th percentile of running queries grew from %s to %s", calm.p99, storm.p99)
	}
}

// work is clients that run queries without pause.
type work struct {
	clients []*pgconn.PgConn
	stop    chan struct{}
	all     sync.WaitGroup

	mu    sync.Mutex
	times []time.Duration // since measure began
}

// figures are how long queries took.
type figures struct {
	p99 time.Duration
	n   int
}

func newWork(t *testing.T, dsn string, n int) *work {
	t.Helper()
	w := &work{stop: make(chan struct{})}
	for range n {
		c, err := pgconn.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		w.clients = append(w.clients, c)
	}
	for _, c := range w.clients {
		w.all.Go(func() { w.run(t, c) })
	}
	return w
}

// run asks at the pace of an application: a query each five milliseconds. Clients that ask without pause would measure each other.
func (w *work) run(t *testing.T, c *pgconn.PgConn) {
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-pace.C:
		}
		begin := time.Now()
		if _, err := c.Exec(context.Background(), "select 1").ReadAll(); err != nil {
			t.Errorf("a running query failed: %v", err)
			return
		}
		w.mu.Lock()
		w.times = append(w.times, time.Since(begin))
		w.mu.Unlock()
	}
}

// measure is how long queries take while something is done.
func (w *work) measure(do func()) figures {
	w.mu.Lock()
	w.times = nil
	w.mu.Unlock()
	do()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.times) == 0 {
		return figures{}
	}
	slices.Sort(w.times)
	return figures{p99: w.times[len(w.times)*99/100], n: len(w.times)}
}

func (w *work) end() {
	close(w.stop)
	w.all.Wait()
	for _, c := range w.clients {
		_ = c.Close(context.Background())
	}
}

// logInAtOnce counts what logins are told; "" for those that are served.
func logInAtOnce(dsn string, n int) map[string]int {
	told := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	begin := make(chan struct{})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for range n {
		all.Go(func() {
			<-begin
			c, err := pgconn.Connect(ctx, dsn)
			word := ""
			var pe *pgconn.PgError
			switch {
			case err == nil:
				defer c.Close(ctx)
			case errors.As(err, &pe):
				word = pe.Code + " " + pe.Message
			default:
				word = err.Error()
			}
			mu.Lock()
			told[word]++
			mu.Unlock()
		})
	}
	close(begin)
	all.Wait()
	return told
}
