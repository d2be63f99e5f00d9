package proxy_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

const quickPromotion = single + "long_transaction = \"100ms\"\n"

// promoteLong has the server of w promoted, which is in a transaction: it waits for a lock, and another client for a server.
func (p *pooler) promoteLong(t *testing.T, w *pgtest.Wire) {
	t.Helper()
	before := p.pool(t, "transaction")
	direct := pgtest.Login(t, p.postgres.Address(), "postgres", "postgres", "")
	run(t, direct, "select pg_advisory_lock(815)")
	w.Query("select pg_advisory_xact_lock(815)")
	var others []*pgtest.Wire
	for range before.Size - 1 {
		other := p.login(t, p.transaction)
		run(t, other, "begin")
		run(t, other, "select 1")
		others = append(others, other)
	}
	waiter := p.login(t, p.transaction)
	waiter.Query("select 1")
	waitFor(t, "the promotion", func() bool {
		return p.pool(t, "transaction").Promotions["long_transaction"] == before.Promotions["long_transaction"]+1
	})
	waiter.ReceiveReady()
	direct.Close()
	w.ReceiveReady()
	for _, other := range others {
		run(t, other, "rollback")
	}
}

// TestLongTransaction: a long transaction on the transaction port does not keep others from it, as long as the session pool has room. The sizes
// are never exceeded. Nobody is promoted for as long as nobody waits, or while the transaction is idle.
func TestLongTransaction(t *testing.T) {
	p := start(t, pgtest.Shared(t), quickPromotion, "")
	long, quick := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, long, "begin")
	run(t, long, "set app.tenant_id = '7'")
	server := one(t, long, "select pg_backend_pid() from pg_sleep(0.4)") // several ticks, and nobody waits
	if got := p.pool(t, "transaction").Promotions["long_transaction"]; got != 0 {
		t.Fatalf("%d promotions without need", got)
	}
	p.promoteLong(t, long)
	if got := one(t, quick, "select pg_backend_pid()"); got == server {
		t.Fatal("two clients have one server")
	}
	if got := one(t, long, "select pg_backend_pid() || current_setting('app.tenant_id')"); got != server+"7" {
		t.Fatalf("the transaction went on with %q", got)
	}

	other := p.login(t, p.transaction)
	run(t, long, "commit")
	run(t, quick, "begin") // holds the one server of the transaction pool, and that of the session pool is idle
	run(t, quick, "select 1")
	p.promoteLong(t, quick) // the two swap places
	other.Query("select 1")
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
	session := p.login(t, p.session) // to a pool that has never opened a server itself
	if session.Parameters["server_version"] == "" {
		t.Errorf("welcomed with %v", session.Parameters)
	}
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
	run(t, long, "set app.tenant_id = '7'")
	server := one(t, long, "select pg_backend_pid()")
	p.promoteLong(t, long)
	long.Close()
	waitFor(t, "the server at rest", func() bool { return p.pool(t, "session").ServersIdle == 1 })
	session := p.login(t, p.session)
	if got := one(t, session, "select pg_backend_pid() || coalesce(current_setting('app.tenant_id', true), '')"); got != server {
		t.Fatalf("a session gets %q, not server %s", got, server)
	}
}

// TestSessionState: what only a connection can hold works on the transaction port, as on a direct connection; beyond the session pool's
// size it waits, and is refused in the end. DISCARD ALL brings the client back.
func TestSessionState(t *testing.T) {
	for _, state := range []struct{ name, make, use, want string }{
		{"temporary table", "create temp table mine (i int)", "select count(*) from mine", "0"},
		{"cursor", "declare c cursor with hold for select 'row'", "fetch 1 from c", "row"},
		{"prepared by SQL", "prepare p as select 'row'", "execute p", "row"},
		{"advisory lock", "select pg_advisory_lock(4711)", "select pg_advisory_unlock(4711)", "t"},
	} {
		t.Run(state.name, func(t *testing.T) {
			p := start(t, pgtest.Shared(t), single+"query_wait_timeout = \"1s\"\n", "")
			a, other := p.login(t, p.transaction), p.login(t, p.transaction)
			run(t, a, state.make)
			if state.name != "advisory lock" { // another client may get what is not its own only if it is the same server
				run(t, other, "begin")
			}
			if got := one(t, a, state.use); got != state.want {
				t.Fatalf("%q", got)
			}
			run(t, other, "rollback")
			if got := p.pool(t, "transaction").Promotions["session_state"]; got != 1 {
				t.Fatalf("%d promotions", got)
			}
			other.Query(state.make)
			other.ExpectError("53300")
			other.ReceiveReady()
			if got := one(t, other, "select 'still here'"); got != "still here" {
				t.Fatal(got)
			}
			run(t, a, "discard all")
			waitFor(t, "the server of who said DISCARD ALL", func() bool { return p.pool(t, "session").ServersIdle == 1 })
			run(t, other, state.make)
			if got := one(t, other, state.use); got != state.want {
				t.Fatalf("%q", got)
			}
			for _, name := range []string{"transaction", "session"} {
				if ps := p.pool(t, name); ps.ServersIdle+ps.ServersActive+ps.ServersTested+ps.ServersClosing > 1 {
					t.Fatalf("%s has more servers than one: %+v", name, ps)
				}
			}
		})
	}
}

// fillForState leaves no room for state in pools of three: sessions have all the servers of one, and a client has state in the other, as many
// as there may be.
func (p *pooler) fillForState(t *testing.T) (sessions []*pgtest.Wire) {
	t.Helper()
	for range 3 {
		s := p.login(t, p.session)
		run(t, s, "create temp table mine (i int)") // one without state would lend its server
		sessions = append(sessions, s)
	}
	run(t, p.login(t, p.transaction), "create temp table others (i int)")
	return sessions
}

// TestSessionStateQueue: who waits for room goes on when there is some, in a transaction too; who gives up leaves the queue, and its server
// stays with the transaction pool.
func TestSessionStateQueue(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	sessions := p.fillForState(t)
	a, b := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, a, "begin")
	server := one(t, a, "select pg_backend_pid()")
	a.Query("create temp table mine (i int)")
	waitFor(t, "the queue", func() bool { return p.pool(t, "session").ClientsWaiting == 1 })
	b.Query("create temp table mine (i int)")
	waitFor(t, "the queue", func() bool { return p.pool(t, "session").ClientsWaiting == 2 })
	b.Close()
	waitFor(t, "one to leave", func() bool { return p.pool(t, "session").ClientsWaiting == 1 })
	sessions[0].Close()
	a.ReceiveReady()
	run(t, a, "commit")
	if got := one(t, a, "select pg_backend_pid() || to_regclass('mine')::text"); got != server+"mine" {
		t.Fatalf("%q, not server %s", got, server)
	}
	a.Close()
	waitFor(t, "everything at rest", func() bool {
		tx, session := p.pool(t, "transaction"), p.pool(t, "session")
		return tx.ServersActive == 1 && session.ServersActive == 2 && session.ClientsWaiting == 0 && session.ServersIdle == 1
	})
}

// TestWaitsForStateWithoutServer: between transactions a client that waits for room holds no server, be it the first that it asks for or not; it
// is told when there is none in time, and gets one of the session pool's when that has room.
func TestWaitsForStateWithoutServer(t *testing.T) {
	p := start(t, pgtest.Shared(t), three+"query_wait_timeout = \"2s\"\n", "")
	sessions := p.fillForState(t)
	fresh, used := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, used, "set app.tenant_id = '7'")
	for _, w := range []*pgtest.Wire{fresh, used} {
		w.Query("create temp table mine (i int)")
	}
	waitFor(t, "the queue", func() bool {
		return p.pool(t, "session").ClientsWaiting == 2 && p.pool(t, "transaction").ServersActive == 1
	})
	for _, w := range []*pgtest.Wire{fresh, used} {
		w.ExpectError("53300")
		w.Expect("ReadyForQuery I")
	}
	used.Query("create temp table mine (i int)")
	waitFor(t, "the queue", func() bool { return p.pool(t, "session").ClientsWaiting == 1 })
	sessions[0].Close()
	used.ReceiveReady()
	if got := one(t, used, "select count(*) || current_setting('app.tenant_id') from mine"); got != "07" {
		t.Errorf("%q", got)
	}
	if tx, session := p.pool(t, "transaction"), p.pool(t, "session"); tx.ServersActive != 1 || session.ServersActive != 3 {
		t.Errorf("%d and %d servers", tx.ServersActive, session.ServersActive)
	}
	used.Close()
	waitFor(t, "the server to be cleaned", func() bool { return p.pool(t, "session").ServersIdle == 1 })
	session := p.login(t, p.session)
	if got := one(t, session, "select coalesce(current_setting('app.tenant_id', true), '') || coalesce(to_regclass('mine')::text, '')"); got != "" {
		t.Errorf("a session sees %q", got)
	}
}

// TestPromotionKeepsItsPlace: replies to what was sent before do not cost a client that waits for room its place in the queue.
func TestPromotionKeepsItsPlace(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	sessions := p.fillForState(t)
	a, b := p.login(t, p.transaction), p.login(t, p.transaction)
	a.Send(&pgproto3.Query{String: "select pg_sleep(0.5)"}, &pgproto3.Query{String: "create temp table mine (i int)"})
	waitFor(t, "the queue", func() bool { return p.pool(t, "session").ClientsWaiting == 1 })
	b.Query("create temp table mine (i int)")
	waitFor(t, "the queue", func() bool { return p.pool(t, "session").ClientsWaiting == 2 })
	a.ReceiveReady() // what it asked for first
	sessions[0].Close()
	a.ReceiveReady()
	if ps := p.pool(t, "session"); ps.ClientsWaiting != 1 {
		t.Fatalf("%d wait", ps.ClientsWaiting)
	}
}

// TestPromotionSwitchedOff: a reload while somebody waits for room leaves nothing behind.
func TestPromotionSwitchedOff(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	session, a := p.login(t, p.session), p.login(t, p.transaction)
	run(t, session, "select 1")
	a.Query("create temp table mine (i int)")
	waitFor(t, "the queue", func() bool { return p.pool(t, "session").ClientsWaiting == 1 })
	if _, err := p.Reload(configuration(t, serverAt(p.postgres), single+"promotion = \"off\"\n", "")); err != nil {
		t.Fatal(err)
	}
	a.Close()
	waitFor(t, "an empty queue", func() bool {
		tx := p.pool(t, "transaction")
		return p.pool(t, "session").ClientsWaiting == 0 && tx.ServersIdle == 1
	})
}

// TestPromotedIsCleaned: what a promoted client leaves reaches no session, even where sessions inherit what the last one left.
func TestPromotedIsCleaned(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+"server_reset_query = \"\"\n", "")
	a := p.login(t, p.transaction)
	run(t, a, "set app.tenant_id = '7'")
	run(t, a, "create temp table mine (i int)")
	a.Close()
	waitFor(t, "the server at rest", func() bool { return p.pool(t, "session").ServersIdle == 1 })
	session := p.login(t, p.session)
	if got := one(t, session, "select coalesce(current_setting('app.tenant_id', true), '') || coalesce(to_regclass('mine')::text, '')"); got != "" {
		t.Fatalf("a session sees %q", got)
	}
}

// TestListen: a client of the transaction port that listens hears what others notify.
func TestListen(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	listener, other := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, listener, "listen news")
	run(t, other, "notify news, 'hello'")
	if n, ok := listener.Receive().(*pgproto3.NotificationResponse); !ok || n.Payload != "hello" {
		t.Fatalf("%+v", n)
	}
}

// TestPromotedClientGoesOn: a promoted client that was held until its server had answered goes on although it keeps the server.
func TestPromotedClientGoesOn(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	w := p.login(t, p.transaction)
	run(t, w, "create temp table mine (i int)")
	// Which of these holds has to be asked of the server.
	run(t, w, "begin; set search_path = a; savepoint s; set app.x = '1'; rollback to s; commit")
	if got := one(t, w, "show search_path"); got != "a" {
		t.Errorf("search_path is %q", got)
	}
	w.Send(&pgproto3.Parse{Name: "n", Query: "select 1"}, &pgproto3.Sync{})
	w.ReceiveReady()
	// Whether there is such a name is known only when the batch before has been answered.
	w.Send(&pgproto3.Parse{Name: "m", Query: "select 'm'"}, &pgproto3.Sync{}, &pgproto3.Bind{PreparedStatement: "m"}, &pgproto3.Execute{}, &pgproto3.Sync{})
	w.Expect("ParseComplete", "ReadyForQuery I", "BindComplete", "DataRow m", "CommandComplete SELECT 1", "ReadyForQuery I")
	w.Send(&pgproto3.Query{String: "select 1"}, &pgproto3.Query{String: "deallocate n"})
	w.ReceiveReadies(2)
}

// TestPromotionSwapsForUnchecked: a server that comes from the session pool in exchange for a promoted one has not been used for long, and has to be
// checked first; the client that comes next is served by another, all of what it has sent, though it sends nothing more.
func TestPromotionSwapsForUnchecked(t *testing.T) {
	const delay = 350 * time.Millisecond // more than server_check_delay
	p := start(t, pgtest.Shared(t), "default_pool_size = 2\nlong_transaction = \"0s\"\nserver_check_delay = \"300ms\"\n", "")
	both := func(address string) (a, b *pgtest.Wire) {
		a, b = p.login(t, address), p.login(t, address)
		run(t, a, "begin")
		run(t, b, "begin")
		return a, b
	}
	for range 5 {
		a, b := both(p.session)
		a.Close()
		b.Close()
		waitFor(t, "the session pool to be full of idle servers", func() bool { return p.pool(t, "session").ServersIdle == 2 })
		idle := time.Now()
		waitFor(t, "them to be due for a check", func() bool { return time.Since(idle) > delay })
		a, b = both(p.transaction)
		run(t, a, "commit")
		run(t, b, "commit")
		run(t, a, "create temp table mine (i int)")
		b.SetLimit(5 * time.Second)
		b.Send(&pgproto3.Query{String: "select 1"}, &pgproto3.Query{String: "select 2"})
		b.ReceiveReadies(2)
		a.Close()
		b.Close()
		waitFor(t, "all to be at rest", func() bool { return p.pool(t, "session").ServersIdle == 2 })
	}
}

// TestIdleTransactionUnderPressure: a transaction that is idle for long ends when another client waits for a server, one at a time, and not before;
// transactions that run statements go on.
func TestIdleTransactionUnderPressure(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 3\npromotion = \"off\"\nidle_transaction_pressure_timeout = \"500ms\"\n", "")
	idle := []*pgtest.Wire{p.login(t, p.transaction), p.login(t, p.transaction)}
	for _, w := range idle {
		run(t, w, "begin")
		run(t, w, "select 1")
	}
	busy := p.login(t, p.transaction)
	if got := one(t, busy, "select 7 from pg_sleep(1.2)"); got != "7" || p.pool(t, "transaction").ClientsActive != 2 {
		t.Fatal("a transaction has ended and nobody waits")
	}
	run(t, busy, "begin")
	busy.Query("select 7 from pg_sleep(2)")
	waitFor(t, "the pool to be busy", func() bool { return p.pool(t, "transaction").ClientsActive == 3 })
	run(t, p.login(t, p.transaction), "select 1")
	if n := p.pool(t, "transaction").ClientsActive; n != 2 {
		t.Errorf("%d clients have servers after one had to go", n)
	}
	busy.ReceiveReady()
	run(t, busy, "commit")
	if closes := p.pool(t, "transaction").ClientCloses; closes["idle_transaction_timeout"] != 1 {
		t.Errorf("%v", closes)
	}
}
