package proxy_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestMadeUpDatabases: the pools of databases that do not exist are forgotten, with their numbers. A pool in use stays.
func TestMadeUpDatabases(t *testing.T) {
	p := start(t, pgtest.Shared(t), "pool_idle_timeout = \"300ms\"\nserver_idle_timeout = \"100ms\"\nmax_client_conn = 200\n", "")
	stays := p.login(t, p.transaction) // and has no server soon
	before := len(p.Snapshot().Pools)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			if have := tryLogin(t, p.transaction, "postgres", fmt.Sprintf("no_%d", i), ""); !strings.HasPrefix(have, "3D000") {
				t.Error(have)
			}
		})
	}
	all.Wait()
	waitFor(t, "the pools to be forgotten", func() bool { return len(p.Snapshot().Pools) == before })
	if got := one(t, stays, "select 7"); got != "7" {
		t.Error(got)
	}
	if n := p.pool(t, "transaction").Queries; n != 1 {
		t.Errorf("%d queries are counted", n)
	}
	if err := p.Verify(); err != nil {
		t.Error(err)
	}
}
