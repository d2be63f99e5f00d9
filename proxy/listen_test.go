package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// three servers for either port, which a client meets in turn.
const three = "default_pool_size = 3\nserver_round_robin = true\nlong_transaction = \"0s\"\n"

// payload waits for a notification, alone.
func payload(t *testing.T, w *pgtest.Wire) string {
	t.Helper()
	n, ok := w.Receive().(*pgproto3.NotificationResponse)
	if !ok {
		t.Fatalf("%s instead of a notification", pgtest.Describe(n))
	}
	return n.Payload
}

// payloads are those of the notifications among messages.
func payloads(messages []pgproto3.BackendMessage) (all []string) {
	for _, m := range messages {
		if n, ok := m.(*pgproto3.NotificationResponse); ok {
			all = append(all, n.Payload)
		}
	}
	return all
}

// servers are the connections of the pooler to PostgreSQL, as that counts them.
func (p *pooler) servers(t *testing.T) (n int) {
	t.Helper()
	rows, err := p.postgres.Query("select count(*) from pg_stat_activity where backend_type = 'client backend' and application_name not in ('pgtest', 'hybridbouncer catalogue')")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(rows[0][0], &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// listeningServer is the process that listens for others.
func (p *pooler) listeningServer(t *testing.T) (pid uint32) {
	t.Helper()
	waitFor(t, "a server that listens", func() bool {
		pid = p.ListeningServer("transaction")
		return pid != 0
	})
	return pid
}

// onLoops is a pooler with so many loops.
func onLoops(t *testing.T, loops int, listener string) *pooler {
	t.Helper()
	c := pgtest.Shared(t)
	cfg := configuration(t, serverAt(c), listener, "")
	cfg.Loops = loops
	return launch(t, c, cfg)
}

// TestListenShared: clients listen on the transaction port and none of them has a server to itself.
func TestListenShared(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	a, b, other := p.login(t, p.transaction), p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, a, "listen news")
	run(t, b, `listen "news"`)
	run(t, b, "LISTEN NEWS")
	other.Query("select pg_backend_pid(), pg_notify('news', 'one')")
	rows := other.ReceiveReady()
	pid := string(rows[1].(*pgproto3.DataRow).Values[0])
	run(t, other, "notify news, 'two'")
	for _, w := range []*pgtest.Wire{a, b} {
		n := w.Receive().(*pgproto3.NotificationResponse)
		if n.Payload != "one" || n.Channel != "news" || fmt.Sprint(n.PID) != pid {
			t.Errorf("heard %+v, of server %s", n, pid)
		}
		if got := payload(t, w); got != "two" {
			t.Errorf("then %q", got)
		}
	}
	ps := p.pool(t, "transaction")
	if ps.Promotions["session_state"] != 0 || ps.ListeningClients != 2 || ps.Notifications != 4 {
		t.Errorf("%+v", ps)
	}
	run(t, b, "unlisten news")
	run(t, other, "notify news, 'three'")
	if got := payload(t, a); got != "three" {
		t.Errorf("%q", got)
	}
	if got := payloads(func() []pgproto3.BackendMessage { b.Query("select 1"); return b.ReceiveReady() }()); got != nil {
		t.Errorf("who does not listen any more hears %q", got)
	}
	for _, w := range []*pgtest.Wire{a, b, other} {
		w.ExpectSilence(50 * time.Millisecond)
	}
}

// TestListenToItself: a client hears what it notifies itself, ahead of the ReadyForQuery, as on a direct connection.
func TestListenToItself(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	for range 3 {
		w := p.login(t, p.transaction)
		run(t, w, "listen mine")
		for i := range 20 {
			w.Query(fmt.Sprintf("notify mine, '%d'", i))
			if got := payloads(w.ReceiveReady()); len(got) != 1 || got[0] != fmt.Sprint(i) {
				t.Fatalf("%d: %q", i, got)
			}
		}
		w.Query("begin; listen other; notify other, 'x'; commit")
		if got := payloads(w.ReceiveReady()); len(got) != 1 || got[0] != "x" {
			t.Fatalf("%q", got)
		}
		w.Close()
	}
}

// TestListenCrowd: a thousand clients listen to one channel, on three servers, and hear everything in order.
func TestListenCrowd(t *testing.T) {
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprintf("loops=%d", loops), func(t *testing.T) {
			p := onLoops(t, loops, three+"max_client_conn = 2000\n")
			crowd := make([]*pgtest.Wire, 1000)
			for i := range crowd {
				crowd[i] = p.login(t, p.transaction)
				crowd[i].Query("listen news")
			}
			for _, w := range crowd {
				w.ReceiveReady()
			}
			other := p.login(t, p.transaction)
			const each = 20
			for i := range each {
				run(t, other, fmt.Sprintf("notify news, '%d'", i))
			}
			for _, w := range crowd {
				for i := range each {
					if got := payload(t, w); got != fmt.Sprint(i) {
						t.Fatalf("heard %q, not %d", got, i)
					}
				}
			}
			if ps := p.pool(t, "transaction"); ps.ListeningClients != len(crowd) || ps.Notifications != each*uint64(len(crowd)) {
				t.Errorf("%+v", ps)
			}
			if n := p.servers(t); n > 3 {
				t.Errorf("%d servers", n)
			}
		})
	}
}

// TestListenAtOnce: what is notified when the reply to LISTEN has come is heard, however soon; by one loop or two, whether there is a server
// that listens already or not, alone or in a transaction.
func TestListenAtOnce(t *testing.T) {
	for _, loops := range []int{1, 2} {
		p := onLoops(t, loops, three)
		other := p.login(t, p.transaction)
		run(t, other, "select 1")
		var listeners []*pgtest.Wire
		for range 4 {
			listeners = append(listeners, p.login(t, p.transaction))
		}
		for i := range 200 {
			w := listeners[i%len(listeners)]
			channel := fmt.Sprintf("channel_%d", i%7)
			listen := "listen " + channel
			if i%3 == 0 {
				listen = "begin; listen other; savepoint s; listen " + channel + "; release s; commit"
			}
			run(t, w, listen)
			run(t, other, fmt.Sprintf("notify %s, '%d'", channel, i))
			if got := payload(t, w); got != fmt.Sprint(i) {
				t.Fatalf("%d: %q", i, got)
			}
			run(t, w, "unlisten *")
		}
	}
}

// TestListenServerKilled: the server that listens is killed again and again. Who listens is told that something may be lost when another
// listens, and hears what is notified from then on. The pool never has more servers than its size.
func TestListenServerKilled(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	idle, busy, other := p.login(t, p.transaction), p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, idle, "listen a")
	run(t, busy, "listen b")
	for i := range 5 {
		run(t, busy, "begin")
		pid := p.listeningServer(t)
		if _, err := p.postgres.Query(fmt.Sprintf("select pg_terminate_backend(%d)", pid)); err != nil {
			t.Fatal(err)
		}
		if n, ok := idle.Receive().(*pgproto3.NoticeResponse); !ok || n.Severity != "WARNING" || n.Code != "01000" {
			t.Fatalf("told %+v", n)
		}
		run(t, other, fmt.Sprintf("notify a, '%d'", i))
		run(t, other, fmt.Sprintf("notify b, '%d'", i))
		if got := payload(t, idle); got != fmt.Sprint(i) {
			t.Fatalf("%d: %q", i, got)
		}
		busy.Query("select 1")
		for _, m := range busy.ReceiveReady() {
			switch m.(type) {
			case *pgproto3.NoticeResponse, *pgproto3.NotificationResponse:
				t.Fatalf("%s in a transaction", pgtest.Describe(m))
			}
		}
		busy.Query("commit")
		var told []string
		for _, m := range busy.ReceiveReady() {
			told = append(told, fmt.Sprintf("%T", m))
		}
		if want := "[*pgproto3.CommandComplete *pgproto3.NoticeResponse *pgproto3.NotificationResponse *pgproto3.ReadyForQuery]"; fmt.Sprint(told) != want {
			t.Fatalf("told %s", told)
		}
		if n := p.servers(t); n > 3 {
			t.Fatalf("%d servers", n)
		}
	}
	if ps := p.pool(t, "transaction"); ps.ListenLosses != 5 {
		t.Errorf("%d losses", ps.ListenLosses)
	}
}

// TestListenFull: with every server of the pool taken, in transactions that all begin to listen at once, nobody waits for ever, and there is
// never a server more.
func TestListenFull(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 2\nlong_transaction = \"0s\"\nquery_wait_timeout = \"10s\"\n", "")
	var clients []*pgtest.Wire
	for range 6 {
		clients = append(clients, p.login(t, p.transaction))
	}
	for _, w := range clients {
		w.Send(&pgproto3.Query{String: "begin"}, &pgproto3.Query{String: "listen news"}, &pgproto3.Query{String: "commit"})
	}
	most := 0
	for _, w := range clients {
		for _, m := range w.ReceiveReadies(3) {
			if e, ok := m.(*pgproto3.ErrorResponse); ok {
				t.Fatalf("%+v", e)
			}
		}
		most = max(most, p.servers(t))
	}
	if most > 2 {
		t.Errorf("%d servers", most)
	}
	run(t, clients[0], "notify news, 'x'")
	for _, w := range clients[1:] {
		if got := payload(t, w); got != "x" {
			t.Errorf("%q", got)
		}
	}
}

// TestListenLeavesNothing: a server that was listened on is clean for the next client, and what it is cleaned by costs no prepared statement.
func TestListenLeavesNothing(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	a, b := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, a, "listen first")
	for i := range 12 {
		run(t, a, fmt.Sprintf("listen channel_%d", i))
		if got := one(t, b, "select count(*) from pg_listening_channels()"); got != "0" {
			t.Fatalf("another client's server listens to %s channels", got)
		}
		run(t, a, "begin; listen undone; rollback")
		if got := one(t, b, "select count(*) from pg_listening_channels()"); got != "0" {
			t.Fatalf("another client's server listens to %s channels", got)
		}
	}
}

// TestListenSlow: who listens and does not read is closed when a MiB waits for it; so is who stays in a transaction. Others hear everything.
func TestListenSlow(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	slow, busy, quick, other := p.login(t, p.transaction), p.login(t, p.transaction), p.login(t, p.transaction), p.login(t, p.transaction)
	if err := slow.Socket().(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	for _, w := range []*pgtest.Wire{slow, busy, quick} {
		run(t, w, "listen news")
	}
	run(t, busy, "begin")
	long := strings.Repeat("x", 7900)
	closed := func() uint64 { return p.pool(t, "transaction").ClientCloses["notifications_unread"] }
	for i := 0; closed() < 2; i++ {
		run(t, other, fmt.Sprintf("notify news, '%d %s'", i, long))
		if got := payload(t, quick); got != fmt.Sprintf("%d %s", i, long) {
			t.Fatalf("%d: %.20q", i, got)
		}
		if i > 5000 {
			t.Fatal("nobody is closed")
		}
	}
	if e := busy.ExpectError("53200"); e.Severity != "FATAL" {
		t.Errorf("%+v", e)
	}
	if ps := p.pool(t, "transaction"); ps.ListeningClients != 1 {
		t.Errorf("%d listen", ps.ListeningClients)
	}
}

// TestListenPromotionOff: LISTEN needs no promotion.
func TestListenPromotionOff(t *testing.T) {
	p := start(t, pgtest.Shared(t), three+"promotion = \"off\"\n", "")
	w, other := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, w, "begin; create temp table kept_by_nobody (i int); listen news; commit") // its server has to be cleaned before it can listen for all
	run(t, other, "notify news, 'x'")
	if got := payload(t, w); got != "x" {
		t.Errorf("%q", got)
	}
	if n := p.servers(t); n > 3 {
		t.Errorf("%d servers", n)
	}
}

// TestListenSmall: in a pool of one server, or with a budget of one, nobody would be left for queries: a client that listens gets a server of
// the session pool, and without promotion an error, in which its connection goes on.
func TestListenSmall(t *testing.T) {
	for name, limits := range map[string][2]string{
		"size": {single, ""}, "database": {three, "max_db_connections = 1\n"}, "user": {three, "max_user_connections = 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c := pgtest.Shared(t)
			p := launch(t, c, configuration(t, serverAt(c)+limits[1], limits[0]+"promotion = \"off\"\n", ""))
			w := p.login(t, p.transaction)
			w.Query("listen news")
			w.ExpectError("0A000")
			w.ReceiveReady()
			if got := one(t, w, "select count(*) from pg_listening_channels()"); got != "0" {
				t.Errorf("it listens to %s channels", got)
			}
			run(t, w, "begin")
			w.Query("listen news")
			if e := w.ExpectError("0A000"); e.Severity != "ERROR" {
				t.Errorf("in a transaction: %+v", e)
			}
			w.ReceiveReady()
			run(t, w, "rollback")
		})
	}
	p := start(t, pgtest.Shared(t), single, "")
	w, other := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, w, "listen news")
	for range 2 {
		run(t, other, "notify news, 'x'")
		if got := payload(t, w); got != "x" {
			t.Errorf("%q", got)
		}
		w.Query("notify news, 'itself'")
		if got := payloads(w.ReceiveReady()); len(got) != 1 || got[0] != "itself" {
			t.Errorf("%q", got)
		}
	}
	if ps := p.pool(t, "transaction"); ps.Promotions["session_state"] != 1 || ps.ListeningClients != 0 {
		t.Errorf("%+v", ps)
	}
}

// TestListenPoolMadeSmall: a reload leaves the pool one server: that is for queries, and who listens is told so and closed.
func TestListenPoolMadeSmall(t *testing.T) {
	c := pgtest.Shared(t)
	p := start(t, c, three, "")
	w, other := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, w, "listen news")
	if _, err := p.Reload(configuration(t, serverAt(c), single, "")); err != nil {
		t.Fatal(err)
	}
	if e := w.ExpectError("0A000"); e.Severity != "FATAL" {
		t.Errorf("%+v", e)
	}
	run(t, other, "select 1")
	waitFor(t, "one server", func() bool { return p.servers(t) == 1 })
	run(t, other, "select 1")
}

// TestListenEncoding: notifications are written in one encoding. A client that speaks another gets a server of its own for LISTEN.
func TestListenEncoding(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	utf8, latin1 := p.login(t, p.transaction), pgtest.Dial(t, p.transaction)
	latin1.Startup(map[string]string{"user": "postgres", "database": "postgres", "client_encoding": "latin1"})
	latin1.Authenticate("postgres", "")
	run(t, utf8, "listen news")
	run(t, latin1, "listen news")
	other := p.login(t, p.transaction)
	run(t, other, "notify news, 'ä'")
	if got := payload(t, utf8); got != "ä" {
		t.Errorf("%q", got)
	}
	if got := payload(t, latin1); got != "\xe4" {
		t.Errorf("%q", got)
	}
	if ps := p.pool(t, "transaction"); ps.Promotions["session_state"] != 1 || ps.ListeningClients != 1 {
		t.Errorf("%+v", ps)
	}
}

// TestListenPromoted: a client whose server counts in the session pool listens like any other, though it cannot give that server.
func TestListenPromoted(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 2\nlong_transaction = \"100ms\"\n", "")
	for _, begin := range []string{"create temp table mine (i int)", "begin"} {
		w, other := p.login(t, p.transaction), p.login(t, p.transaction)
		run(t, w, begin)
		if begin == "begin" {
			run(t, w, "select 1")
			p.promoteLong(t, w)
		}
		run(t, w, "listen news")
		run(t, w, "commit")
		run(t, other, "notify news, 'x'")
		if got := payload(t, w); got != "x" {
			t.Errorf("%s: %q", begin, got)
		}
		w.Query("notify news, 'itself'")
		if got := payloads(w.ReceiveReady()); len(got) != 1 || got[0] != "itself" {
			t.Errorf("%s: %q", begin, got)
		}
		if n := p.servers(t); n > 4 {
			t.Errorf("%d servers", n)
		}
		w.Close()
		waitFor(t, "the server at rest", func() bool {
			active := 0
			for _, ps := range p.Snapshot().Pools {
				active += ps.ServersActive
			}
			return active <= 1 // that listens
		})
	}
}

// TestListenSavepointPromoted: a client with a server of its own whose settings are in doubt goes on behind the pooler's question.
func TestListenSavepointPromoted(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	w, other := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, w, "create temp table mine (i int)")
	for range 3 {
		run(t, w, "begin; savepoint s; set lock_timeout = '1s'; rollback to s; commit")
		run(t, w, "begin; savepoint s; set lock_timeout = '1s'; listen news; rollback to s; listen olds; commit")
		if got := one(t, w, "select count(*) from mine"); got != "0" {
			t.Error(got)
		}
		run(t, other, "notify news, 'never'; notify olds, 'x'")
		if got := payload(t, w); got != "x" {
			t.Errorf("%q", got)
		}
	}
}

// TestListenIsolationOff: as with PgBouncer, LISTEN is the server's.
func TestListenIsolationOff(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+"isolation = \"off\"\npromotion = \"off\"\n", "")
	a, b := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, a, "listen news")
	if got := one(t, b, "select count(*) from pg_listening_channels()"); got != "1" {
		t.Errorf("the server listens to %s channels", got)
	}
}

// TestListenStorm: clients on two loops listen, stop, notify, roll back and vanish at random, while the server that listens is killed now and
// then. Who has been answered hears what is notified, or is told that it may have missed something. The size of the pool is kept, and at the
// end nothing is left.
func TestListenStorm(t *testing.T) {
	c := pgtest.Shared(t)
	p := onLoops(t, 2, "default_pool_size = 4\nlong_transaction = \"0s\"\n")
	watch := watchServers(t, c, 4)
	var all sync.WaitGroup
	var heard, told atomic.Int64
	var over atomic.Bool
	for i := range 8 {
		all.Go(func() { listenAtRandom(t, p.transaction, uint64(i), &over, &heard, &told) })
	}
	for range 20 {
		if _, err := c.Query(fmt.Sprintf("select pg_terminate_backend(%d), pg_sleep(0.1)", p.listeningServer(t))); err != nil {
			t.Error(err)
		}
	}
	over.Store(true)
	all.Wait()
	watch.end()
	if heard.Load() < 100 || told.Load() == 0 {
		t.Errorf("%d heard, %d told of a loss: that was no test", heard.Load(), told.Load())
	}
	waitFor(t, "nothing to be left", func() bool {
		subscriptions, channels := p.Listeners()
		return subscriptions+channels == 0 && p.pool(t, "transaction").ListeningClients == 0
	})
	if n := p.Snapshot().Panics; n != 0 {
		t.Errorf("%d panics", n)
	}
	if err := p.Verify(); err != nil {
		t.Error(err)
	}
	waitFor(t, "the server to be given back", func() bool {
		return p.ListeningServer("transaction") == 0 && p.pool(t, "transaction").ServersActive == 0
	})
}

// listenAtRandom is one client's script.
func listenAtRandom(t *testing.T, address string, seed uint64, over *atomic.Bool, heard, told *atomic.Int64) {
	rnd := rand.New(rand.NewPCG(seed, 4))
	ctx := context.Background()
	connect := func() *pgconn.PgConn {
		cfg, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres sslmode=disable", hostOf(address), portOf(address)))
		if err != nil {
			t.Error(err)
			return nil
		}
		cfg.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) { heard.Add(1) }
		cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
			if n.Code == "01000" {
				told.Add(1)
			}
		}
		w, err := pgconn.ConnectConfig(ctx, cfg)
		if err != nil {
			t.Error(err)
			return nil
		}
		return w
	}
	w := connect()
	for !over.Load() {
		if w == nil {
			return
		}
		channel := fmt.Sprintf("c%d", rnd.IntN(5))
		sql := []string{
			"listen " + channel, "listen " + channel, "unlisten " + channel, "unlisten *", "begin; listen " + channel + "; rollback",
			"begin; listen " + channel + "; commit", "begin; savepoint s; unlisten " + channel + "; rollback to s; commit", "select 1",
			"notify " + channel, "notify " + channel + ", 'x'", "discard all", "listen " + channel + "; select 1/0",
		}[rnd.IntN(12)]
		_, err := w.Exec(ctx, sql).ReadAll()
		var refused *pgconn.PgError
		if err != nil && (!errors.As(err, &refused) || refused.Severity == "FATAL") {
			// Its server was killed before it was asked to listen for all.
			w = connect()
			continue
		}
		if rnd.IntN(30) == 0 {
			_ = w.Conn().Close()
			w = connect()
		}
	}
	_ = w.Close(ctx)
}

func hostOf(address string) string { host, _, _ := net.SplitHostPort(address); return host }
func portOf(address string) string { _, port, _ := net.SplitHostPort(address); return port }
