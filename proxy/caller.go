package proxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
)

// caller is a client that is logging in. It belongs to the goroutine of its login.
type caller struct {
	socket net.Conn // *tls.Conn once it has asked for that
	in     io.Reader
	offer  *clientTLS // how TLS is spoken with it, if it is; nil where none is offered
	leave  func()     // the place it has taken behind the door
	unsaid []byte     // leaves with the next words that it waits for: each write costs both sides a wake-up
}

// readAhead is how much is read at once: a startup packet, or a SCRAM message, with one system call. What is left of it goes to the loop.
const readAhead = 512

func newCaller(nc net.Conn) *caller {
	return &caller{socket: nc, leave: func() {}, in: bufio.NewReaderSize(nc, readAhead)}
}

// ahead is what has been read and not used.
func (c *caller) ahead() []byte {
	buffered, ok := c.in.(*bufio.Reader)
	if !ok {
		return nil // a *tls.Conn keeps it
	}
	b, _ := buffered.Peek(buffered.Buffered()) // what is buffered can be had
	return b
}

// firstByte shows the first byte without taking it.
func (c *caller) firstByte() (byte, error) {
	b, err := c.in.(*bufio.Reader).Peek(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// secured goes on over TLS.
func (c *caller) secured(secure *tls.Conn) {
	c.socket, c.in = secure, secure
}

// say notes what is to be said with the next flush.
func (c *caller) say(b []byte) { c.unsaid = append(c.unsaid, b...) }

// flush says all of it.
func (c *caller) flush() error {
	b := c.unsaid
	c.unsaid = c.unsaid[:0]
	_, err := c.socket.Write(b)
	return err
}
