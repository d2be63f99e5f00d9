package proxy_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestListenInForceAgain: the WARNING that notifications may have been lost comes when LISTEN is in force again. What is notified right behind it,
// on a connection without a pooler between, is received.
func TestListenInForceAgain(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	w, other := p.login(t, p.transaction), p.login(t, p.transaction)
	direct := pgtest.Dial(t, p.postgres.Address())
	direct.Startup(map[string]string{"user": "postgres", "database": "postgres"})
	direct.Authenticate("postgres", p.postgres.Password)
	run(t, w, "listen news")
	for i := range 20 {
		run(t, other, "select 1") // the pool has another server
		run(t, direct, fmt.Sprintf("select pg_terminate_backend(%d)", p.listeningServer(t)))
		if n, ok := w.Receive().(*pgproto3.NoticeResponse); !ok || n.Code != "01000" {
			t.Fatalf("told %+v", n)
		}
		run(t, direct, fmt.Sprintf("notify news, '%d'", i))
		if got := payload(t, w); got != fmt.Sprint(i) {
			t.Fatalf("%d: %q", i, got)
		}
	}
}
