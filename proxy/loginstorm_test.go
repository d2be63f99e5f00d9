package proxy_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestLoginStorm: many SCRAM logins at once while others run queries. Every login is served, and no query fails. What it does to the times of
// the queries is measured by `make storm`. The secret has one iteration, since the clients compute the others here on the same processors.
func TestLoginStorm(t *testing.T) {
	const logins, running = 300, 20
	users := filepath.Join(t.TempDir(), "users.txt")
	secret, err := auth.BuildSCRAMSecret("right", 1)
	if err != nil {
		t.Fatal(err)
	}
	write(t, users, fmt.Sprintf("\"postgres\" %q\n", secret))
	p := start(t, pgtest.Shared(t), fmt.Sprintf("max_client_conn = %d\n", logins+running), fmt.Sprintf("[auth]\nuser_file = %q\n", users))
	host, port, _ := net.SplitHostPort(p.transaction)
	dsn := fmt.Sprintf("host=%s port=%s user=postgres password=right dbname=postgres sslmode=disable", host, port)
	ctx, cancel := context.WithTimeout(context.Background(), stormLimit)
	defer cancel()

	var queries, storm sync.WaitGroup
	var over atomic.Bool
	var asked atomic.Int64
	for range running {
		queries.Go(func() { queryUntil(ctx, t, dsn, &over, &asked) })
	}
	waitFor(t, "the queries", func() bool { return asked.Load() > running })
	before := asked.Load()
	begin := make(chan struct{})
	for range logins {
		storm.Go(func() {
			<-begin
			c, err := pgconn.Connect(ctx, dsn)
			if err != nil {
				t.Errorf("a login of the storm: %v", err)
				return
			}
			_ = c.Close(ctx)
		})
	}
	close(begin)
	storm.Wait()
	during := asked.Load() - before
	over.Store(true)
	queries.Wait()
	if during == 0 {
		t.Error("no query was answered in the storm")
	}
	if n := p.Snapshot().Panics; n != 0 {
		t.Errorf("%d panics", n)
	}
}

// queryUntil is a client that asks again and again.
func queryUntil(ctx context.Context, t *testing.T, dsn string, over *atomic.Bool, asked *atomic.Int64) {
	c, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Close(ctx) }()
	for !over.Load() {
		if _, err := c.Exec(ctx, "select 1").ReadAll(); err != nil {
			t.Errorf("a running query: %v", err)
			return
		}
		asked.Add(1)
	}
}
