package protocol

import "encoding/binary"

// Direction says whose messages a Scanner reads.
type Direction uint8

// The two directions.
const (
	FromClient Direction = iota
	FromServer
)

// HeaderBytes is the length of a message's type byte and length word.
const HeaderBytes = 5

// Limits of a client's messages, as PostgreSQL has them (libpq/pqcomm.h): PQ_SMALL_MESSAGE_LIMIT and PQ_LARGE_MESSAGE_LIMIT. They bound
// the length word, which counts itself.
const (
	smallMessageMax = 10000
	largeMessageMax = 0x3fffffff - 1
)

// Frame is one message, or the part of one that is in a buffer.
type Frame struct {
	Type        byte
	First, Last bool   // the part begins, ends the message
	Size        int    // of the whole message, type byte included; of a later part: 0
	Data        []byte // starts with the type byte when First. Valid as long as the buffer it points into
}

// Scanner walks the messages of one direction of a connection, however the stream is cut. It copies nothing and allocates nothing.
type Scanner struct {
	left      int // bytes of the message in progress that have not come
	messType  byte
	direction Direction
}

// NewScanner begins at a message boundary.
func NewScanner(d Direction) Scanner { return Scanner{direction: d} }

// MidMessage reports whether the next byte continues a message.
func (s *Scanner) MidMessage() bool { return s.left > 0 }

// Left is how many bytes of the message in progress have not come.
func (s *Scanner) Left() int { return s.left }

// Next returns the next message, or the part of it that is in b; the caller goes on behind f.Data. Data is nil when not even the header
// is complete: nothing is consumed. The error is an *Error (08P01) for a length that cannot be.
func (s *Scanner) Next(b []byte) (f Frame, err error) {
	if s.left > 0 {
		n := min(s.left, len(b))
		s.left -= n
		return Frame{Type: s.messType, Last: s.left == 0, Data: b[:n:n]}, nil
	}
	if len(b) < HeaderBytes {
		return Frame{}, nil
	}
	length := binary.BigEndian.Uint32(b[1:])
	if length < 4 || length > largeMessageMax || s.direction == FromClient && length > smallMessageMax && isSmall(b[0]) {
		return Frame{}, ErrProtocol("invalid message length")
	}
	size := int(length) + 1
	n := min(size, len(b))
	s.left, s.messType = size-n, b[0]
	return Frame{Type: b[0], First: true, Last: size == n, Size: size, Data: b[:n:n]}, nil
}

// isSmall: client messages that PostgreSQL bounds by PQ_SMALL_MESSAGE_LIMIT (tcop/postgres.c, SocketBackend).
func isSmall(messageType byte) bool {
	switch messageType {
	case ClientClose, ClientDescribe, ClientExecute, ClientFlush, ClientSync, ClientTerminate, ClientCopyDone, ClientCopyFail:
		return true
	}
	return false
}

// Whole looks at the message at the start of b without consuming it. size is 0 while the header is incomplete; complete tells whether all
// of it is in b.
func Whole(b []byte) (size int, complete bool) {
	if len(b) < HeaderBytes {
		return 0, false
	}
	size = int(binary.BigEndian.Uint32(b[1:])) + 1
	return size, size <= len(b)
}
