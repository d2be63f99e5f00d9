package eventloop

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Handler is told what happens on a Conn. All calls come from the loop's thread, never from inside another call of this package, and
// none comes after Close or Detach.
type Handler interface {
	// OnRead delivers what was kept and what has just come, in one piece that is valid until it returns. What it does not consume is
	// kept and given again in front of the next bytes, or on ResumeReads. If the kept bytes fill the whole read buffer they are
	// given again as they are: the handler must take some, pause or close.
	OnRead(b []byte) (consumed int)
	// OnEOF: the other side sends no more; all it has sent has been delivered. Sending may still work. Called once.
	OnEOF()
	// OnHangup: the end of the stream was noticed while reads are paused. Called once; OnEOF follows if reads are resumed.
	OnHangup()
	// OnDrained: the backlog has left.
	OnDrained()
	// OnBroken: the socket is dead. Called once, nothing follows but Close.
	OnBroken(err error)
}

// Conn is a socket on a loop. It is embedded by value in its owner; idle, it owns no buffer. The zero value becomes alive by Adopt.
// All methods belong to the loop's thread and may be called from inside any handler of the same loop.
type Conn struct {
	loop    *Loop // nil: not on a loop
	handler Handler
	tls     *Transport // nil: plain. Then everything above the socket calls is in tls.go
	kept    []byte     // delivered and not consumed
	out     []byte     // the backlog: what the socket would not take
	fd      int32
	gen     uint32
	readMax int32
	state   connState
	errno   uint8    // of every system it is less than 256
	want    Interest // as the kernel knows it; 0: not watched
}

type connState uint16

const (
	paused     connState = 1 << iota // reads are
	ended                            // the end of the stream has been read
	hangTold                         // OnHangup has been called
	maybeMore                        // the last read filled its buffer
	broken                           // OnBroken is due or has been called
	resumed                          // kept bytes are due
	queued                           // in loop.ready
	posted                           // in loop.outbox
	delivering                       // OnRead is running: what it leaves is not in kept yet
)

var errPanic = errors.New("a handler panicked")

// Adopt puts a socket onto the loop and delivers its unread bytes when the current handler has returned. Ownership of src passes here,
// also on an error. The loop's thread only.
func (l *Loop) Adopt(c *Conn, src Source, h Handler) error {
	l.owned("Adopt")
	l.gen++
	*c = Conn{loop: l, handler: h, fd: int32(src.FD), gen: l.gen}
	for len(l.conns) <= src.FD {
		l.conns = append(l.conns, make([]*Conn, len(l.conns)+64)...)
	}
	l.conns[src.FD] = c
	l.count.Add(1)
	if len(src.Backlog) > 0 {
		c.out = append(l.take(len(src.Backlog)), src.Backlog...)
	}
	if len(src.Unread) > 0 {
		c.kept = append(l.take(len(src.Unread)), src.Unread...)
	}
	if src.TLS != nil {
		l.bufferTLS()
		c.tls = src.TLS
	}
	c.redeliver()
	c.want = c.wanted()
	if err := l.kernel.Add(src.FD, c.token(), c.want); err != nil {
		c.want = 0
		c.Close()
		return fmt.Errorf("watching a socket: %w", err)
	}
	return nil
}

func (c *Conn) token() uint64 { return uint64(uint32(c.fd)) | uint64(c.gen)<<32 }

// Loop is the loop the Conn is on, nil for none.
func (c *Conn) Loop() *Loop { return c.loop }

// Backlog is how many bytes the socket would not take. What has been sent in this turn may not have been offered to it yet.
func (c *Conn) Backlog() int {
	c.loop.owned("Conn.Backlog")
	return len(c.out)
}

// Unsent is Backlog once the socket has been offered all that was sent.
func (c *Conn) Unsent() int {
	c.loop.owned("Conn.Unsent")
	c.unpost()
	return len(c.out)
}

// Kept is how many bytes were delivered and not consumed.
func (c *Conn) Kept() int {
	c.loop.owned("Conn.Kept")
	return len(c.kept)
}

// KeptBytes lends them to look at.
func (c *Conn) KeptBytes(look func(b []byte)) {
	c.loop.owned("Conn.KeptBytes")
	look(c.kept)
}

// ReadsPaused reports whether reads are paused.
func (c *Conn) ReadsPaused() bool {
	c.loop.owned("Conn.ReadsPaused")
	return c.state&paused != 0
}

// SetReadMax bounds what one OnRead delivers beyond the kept bytes; 0: the whole read buffer.
func (c *Conn) SetReadMax(bytes int) {
	c.loop.owned("Conn.SetReadMax")
	c.readMax = int32(bytes)
}

// Unread reports whether bytes may be waiting in the socket. After a read that did not fill its buffer it costs nothing.
func (c *Conn) Unread() bool {
	c.loop.owned("Conn.Unread")
	if c.loop == nil {
		return false
	}
	return c.tls != nil && c.tls.undelivered() || c.state&maybeMore != 0 && c.loop.kernel.Peek(int(c.fd))
}

// queue asks the loop to call handle when the current handler has returned.
func (c *Conn) queue() {
	if c.state&queued == 0 {
		c.state |= queued
		c.loop.ready = append(c.loop.ready, c)
	}
}

// redeliver has what was kept delivered again, when the current handler has returned.
func (c *Conn) redeliver() {
	if len(c.kept) > 0 || c.state&delivering != 0 || c.tls != nil && c.tls.more {
		c.state |= resumed
		c.queue()
	}
}

// guarded handles readiness and contains a handler's panic.
func (l *Loop) guarded(c *Conn, f Flags) {
	l.current = c
	defer l.recovered(c)
	c.handle(l, f)
	l.current = nil
}

// handle deals with readiness. After each call of the handler it asks the loop, not the Conn, whether the Conn is still there: it may
// have been closed, or may live on another loop by now.
func (c *Conn) handle(l *Loop, f Flags) {
	if f == 0 {
		c.due()
		return
	}
	if f&Writable != 0 {
		c.flush()
		if l.current != c {
			return
		}
	}
	if f&(Readable|HalfClosed|HungUp) == 0 {
		return
	}
	if c.state&paused != 0 {
		c.silence(l, f)
		return
	}
	if c.state&ended == 0 {
		c.read()
		return
	}
	if f&HungUp != 0 {
		c.fail(syscall.ECONNRESET)
	}
}

// due does what was queued: the news that the socket is dead, or kept bytes after ResumeReads.
func (c *Conn) due() {
	if c.errno != 0 {
		err := syscall.Errno(c.errno)
		c.errno = 0
		c.handler.OnBroken(err)
		return
	}
	if c.state&resumed == 0 || c.state&(paused|broken) != 0 {
		return
	}
	c.state &^= resumed
	if c.tls != nil && c.tls.more {
		c.readTLS()
		return
	}
	if len(c.kept) > 0 {
		n := copy(c.loop.buffer, c.kept)
		c.deliver(c.loop.buffer[:n])
	}
}

// silence is called when something arrives although reads are paused. Pausing itself costs no system call: only now is the kernel
// asked to say no more of it.
func (c *Conn) silence(l *Loop, f Flags) {
	if f&(HalfClosed|HungUp) != 0 && c.state&hangTold == 0 {
		c.state |= hangTold
		c.handler.OnHangup()
		if l.current != c {
			return
		}
	}
	c.watch()
}

// wanted is what the kernel should watch for. Paused reads are watched for until something arrives; see silence.
func (c *Conn) wanted() (want Interest) {
	if len(c.out) > 0 {
		want = WantWrite
	}
	switch {
	case c.state&ended != 0:
	case c.state&paused == 0:
		want |= WantRead | WantHangup
	case c.state&hangTold == 0:
		want |= WantHangup
	}
	return want
}

// watch tells the kernel what is wanted, if that has changed.
func (c *Conn) watch() {
	want, k := c.wanted(), c.loop.kernel
	if want == c.want {
		return
	}
	var err error
	switch {
	case c.want == 0:
		err = k.Add(int(c.fd), c.token(), want)
	case want == 0:
		err = k.Remove(int(c.fd)) // death cannot be left out of a watch, and would be reported for ever
	default:
		err = k.Modify(int(c.fd), c.token(), want)
	}
	c.want = want
	if err != nil {
		c.fail(err)
	}
}

// read takes what the socket has, up to a buffer full, and delivers it behind the kept bytes.
func (c *Conn) read() {
	if c.tls != nil {
		c.readTLS()
		return
	}
	l := c.loop
	start := copy(l.buffer, c.kept)
	end := len(l.buffer)
	if c.readMax > 0 {
		end = min(end, start+int(c.readMax))
	}
	if start == end {
		c.deliver(l.buffer[:end])
		return
	}
	if n := c.recv(l.buffer[start:end]); n > 0 {
		c.deliver(l.buffer[:start+n])
	}
}

// recv fills room from the socket. With 0 there is nothing to deliver, and what there is to say has been said.
func (c *Conn) recv(room []byte) int {
	n, errno := c.loop.kernel.Recv(int(c.fd), room)
	c.state &^= maybeMore
	switch {
	case errno == 0 && n > 0:
		if n == len(room) {
			c.state |= maybeMore
		}
		return n
	case errno == 0:
		c.end()
	case errno != syscall.EAGAIN && errno != syscall.EINTR:
		c.fail(errno)
	}
	return 0
}

// end: the other side sends no more.
func (c *Conn) end() {
	c.state |= ended
	c.watch()
	c.handler.OnEOF()
}

// deliver hands b, which is in the loop's buffer, to the handler and keeps what it leaves.
func (c *Conn) deliver(b []byte) {
	l, old := c.loop, c.kept
	c.kept = nil
	c.state |= delivering
	consumed := c.handler.OnRead(b)
	if l.current != c {
		if old != nil {
			l.give(old)
		}
		return
	}
	c.state &^= delivering
	rest := b[consumed:]
	if len(rest) == 0 {
		if old != nil {
			l.give(old)
		}
		return
	}
	if cap(old) < len(rest) {
		if old != nil {
			l.give(old)
		}
		old = l.take(len(rest))
	}
	c.kept = append(old[:0], rest...)
}

// Send sends what the socket takes at once; the rest becomes the backlog and leaves when it can. It never calls a handler.
func (c *Conn) Send(b []byte) {
	c.loop.owned("Conn.Send")
	if c.tls != nil {
		c.sendTLS(b)
		return
	}
	c.transmit(b)
}

// transmit is Send of bytes as they go over the network.
func (c *Conn) transmit(b []byte) {
	if c.loop == nil || len(b) == 0 || c.post(b) || c.state&broken != 0 {
		return
	}
	if len(c.out) > 0 {
		c.out = append(c.out, b...)
		return
	}
	n, errno := c.loop.kernel.Send(int(c.fd), b)
	c.sent(b, n, errno)
}

// sent notes how many bytes of b the socket has taken; the rest becomes the backlog.
func (c *Conn) sent(b []byte, n int, errno syscall.Errno) {
	switch {
	case errno == 0 && n == len(b):
		return
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
		n = 0
	case errno != 0:
		c.fail(errno)
		return
	}
	c.out = append(c.loop.take(len(b)-n), b[n:]...)
	c.watch()
}

// flush sends the backlog.
func (c *Conn) flush() {
	if len(c.out) == 0 {
		return
	}
	n, errno := c.loop.kernel.Send(int(c.fd), c.out)
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
		return
	case errno != 0:
		c.fail(errno)
		return
	}
	if n < len(c.out) {
		c.out = c.out[:copy(c.out, c.out[n:])]
		return
	}
	c.loop.give(c.out)
	c.out = nil
	c.watch()
	c.handler.OnDrained()
}

// fail notes that the socket is dead; OnBroken is called when the current handler has returned.
func (c *Conn) fail(err error) {
	if c.state&broken != 0 || c.loop == nil {
		return
	}
	c.state |= broken
	errno := syscall.EIO
	if e, ok := err.(syscall.Errno); ok { //nolint:errorlint // made in this package
		errno = e
	}
	c.errno = uint8(errno)
	if c.want != 0 {
		_ = c.loop.kernel.Remove(int(c.fd))
		c.want = 0
	}
	c.queue()
}

// PauseReads stops delivery. It costs no system call unless something arrives meanwhile.
func (c *Conn) PauseReads() {
	c.loop.owned("Conn.PauseReads")
	c.state |= paused
}

// ResumeReads starts delivery again; kept bytes, and those that the OnRead that calls it leaves, are delivered when the current handler has
// returned.
func (c *Conn) ResumeReads() {
	c.loop.owned("Conn.ResumeReads")
	if c.loop == nil || c.state&paused == 0 {
		return
	}
	c.state &^= paused
	if c.state&broken != 0 {
		return
	}
	c.watch()
	c.redeliver()
}

// leave takes the Conn off its loop.
func (c *Conn) leave() {
	l := c.loop
	if l.current == c {
		l.current = nil
	}
	if c.state&queued != 0 {
		for i, other := range l.ready {
			if other == c {
				l.ready[i] = nil
			}
		}
		c.state &^= queued
	}
	l.conns[c.fd] = nil
	l.count.Add(-1)
	c.loop = nil
}

// Close ends the Conn at once; the backlog is lost. No handler is called any more.
func (c *Conn) Close() {
	c.loop.owned("Conn.Close")
	if l := c.loop; l != nil {
		c.release()
		l.kernel.CloseFD(int(c.fd)) // which also ends its watch
	}
}

// CloseSoon is Close where nobody waits for the socket itself to be closed: that is done when the turn ends, or in one of the next if many are.
func (c *Conn) CloseSoon() {
	c.loop.owned("Conn.CloseSoon")
	l := c.loop
	if l == nil {
		return
	}
	c.release()
	if c.want != 0 {
		_ = l.kernel.Remove(int(c.fd)) // or it would be reported until then
	}
	l.closing = append(l.closing, int(c.fd))
}

// release takes the Conn off its loop and gives back all it has but the socket.
func (c *Conn) release() {
	l := c.loop
	c.unpost()
	c.leave()
	if c.kept != nil {
		l.give(c.kept)
	}
	if c.out != nil {
		l.give(c.out)
	}
	if c.tls != nil {
		l.give(c.tls.sealed)
	}
	c.kept, c.out, c.tls = nil, nil, nil
}

// Detach takes the Conn off its loop with everything that belongs to it, for another loop's Adopt. Ownership passes to the caller.
func (c *Conn) Detach() Source {
	c.loop.owned("Conn.Detach")
	c.unpost()
	src := Source{FD: int(c.fd), TLS: c.tls, Unread: c.kept, Backlog: c.out}
	if c.want != 0 {
		_ = c.loop.kernel.Remove(int(c.fd))
	}
	c.leave()
	c.kept, c.out, c.tls = nil, nil, nil
	return src
}

// lingerer sends the last words of a Conn whose owner has done with it: the backlog, then the end of the stream; then it waits until the
// other side has closed too. Closing at once would let the kernel throw away what the other side has not read yet.
type lingerer struct {
	conn     *Conn
	deadline time.Duration
	ticker   *Ticker
}

// lingerLook is how often the deadline is looked at.
const lingerLook = 100 * time.Millisecond

// CloseAfterDrain sends the backlog and closes when the other side has taken it, at most after limit. The handler is not called any
// more.
func (c *Conn) CloseAfterDrain(limit time.Duration) {
	c.loop.owned("Conn.CloseAfterDrain")
	if c.loop == nil {
		return
	}
	if c.Unsent() == 0 && c.state&ended != 0 || c.state&broken != 0 {
		c.Close()
		return
	}
	g := &lingerer{conn: c, deadline: c.loop.now + limit}
	c.handler = g
	c.loop.give(c.kept)
	c.kept = nil
	g.ticker = c.loop.Every(lingerLook, func(now time.Duration) {
		if now >= g.deadline {
			g.end()
		}
	})
	g.ticker.Start()
	if c.tls != nil {
		c.closeTLS()
	}
	c.unpost()
	if len(c.out) == 0 {
		g.OnDrained()
	}
	c.ResumeReads()
}

func (g *lingerer) end() {
	g.ticker.Stop()
	g.conn.CloseSoon()
}

func (g *lingerer) OnRead(b []byte) int { return len(b) }
func (g *lingerer) OnHangup()           { g.end() }
func (g *lingerer) OnBroken(error)      { g.end() }

func (g *lingerer) OnEOF() {
	if len(g.conn.out) == 0 {
		g.end() // otherwise OnDrained does
	}
}

func (g *lingerer) OnDrained() {
	if g.conn.state&ended != 0 {
		g.end() // both sides have said all
		return
	}
	g.conn.loop.kernel.ShutdownWrite(int(g.conn.fd))
}
