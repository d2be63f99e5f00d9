package eventloop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a loop on its thread.
func running(t testing.TB, o Options) *Loop {
	t.Helper()
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { l.Run(); close(done) }()
	t.Cleanup(func() { l.Stop(); <-done })
	return l
}

// call runs f on the loop and waits for it.
func call(l *Loop, f func()) {
	done := make(chan struct{})
	l.Post(func() { f(); close(done) })
	<-done
}

// pair is a client's socket and the loop's end of it.
func pair(t testing.TB) (net.Conn, Source) {
	t.Helper()
	sock, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	client, err := net.Dial("tcp", sock.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if err := client.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	server, err := sock.Accept()
	if err != nil {
		t.Fatal(err)
	}
	src, err := Take(server)
	if err != nil {
		t.Fatal(err)
	}
	return client, src
}

// recorder is a handler that tells what happened to it.
type recorder struct {
	Conn
	onRead func(r *recorder, b []byte) int
	events chan string
}

func newRecorder(onRead func(r *recorder, b []byte) int) *recorder {
	return &recorder{onRead: onRead, events: make(chan string, 100)}
}

func (r *recorder) OnRead(b []byte) int { return r.onRead(r, b) }
func (r *recorder) OnEOF()              { r.events <- "eof" }
func (r *recorder) OnHangup()           { r.events <- "hangup" }
func (r *recorder) OnDrained()          { r.events <- "drained" }
func (r *recorder) OnBroken(error)      { r.events <- "broken"; r.Close() }
func echo(r *recorder, b []byte) int    { r.Send(b); return len(b) }
func swallow(r *recorder, b []byte) int { return len(b) }

func (r *recorder) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-r.events:
		if got != want {
			t.Fatalf("%s, not %s", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s", want)
	}
}

func adopt(t *testing.T, l *Loop, r *recorder, src Source) {
	t.Helper()
	call(l, func() {
		if err := l.Adopt(&r.Conn, src, r); err != nil {
			t.Error(err)
		}
	})
}

func write(t *testing.T, nc net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(nc, s); err != nil {
		t.Fatal(err)
	}
}

func expectBytes(t *testing.T, nc net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(nc, b); err != nil || string(b) != want {
		t.Fatalf("got %q, %v", b, err)
	}
}

// TestEcho: bytes in, bytes out; half-close is told once, and what comes before it is delivered first.
func TestEcho(t *testing.T) {
	l := running(t, Options{})
	nc, src := pair(t)
	r := newRecorder(echo)
	adopt(t, l, r, src)
	write(t, nc, "hello")
	expectBytes(t, nc, "hello")
	write(t, nc, "last")
	if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	expectBytes(t, nc, "last")
	r.expect(t, "eof")
	call(l, func() { r.Send([]byte("still here")); r.CloseAfterDrain(time.Second) })
	expectBytes(t, nc, "still here")
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// TestKeptBytes: what is not consumed comes again in front of the next bytes, in one piece.
func TestKeptBytes(t *testing.T) {
	l := running(t, Options{})
	nc, src := pair(t)
	r := newRecorder(func(r *recorder, b []byte) int {
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			r.Send(b[:i+1])
			return i + 1
		}
		return 0
	})
	adopt(t, l, r, src)
	for _, part := range []string{"a", "b", "c\nd"} {
		write(t, nc, part)
		for done := false; !done; { // until the loop has it
			call(l, func() { done = r.Kept() > 0 && bytes.HasSuffix(r.kept, []byte(part[len(part)-1:])) })
			runtime.Gosched()
		}
	}
	expectBytes(t, nc, "abc\n")
	write(t, nc, "e\n")
	expectBytes(t, nc, "de\n")
}

// TestResumedInItsOwnOnRead: who pauses and resumes inside OnRead is given what that leaves, though nothing more comes.
func TestResumedInItsOwnOnRead(t *testing.T) {
	l := running(t, Options{})
	nc, src := pair(t)
	r := newRecorder(func(r *recorder, b []byte) int {
		r.events <- string(b)
		r.PauseReads()
		r.ResumeReads()
		return 1
	})
	adopt(t, l, r, src)
	write(t, nc, "abc")
	for _, want := range []string{"abc", "bc", "c"} {
		r.expect(t, want)
	}
	call(l, r.Close)
}

// TestPausedReads: nothing is delivered while reads are paused, a hang-up is told all the same, and the loop does not spin.
func TestPausedReads(t *testing.T) {
	l := running(t, Options{})
	nc, src := pair(t)
	var got []byte
	r := newRecorder(func(r *recorder, b []byte) int { got = append(got, b...); r.events <- "read"; return len(b) })
	adopt(t, l, r, src)
	call(l, r.PauseReads)
	write(t, nc, "unread")
	if err := nc.Close(); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "hangup")
	if len(got) > 0 {
		t.Fatal("read while paused")
	}
	call(l, func() {
		if r.want != 0 {
			t.Error("a dead descriptor is still watched: the loop would spin")
		}
		r.ResumeReads()
	})
	r.expect(t, "read")
	r.expect(t, "eof")
	if string(got) != "unread" {
		t.Fatalf("%q", got)
	}
}

// TestReset: a socket that was reset is told broken, once.
func TestReset(t *testing.T) {
	l := running(t, Options{})
	nc, src := pair(t)
	r := newRecorder(swallow)
	adopt(t, l, r, src)
	if err := nc.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := nc.Close(); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "broken")
	call(l, func() {}) // the turn in which the handler heard of it is over
	if n := l.Connections(); n != 0 {
		t.Fatal(n)
	}
}

// TestBacklog: what the other side does not read is kept and leaves in order when it reads.
func TestBacklog(t *testing.T) {
	l := running(t, Options{})
	nc, src := pair(t)
	r := newRecorder(swallow)
	adopt(t, l, r, src)
	var want []byte
	for i := byte(0); ; i++ {
		chunk := bytes.Repeat([]byte{i}, 32<<10)
		want = append(want, chunk...)
		full := false
		call(l, func() { r.Send(chunk); full = r.Backlog() > 0 })
		if full {
			break
		}
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
		t.Fatal("other bytes arrived", err)
	}
	r.expect(t, "drained")
	call(l, func() {
		if r.out != nil {
			t.Error("the backlog's buffer was kept")
		}
	})
}

// TestMove: a Conn changes loops with the bytes it has kept and those it has not sent.
func TestMove(t *testing.T) {
	a, b := running(t, Options{}), running(t, Options{})
	nc, src := pair(t)
	r := newRecorder(func(r *recorder, p []byte) int {
		if r.Loop() == b {
			return echo(r, p)
		}
		r.PauseReads()
		r.events <- "kept"
		return 0
	})
	adopt(t, a, r, src)
	write(t, nc, "travels")
	r.expect(t, "kept")
	var moved Source
	call(a, func() { moved = r.Detach(); moved.Backlog = []byte("first ") })
	adopt(t, b, r, moved)
	expectBytes(t, nc, "first travels")
	if a.Connections() != 0 || b.Connections() != 1 {
		t.Error(a.Connections(), b.Connections())
	}
}

// TestCloseInHandlers: closing one Conn from another's handler, with events of both fetched in one look, calls nobody afterwards.
func TestCloseInHandlers(t *testing.T) {
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.kernel.Close()
	calls := 0
	var all []*recorder
	for range 10 {
		nc, src := pair(t)
		r := newRecorder(func(*recorder, []byte) int {
			calls++
			for _, other := range all {
				other.Close()
			}
			return 0
		})
		all = append(all, r)
		if err := l.Adopt(&r.Conn, src, r); err != nil {
			t.Fatal(err)
		}
		write(t, nc, "x")
	}
	for calls == 0 {
		l.Turn(false)
	}
	l.Turn(false)
	if calls != 1 || l.Connections() != 0 {
		t.Fatalf("%d calls, %d left", calls, l.Connections())
	}
}

// TestPanic: a handler's panic costs its own Conn only.
func TestPanic(t *testing.T) {
	panics := make(chan any, 1)
	l := running(t, Options{OnPanic: func(v any, _ []byte) { panics <- v }})
	bad, src := pair(t)
	r := newRecorder(func(*recorder, []byte) int { panic("oh") })
	adopt(t, l, r, src)
	good, src2 := pair(t)
	r2 := newRecorder(echo)
	adopt(t, l, r2, src2)
	write(t, bad, "x")
	if v := <-panics; v != "oh" {
		t.Fatal(v)
	}
	r.expect(t, "broken")
	write(t, good, "fine")
	expectBytes(t, good, "fine")
}

// TestPostOrder: posts run in order, from many goroutines without loss.
func TestPostOrder(t *testing.T) {
	l := running(t, Options{})
	var mu sync.Mutex
	var got []int
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 1000 {
				l.Post(func() { mu.Lock(); got = append(got, g*1000+i); mu.Unlock() })
			}
		})
	}
	wg.Wait()
	call(l, func() {})
	if len(got) != 4000 {
		t.Fatal(len(got))
	}
	for g := range 4 {
		mine := slices.DeleteFunc(slices.Clone(got), func(n int) bool { return n/1000 != g })
		if !slices.IsSorted(mine) {
			t.Fatal("out of order")
		}
	}
}

// TestGarbageCollection is not held up by a loop that waits: the raw wait is interrupted by the runtime's signal.
func TestGarbageCollection(t *testing.T) {
	l := running(t, Options{})
	ticks := 0
	call(l, func() { l.Every(time.Millisecond, func(time.Duration) { ticks++ }).Start() })
	for range 50 {
		runtime.GC() // stops the world; would hang if the loop could not be stopped
	}
	for n := 0; n < 3; runtime.Gosched() {
		call(l, func() { n = ticks })
	}
}

// TestNothingAllocated per turn with traffic.
func TestNothingAllocated(t *testing.T) {
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.kernel.Close()
	nc, src := pair(t)
	r := newRecorder(echo)
	if err := l.Adopt(&r.Conn, src, r); err != nil {
		t.Fatal(err)
	}
	msg, back := []byte("ping"), make([]byte, 4)
	turn := func() {
		if _, err := nc.Write(msg); err != nil {
			t.Fatal(err)
		}
		l.Turn(true)
		if _, err := io.ReadFull(nc, back); err != nil {
			t.Fatal(err)
		}
	}
	turn()
	if n := testing.AllocsPerRun(200, turn); n != 0 {
		t.Errorf("%v allocations", n)
	}
	r.Close()
}

// TestConnSize: it is embedded in each of thousands of idle clients.
func TestConnSize(t *testing.T) {
	if n := unsafe.Sizeof(Conn{}); n > 96 {
		t.Errorf("%d bytes", n)
	}
}

// TestLastWordsOfAHalfClosed: one that sends no more gets all it has been sent before the end.
func TestLastWordsOfAHalfClosed(t *testing.T) {
	l := running(t, Options{})
	nc, src := pair(t)
	r := newRecorder(swallow)
	adopt(t, l, r, src)
	if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "eof")
	words := bytes.Repeat([]byte("last words "), 1<<20)
	call(l, func() { r.Send(words); r.CloseAfterDrain(20 * time.Second) })
	got, err := io.ReadAll(nc)
	if err != nil || !bytes.Equal(got, words) {
		t.Errorf("%d of %d bytes came, %v", len(got), len(words), err)
	}
	call(l, func() {}) // what the last bytes led to
	if n := l.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// TestManyCloseAtOnce: what others wait for goes on while many sockets are closed, no turn sleeps before the last of them is, and none is
// reported meanwhile.
func TestManyCloseAtOnce(t *testing.T) {
	const many = 100
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var leaving [many]*recorder
	for i := range leaving {
		nc, src := pair(t)
		write(t, nc, "unread") // which the kernel would report for ever
		leaving[i] = newRecorder(swallow)
		if err := l.Adopt(&leaving[i].Conn, src, leaving[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range leaving {
		r.CloseSoon()
	}
	for left := many; left > 0; {
		l.Turn(true) // would sleep for ever
		closed := left - len(l.closing)
		if left = len(l.closing); closed < 1 || closed > closesPerTurn+many/closesShare {
			t.Fatalf("a turn has closed %d, %d are left", closed, left)
		}
		if n := l.kernel.Wait(l.events[:], 0); n != 0 {
			t.Fatalf("%d events of sockets that are to be closed", n)
		}
	}
	if err := l.kernel.Close(); err != nil {
		t.Error(err)
	}
}

// TestDescriptors: nothing is left open.
func TestDescriptors(t *testing.T) {
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return 0
		}
		return len(entries)
	}
	before := open()
	for range 20 {
		l, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { l.Run(); close(done) }()
		var clients [2 * closesPerTurn]net.Conn
		for i := range clients {
			nc, src := pair(t)
			r := newRecorder(echo)
			adopt(t, l, r, src)
			write(t, nc, "x")
			expectBytes(t, nc, "x")
			clients[i] = nc
		}
		l.Stop()
		<-done
		for _, nc := range clients {
			if err := nc.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if after := open(); after > before+2 {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// TestMoveInHandler: a Conn that is handed to another loop from its own handler is not touched by the first any more. The race
// detector is the judge.
func TestMoveInHandler(t *testing.T) {
	a, b := running(t, Options{}), running(t, Options{})
	nc, src := pair(t)
	var r *recorder
	r = newRecorder(func(_ *recorder, p []byte) int {
		to := b
		if r.Loop() == b {
			to = a
		}
		r.Send(p)
		moved := r.Detach()
		to.Post(func() {
			if err := to.Adopt(&r.Conn, moved, r); err != nil {
				t.Error(err)
			}
		})
		return len(p)
	})
	adopt(t, a, r, src)
	for range 500 {
		write(t, nc, "x")
		expectBytes(t, nc, "x")
	}
}
