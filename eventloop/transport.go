package eventloop

import (
	"bytes"
	"crypto/tls"
	"net"
	"reflect"
	"time"
	"unsafe"
)

// Transport is a socket that a library is to log in on, so that Take can find it again. If the login goes over TLS, the Transport is what
// the *tls.Conn sits on, first over the socket, then, for the rest of its life, over the memory of a loop.
//
// From the first TLS byte on it gives crypto/tls whole records only. So the session never holds half a record that the loop does not know
// of, and one that waits holds no buffer.
type Transport struct {
	net.Conn // the socket; nil once a loop has it

	session *tls.Conn
	sealed  []byte // received, not yet given to the session
	whole   int    // so many bytes of it are whole records
	out     []byte // written by the session, for the loop to send
	failure error  // the session has ended: io.EOF in good order
	isTLS   bool
	inside  bool // the session may hold decrypted bytes
	more    bool // there is something to deliver without another read from the socket
}

// NewTransport wraps nc. That its user turns to TLS, as a PostgreSQL driver does after asking for it, is seen by the first record it
// writes.
func NewTransport(nc net.Conn) *Transport { return &Transport{Conn: nc} }

// NewTLSTransport wraps nc, from which the head of a TLS stream has been read already, for tls.Server.
func NewTLSTransport(nc net.Conn, head []byte) *Transport {
	return &Transport{Conn: nc, sealed: head, whole: records(head), isTLS: true}
}

// NetConn is the socket itself.
func (t *Transport) NetConn() net.Conn { return t.Conn }

// The TLS record header (RFC 8446 5.1): type, version, length.
const (
	recordHeader    = 5
	recordHandshake = 22
	recordVersion   = 3             // major, of every version there is
	recordBodyMax   = 16<<10 + 2048 // RFC 5246 6.2.3, the most of any version
	recordMax       = recordHeader + recordBodyMax
)

// records is how much of b is whole records. What no TLS would send counts as whole: the session is to see and refuse it.
func records(b []byte) (n int) {
	for len(b)-n >= recordHeader {
		body := int(b[n+3])<<8 | int(b[n+4])
		if b[n+1] != recordVersion || body > recordBodyMax {
			return len(b)
		}
		if len(b)-n < recordHeader+body {
			break
		}
		n += recordHeader + body
	}
	return n
}

// wouldBlock is what crypto/tls takes for an error that passes (see tls.Conn.readRecordOrCCS): a net.Error that is temporary.
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "no whole TLS record yet" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

var errWouldBlock net.Error = wouldBlock{}

// Read is crypto/tls asking for bytes.
func (t *Transport) Read(b []byte) (int, error) {
	if !t.isTLS {
		return t.Conn.Read(b)
	}
	for t.whole == 0 {
		if t.Conn == nil {
			return 0, errWouldBlock
		}
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, t.sealed[:t.whole])
	t.sealed = t.sealed[n:]
	t.whole -= n
	return n, nil
}

// coldRead is how much a login reads at once.
const coldRead = 4 << 10

// fill reads from the socket while a login is under way.
func (t *Transport) fill() error {
	have := len(t.sealed)
	if cap(t.sealed)-have < recordHeader {
		t.sealed = append(make([]byte, 0, have+coldRead), t.sealed...)
	}
	n, err := t.Conn.Read(t.sealed[have:cap(t.sealed)])
	t.sealed = t.sealed[:have+n]
	t.whole = records(t.sealed)
	if n > 0 {
		return nil
	}
	return err
}

// Write is crypto/tls sending bytes: to the socket during a login, else for the loop to send.
func (t *Transport) Write(b []byte) (int, error) {
	if t.Conn == nil {
		t.out = append(t.out, b...)
		return len(b), nil
	}
	if !t.isTLS && len(b) > 0 && b[0] == recordHandshake {
		t.isTLS = true
	}
	return t.Conn.Write(b)
}

// SetWriteDeadline does nothing once a loop has the socket: writing never blocks then.
func (t *Transport) SetWriteDeadline(at time.Time) error {
	if t.Conn == nil {
		return nil
	}
	return t.Conn.SetWriteDeadline(at)
}

// Close closes the socket, unless a loop has it.
func (t *Transport) Close() error {
	if t.Conn == nil {
		return nil
	}
	return t.Conn.Close()
}

// enterLoop ends the login: from here on the session lives on memory.
func (t *Transport) enterLoop(session *tls.Conn) {
	t.Conn, t.session = nil, session
	t.inside, t.more = true, true // the login may have read ahead of what it used
	if hand := inner(session, handOffset); hand != nil && hand.Len() == 0 {
		*hand = bytes.Buffer{} // the handshake's messages: kilobytes that are of no use any more
	}
}

// undelivered reports whether bytes were received that no handler has seen yet, be it a part of a record.
func (t *Transport) undelivered() bool { return t.more || len(t.sealed) > 0 }

// open decrypts what it can of b into room. The rest of b, part of a record or what room does not hold, is left in t.sealed.
func (t *Transport) open(room, b []byte) (n int, err error) {
	if t.sealed = b; t.whole == 0 {
		t.whole = records(b)
	}
	raw := inner(t.session, rawInputOffset)
	if raw == nil || t.inside || raw.Len() > 0 || t.whole > len(room) {
		return t.openCopied(room)
	}
	// The short way: the session decrypts in place, in the loop's buffer, and needs none of its own.
	*raw = *bytes.NewBuffer(b[:t.whole:t.whole])
	t.sealed, t.whole = b[t.whole:], 0
	for raw.Len() > 0 && err == nil {
		var k int
		k, err = t.session.Read(room[n:])
		n += k
	}
	*raw = bytes.Buffer{}
	return n, err
}

// openCopied is the long way: the session copies the records into a buffer of its own. It may keep what room does not hold.
func (t *Transport) openCopied(room []byte) (n int, err error) {
	for n < len(room) && err == nil {
		var k int
		k, err = t.session.Read(room[n:])
		n += k
	}
	t.inside = err == nil
	if raw := inner(t.session, rawInputOffset); raw != nil && !t.inside && raw.Len() == 0 {
		*raw = bytes.Buffer{}
	}
	return n, err
}

// A tls.Conn keeps a buffer as large as the largest record it has met, and allocates when it asks for bytes. With thousands of idle clients
// and a query every few microseconds neither is wanted, and crypto/tls has no knob for it; so its buffers are lent to it, if this
// release of Go has them where they are expected. If not, everything works on openCopied.
var rawInputOffset, handOffset = bufferOffset("rawInput"), bufferOffset("hand")

// bufferOffset finds a field of tls.Conn that is a bytes.Buffer; 0: there is none.
func bufferOffset(name string) uintptr {
	f, ok := reflect.TypeFor[tls.Conn]().FieldByName(name)
	if !ok || f.Type != reflect.TypeFor[bytes.Buffer]() {
		return 0
	}
	return f.Offset
}

func inner(session *tls.Conn, offset uintptr) *bytes.Buffer {
	if offset == 0 {
		return nil
	}
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(session), offset))
}
