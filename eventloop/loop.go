// Package eventloop owns readiness: loops that watch sockets, read and send without blocking, and keep time. It must not know PostgreSQL,
// nor anything else of this program.
//
// A Loop is one locked operating-system thread. Everything that belongs to it (its Conns, tickers, buffers) is touched by that thread
// only; Post, Stop, Connections, BusyTotal and ThreadTime may be called from any goroutine. Handlers run on the loop and must not block.
//
// Read loop.go (a turn), then conn.go (a socket) and batch.go (what a turn sends leaves together); tls.go and transport.go for one that speaks
// TLS; kernel.go is the small interface to epoll (with io_uring, ring_linux.go) and kqueue.
package eventloop

import (
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options say how a loop is made. The zero value is good.
type Options struct {
	Kernel          Kernel                    // nil: the operating system's
	ReadBufferBytes int                       // what one read may deliver; 0: 64 KiB
	OnPanic         func(v any, stack []byte) // told of a panic in a handler; the Conn it happened on is broken
	OneByOne        bool                      // each send is a system call of its own, also where io_uring could take many
}

const defaultReadBuffer = 64 << 10

// Loop watches sockets and calls their handlers.
type Loop struct {
	// immutable
	kernel  Kernel
	batches bool // see batch.go
	onPanic func(v any, stack []byte)

	// owned by the loop's thread
	events  [maxEvents]Event
	buffer  []byte // shared by all reads
	sealed  []byte // the same for what TLS has still to decrypt; nil until the first TLS connection
	sealing []byte // and for what it has encrypted
	conns   []*Conn
	gen     uint32
	now     time.Duration
	tickers []*Ticker
	later   []func()
	ready   []*Conn // with kept bytes to deliver again, or broken
	spare   [][]byte
	outbox  outbox
	closing []int // sockets that nobody watches any more, to be closed
	current *Conn // whose handler is running; nil once it has left this loop

	// atomic
	count  atomic.Int64
	busy   atomic.Int64
	thread atomic.Int64

	// guarded by mu
	mu      sync.Mutex
	posted  []func()
	stopped bool
	running []func() // the batch being run: recycled
}

// New makes a loop. It does nothing until Run or Turn.
func New(o Options) (*Loop, error) {
	k := o.Kernel
	if k == nil {
		var err error
		if k, err = newKernel(o); err != nil {
			return nil, err
		}
	}
	n := o.ReadBufferBytes
	if n == 0 {
		n = defaultReadBuffer
	}
	l := &Loop{kernel: k, batches: k.Batches(), onPanic: o.OnPanic, buffer: make([]byte, n)}
	l.now = k.Now()
	return l, nil
}

// Run turns until Stop, on a thread of its own; then every Conn that is left is closed.
func (l *Loop) Run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l.thread.Store(threadID())
	for l.Turn(true) {
	}
	for _, c := range l.conns {
		if c != nil {
			c.Close()
		}
	}
	for len(l.closing) > 0 {
		l.closeSockets()
	}
	_ = l.kernel.Close()
}

// Turn waits for events (block) or only looks, and handles what there is. It reports false after Stop. Run calls it; so does a
// simulation, which then stands for the loop's thread.
func (l *Loop) Turn(block bool) bool {
	l.owned("Turn")
	l.deliverOutbox() // what was sent between two turns
	n := l.kernel.Wait(l.events[:], l.patience(block))
	start := l.kernel.Now()
	l.now = start
	for i := range n {
		l.dispatch(l.events[i])
		l.settle()
	}
	open := l.runPosted()
	l.runTickers()
	l.settle()
	l.deliverOutbox()
	l.closeSockets()
	l.busy.Add(int64(l.kernel.Now() - start))
	return open
}

// patience is how long a wait may last.
func (l *Loop) patience(block bool) time.Duration {
	if !block || len(l.later) > 0 || len(l.ready) > 0 || len(l.closing) > 0 {
		return 0
	}
	wait := time.Duration(-1)
	now := time.Duration(-1)
	for _, t := range l.tickers {
		if now < 0 {
			now = l.kernel.Now()
		}
		if left := max(0, t.due-now); wait < 0 || left < wait {
			wait = left
		}
	}
	return wait
}

// dispatch hands an event to its Conn, unless that is gone: events of one look may close each other's Conns.
func (l *Loop) dispatch(e Event) {
	fd, gen := int(uint32(e.Token)), uint32(e.Token>>32)
	if fd >= len(l.conns) {
		return
	}
	if c := l.conns[fd]; c != nil && c.gen == gen {
		l.guarded(c, e.Flags)
	}
}

// settle does what handlers have left to be done: no handler is ever called from inside another.
func (l *Loop) settle() {
	for len(l.ready) > 0 || len(l.later) > 0 {
		for i := 0; i < len(l.ready); i++ {
			if c := l.ready[i]; c != nil {
				c.state &^= queued
				l.guarded(c, 0)
			}
		}
		l.ready = l.ready[:0]
		for i := 0; i < len(l.later); i++ {
			l.contain(l.later[i])
		}
		clear(l.later)
		l.later = l.later[:0]
	}
}

// Of the sockets that may be closed soon a turn closes closesPerTurn, and a share of those that are left, so that there is an end to them
// however many come. To close one takes the kernel as long as a query takes the pooler, for it says goodbye on the spot: when thousands
// leave at once, the others need not wait until all are gone.
const (
	closesPerTurn = 8
	closesShare   = 64
)

// closeSockets closes some of the sockets that are to be closed.
func (l *Loop) closeSockets() {
	n := min(len(l.closing), closesPerTurn+len(l.closing)/closesShare)
	for _, fd := range l.closing[:n] {
		l.kernel.CloseFD(fd)
	}
	l.closing = slices.Delete(l.closing, 0, n)
}

// contain runs f and survives its panic.
func (l *Loop) contain(f func()) {
	defer l.recovered(nil)
	f()
}

// recovered is deferred around everything that is not this package's.
func (l *Loop) recovered(c *Conn) {
	v := recover()
	if v == nil {
		return
	}
	if l.onPanic == nil {
		panic(v)
	}
	l.onPanic(v, debug.Stack())
	if c != nil && l.current == c {
		c.fail(errPanic)
	}
	l.current = nil
}

// Post runs f on the loop in its next turn, in the order of the calls. Any goroutine. After Stop it does nothing.
func (l *Loop) Post(f func()) {
	l.mu.Lock()
	first := len(l.posted) == 0
	if !l.stopped {
		l.posted = append(l.posted, f)
	}
	l.mu.Unlock()
	if first {
		l.kernel.Wake()
	}
}

func (l *Loop) runPosted() (open bool) {
	l.mu.Lock()
	batch := l.posted
	l.posted = l.running[:0]
	open = !l.stopped
	l.mu.Unlock()
	for _, f := range batch {
		l.contain(f)
		l.settle()
	}
	clear(batch)
	l.mu.Lock()
	l.running = batch[:0]
	l.mu.Unlock()
	return open
}

// Stop makes Run return after its current turn. Any goroutine.
func (l *Loop) Stop() {
	l.mu.Lock()
	stopped := l.stopped
	l.stopped = true
	l.mu.Unlock()
	if !stopped {
		l.kernel.Wake()
	}
}

// Later runs f when the current handler has returned.
func (l *Loop) Later(f func()) {
	l.owned("Later")
	l.later = append(l.later, f)
}

// Now is the time at which this turn began.
func (l *Loop) Now() time.Duration {
	l.owned("Now")
	return l.now
}

// Clock is the time now, not that of the turn. Any goroutine.
func (l *Loop) Clock() time.Duration { return l.kernel.Now() }

// Connections is how many Conns the loop has. Any goroutine.
func (l *Loop) Connections() int { return int(l.count.Load()) }

// Backlogged reports whether some socket has not taken all that was sent to it. It looks at every connection.
func (l *Loop) Backlogged() bool {
	l.owned("Loop.Backlogged")
	return slices.ContainsFunc(l.conns, func(c *Conn) bool { return c != nil && c.Unsent() > 0 })
}

// BusyTotal is the time spent handling, not waiting. Any goroutine.
func (l *Loop) BusyTotal() time.Duration { return time.Duration(l.busy.Load()) }

// ThreadTime is the processor time that the loop's thread has used: what BusyTotal is on a machine that has a processor free for it. Any
// goroutine.
func (l *Loop) ThreadTime() time.Duration {
	if used, ok := threadTime(l.thread.Load()); ok && l.thread.Load() != 0 {
		return used
	}
	return l.BusyTotal()
}

// OnLoop reports whether the caller runs on the loop's thread. A loop that is turned by hand says yes to everybody.
func (l *Loop) OnLoop() bool {
	t := l.thread.Load()
	return t == 0 || t == threadID()
}

// buffers that are given back.
const (
	spareMax      = 256
	spareBytes    = 4 << 10
	spareBytesBig = 64 << 10
)

// take finds a buffer for n bytes that are kept for a while.
func (l *Loop) take(n int) []byte {
	if n <= spareBytes {
		if last := len(l.spare) - 1; last >= 0 {
			b := l.spare[last]
			l.spare = l.spare[:last]
			return b
		}
		return make([]byte, 0, spareBytes)
	}
	return make([]byte, 0, n)
}

// give takes a buffer back; large ones go to the garbage collector, so that one large message does not stay for ever.
func (l *Loop) give(b []byte) {
	if cap(b) == spareBytes && len(l.spare) < spareMax {
		l.spare = append(l.spare, b[:0])
	}
}
