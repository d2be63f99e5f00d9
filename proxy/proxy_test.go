package proxy_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
)

const single = "default_pool_size = 1\n"

// TestSession: a session keeps its SET and its temporary table, and the next one finds a clean server.
func TestSession(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	a := p.login(t, p.session)
	run(t, a, "set app.tenant_id = '7'")
	run(t, a, "create temp table mine (i int)")
	if got := one(t, a, "select current_setting('app.tenant_id') || count(*) from mine"); got != "70" {
		t.Fatal(got)
	}
	pid := one(t, a, "select pg_backend_pid()")
	a.Send(&pgproto3.Terminate{})
	b := p.login(t, p.session)
	if got := one(t, b, "select pg_backend_pid()"); got != pid {
		t.Fatal("another server than the one of the session before")
	}
	if got := one(t, b, "select coalesce(current_setting('app.tenant_id', true), '') || coalesce(to_regclass('mine')::text, '')"); got != "" {
		t.Fatalf("the next session sees %q", got)
	}
}

// TestSessionQueue: clients beyond the servers are served in the order of their coming.
func TestSessionQueue(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	first := p.login(t, p.session)
	run(t, first, "select 1")
	var waiting []*pgtest.Wire
	for i := range 5 {
		w := p.login(t, p.session)
		w.Query(fmt.Sprintf("select %d", i))
		waitFor(t, "the queue", func() bool { return p.pool(t, "session").ClientsWaiting == i+1 })
		waiting = append(waiting, w)
	}
	first.Close()
	for i, w := range waiting {
		w.ReceiveReady()
		if left := p.pool(t, "session").ClientsWaiting; left != len(waiting)-1-i {
			t.Fatalf("%d wait after the %d. was served", left, i)
		}
		w.Close()
	}
}

// TestSessionQueueOfMany: a hundred sessions share ten servers, each one in the order of its coming.
func TestSessionQueueOfMany(t *testing.T) {
	const servers, clients = 10, 100
	c := pgtest.Shared(t)
	p := start(t, c, fmt.Sprintf("default_pool_size = %d\nreserve_pool_size = 0\nlend_idle_after = \"0s\"\n", servers), "")
	all := make([]*pgtest.Wire, clients)
	pids := map[string]bool{}
	for i := range all {
		all[i] = p.login(t, p.session)
		all[i].Query("select pg_backend_pid()")
		if i < servers {
			all[i].ReceiveReady()
			continue
		}
		waitFor(t, "the queue", func() bool { return p.pool(t, "session").ClientsWaiting == i+1-servers })
	}
	order := rand.New(rand.NewPCG(1, 2))
	for next, seated := servers, slices.Clone(all[:servers]); next < clients; next++ {
		leaves := order.IntN(servers)
		if leaves%2 == 0 {
			seated[leaves].Send(&pgproto3.Terminate{})
		} else {
			seated[leaves].Close()
		}
		for _, m := range all[next].ReceiveReady() {
			if row, ok := m.(*pgproto3.DataRow); ok {
				pids[string(row.Values[0])] = true
			}
		}
		if left := p.pool(t, "session").ClientsWaiting; left != clients-1-next {
			t.Fatalf("%d wait after the %dth was served", left, next)
		}
		seated[leaves] = all[next]
	}
	if len(pids) > servers {
		t.Errorf("%d servers", len(pids))
	}
}

// TestPgbench: many clients over few servers, clean, and never more servers than the pool may have.
func TestPgbench(t *testing.T) {
	c := pgtest.Shared(t)
	p := start(t, c, "default_pool_size = 5\nmax_client_conn = 500\n", "")
	pgbenchProgram, err := pgtest.Program("pgbench")
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(p.transaction)
	bench := func(args ...string) string {
		args = append(args, "-h", host, "-p", port, "-U", "postgres", "postgres")
		out, err := exec.Command(pgbenchProgram, args...).CombinedOutput()
		if err != nil {
			t.Errorf("pgbench: %v\n%s", err, out)
		}
		return string(out)
	}
	bench("-i", "-q")
	done := make(chan string, 1)
	go func() { done <- bench("-S", "-n", "-c", "200", "-j", "2", "-t", "30") }()
	for {
		select {
		case out := <-done:
			if !strings.Contains(out, "6000/6000") {
				t.Error(out)
			}
			ps := p.pool(t, "transaction")
			var timed uint64
			for _, n := range ps.QueryTime.Counts {
				timed += n
			}
			if ps.Transactions < 6000 || timed < 6000 {
				t.Errorf("%+v", ps)
			}
			return
		default:
			rows, err := c.Query("select count(*) from pg_stat_activity where application_name not in ('', 'pgtest', 'hybridbouncer catalogue') and backend_type = 'client backend'")
			if err != nil {
				t.Fatal(err)
			}
			if n := rows[0][0]; len(n) > 1 || n > "7" { // 5 and the odd one of other tests' goodbye
				t.Fatalf("%s servers", n)
			}
		}
	}
}

// TestOneServerForAll: whatever a client does, the next one on the same server finds it clean.
func TestOneServerForAll(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+"reserve_pool_size = 0\n", "")
	check := p.login(t, p.transaction)
	run(t, check, "create table if not exists t (i int)")
	leave := map[string]func(w *pgtest.Wire){
		"in a transaction": func(w *pgtest.Wire) { run(t, w, "begin; lock table t") },
		"in a failed one":  func(w *pgtest.Wire) { w.Query("begin; select 1/0"); w.ReceiveReady() },
		"in a batch without Sync": func(w *pgtest.Wire) {
			w.Send(&pgproto3.Parse{Query: "lock table t"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Flush{})
			w.Expect("ParseComplete")
		},
		"in COPY": func(w *pgtest.Wire) {
			w.Query("copy t from stdin")
			w.Receive()
			w.Send(&pgproto3.CopyData{Data: []byte("1\n")})
		},
		"in the middle of a message": func(w *pgtest.Wire) { w.Raw([]byte("Q\x00\x00\x01\x00select")) },
		"before the answer":          func(w *pgtest.Wire) { w.Query("select pg_sleep(0.05)") },
		"politely":                   func(w *pgtest.Wire) { run(t, w, "select 1"); w.Send(&pgproto3.Terminate{}) },
	}
	for how, do := range leave {
		t.Run(how, func(t *testing.T) {
			w := p.login(t, p.transaction)
			do(w)
			w.Close()
			if got := one(t, check, "select count(*) from pg_locks where relation = 't'::regclass"); got != "0" {
				t.Errorf("%s locks are left", got)
			}
			if check.TxStatus != 'I' || one(t, check, "select count(*) from t") != "0" {
				t.Error("not clean")
			}
		})
	}
}

// TestProtocol: pipelines, the extended protocol, COPY and function calls over one server.
func TestProtocol(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	a, b := p.login(t, p.transaction), p.login(t, p.transaction)
	for range 3 {
		for _, w := range []*pgtest.Wire{a, b} {
			w.Send(&pgproto3.Query{String: "select 1"}, &pgproto3.Query{String: "select 1/0"}, &pgproto3.Query{String: "select 3"})
			w.ReceiveReady()
			w.ExpectError("22012")
			w.Expect("ReadyForQuery I")
			w.ReceiveReady()
			w.Send(&pgproto3.Parse{Query: "select 1/$1::int"}, &pgproto3.Bind{Parameters: [][]byte{[]byte("0")}}, &pgproto3.Execute{},
				&pgproto3.Query{String: "select 'skipped'"}, &pgproto3.Sync{}, &pgproto3.Sync{})
			w.Expect("ParseComplete")
			w.ExpectError("22012")
			w.Expect("ReadyForQuery I", "ReadyForQuery I")
			w.Query("copy (select 1) to stdout")
			w.ReceiveReady()
			w.Query("create temp table c (i int) on commit drop; copy c from stdin")
			w.ReceiveUntil(func(m pgproto3.BackendMessage) bool { _, ok := m.(*pgproto3.CopyInResponse); return ok })
			w.Send(&pgproto3.CopyData{Data: []byte("1\n2\n")}, &pgproto3.CopyDone{})
			w.ReceiveReady()
			w.Send(&pgproto3.FunctionCall{Function: 1598, ResultFormatCode: 0}) // random()
			w.ReceiveReady()
		}
	}
}

// TestCancel: a running query, a waiting one, an idle client; and never the next client of the same server.
func TestCancel(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	a, b := p.login(t, p.transaction), p.login(t, p.transaction)
	pgtest.Cancel(t, p.transaction, a.Key) // idle: nothing
	a.Query("select pg_sleep(20)")
	waitFor(t, "the query", func() bool { return p.pool(t, "transaction").ServersActive == 1 })
	b.Query("select 'waiting'")
	waitFor(t, "the waiter", func() bool { return p.pool(t, "transaction").ClientsWaiting == 1 })
	pgtest.Cancel(t, p.transaction, b.Key)
	b.ExpectError("57014")
	b.Expect("ReadyForQuery I")
	pgtest.Cancel(t, p.transaction, a.Key)
	a.Expect("RowDescription pg_sleep")
	a.ExpectError("57014")
	a.Expect("ReadyForQuery I")
	for i := range 100 {
		a.Query("select 1")
		done := make(chan struct{})
		go func() { defer close(done); pgtest.Cancel(t, p.transaction, a.Key) }()
		a.ReceiveReady() // either way
		if got := one(t, b, fmt.Sprintf("select %d + count(*) from generate_series(1, 1000)", i)); got != fmt.Sprint(1000+i) {
			t.Fatal(got)
		}
		<-done
	}
}

// TestTimeouts: each clock ends what its name says, with the code of its own.
func TestTimeouts(t *testing.T) {
	c := pgtest.Shared(t)
	t.Run("query_wait_timeout", func(t *testing.T) {
		p := start(t, c, single+"query_wait_timeout = \"300ms\"\nlong_transaction = 0\n", "")
		holder, w := p.login(t, p.transaction), p.login(t, p.transaction)
		run(t, holder, "begin")
		w.Query("select 1")
		if e := w.ExpectError("53300"); !strings.Contains(e.Message, "query_wait_timeout") || e.Severity != "ERROR" {
			t.Errorf("%+v", e)
		}
		w.Expect("ReadyForQuery I")
		pipelining := p.login(t, p.transaction)
		pipelining.Send(&pgproto3.Query{String: "select 2"}, &pgproto3.Query{String: "create table never ()"})
		if e := pipelining.ExpectError("53300"); e.Severity != "FATAL" {
			t.Errorf("%+v", e)
		}
		pipelining.ExpectClosed()
		late := p.login(t, p.transaction) // what it sends behind the refused batch it has sent before it could know
		late.Send(&pgproto3.Parse{Query: "begin"}, &pgproto3.Bind{}, &pgproto3.Execute{})
		if e := late.ExpectError("53300"); e.Severity != "ERROR" {
			t.Errorf("%+v", e)
		}
		late.Send(&pgproto3.Sync{}, &pgproto3.Query{String: "create table never ()"})
		late.Expect("ReadyForQuery I")
		late.ExpectError("08P01")
		late.ExpectClosed()
		run(t, holder, "commit")
		if got := one(t, w, "select 'still here'"); got != "still here" {
			t.Error(got)
		}
	})
	for setting, test := range map[string]struct {
		code string
		do   func(w *pgtest.Wire)
	}{
		"idle_transaction_timeout": {"25P03", func(w *pgtest.Wire) { run(t, w, "begin") }},
		"transaction_timeout":      {"25P04", func(w *pgtest.Wire) { run(t, w, "begin"); w.Query("select pg_sleep(20)") }},
		"query_timeout":            {"57014", func(w *pgtest.Wire) { w.Query("select pg_sleep(20)") }},
		"client_idle_timeout":      {"57P05", func(w *pgtest.Wire) { run(t, w, "select 1") }},
	} {
		t.Run(setting, func(t *testing.T) {
			p := start(t, c, single+setting+" = \"500ms\"\n", "")
			w := p.login(t, p.transaction)
			test.do(w)
			if e := w.ExpectError(test.code); e.Severity != "FATAL" || !strings.Contains(e.Message, setting) {
				t.Errorf("%+v", e)
			}
			w.ExpectClosed()
			if got := one(t, p.login(t, p.transaction), "select 'next'"); got != "next" {
				t.Error(got)
			}
		})
	}
}

// TestBatchWithoutSyncIsIdle: a client that stops in the middle of a batch is idle in transaction.
func TestBatchWithoutSyncIsIdle(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+`idle_transaction_timeout = "300ms"`+"\n"+`query_timeout = "20s"`+"\n", "")
	w := p.login(t, p.transaction)
	w.Send(&pgproto3.Parse{Query: "select 1"}, &pgproto3.Flush{})
	w.Expect("ParseComplete")
	w.ExpectError("25P03")
	w.ExpectClosed()
}

// TestRestart: PostgreSQL dies and comes back; clients hear of it, the pools recover by themselves.
func TestRestart(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	p := start(t, c, "default_pool_size = 3\n", "")
	idle, busy := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, idle, "select 1")
	busy.Query("begin; select pg_sleep(30)")
	waitFor(t, "the query", func() bool { return p.pool(t, "transaction").ServersActive == 1 })
	c.Kill()
	busy.ReceiveUntil(func(m pgproto3.BackendMessage) bool { _, ok := m.(*pgproto3.ErrorResponse); return ok })
	busy.ExpectClosed()
	idle.Query("select 1")
	if e := idle.ExpectError("08006"); e.Severity != "FATAL" {
		t.Errorf("%+v", e)
	}
	if p.Snapshot().ServerReachable {
		t.Error("PostgreSQL is dead and said to be reachable")
	}
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	if got := one(t, p.login(t, p.transaction), "select 'back'"); got != "back" {
		t.Error(got)
	}
	if err := c.Exec("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the pool to notice", func() bool { return p.pool(t, "transaction").ServersIdle == 0 })
	if got := one(t, p.login(t, p.transaction), "select 'again'"); got != "again" {
		t.Error(got)
	}
}

// TestParameters: each client sees its own reported parameters, though all share one server.
func TestParameters(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	var all []*pgtest.Wire
	zones := []string{"UTC", "Europe/Berlin", "Asia/Tokyo"}
	for i, zone := range zones {
		w := pgtest.Dial(t, p.transaction)
		w.Startup(map[string]string{
			"user": "postgres", "database": "postgres", "application_name": fmt.Sprint("app", i), "options": "-c TimeZone=" + zone,
			"statement_timeout": "1234", "extra_float_digits": "2",
		})
		w.Authenticate("postgres", "")
		if w.Parameters["TimeZone"] != zone || w.Parameters["server_version"] == "" {
			t.Errorf("welcomed with %v", w.Parameters)
		}
		all = append(all, w)
	}
	for range 3 {
		for i, w := range all {
			if got := one(t, w, "select current_setting('TimeZone') || current_setting('application_name')"); got != zones[i]+fmt.Sprint("app", i) {
				t.Errorf("client %d sees %s", i, got)
			}
		}
	}
	run(t, all[0], "set timezone to 'America/New_York'")
	if got := one(t, all[1], "show timezone"); got != zones[1] {
		t.Error(got)
	}
	if got := one(t, all[0], "show timezone"); got != "America/New_York" {
		t.Error(got)
	}
}

// TestNegotiation: newer minors and unknown options are answered, not refused.
func TestNegotiation(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	w := pgtest.Dial(t, p.transaction)
	w.StartupVersion(3<<16|9999, map[string]string{"user": "postgres", "database": "postgres", "_pq_.test_protocol_negotiation": ""})
	if m, ok := w.Receive().(*pgproto3.NegotiateProtocolVersion); !ok || len(m.UnrecognizedOptions) != 1 {
		t.Fatalf("%#v", m)
	}
	w.Authenticate("postgres", "")
	if len(w.Key.SecretKey) != 32 {
		t.Errorf("a secret of %d bytes", len(w.Key.SecretKey))
	}
	if got := one(t, w, "select 1"); got != "1" {
		t.Error(got)
	}
}

// TestLogin: SCRAM through a user file; a wrong password and an unknown user are answered alike.
func TestLogin(t *testing.T) {
	users := filepath.Join(t.TempDir(), "userlist.txt")
	secret, err := auth.BuildSCRAMSecret("secret", 4096)
	if err != nil {
		t.Fatal(err)
	}
	write(t, users, fmt.Sprintf("%q %q\n", "postgres", secret))
	p := start(t, pgtest.Shared(t), single, fmt.Sprintf("[auth]\ntype = \"scram-sha-256\"\nuser_file = %q\n", users))
	if got := one(t, pgtest.Login(t, p.transaction, "postgres", "postgres", "secret"), "select 1"); got != "1" {
		t.Error(got)
	}
	var told []string
	for _, user := range []string{"postgres", "nobody"} {
		w := pgtest.Dial(t, p.transaction)
		w.Startup(map[string]string{"user": user, "database": "postgres"})
		e := w.TryAuthenticate(user, "wrong")
		if e == nil || e.Code != "28P01" || e.Severity != "FATAL" {
			t.Fatalf("%s: %+v", user, e)
		}
		told = append(told, strings.ReplaceAll(e.Message, user, "USER"))
	}
	if told[0] != told[1] {
		t.Error(told)
	}
}

// TestTooMany: max_client_conn refuses the next one with PostgreSQL's words.
func TestTooMany(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+"max_client_conn = 2\n", "")
	p.login(t, p.transaction)
	second := p.login(t, p.transaction)
	w := pgtest.Dial(t, p.transaction)
	w.Startup(map[string]string{"user": "postgres", "database": "postgres"})
	w.ExpectError("53300")
	second.Close()
	waitFor(t, "room", func() bool { return p.Snapshot().Listeners[0].Clients < 2 })
	p.login(t, p.transaction)
}

// TestDrain: idle clients are told at once, a transaction may finish.
func TestDrain(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	idle, busy := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, busy, "begin")
	done := make(chan error, 1)
	go func() { done <- drain(p, 20*time.Second) }()
	idle.ExpectError("57P01")
	idle.ExpectClosed()
	if got := one(t, busy, "select 'in time'"); got != "in time" {
		t.Error(got)
	}
	busy.Query("commit")
	busy.Expect("CommandComplete COMMIT", "ReadyForQuery I")
	busy.ExpectError("57P01")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestSlowClient: a client that does not read its result stops its server from being read; memory stays bounded.
func TestSlowClient(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	slowClient(t, p, p.login(t, p.transaction), nil)
}

// TestSlowPipeliningClient: nor does memory grow when it has sent more requests than may be outstanding.
func TestSlowPipeliningClient(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	query, err := (&pgproto3.Query{String: ";"}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	const more = relay.OwedMax + 10_000
	w := p.login(t, p.transaction)
	slowClient(t, p, w, bytes.Repeat(query, more))
	for range more {
		w.ReceiveReady()
	}
}

// slowClient is a client that takes its time to read. It sends more behind its query.
func slowClient(t *testing.T, p *pooler, w *pgtest.Wire, more []byte) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const rows = 200
	w.Query(fmt.Sprintf("select repeat('x', 1000000) from generate_series(1, %d)", rows))
	w.Raw(more)
	w.Receive()
	other := p.login(t, p.session)
	for range 100 { // the pooler goes on with others meanwhile
		run(t, other, "select 1")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("%d bytes of heap for a client that does not read", grown)
	}
	for got := 0; ; {
		switch m := w.Receive().(type) {
		case *pgproto3.DataRow:
			got++
		case *pgproto3.ReadyForQuery:
			if got != rows {
				t.Errorf("%d rows arrived", got)
			}
			return
		case *pgproto3.ErrorResponse:
			t.Fatalf("%+v", m)
		}
	}
}

// TestPartOfAMessage: who sends the beginning of a query takes no server for it; where it is so long that it passes in parts, its server
// is not kept for ever.
func TestPartOfAMessage(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+"reserve_pool_size = 0\nquery_wait_timeout = \"20s\"\n"+`idle_transaction_timeout = "300ms"`+"\n", "")
	other := p.login(t, p.transaction)
	query := func(bytes int) []byte {
		b, err := (&pgproto3.Query{String: "select '" + strings.Repeat("x", bytes) + "'"}).Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	short := p.login(t, p.transaction)
	b := query(100)
	for _, cut := range []int{1, 5, 50, len(b) - 1} {
		short.Raw(b[:cut])
		run(t, other, "select 1")
		if n := p.pool(t, "transaction").ClientsActive; n != 0 {
			t.Fatalf("%d clients have a server, though none has sent a whole message", n)
		}
		short.Raw(b[cut:])
		short.ReceiveReady()
	}
	long := p.login(t, p.transaction)
	long.Raw(query(100000)[:50000])
	waitFor(t, "the part to go to a server", func() bool { return p.pool(t, "transaction").ClientsActive == 1 })
	other.Query("select 'waits'")
	long.ExpectError("25P03")
	long.ExpectClosed()
	other.ReceiveReady()
}

// TestMinimumWithinTheBudget: a pool that opens min_pool_size servers does not open more than max_db_connections.
func TestMinimumWithinTheBudget(t *testing.T) {
	c := pgtest.Shared(t)
	p := launch(t, c, configuration(t, serverAt(c)+"max_db_connections = 2\n", "default_pool_size = 5\nmin_pool_size = 5\n", ""))
	run(t, p.login(t, p.transaction), "select 1")
	waitFor(t, "the budget to be used", func() bool { return p.pool(t, "transaction").ServersIdle == 2 })
	if n := p.pool(t, "transaction").ServerConnects; n != 2 {
		t.Errorf("%d servers were opened", n)
	}
}

// TestWordsOfRefusal: a database that the configuration does not have, a startup parameter that PostgreSQL does not accept, and a
// transaction where each statement is to be one.
func TestWordsOfRefusal(t *testing.T) {
	more := "[[listener]]\nname = \"statement\"\nlisten = [\"127.0.0.1:0\"]\npool_mode = \"statement\"\n[databases.postgres]\n"
	p := start(t, pgtest.Shared(t), single, more)
	startup := func(parameters map[string]string) *pgtest.Wire {
		w := pgtest.Dial(t, p.transaction)
		parameters["user"] = "postgres"
		w.Startup(parameters)
		return w
	}
	if e := startup(map[string]string{"database": "elsewhere"}).TryAuthenticate("postgres", ""); e == nil || e.Code != "3D000" || e.Severity != "FATAL" {
		t.Errorf("an unknown database: %+v", e)
	}
	w := startup(map[string]string{"database": "postgres", "DateStyle": "mars"})
	w.Authenticate("postgres", "")
	w.Query("select 1")
	if e := w.ExpectError("22023"); e.Severity != "FATAL" || !strings.Contains(e.Message, "mars") {
		t.Errorf("a parameter that is refused: %+v", e)
	}
	w.ExpectClosed()
	w = p.login(t, p.Addresses()["statement"][0])
	if got := one(t, w, "select 'one'"); got != "one" {
		t.Error(got)
	}
	w.Query("begin")
	w.Expect("CommandComplete BEGIN", "ReadyForQuery T")
	if e := w.ExpectError("08P01"); e.Severity != "FATAL" || !strings.Contains(e.Message, "statement pooling mode") {
		t.Errorf("a transaction: %+v", e)
	}
	w.ExpectClosed()
}
