package proxy

import (
	"bytes"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
)

// deaf is the eventloop.Kernel of one client that sends Sync after Sync and takes nothing of what it is sent, until it listens.
type deaf struct {
	token   uint64
	want    eventloop.Interest
	read    int // bytes
	taken   []byte
	listens bool
	ends    int // bytes that it sends
	batches bool
}

var syncs = bytes.Repeat([]byte("S\x00\x00\x00\x04"), 64<<10)

func (k *deaf) Add(_ int, token uint64, want eventloop.Interest) error {
	k.token, k.want = token, want
	return nil
}

func (k *deaf) Modify(fd int, token uint64, want eventloop.Interest) error {
	return k.Add(fd, token, want)
}
func (k *deaf) Remove(int) error { return k.Add(0, 0, 0) }

func (k *deaf) Wait(events []eventloop.Event, _ time.Duration) int {
	events[0] = eventloop.Event{Token: k.token}
	if k.want&eventloop.WantRead != 0 {
		events[0].Flags |= eventloop.Readable
	}
	if k.want&eventloop.WantWrite != 0 && k.listens {
		events[0].Flags |= eventloop.Writable
	}
	return 1
}

func (k *deaf) Recv(_ int, b []byte) (int, syscall.Errno) {
	rest := syncs[k.read%5:]
	n := copy(b, rest[:min(len(rest), k.ends-k.read)])
	if n == 0 {
		return 0, syscall.EAGAIN
	}
	k.read += n
	return n, 0
}

func (k *deaf) Send(_ int, b []byte) (int, syscall.Errno) {
	if !k.listens {
		return 0, syscall.EAGAIN
	}
	k.taken = append(k.taken, b...)
	return len(b), 0
}

func (k *deaf) SendAll(batch []eventloop.Outgoing) {
	for i := range batch {
		batch[i].N, batch[i].Errno = k.Send(batch[i].FD, batch[i].Bytes)
	}
}

func (k *deaf) Batches() bool      { return k.batches }
func (k *deaf) Wake()              {}
func (k *deaf) Peek(int) bool      { return k.read < k.ends }
func (k *deaf) ShutdownWrite(int)  {}
func (k *deaf) CloseFD(int)        {}
func (k *deaf) Now() time.Duration { return time.Hour }
func (k *deaf) Close() error       { return nil }

// TestAnsweredByThePooler: a client that asks for what the pooler answers by itself, and does not read it, is not read either; when it
// reads, it gets all of it (invariant 4).
func TestAnsweredByThePooler(t *testing.T) {
	for _, batches := range []bool{false, true} {
		answeredByThePooler(t, &deaf{ends: 16 << 20 / 5 * 5, batches: batches})
	}
}

func answeredByThePooler(t *testing.T, k *deaf) {
	t.Helper()
	cfg := config.Default()
	cfg.Loops, cfg.Auth.Type = 1, "trust"
	l := config.DefaultListener()
	l.Name, l.PoolMode = "l", "transaction"
	cfg.Listeners = []config.Listener{l}
	sim, err := NewSimulation(cfg, slog.New(slog.DiscardHandler), Environment{
		NewKernel: func(int) eventloop.Kernel { return k }, Dial: func(dial.Target, func(dial.Opened, error)) {}, Cancel: func(dial.CancelTarget, func(bool)) {}, Seed: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := sim.Adopt(pool.Key{Listener: "l", Database: "d", User: "u"}, "", nil, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		sim.Turn(0)
	}
	if n := c.conn.Backlog(); n > backlogMax+64<<10 || k.read == k.ends {
		t.Fatalf("%d bytes wait for it, and %d have been read", n, k.read)
	}
	k.listens = true
	for range 10_000 {
		sim.Turn(0)
	}
	if want := k.ends / 5; len(k.taken) != want*len(readyIdle) {
		t.Errorf("%d answers to %d Syncs", len(k.taken)/len(readyIdle), want)
	}
}
