package proxy_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestBudgetIsCompared: pools larger than PostgreSQL are warned of, and the question costs no connection of its own.
func TestBudgetIsCompared(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{MaxConnections: 10, Settings: map[string]string{"log_connections": "on"}})
	var log logged
	p := launchLogging(t, c, configuration(t, serverAt(c), "default_pool_size = 4\n", ""), slog.New(slog.NewTextHandler(&log, nil)))
	run(t, p.login(t, p.transaction), "select 1")
	if !strings.Contains(log.String(), "places=7") {
		t.Errorf("not warned: %s", log.String())
	}
	if n := strings.Count(c.Log(), "connection authorized: user=postgres database=postgres application_name=hybridbouncer"); n != 1 {
		t.Errorf("%d connections for one server\n%s", n, c.Log())
	}
}
