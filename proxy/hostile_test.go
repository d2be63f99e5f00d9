package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
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

// hostileTarget is a pooler whose clients are hostile, but for one.
func hostileTarget(t *testing.T, listener string) *pooler {
	t.Helper()
	users := filepath.Join(t.TempDir(), "users.txt")
	write(t, users, "\"postgres\" \"secret\"\n")
	return start(t, pgtest.Shared(t), "client_login_timeout = \"2s\"\nmax_client_conn = 50\n"+listener, fmt.Sprintf("[auth]\nuser_file = %q\n", users))
}

// stages are how far a hostile client behaves before it begins: not at all, it has asked for TLS, it has sent its startup packet, the first
// SCRAM message, it is logged in.
const stages = 5

// victim is who is attacked: an address, and with within not nil by messages that come over TLS.
type victim struct {
	address string
	within  *tls.Config
}

// dial opens a connection, and turns to TLS if need be.
func (v victim) dial(t *testing.T) *pgtest.Wire {
	t.Helper()
	if v.within == nil {
		return pgtest.Dial(t, v.address)
	}
	nc := dialTCP(t, v.address)
	if _, err := nc.Write(sslRequest); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return pgtest.NewWire(t, tls.Client(nc, v.within))
}

// behave goes through the stages up to one. It reports false if the pooler has turned away by then.
func (v victim) behave(t *testing.T, stage int) (net.Conn, bool) {
	t.Helper()
	w := v.dial(t)
	nc := w.Socket()
	if stage == 1 {
		w.Raw(sslRequest)
		var answer [1]byte
		_, err := io.ReadFull(nc, answer[:])
		return nc, err == nil
	}
	if stage >= 2 {
		w.Startup(map[string]string{"user": "postgres", "database": "postgres"})
		if stage == 4 {
			w.Authenticate("postgres", "secret")
			return nc, true
		}
		if _, err := w.TryReceive(); err != nil {
			return nc, false
		}
	}
	if stage == 3 {
		w.Send(&pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte("n,,n=,r=abcdefgh")})
		if _, err := w.TryReceive(); err != nil {
			return nc, false
		}
	}
	return nc, true
}

// attack sends bytes, and waits until the pooler has turned away.
func (v victim) attack(t *testing.T, stage int, b []byte) {
	t.Helper()
	nc, ok := v.behave(t, stage)
	defer nc.Close()
	if !ok {
		return
	}
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := nc.Write(b); err != nil {
		return // turned away already
	}
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	if _, err := io.Copy(io.Discard, nc); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("stage %d, % x: neither answered nor closed", stage, b[:min(len(b), 64)])
	}
}

// crafted are attacks with a history.
func crafted(t *testing.T) [][]byte {
	t.Helper()
	startup := func(parameters ...string) []byte {
		b := append([]byte{0, 3, 0, 0}, strings.Join(parameters, "\x00")...)
		b = append(b, 0, 0)
		return append([]byte{0, 0, byte((len(b) + 4) >> 8), byte(len(b) + 4)}, b...)
	}
	sasl := pgtest.Encode(t, &pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte("n,,n=,r=abcdefgh")})
	all := [][]byte{
		nil,
		{0},
		{0, 0, 0, 0},
		{0, 0, 0, 8},
		{0xff, 0xff, 0xff, 0xff},
		{0x80, 0, 0, 0, 0, 3, 0, 0},
		sslRequest,
		bytes.Repeat(sslRequest, 3),
		{22, 3, 1, 0xff, 0xff},
		{22, 3, 1, 0, 5, 1, 0, 0, 1, 0}, // TLS where there may be none
		startup("user", "postgres"), startup("user"), startup("", "", "user", "x"), startup("user", "postgres", "options", "-c="),
		startup("user", "postgres", "options", "-c a"), startup("user", "postgres", "options", "--"), startup("user", "postgres", "replication", "1"),
		startup("user", "postgres", "_pq_.x", "1"), startup("user", strings.Repeat("x", 9000)), append(startup("user", "postgres"), 'x'),
		append(startup("user", "postgres"), startup("user", "postgres")...), // the second one in the place of a SCRAM message
		sasl, append(slices.Clone(sasl), sasl...), sasl[:9],
		{'p', 0, 0, 0, 3},
		{'p', 0xff, 0xff, 0xff, 0xff},
		{'p', 0, 0, 4, 5},
		{'p', 0, 0, 0, 20, 'S', 'C', 'R', 'A', 'M', '-', 'S', 'H', 'A', '-', '2', '5', '6', 0, 0x7f},
		{'Q', 0, 0, 0, 5, 0},
		[]byte("p\x00\x00\x00\x0cc=biws,r"), []byte("p\x00\x00\x00\x10c=biws,r=a,p"), []byte("p\x00\x00\x00\x14c=,r=,p=AAAAAAAAAA"),
		[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), []byte("PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n"),
	}
	// Each a little longer than what it is a part of, or without end.
	for _, n := range []int{100, 10_000, 200_000} {
		all = append(all, bytes.Repeat([]byte{'x'}, n), bytes.Repeat([]byte{0}, n), append([]byte{'p', 0, 0, byte(n >> 8), byte(n)}, make([]byte, n)...))
	}
	return all
}

// mutated changes some bytes of a good conversation's messages.
func mutated(rnd *rand.Rand, b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + rnd.IntN(4) {
		switch at := rnd.IntN(len(b) + 1); rnd.IntN(4) {
		case 0:
			b = b[:at]
		case 1:
			b = slices.Insert(b, at, byte(rnd.Uint32()))
		case 2:
			b = append(b, b[at:]...)
		default:
			if at < len(b) {
				b[at] = byte(rnd.Uint32())
			}
		}
	}
	return b
}

// TestHostileLogins: malformed, truncated, oversized, misplaced and endless messages at each stage of a login and behind it, with TLS on
// offer, over it, and without. Nothing breaks, nothing grows, and a client beside them works on.
func TestHostileLogins(t *testing.T) {
	id := newIdentity(t)
	for name, c := range map[string]struct {
		listener string
		within   *tls.Config
	}{
		"plain": {"", nil}, "TLS": {id.listener("allow"), nil}, "within TLS": {id.listener("allow"), id.client(t)},
	} {
		t.Run(name, func(t *testing.T) {
			p := hostileTarget(t, c.listener)
			v := victim{p.transaction, c.within}
			good := pgtest.Login(t, p.session, "postgres", "postgres", "secret")
			attacks := crafted(t)
			rnd := rand.New(rand.NewPCG(3, 4))
			for range 300 {
				attacks = append(attacks, mutated(rnd, attacks[rnd.IntN(len(attacks))]))
			}
			attacks = append(attacks, attacks[:20]...) // and once more, when all has been seen once
			before := heap()
			var next atomic.Int64
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for i := next.Add(1) - 1; int(i) < len(attacks)*stages; i = next.Add(1) - 1 {
						v.attack(t, int(i)%stages, attacks[int(i)/stages])
					}
				})
			}
			done := make(chan struct{})
			go func() { all.Wait(); close(done) }()
			slowest := time.Duration(0)
			for working := true; working; {
				begin := time.Now()
				if got := one(t, good, "select 7"); got != "7" {
					t.Fatal(got)
				}
				slowest = max(slowest, time.Since(begin))
				select {
				case <-done:
					working = false
				default:
				}
			}
			p.unharmed(t, before, slowest)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// unharmed checks what an attack may not have done. The figures are wide: the machine may be busy with other tests.
func (p *pooler) unharmed(t *testing.T, heapBefore uint64, slowest time.Duration) {
	t.Helper()
	waitFor(t, "the hostile clients to be gone", func() bool {
		for _, l := range p.Snapshot().Listeners {
			if l.Name == "transaction" && l.Clients > 0 {
				return false
			}
		}
		return true
	})
	if n := p.Snapshot().Panics; n > 0 {
		t.Errorf("%d panics", n)
	}
	if slowest > 5*time.Second {
		t.Errorf("the slowest query beside it took %s", slowest)
	}
	if after := heap(); after > heapBefore+16<<20 {
		t.Errorf("the heap grew from %d to %d bytes", heapBefore, after)
	}
	if have := tryLogin(t, p.transaction, "postgres", "postgres", "secret"); have != "" {
		t.Errorf("a login afterwards: %s", have)
	}
}

// FuzzLogin: any bytes at any stage. No panic; a client beside it works on.
func FuzzLogin(f *testing.F) {
	for stage := range stages {
		f.Add(uint8(stage), []byte("\x00\x00\x00\x17\x00\x03\x00\x00user\x00postgres\x00\x00"))
		f.Add(uint8(stage), []byte("p\x00\x00\x00\x36SCRAM-SHA-256\x00\x00\x00\x00\x20n,,n=,r=rOprNGfwEbeRWgbNEkqO"))
		f.Add(uint8(stage), []byte("Q\x00\x00\x00\x0dselect 1\x00"))
	}
	users := filepath.Join(f.TempDir(), "users.txt")
	write(f, users, "\"postgres\" \"secret\"\n")
	c := pgtest.Shared(f)
	cfg := configuration(f, serverAt(c), "client_login_timeout = \"2s\"\n", fmt.Sprintf("[auth]\nuser_file = %q\n", users))
	p := launchLogging(f, c, cfg, slog.New(slog.DiscardHandler))
	host, port, _ := net.SplitHostPort(p.session)
	good, err := pgconn.Connect(context.Background(), fmt.Sprintf("host=%s port=%s user=postgres password=secret dbname=postgres sslmode=disable", host, port))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = good.Close(context.Background()) })
	f.Fuzz(func(t *testing.T, stage uint8, b []byte) {
		victim{p.transaction, nil}.attack(t, int(stage)%stages, b)
		if n := p.Snapshot().Panics; n > 0 {
			t.Fatalf("%d panics", n)
		}
		if _, err := good.Exec(t.Context(), "select 7").ReadAll(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSecondStartup: nobody becomes another by a second startup packet in the middle of his login (CVE-2026-107350 of PgBouncer).
func TestSecondStartup(t *testing.T) {
	p := hostileTarget(t, "")
	startup := pgtest.Encode(t, &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "somebody"}})
	for stage := 2; stage < stages; stage++ {
		nc, ok := victim{p.transaction, nil}.behave(t, stage)
		if !ok {
			t.Fatalf("stage %d was not reached", stage)
		}
		w := pgtest.NewWire(t, nc)
		w.Raw(startup)
		for {
			m, err := w.TryReceive()
			if err != nil {
				t.Fatalf("stage %d: %v", stage, err)
			}
			if e, is := m.(*pgproto3.ErrorResponse); is {
				if e.Code != "08P01" {
					t.Errorf("stage %d: %s %s", stage, e.Code, e.Message)
				}
				break
			}
		}
		w.ExpectClosed()
	}
}
