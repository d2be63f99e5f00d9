package proxy

import (
	"bytes"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
)

// socketPair is an eventloop.Kernel whose sockets are bytes in memory, by descriptor.
type socketPair struct {
	tokens [4]uint64
	wants  [4]eventloop.Interest
	in     [4][]byte // to be received
	out    [4][]byte // sent
}

func (k *socketPair) Add(fd int, token uint64, want eventloop.Interest) error {
	k.tokens[fd], k.wants[fd] = token, want
	return nil
}

func (k *socketPair) Modify(fd int, token uint64, want eventloop.Interest) error {
	return k.Add(fd, token, want)
}
func (k *socketPair) Remove(fd int) error { return k.Add(fd, 0, 0) }

func (k *socketPair) Wait(events []eventloop.Event, _ time.Duration) (n int) {
	for fd, in := range k.in {
		if len(in) > 0 && k.wants[fd]&eventloop.WantRead != 0 {
			events[n] = eventloop.Event{Token: k.tokens[fd], Flags: eventloop.Readable}
			n++
		}
	}
	return n
}

func (k *socketPair) Recv(fd int, b []byte) (int, syscall.Errno) {
	n := copy(b, k.in[fd])
	k.in[fd] = k.in[fd][n:]
	if n == 0 {
		return 0, syscall.EAGAIN
	}
	return n, 0
}

func (k *socketPair) Send(fd int, b []byte) (int, syscall.Errno) {
	k.out[fd] = append(k.out[fd], b...)
	return len(b), 0
}

func (k *socketPair) SendAll([]eventloop.Outgoing) {}
func (k *socketPair) Batches() bool                { return false }
func (k *socketPair) Wake()                        {}
func (k *socketPair) Peek(fd int) bool             { return len(k.in[fd]) > 0 }
func (k *socketPair) ShutdownWrite(int)            {}
func (k *socketPair) CloseFD(int)                  {}
func (k *socketPair) Now() time.Duration           { return time.Hour }
func (k *socketPair) Close() error                 { return nil }

// TestUnreadBytesStayWithTheirClient: a server that has said its last, as far as has been read, and has more in its socket goes to nobody
// else before that has been read (invariants 1 and 2).
func TestUnreadBytesStayWithTheirClient(t *testing.T) {
	const a, b, server = 1, 2, 3
	const bufferBytes = 64 << 10 // of a loop
	k, parameters := &socketPair{}, map[string]string{"application_name": ""}
	cfg := config.Default()
	cfg.Loops, cfg.Auth.Type = 1, "trust"
	l := config.DefaultListener()
	l.Name, l.PoolMode, l.DefaultPoolSize, l.ReservePoolSize = "l", "transaction", 1, 0
	cfg.Listeners = []config.Listener{l}
	sim, err := NewSimulation(cfg, slog.New(slog.DiscardHandler), Environment{
		NewKernel: func(int) eventloop.Kernel { return k },
		Dial: func(_ dial.Target, done func(dial.Opened, error)) {
			done(dial.Opened{Source: eventloop.Source{FD: server}, Parameters: parameters}, nil)
		},
		Cancel: func(dial.CancelTarget, func(bool)) {}, Seed: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	turns := func() {
		for range 10 {
			sim.Turn(0)
		}
	}
	encode := func(m pgproto3.Message) []byte {
		frame, err := m.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		return frame
	}
	for _, fd := range []int{a, b} {
		if _, err := sim.Adopt(pool.Key{Listener: "l", Database: "d", User: "u"}, "", parameters, 0, fd); err != nil {
			t.Fatal(err)
		}
		k.in[fd] = encode(&pgproto3.Query{String: "select 1"})
		turns() // a gets the server, b waits for it
	}
	if len(k.out[server]) != len(encode(&pgproto3.Query{String: "select 1"})) {
		t.Fatalf("the server was sent %q", k.out[server])
	}
	end := append(encode(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}), encode(&pgproto3.ReadyForQuery{TxStatus: 'I'})...)
	start := encode(&pgproto3.NoticeResponse{})
	filler := encode(&pgproto3.NoticeResponse{Message: string(bytes.Repeat([]byte("x"), bufferBytes-len(end)-len(start)-2))})
	stray := encode(&pgproto3.NoticeResponse{Message: "stray"})
	k.in[server] = append(append(filler, end...), stray...)
	if len(filler)+len(end) != bufferBytes {
		t.Fatalf("%d bytes do not fill the buffer", len(filler)+len(end))
	}
	turns()
	if !bytes.Contains(k.out[a], stray) || bytes.Contains(k.out[b], stray) {
		t.Error("what was left in the socket has not gone to the client that had the server")
	}
	if !bytes.HasSuffix(k.out[server], encode(&pgproto3.Query{String: "select 1"})) || len(k.out[server]) != 2*len(encode(&pgproto3.Query{String: "select 1"})) {
		t.Errorf("the next client has not got it: %q", k.out[server])
	}
}
