package eventloop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// tape is both the network under a client's session and the Kernel of the loop that has the other end: bytes arrive, and are taken, in
// pieces that a script cuts.
type tape struct {
	net.Conn // of the handshake
	recorded bool
	toLoop   []byte
	toClient []byte
	want     Interest
	token    uint64
	script   *script
}

// script is the fuzzer's input, a decision a byte; it ends with the quiet choice.
type script struct{ b []byte }

func (s *script) next() int {
	if len(s.b) == 0 {
		return 255
	}
	n := int(s.b[0])
	s.b = s.b[1:]
	return n
}

func (k *tape) Write(b []byte) (int, error) {
	if !k.recorded {
		return k.Conn.Write(b)
	}
	k.toLoop = append(k.toLoop, b...)
	return len(b), nil
}

func (k *tape) Read(b []byte) (int, error) {
	if !k.recorded {
		return k.Conn.Read(b)
	}
	if len(k.toClient) == 0 {
		return 0, errWouldBlock
	}
	n := copy(b, k.toClient)
	k.toClient = k.toClient[n:]
	return n, nil
}

func (k *tape) Add(_ int, token uint64, want Interest) error {
	k.token, k.want = token, want
	return nil
}

func (k *tape) Modify(_ int, _ uint64, want Interest) error {
	k.want = want
	return nil
}

func (k *tape) Remove(int) error {
	k.want = 0
	return nil
}

func (k *tape) Wait(events []Event, _ time.Duration) int {
	var ready Flags
	if k.want&WantRead != 0 && len(k.toLoop) > 0 {
		ready |= Readable
	}
	if k.want&WantWrite != 0 {
		ready |= Writable
	}
	if ready == 0 {
		return 0
	}
	events[0] = Event{Token: k.token, Flags: ready}
	return 1
}

func (k *tape) Recv(_ int, b []byte) (int, syscall.Errno) {
	if len(k.toLoop) == 0 {
		return 0, syscall.EAGAIN
	}
	n := copy(b, k.toLoop[:min(len(k.toLoop), k.piece())])
	k.toLoop = k.toLoop[n:]
	return n, 0
}

func (k *tape) Send(_ int, b []byte) (int, syscall.Errno) {
	n := min(len(b), k.piece()-1)
	if n == 0 && len(b) > 0 {
		return 0, syscall.EAGAIN
	}
	k.toClient = append(k.toClient, b[:n]...)
	return n, 0
}

// piece is how much goes at once: a few bytes, or much.
func (k *tape) piece() int {
	if n := k.script.next(); n < 128 {
		return n + 1
	}
	return 1 << 20
}

func (k *tape) SendAll(batch []Outgoing) { oneByOne(k, batch) }

func (k *tape) Batches() bool      { return true }
func (k *tape) Wake()              {}
func (k *tape) Peek(int) bool      { return len(k.toLoop) > 0 }
func (k *tape) ShutdownWrite(int)  {}
func (k *tape) CloseFD(int)        {}
func (k *tape) Now() time.Duration { return 0 }
func (k *tape) Close() error       { return nil }

// echoing takes as much as its script says, at times nothing, pauses, changes what it wants to be given at once, and leaves the loop to
// come back.
type echoing struct {
	Conn
	t      *testing.T
	loop   *Loop
	tape   *tape
	script *script
	broken bool
}

func (e *echoing) OnRead(b []byte) int {
	take := len(b)
	switch n := e.script.next(); {
	case n < 30:
		e.PauseReads()
		take = min(len(b), n)
	case n < 60:
		e.SetReadMax(64 + (n-30)*100)
	case n < 90 && len(b) < len(e.loop.buffer) && len(e.tape.toLoop) > 0: // wait for what is still to come
		take = 0
	case n < 120:
		take = min(len(b), 1+n)
	case n < 140:
		e.Send(b)
		src := e.Detach()
		src.Unread = nil // all of it has been sent back
		e.loop.Later(func() {
			if err := e.loop.Adopt(&e.Conn, src, e); err != nil {
				e.t.Error(err)
			}
		})
		return len(b)
	}
	e.Send(b[:take])
	return take
}

func (e *echoing) OnEOF()         { e.t.Error("the stream has ended") }
func (e *echoing) OnHangup()      { e.t.Error("hung up") }
func (e *echoing) OnDrained()     {}
func (e *echoing) OnBroken(error) { e.broken = true }

var fuzzCertificate = sync.OnceValue(func() tls.Certificate { return certificate(&testing.T{}) })

// FuzzTLSConn: however the ciphertext is cut, and whatever the handler does, what the client sends comes back, every byte in its place.
func FuzzTLSConn(f *testing.F) {
	f.Add([]byte{}, uint16(100), false, false)
	f.Add([]byte{0, 5, 200, 10, 3, 70, 70, 70, 130, 1, 1, 1, 40, 0, 9}, uint16(20_000), true, true)
	f.Add(bytes.Repeat([]byte{125, 2, 255, 31}, 200), uint16(60_000), true, false)
	f.Fuzz(echoThrough)
}

// echoThrough is one run of FuzzTLSConn.
func echoThrough(t *testing.T, decisions []byte, size uint16, small, old bool) {
	s := &script{decisions[:min(len(decisions), 300)]}
	a, b := net.Pipe()
	k := &tape{Conn: a, script: s}
	version := uint16(tls.VersionTLS13)
	if old {
		version = tls.VersionTLS12
	}
	client := tls.Client(k, anyServer(version))
	transport := NewTLSTransport(b, nil)
	server := tls.Server(transport, &tls.Config{Certificates: []tls.Certificate{fuzzCertificate()}, SessionTicketsDisabled: true})
	shake(t, client, server, "")
	k.recorded = true
	transport.enterLoop(server)

	o := Options{Kernel: k}
	if small {
		o.ReadBufferBytes = 500
	}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	e := &echoing{t: t, loop: l, tape: k, script: s}
	if err := l.Adopt(&e.Conn, Source{FD: 3, TLS: transport}, e); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, int(size)+1)
	for i := range want {
		want[i] = byte(i * 7 / 3)
	}
	for part := range slices.Chunk(want, 1+s.next()*200) {
		if _, err := client.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	var got []byte
	room := make([]byte, 4096)
	for turns := 0; len(got) < len(want); turns++ {
		l.Turn(false)
		e.PauseReads() // what it has left is given to it again
		e.ResumeReads()
		n, err := client.Read(room)
		got = append(got, room[:n]...)
		if err != nil && !errors.Is(err, errWouldBlock) {
			t.Fatal(err)
		}
		if e.broken || turns > 1_000_000 {
			t.Fatalf("%d bytes of %d came back, broken: %v", len(got), len(want), e.broken)
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatal("other bytes came back")
	}
	if len(transport.sealed) > 0 || transport.more {
		t.Errorf("%d bytes are left", len(transport.sealed))
	}
}
