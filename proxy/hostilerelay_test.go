package proxy_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// relayStages are what a client that has logged in has done when it turns hostile. Each leaves its socket where it is.
var relayStages = []struct {
	name  string
	begin func(w *pgtest.Wire) error
}{
	{"idle", func(*pgtest.Wire) error { return nil }},
	{"in a transaction", says("ReadyForQuery", &pgproto3.Query{String: "begin"})},
	{"in a failed transaction", says("ReadyForQuery", &pgproto3.Query{String: "begin; select 1/0"})},
	{"behind a Parse", says("ParseComplete", &pgproto3.Parse{Query: "select $1::int"}, &pgproto3.Flush{})},
	{"behind a named Parse", says("ParseComplete", &pgproto3.Parse{Name: "s", Query: "select 1"}, &pgproto3.Flush{})},
	{"behind a Bind", says("BindComplete", &pgproto3.Parse{Query: "select generate_series(1, 9)"}, &pgproto3.Bind{}, &pgproto3.Flush{})},
	{"in a cursor", says("PortalSuspended", &pgproto3.Parse{Query: "select generate_series(1, 9)"}, &pgproto3.Bind{},
		&pgproto3.Execute{MaxRows: 2}, &pgproto3.Flush{})},
	{"behind an error", says("ErrorResponse", &pgproto3.Parse{Query: "nonsense"}, &pgproto3.Flush{})},
	{"in COPY FROM", says("CopyInResponse", &pgproto3.Query{String: "copy hostile from stdin"})},
	{"in COPY FROM, extended", says("CopyInResponse", &pgproto3.Parse{Query: "copy hostile from stdin"}, &pgproto3.Bind{}, &pgproto3.Execute{},
		&pgproto3.Flush{})},
	{"in COPY TO", says("CopyOutResponse", &pgproto3.Query{String: "copy (select repeat('x', 1000) from generate_series(1, 2000)) to stdout"})},
	{"with a query under way", says("", &pgproto3.Query{String: "select pg_sleep(0.05)"})},
	{"with a result unread", says("RowDescription", &pgproto3.Query{String: "select repeat('x', 1000000) from generate_series(1, 4)"})},
	{"with a server of its own", says("ReadyForQuery", &pgproto3.Query{String: "listen hostile"})},
	{"with settings of its own", says("ReadyForQuery", &pgproto3.Query{String: "set app.tenant_id = 'hostile'; set application_name = 'hostile'"})},
	{"in the middle of a Query", func(w *pgtest.Wire) error {
		_, err := w.Socket().Write([]byte("Q\x00\x00\x01\x00select"))
		return err
	}},
	{"in the middle of a Bind", func(w *pgtest.Wire) error {
		b := append(mustEncode(&pgproto3.Parse{Name: "s", Query: "select $1::text"}), "B\x00\x00\x01\x00p\x00s"...)
		_, err := w.Socket().Write(b)
		return err
	}},
}

// says sends messages and reads up to an answer of a kind; "" for none.
func says(until string, messages ...pgproto3.FrontendMessage) func(w *pgtest.Wire) error {
	return func(w *pgtest.Wire) error {
		if _, err := w.Socket().Write(mustEncode(messages...)); err != nil || until == "" {
			return err
		}
		for {
			m, err := w.TryReceive()
			if err != nil {
				return err
			}
			if kind, _, _ := strings.Cut(pgtest.Describe(m), " "); kind == until {
				return nil
			}
		}
	}
}

func mustEncode(messages ...pgproto3.FrontendMessage) (b []byte) {
	for _, m := range messages {
		var err error
		if b, err = m.Encode(b); err != nil {
			panic(err)
		}
	}
	return b
}

// frame is a message of any kind.
func frame(kind byte, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body))), body...)
}

// relayAttacks are malformed, truncated, oversized, misplaced and endless messages.
func relayAttacks() (all [][]byte) {
	for _, kind := range "QPBDECSHFdcfpX" {
		for _, length := range []string{"\x00\x00\x00\x00", "\x00\x00\x00\x03", "\xff\xff\xff\xff", "\x7f\xff\xff\xff"} {
			all = append(all, []byte(string(kind)+length+strings.Repeat("x", 5000)))
		}
		all = append(all, []byte(string(kind)+"\x00\x00"), frame(byte(kind), ""), frame(byte(kind), strings.Repeat("\xff", 40)))
	}
	const none, sync = "\x00\x00", "S\x00\x00\x00\x04"
	for _, b := range []string{
		"\x00\x00\x00\x08\x04\xd2\x16\x2f", "\x00\x00\x00\x08\x00\x03\x00\x00", "\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x01\x00\x00\x00\x01", // as if nobody had logged in yet
		string(frame('Q', "select 1")), string(frame('Q', "select 1\x00select 2\x00")), string(frame('Q', "\xff\xfe\x00")),
		string(frame('P', "s\x00select 1")), string(frame('P', "s\x00select 1\x00")), string(frame('P', "s\x00select 1\x00\xff\xff")),
		string(frame('P', "s\x00select 1\x00\x00\x05\x00\x00")), string(frame('P', "no end")),
		string(frame('B', "\x00s\x00\xff\xff")), string(frame('B', "\x00s\x00"+none+"\xff\xff")), string(frame('B', "\x00s\x00"+none+"\x00\x01\xff\xff\xff\xfe")),
		string(frame('B', "\x00s\x00"+none+"\x00\x01\x7f\xff\xff\xff")), string(frame('B', "\x00s\x00"+none+none+"\x00\x09")), string(frame('B', "\x00s")),
		string(frame('D', "Xs\x00")), string(frame('D', "S")), string(frame('C', "Xs\x00")), string(frame('C', "S")), string(frame('C', "Pno end")),
		string(frame('E', "\x00\xff\xff\xff\xff")), string(frame('E', "\x00")), string(frame('E', "p\x00\x00\x00\x00\x01\x00")),
		string(frame('F', "\x00\x00\x00\x01\xff\xff\xff\xff")), string(frame('F', "\x00\x00\x06\x12"+none+none+"\x00\x00")),
		string(frame('d', "1\t2\t3\n")), string(frame('d', "\\.\n")), string(frame('f', "no end")), string(frame('S', "more than nothing")),
		string(frame('p', "SCRAM-SHA-256\x00\x00\x00\x00\x01n")), "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		strings.Repeat(sync, 500), strings.Repeat("H\x00\x00\x00\x04", 500), strings.Repeat("X\x00\x00\x00\x04", 3), strings.Repeat("c\x00\x00\x00\x04", 50),
		string(frame('Q', strings.Repeat("-- ", 30_000)+"\x00")), string(frame('Q', strings.Repeat("(", 30_000)+"\x00")),
		string(frame('Q', strings.Repeat("/*", 2000)+"\x00")), string(frame('Q', "select $a$"+strings.Repeat("$", 30_000)+"\x00")),
		string(frame('Q', "select E'"+strings.Repeat("\\", 30_001)+"\x00")), string(frame('Q', strings.Repeat("set a.b=1;", 3000)+"\x00")),
		"Q\x3f\xff\xff\xffselect '" + strings.Repeat("x", 300_000), "d\x3f\xff\xff\xff" + strings.Repeat("x", 300_000),
		"P\x3f\xff\xff\xffs\x00select '" + strings.Repeat("x", 300_000),
	} {
		all = append(all, []byte(b), []byte(b+sync))
	}
	all = append(all, manyStatements(300), mustEncode(
		&pgproto3.Parse{Name: "s", Query: "select $1::int"}, &pgproto3.Describe{ObjectType: 'S', Name: "s"}, &pgproto3.Bind{PreparedStatement: "s", Parameters: [][]byte{[]byte("1")}},
		&pgproto3.Execute{}, &pgproto3.Close{ObjectType: 'S', Name: "s"}, &pgproto3.Sync{}, &pgproto3.Query{String: "begin"}, &pgproto3.Query{String: "select 1"},
		&pgproto3.CopyData{Data: []byte("1\n")}, &pgproto3.CopyDone{}, &pgproto3.Flush{}, &pgproto3.Query{String: "rollback"}, &pgproto3.Terminate{},
	))
	return all
}

// manyStatements prepares and never uses.
func manyStatements(n int) (b []byte) {
	for i := range n {
		b = append(b, mustEncode(&pgproto3.Parse{Name: fmt.Sprintf("s%d", i), Query: fmt.Sprintf("select %d", i)})...)
	}
	return append(b, mustEncode(&pgproto3.Sync{})...)
}

// attackRelay logs in, behaves up to a stage, sends bytes, and waits until the pooler has turned away.
func attackRelay(t *testing.T, address string, stage int, b []byte) {
	t.Helper()
	w := pgtest.Login(t, address, "postgres", "postgres", "")
	defer w.Close()
	if err := relayStages[stage].begin(w); err != nil {
		t.Errorf("%s: %v", relayStages[stage].name, err)
		return
	}
	nc := w.Socket()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := nc.Write(b); err != nil {
		return // turned away already
	}
	_ = nc.(*net.TCPConn).CloseWrite()
	if _, err := io.Copy(io.Discard, nc); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("%s, % x: neither answered nor closed", relayStages[stage].name, b[:min(len(b), 64)])
	}
}

// bystander is a client that works as always beside hostile ones, and notices what is not as it left it.
type bystander struct {
	w     *pgtest.Wire
	name  string
	times []time.Duration
}

func newBystander(t *testing.T, address, name string) *bystander {
	t.Helper()
	b := &bystander{w: pgtest.Login(t, address, "bystander", "postgres", ""), name: name}
	run(t, b.w, fmt.Sprintf("set app.tenant_id = '%s'; set application_name = '%s'", name, name))
	b.w.Send(&pgproto3.Parse{Name: "mine", Query: "select $1 || ' ' || current_setting('app.tenant_id') || ' ' || current_setting('application_name')"}, &pgproto3.Sync{})
	b.w.ReceiveReady()
	return b
}

// bystanderRole makes the user they come as.
const bystanderRole = "do $$ begin create role bystander login; exception when duplicate_object then end $$"

// work asks once.
func (b *bystander) work(t *testing.T) {
	t.Helper()
	begin := time.Now()
	b.w.Send(&pgproto3.Bind{PreparedStatement: "mine", Parameters: [][]byte{[]byte("hello")}}, &pgproto3.Execute{}, &pgproto3.Sync{})
	b.w.Expect("BindComplete", fmt.Sprintf("DataRow hello %s %s", b.name, b.name), "CommandComplete SELECT 1", "ReadyForQuery I")
	b.times = append(b.times, time.Since(begin))
}

// TestHostileRelay: malformed, truncated, oversized, misplaced and endless messages of clients that have logged in, at each stage of what
// they may be doing, on both ports. No panic, nothing grows, and clients beside them get what is theirs. (Those are another user's: whoever
// shares a pool with hostile clients waits for its servers with them.)
func TestHostileRelay(t *testing.T) {
	c := pgtest.Shared(t)
	if err := c.Exec("create table hostile (n text); " + bystanderRole); err != nil {
		t.Fatal(err)
	}
	p := start(t, c, "max_client_conn = 50\ndefault_pool_size = 4\nidle_transaction_timeout = \"1s\"\n", "")
	type attempt struct {
		stage int
		bytes []byte
	}
	var attempts []attempt
	attacks, rnd := relayAttacks(), rand.New(rand.NewPCG(5, 6))
	for i, b := range attacks {
		for j := range 4 { // others for the next
			attempts = append(attempts, attempt{(4*i + j) % len(relayStages), b})
		}
	}
	for range 300 {
		attempts = append(attempts, attempt{rnd.IntN(len(relayStages)), mutated(rnd, attacks[rnd.IntN(len(attacks))])})
	}
	for kind := range 256 { // those that exist, and those that do not
		attempts = append(attempts, attempt{kind % len(relayStages), frame(byte(kind), "\x00")})
	}
	transaction, session := newBystander(t, p.transaction, "quick"), newBystander(t, p.session, "slow")
	before, goroutines := heap(), runtime.NumGoroutine()
	var next atomic.Int64
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for i := int(next.Add(1) - 1); i < len(attempts); i = int(next.Add(1) - 1) {
				address := p.transaction
				if i%4 == 0 {
					address = p.session
				}
				attackRelay(t, address, attempts[i].stage, attempts[i].bytes)
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for working := true; working; {
		transaction.work(t)
		session.work(t)
		select {
		case <-done:
			working = false
		default:
		}
	}
	times := slices.Concat(transaction.times, session.times)
	slices.Sort(times)
	t.Logf("%d attacks at %d stages; %d queries beside them: p50 %s, p99 %s, at most %s", len(attempts), len(relayStages), len(times),
		times[len(times)/2], times[len(times)*99/100], times[len(times)-1])
	transaction.w.Close()
	session.w.Close()
	p.unharmedBy(t, before, times[len(times)-1])
	if err := p.Verify(); err != nil {
		t.Error(err)
	}
	waitFor(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
}

// unharmedBy is unharmed for attacks on both ports: no client is left, and servers are as many as they may be.
func (p *pooler) unharmedBy(t *testing.T, heapBefore uint64, slowest time.Duration) {
	t.Helper()
	waitFor(t, "the hostile clients to be gone", func() bool {
		snap := p.Snapshot()
		for _, l := range snap.Listeners {
			if l.Clients > 0 {
				return false
			}
		}
		return snap.Statements <= 1000
	})
	for _, ps := range p.Snapshot().Pools {
		if n := ps.ServersActive + ps.ServersIdle + ps.ServersOpening + ps.ServersTested + ps.ServersBeingCanceled; n > 4 {
			t.Errorf("%s has %d servers", ps.Listener, n)
		}
	}
	p.unharmed(t, heapBefore, slowest)
}

// FuzzRelay: any bytes at any stage of a client that has logged in. No panic; a client beside it works on.
func FuzzRelay(f *testing.F) {
	for i, b := range relayAttacks() {
		f.Add(uint8(i), b)
	}
	f.Add(uint8(0), bytes.Repeat([]byte("S\x00\x00\x00\x04"), 10))
	c := pgtest.Shared(f)
	if err := c.Exec("create table if not exists hostile (n text)"); err != nil {
		f.Fatal(err)
	}
	p := launchLogging(f, c, configuration(f, serverAt(c), "idle_transaction_timeout = \"1s\"\n", ""), slog.New(slog.DiscardHandler))
	host, port, _ := net.SplitHostPort(p.transaction)
	good, err := pgconn.Connect(context.Background(), fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres sslmode=disable", host, port))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = good.Close(context.Background()) })
	f.Fuzz(func(t *testing.T, stage uint8, b []byte) {
		address := p.transaction
		if stage&0x80 != 0 {
			address = p.session
		}
		attackRelay(t, address, int(stage&0x7f)%len(relayStages), b)
		if n := p.Snapshot().Panics; n > 0 {
			t.Fatalf("%d panics", n)
		}
		if _, err := good.Exec(t.Context(), "select 7").ReadAll(); err != nil {
			t.Fatal(err)
		}
	})
}
