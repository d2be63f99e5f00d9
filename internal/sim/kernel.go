package sim

import (
	"syscall"
	"time"

	"github.com/hybridbouncer/hybridbouncer/eventloop"
)

// kernel is what one loop sees of the world: an eventloop.Kernel over sockets in memory.
type kernel struct {
	world   *world
	watched []*socket
	woken   bool
}

// socket is a connection between the pooler, which knows it by its number, and a client or a server of the simulation.
type socket struct {
	world  *world
	fd     int
	token  uint64
	want   eventloop.Interest
	window int // what the pooler may have on its way at once
	slow   time.Duration

	// towards the pooler
	ready    []byte
	ended    bool // FIN has arrived
	reset    bool // RST has arrived
	arrival  time.Duration
	finished bool // the other side has sent FIN

	// from the pooler
	flying    int
	departure time.Duration
	shut      bool // the pooler has sent FIN
	closed    bool // the pooler has closed it
	deaf      bool // the other side has closed it

	onSend func(b []byte) // the pooler has sent; it has not arrived; may be nil
	onData func(b []byte)
	onEnd  func(reset bool)
}

// open makes a socket. The owner sets onData and onEnd before anything can arrive.
func (w *world) open() *socket {
	s := &socket{world: w, fd: len(w.sockets), window: 1 << (6 + w.rnd.IntN(11)), slow: w.between(0, 3*time.Millisecond)}
	w.sockets = append(w.sockets, s)
	return s
}

// delay is when the next thing on a stream arrives, never before what was sent earlier.
func (s *socket) delay(last *time.Duration) time.Duration {
	*last = max(*last, s.world.now+s.world.between(0, s.slow))
	return *last
}

// send is the other side sending to the pooler, cut into pieces.
func (s *socket) send(b []byte) {
	if s.finished || s.deaf {
		return
	}
	for len(b) > 0 {
		n := len(b)
		if s.world.rnd.IntN(3) == 0 {
			n = 1 + s.world.rnd.IntN(n)
		}
		piece := b[:n:n]
		s.world.at(s.delay(&s.arrival), func() {
			if !s.closed {
				s.ready = append(s.ready, piece...)
			}
		})
		b = b[n:]
	}
}

// finish is the other side's FIN; it goes on reading.
func (s *socket) finish() {
	if s.finished {
		return
	}
	s.finished = true
	s.world.at(s.delay(&s.arrival), func() { s.ended = true })
}

// hangUp is the other side closing for good: what still arrives there is answered with RST.
func (s *socket) hangUp() {
	s.finish()
	s.deaf = true
}

// abort is the other side's RST.
func (s *socket) abort() {
	s.deaf, s.finished = true, true
	s.world.at(s.world.now+s.world.between(0, s.slow), func() { s.reset, s.ready = true, nil })
}

// deliver is the other side receiving.
func (s *socket) deliver(b []byte) {
	s.flying -= len(b)
	if s.deaf {
		s.reset, s.ready = true, nil
		return
	}
	s.onData(b)
}

func (k *kernel) Add(fd int, token uint64, want eventloop.Interest) error {
	s := k.world.sockets[fd]
	s.token, s.want = token, want
	k.watched = append(k.watched, s)
	return nil
}

func (k *kernel) Modify(fd int, token uint64, want eventloop.Interest) error {
	s := k.world.sockets[fd]
	s.token, s.want = token, want
	return nil
}

func (k *kernel) Remove(fd int) error {
	for i, s := range k.watched {
		if s.fd == fd {
			k.watched = append(k.watched[:i], k.watched[i+1:]...)
			return nil
		}
	}
	return syscall.ENOENT
}

func (s *socket) flags() (f eventloop.Flags) {
	if s.want&eventloop.WantRead != 0 && (len(s.ready) > 0 || s.ended || s.reset) {
		f |= eventloop.Readable
	}
	if s.want&eventloop.WantWrite != 0 && (s.flying < s.window || s.reset) {
		f |= eventloop.Writable
	}
	if s.want&eventloop.WantHangup != 0 && (s.ended || s.reset) {
		f |= eventloop.HalfClosed
	}
	if s.reset || s.ended && s.shut {
		f |= eventloop.HungUp
	}
	return f
}

// Wait looks at the sockets from a random one on, and may leave some for later.
func (k *kernel) Wait(events []eventloop.Event, _ time.Duration) int {
	k.woken = false
	n, count := 0, len(k.watched)
	if count == 0 {
		return 0
	}
	first := k.world.rnd.IntN(count)
	for i := range count {
		s := k.watched[(first+i)%count]
		f := s.flags()
		if f == 0 {
			continue
		}
		k.world.turnSoon()
		if n == len(events) || k.world.rnd.IntN(8) == 0 {
			continue
		}
		events[n] = eventloop.Event{Token: s.token, Flags: f}
		n++
	}
	return n
}

func (k *kernel) Wake() {
	k.woken = true
	k.world.turnSoon()
}

func (k *kernel) Recv(fd int, b []byte) (int, syscall.Errno) {
	s := k.world.sockets[fd]
	switch {
	case s.closed:
		return 0, syscall.EBADF
	case s.reset:
		return 0, syscall.ECONNRESET
	case len(s.ready) == 0 && s.ended:
		return 0, 0
	case len(s.ready) == 0:
		return 0, syscall.EAGAIN
	}
	n := min(len(b), len(s.ready))
	if k.world.rnd.IntN(4) == 0 {
		n = 1 + k.world.rnd.IntN(n)
	}
	copy(b, s.ready[:n])
	s.ready = s.ready[n:]
	return n, 0
}

func (k *kernel) Send(fd int, b []byte) (int, syscall.Errno) {
	s := k.world.sockets[fd]
	switch {
	case s.closed:
		return 0, syscall.EBADF
	case s.reset:
		return 0, syscall.ECONNRESET
	case s.shut:
		return 0, syscall.EPIPE
	}
	n := min(len(b), s.window-s.flying)
	if n <= 0 || k.world.rnd.IntN(32) == 0 {
		return 0, syscall.EAGAIN
	}
	if k.world.rnd.IntN(8) == 0 {
		n = 1 + k.world.rnd.IntN(n)
	}
	piece := append([]byte(nil), b[:n]...)
	if s.onSend != nil {
		s.onSend(piece)
	}
	s.flying += n
	k.world.at(s.delay(&s.departure), func() { s.deliver(piece) })
	return n, 0
}

// Batches: half of the worlds have an io_uring.
func (k *kernel) Batches() bool { return k.world.batches }

func (k *kernel) SendAll(batch []eventloop.Outgoing) {
	for i := range batch {
		batch[i].N, batch[i].Errno = k.Send(batch[i].FD, batch[i].Bytes)
	}
}

func (k *kernel) Peek(fd int) bool {
	s := k.world.sockets[fd]
	return len(s.ready) > 0 || s.ended || s.reset
}

func (k *kernel) ShutdownWrite(fd int) { k.world.sockets[fd].shutdown() }

func (s *socket) shutdown() {
	if s.shut {
		return
	}
	s.shut = true
	s.world.at(s.delay(&s.departure), func() {
		if !s.deaf {
			s.onEnd(false)
		}
	})
}

func (k *kernel) CloseFD(fd int) {
	s := k.world.sockets[fd]
	if s.closed {
		k.world.fail("descriptor %d is closed twice", fd)
		return
	}
	s.closed = true
	if len(s.ready) > 0 && !s.shut {
		// As a kernel does that holds bytes nobody will read. What was sent before may be lost.
		s.shut = true
		s.world.at(s.delay(&s.departure), func() {
			if !s.deaf {
				s.onEnd(true)
			}
		})
		return
	}
	s.shutdown()
}

func (k *kernel) Now() time.Duration { return k.world.now }

func (k *kernel) Close() error { return nil }
