package proxy_test

import (
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

const quickPromotion = single + "long_transaction = \"100ms\"\n"

// TestLongTransaction: who keeps a transaction open on the transaction port does not keep others from it, as long as the session pool has
// room; with none left they wait as ever. The sizes are never exceeded.
func TestLongTransaction(t *testing.T) {
	p := start(t, pgtest.Shared(t), quickPromotion, "")
	long, quick := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, long, "begin")
	run(t, long, "set app.tenant_id = '7'")
	server := one(t, long, "select pg_backend_pid()")
	if got := one(t, quick, "select pg_backend_pid()"); got == server {
		t.Fatal("two clients have one server")
	}
	if got := p.pool(t, "transaction").Promotions["long_transaction"]; got != 1 {
		t.Fatalf("%d promotions", got)
	}
	if got := one(t, long, "select pg_backend_pid() || current_setting('app.tenant_id')"); got != server+"7" {
		t.Fatalf("the transaction went on with %q", got)
	}

	other := p.login(t, p.transaction)
	run(t, quick, "begin") // holds the one server of the transaction pool, and the session pool is full
	other.Query("select 1")
	waitFor(t, "the queue", func() bool { return p.pool(t, "transaction").ClientsWaiting == 1 })
	run(t, long, "commit") // its server is free in the session pool: the two swap places
	other.ReceiveReady()
	run(t, quick, "commit")

	// The server that was promoted has been cleaned before anybody else got it.
	if got := one(t, other, "select coalesce(current_setting('app.tenant_id', true), '')"); got != "" {
		t.Fatalf("another client sees %q", got)
	}
	for _, name := range []string{"transaction", "session"} {
		if ps := p.pool(t, name); ps.ServersIdle+ps.ServersActive+ps.ServersTested+ps.ServersClosing > 1 {
			t.Fatalf("%s has more servers than one: %+v", name, ps)
		}
	}
	session := p.login(t, p.session)
	if got := one(t, session, "select coalesce(current_setting('app.tenant_id', true), '')"); got != "" {
		t.Fatalf("a session sees %q", got)
	}
}

// TestPromotionOff: without it, a long transaction keeps its server from the others.
func TestPromotionOff(t *testing.T) {
	p := start(t, pgtest.Shared(t), quickPromotion+"promotion = \"off\"\nquery_wait_timeout = \"1s\"\n", "")
	long, quick := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, long, "begin")
	quick.Query("select 1")
	quick.ExpectError("53300")
}

// TestPromotedClientGone: the server of a promoted client that vanishes in its transaction is rolled back and stays with the session pool.
func TestPromotedClientGone(t *testing.T) {
	p := start(t, pgtest.Shared(t), quickPromotion, "")
	long := p.login(t, p.transaction)
	run(t, long, "begin")
	run(t, long, "create temp table mine (i int)")
	server := one(t, long, "select pg_backend_pid()")
	waitFor(t, "the promotion", func() bool { return p.pool(t, "transaction").Promotions["long_transaction"] == 1 })
	long.Close()
	waitFor(t, "the server at rest", func() bool { return p.pool(t, "session").ServersIdle == 1 })
	session := p.login(t, p.session)
	if got := one(t, session, "select pg_backend_pid() || coalesce(to_regclass('mine')::text, '')"); got != server {
		t.Fatalf("a session gets %q, not server %s", got, server)
	}
}
