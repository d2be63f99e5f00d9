package eventloop

import (
	"errors"
	"io"
	"syscall"
)

// A Conn on TLS: crypto/tls runs on the loop, between the socket and the handler. Read readTLS and sendTLS beside read and Send of
// conn.go; transport.go is what the session believes to be its socket.

const (
	// sealMax is the largest record that is sent. Asynchronous users of libpq are reported to hang on larger ones.
	sealMax = 8 << 10
	// sealedSpare is what the buffers of sealed bytes hold beyond one read: a record not yet complete, be it from the login.
	sealedSpare = recordMax + coldRead
	// answersMax bounds what may wait for a client that asks for new keys again and again and does not read the answers.
	answersMax = 1 << 20
)

// bufferTLS makes the buffers that TLS needs, with the loop's first such connection.
func (l *Loop) bufferTLS() {
	if l.sealed == nil {
		l.sealed = make([]byte, len(l.buffer)+sealedSpare)
		l.sealing = make([]byte, 0, len(l.buffer)+sealedSpare)
	}
}

// readTLS takes what the socket has, decrypts it and delivers it behind the kept bytes. Nothing is taken from the socket before everything
// taken earlier has been delivered: while reads are paused no more than one read's worth waits.
func (c *Conn) readTLS() {
	l, t := c.loop, c.tls
	if t.failure != nil {
		c.endTLS(t.failure)
		return
	}
	b := l.sealed[:copy(l.sealed, t.sealed)]
	if !t.more {
		n := c.recv(l.sealed[len(b):min(len(l.sealed), len(b)+c.sealedRead())])
		if n == 0 {
			return
		}
		b = b[:len(b)+n]
	}
	start := copy(l.buffer, c.kept)
	end := len(l.buffer)
	if c.readMax > 0 {
		end = min(end, start+int(c.readMax))
	}
	n := c.open(l.buffer[start:end], b)
	c.redeliverTLS()
	if n > 0 || start == len(l.buffer) {
		c.deliver(l.buffer[:start+n])
	}
}

// sealedRead is how much is taken from the socket at once.
func (c *Conn) sealedRead() int {
	if c.readMax > 0 {
		return int(c.readMax)
	}
	return len(c.loop.buffer)
}

// open decrypts b into room and keeps the rest of b for the next time. What the session has to say of its own, an answer to a key
// update or an alert, is sent.
func (c *Conn) open(room, b []byte) int {
	l, t := c.loop, c.tls
	held := t.sealed
	t.out = l.sealing[:0]
	n, err := t.open(room, b)
	rest := t.sealed
	switch {
	case len(rest) == 0:
		l.give(held)
		t.sealed = nil
	case cap(held) < len(rest):
		l.give(held)
		t.sealed = append(l.take(len(rest)), rest...)
	default:
		t.sealed = append(held[:0], rest...)
	}
	if err != nil && !errors.Is(err, errWouldBlock) {
		t.failure = err
	}
	t.more = t.inside || t.failure != nil || t.whole > 0
	if len(t.out) > 0 && len(c.out) > answersMax {
		c.fail(syscall.ENOBUFS)
	}
	c.transmitSealed()
	return n
}

// redeliverTLS has the rest delivered when the handler has returned from this delivery.
func (c *Conn) redeliverTLS() {
	if c.tls.more {
		c.state |= resumed
		c.queue()
	}
}

// endTLS: the session has ended, by the other side's close_notify or by a fault that it has been told of.
func (c *Conn) endTLS(why error) {
	c.tls.more = false
	if c.state&ended != 0 {
		return
	}
	if errors.Is(why, io.EOF) {
		c.end()
		return
	}
	c.fail(syscall.EBADMSG)
}

// sendTLS is Send: encrypt, then one system call.
func (c *Conn) sendTLS(b []byte) {
	if c.loop == nil || c.state&broken != 0 || len(b) == 0 {
		return
	}
	t := c.tls
	t.out = c.loop.sealing[:0]
	for len(b) > 0 {
		n, err := t.session.Write(b[:min(len(b), sealMax)])
		if err != nil {
			t.out = nil
			c.fail(syscall.EPIPE)
			return
		}
		b = b[n:]
	}
	c.transmitSealed()
}

// transmitSealed sends what the session has written, and gives the loop its buffer back.
func (c *Conn) transmitSealed() {
	l, b := c.loop, c.tls.out
	c.tls.out = nil
	if cap(b) <= 2*cap(l.sealing) {
		l.sealing = b[:0]
	}
	c.transmit(b)
}

// closeTLS says close_notify.
func (c *Conn) closeTLS() {
	c.tls.out = c.loop.sealing[:0]
	_ = c.tls.session.CloseWrite() // writes to memory; a session that is broken says nothing
	c.transmitSealed()
}
