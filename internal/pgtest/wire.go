package pgtest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Wire is a raw client that does what a test's script says, message by message or byte by byte, and nothing of its own accord.
// Whatever goes wrong fails the test at the line that called. One goroutine at a time, and that the test's own.
type Wire struct {
	// Parameters are the latest ParameterStatus values, by name.
	Parameters map[string]string
	// Key is the BackendKeyData of the login; zero before it.
	Key pgproto3.BackendKeyData
	// TxStatus is the status of the last ReadyForQuery: I, T or E; 0 before the first.
	TxStatus byte

	t      TB
	socket net.Conn
	in     *bufio.Reader
	limit  time.Duration
}

// wireLimit is how long one Send or Receive may take unless SetLimit says otherwise: far above anything legitimate, far below go
// test's own limit.
const wireLimit = 15 * time.Second

// messageMax is the longest message that Receive takes whole, in bytes: tests of longer ones use Discard.
const messageMax = 64 << 20

// Dial opens a socket to address: host:port, or the path of a unix socket. It is closed with the test.
func Dial(t TB, address string) *Wire {
	t.Helper()
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	socket, err := net.DialTimeout(network, address, wireLimit)
	if err != nil {
		t.Fatalf("dial %s: %v", address, err)
	}
	return NewWire(t, socket)
}

// NewWire is a Wire over a socket that is already open (TLS, a pipe). Ownership passes here; it is closed with the test.
func NewWire(t TB, socket net.Conn) *Wire {
	w := &Wire{Parameters: map[string]string{}, t: t, socket: socket, in: bufio.NewReader(socket), limit: wireLimit}
	t.Cleanup(func() { _ = socket.Close() })
	return w
}

// Login is Dial, Startup and Authenticate: a client that has seen its first ReadyForQuery.
func Login(t TB, address, user, database, password string) *Wire {
	t.Helper()
	w := Dial(t, address)
	w.Startup(map[string]string{"user": user, "database": database})
	w.Authenticate(user, password)
	return w
}

// SetLimit sets how long one Send or Receive may take from now on.
func (w *Wire) SetLimit(d time.Duration) { w.limit = d }

// Socket is the socket itself, for half-closes, buffer sizes and resets. What Receive has read ahead is not in it any more.
func (w *Wire) Socket() net.Conn { return w.socket }

// Close closes the socket, without Terminate.
func (w *Wire) Close() { _ = w.socket.Close() }

// Reset closes the socket with a RST, as the kernel does for a process that died with unread data.
func (w *Wire) Reset() {
	w.t.Helper()
	tcp, ok := w.socket.(*net.TCPConn)
	if !ok {
		w.t.Fatalf("Reset needs a TCP socket, this is %T", w.socket)
		return
	}
	_ = tcp.SetLinger(0)
	_ = tcp.Close()
}

// Startup sends a startup message of protocol 3.0 with these parameters.
func (w *Wire) Startup(parameters map[string]string) {
	w.t.Helper()
	w.StartupVersion(pgproto3.ProtocolVersion30, parameters)
}

// StartupVersion is Startup with a version of the caller's choice, known or not.
func (w *Wire) StartupVersion(version uint32, parameters map[string]string) {
	w.t.Helper()
	w.Send(&pgproto3.StartupMessage{ProtocolVersion: version, Parameters: parameters})
}

// Send encodes the messages and writes them in one go, as a pipelining driver does.
func (w *Wire) Send(messages ...pgproto3.FrontendMessage) {
	w.t.Helper()
	w.Raw(Encode(w.t, messages...))
}

// Encode is the messages as bytes, for tests that cut them.
func Encode(t TB, messages ...pgproto3.FrontendMessage) []byte {
	t.Helper()
	var b []byte
	for _, m := range messages {
		var err error
		if b, err = m.Encode(b); err != nil {
			t.Fatalf("encode %T: %v", m, err)
		}
	}
	return b
}

// Raw writes bytes as they are.
func (w *Wire) Raw(b []byte) {
	w.t.Helper()
	_ = w.socket.SetWriteDeadline(time.Now().Add(w.limit))
	if _, err := w.socket.Write(b); err != nil {
		w.t.Fatalf("send %d bytes: %v", len(b), err)
	}
}

// Query sends a simple query without waiting for its answer.
func (w *Wire) Query(sql string) {
	w.t.Helper()
	w.Send(&pgproto3.Query{String: sql})
}

// Receive returns the next message, which is the caller's to keep.
func (w *Wire) Receive() pgproto3.BackendMessage {
	w.t.Helper()
	m, err := w.TryReceive()
	if err != nil {
		w.t.Fatalf("receive: %v", err)
	}
	return m
}

// TryReceive is Receive that returns what went wrong: io.EOF if the other side closed between two messages, a net.Error with
// Timeout() if nothing came within the limit.
func (w *Wire) TryReceive() (pgproto3.BackendMessage, error) {
	_ = w.socket.SetReadDeadline(time.Now().Add(w.limit))
	header := make([]byte, 5)
	if _, err := io.ReadFull(w.in, header); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(header[1:])
	if length < 4 || length > messageMax {
		return nil, fmt.Errorf("message %q of length %d: not a message, or too long to take whole (see Discard)", header[0], length)
	}
	frame := append(header, make([]byte, length-4)...)
	if _, err := io.ReadFull(w.in, frame[5:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("in the middle of message %q of length %d: %w", header[0], length, err)
	}
	// A Frontend of its own for each message: it reuses the messages it returns.
	m, err := pgproto3.NewFrontend(bytes.NewReader(frame), nil).Receive()
	if err != nil {
		return nil, fmt.Errorf("decode message %q: %w", header[0], err)
	}
	w.note(m)
	return m, nil
}

// note keeps what later steps of a script ask for.
func (w *Wire) note(m pgproto3.BackendMessage) {
	switch m := m.(type) {
	case *pgproto3.ParameterStatus:
		w.Parameters[m.Name] = m.Value
	case *pgproto3.BackendKeyData:
		w.Key = *m
	case *pgproto3.ReadyForQuery:
		w.TxStatus = m.TxStatus
	}
}

// ReceiveUntil returns the messages up to and including the first for which last is true.
func (w *Wire) ReceiveUntil(last func(pgproto3.BackendMessage) bool) []pgproto3.BackendMessage {
	w.t.Helper()
	var messages []pgproto3.BackendMessage
	for {
		m, err := w.TryReceive()
		if err != nil {
			w.t.Fatalf("receive: %v; before it came: %s", err, strings.Join(DescribeAll(messages), " | "))
			return messages
		}
		messages = append(messages, m)
		if last(m) {
			return messages
		}
	}
}

// ReceiveReady returns the messages up to and including the next ReadyForQuery.
func (w *Wire) ReceiveReady() []pgproto3.BackendMessage {
	w.t.Helper()
	return w.ReceiveUntil(func(m pgproto3.BackendMessage) bool {
		_, ready := m.(*pgproto3.ReadyForQuery)
		return ready
	})
}

// ReceiveReadies returns the messages up to and including the n-th ReadyForQuery.
func (w *Wire) ReceiveReadies(n int) (messages []pgproto3.BackendMessage) {
	w.t.Helper()
	for range n {
		messages = append(messages, w.ReceiveReady()...)
	}
	return messages
}

// Rows runs a simple query to its ReadyForQuery and returns the rows as text (NULL as the empty string). An ErrorResponse fails the
// test.
func (w *Wire) Rows(sql string) [][]string {
	w.t.Helper()
	w.Query(sql)
	var rows [][]string
	for _, m := range w.ReceiveReady() {
		switch m := m.(type) {
		case *pgproto3.DataRow:
			row := make([]string, len(m.Values))
			for i, v := range m.Values {
				row[i] = string(v)
			}
			rows = append(rows, row)
		case *pgproto3.ErrorResponse:
			w.t.Fatalf("%.200s: %s %s: %s (%s; %s)", sql, m.Severity, m.Code, m.Message, m.Detail, m.Hint)
		}
	}
	return rows
}

// Expect receives one message for each line and compares it with Describe's text; notices and ParameterStatus are passed over, as
// they may come at any time, unless a line asks for one. "*" stands for any message.
func (w *Wire) Expect(lines ...string) {
	w.t.Helper()
	for i, want := range lines {
		for {
			m, err := w.TryReceive()
			if err != nil {
				w.t.Fatalf("expected message %d, %q, of %q: %v", i+1, want, lines, err)
				return
			}
			got := Describe(m)
			if got == want || want == "*" {
				break
			}
			if asynchronous(m) && !strings.HasPrefix(want, strings.Fields(got)[0]) {
				continue
			}
			w.t.Fatalf("message %d of %q: expected %q, got %q", i+1, lines, want, got)
			return
		}
	}
}

// ExpectError receives one ErrorResponse with this SQLSTATE and returns it; anything but a notice or ParameterStatus before it
// fails the test.
func (w *Wire) ExpectError(code string) *pgproto3.ErrorResponse {
	w.t.Helper()
	for {
		switch m := w.Receive().(type) {
		case *pgproto3.ErrorResponse:
			if m.Code != code {
				w.t.Fatalf("expected an error %s, got %s %s: %s", code, m.Severity, m.Code, m.Message)
			}
			return m
		default:
			if !asynchronous(m) {
				w.t.Fatalf("expected an error %s, got %s", code, Describe(m))
				return &pgproto3.ErrorResponse{}
			}
		}
	}
}

// ExpectClosed passes if the other side closes, with nothing before it; a reset counts as closing.
func (w *Wire) ExpectClosed() {
	w.t.Helper()
	m, err := w.TryReceive()
	var timeout net.Error
	switch {
	case err == nil:
		w.t.Fatalf("expected the socket to be closed, got %s", Describe(m))
	case errors.As(err, &timeout) && timeout.Timeout():
		w.t.Fatalf("expected the socket to be closed, but it stayed open for %v", w.limit)
	}
}

// ExpectSilence passes if nothing comes within d and the socket stays open.
func (w *Wire) ExpectSilence(d time.Duration) {
	w.t.Helper()
	_ = w.socket.SetReadDeadline(time.Now().Add(d))
	_, err := w.in.Peek(1)
	var timeout net.Error
	if err == nil {
		w.t.Fatalf("expected nothing for %v, got %s", d, Describe(w.Receive()))
	} else if !errors.As(err, &timeout) || !timeout.Timeout() {
		w.t.Fatalf("expected nothing for %v, but the socket broke: %v", d, err)
	}
}

// Discard reads and forgets n bytes, for results too long to keep. The limit runs from the last byte that came.
func (w *Wire) Discard(n int64) {
	w.t.Helper()
	buffer := make([]byte, 64<<10)
	for n > 0 {
		_ = w.socket.SetReadDeadline(time.Now().Add(w.limit))
		got, err := w.in.Read(buffer[:min(n, int64(len(buffer)))])
		if n -= int64(got); err != nil {
			w.t.Fatalf("receive: %v, %d bytes before the end", err, n)
			return
		}
	}
}

// RawByte reads one byte outside any message: the answer to SSLRequest and GSSENCRequest.
func (w *Wire) RawByte() byte {
	w.t.Helper()
	_ = w.socket.SetReadDeadline(time.Now().Add(w.limit))
	b, err := w.in.ReadByte()
	if err != nil {
		w.t.Fatalf("receive one byte: %v", err)
	}
	return b
}
