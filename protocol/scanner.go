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

// lengthMin is the smallest length word: it counts itself, but not the type byte.
const lengthMin = 4

// Limits of a length word. What a client sends has PostgreSQL's own limits (PQ_SMALL_MESSAGE_LIMIT and PQ_LARGE_MESSAGE_LIMIT of
// libpq/libpq.h), as PostgreSQL would close the connection too. A server may say whatever the signed word of the protocol can
// express: its rows may be a little longer than PQ_LARGE_MESSAGE_LIMIT, and they stream through here without being stored.
const (
	smallMessageMax  = 10000
	largeMessageMax  = 0x3fffffff - 1
	serverMessageMax = 0x7fffffff - 1 // not the full word: with the type byte it must fit an int of 32 bits
)

// Frame is one message, or the part of one that is in a buffer.
//
// Four fields and 32 bytes are the most that the compiler keeps in registers (cmd/compile, ssa.CanSSA); one more of either makes Next
// three times as slow.
type Frame struct {
	Type byte
	ends
	Size int32  // bytes of the whole message, type byte included; of a later part: 0
	Data []byte // starts with the type byte when First. Valid as long as the buffer it points into
}

// ends tells which ends of the message are in a Frame.
type ends struct{ First, Last bool }

// Scanner walks the messages of one direction of a connection, however the stream is cut. It copies nothing and allocates nothing.
// Not safe for several goroutines.
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

// Next returns the next message, or the part of it that is in b; the caller goes on behind its Data. Data is empty when nothing was
// consumed: not even the header is complete, or b is empty. The error is an *Error (08P01) for a length that cannot be; it stays,
// as there is no way to tell where the next message begins. A type byte that nobody knows is none of the scanner's business.
func (s *Scanner) Next(b []byte) (Frame, error) {
	if s.left > 0 {
		n := min(s.left, len(b))
		s.left -= n
		return Frame{Type: s.messType, ends: ends{Last: s.left == 0}, Data: b[:n:n]}, nil
	}
	if len(b) < HeaderBytes {
		return Frame{}, nil
	}
	length := binary.BigEndian.Uint32(b[1:])
	// One comparison passes almost everything: from lengthMin to smallMessageMax a length is good for any message.
	if length-lengthMin > smallMessageMax-lengthMin && !s.direction.allows(b[0], length) {
		return Frame{}, ErrProtocol("invalid message length")
	}
	size := int(length) + 1
	n := min(size, len(b))
	s.left, s.messType = size-n, b[0]
	return Frame{Type: b[0], ends: ends{First: true, Last: size == n}, Size: int32(size), Data: b[:n:n]}, nil
}

// allows judges a length that is not good for any message.
func (d Direction) allows(messageType byte, length uint32) bool {
	limit := uint32(serverMessageMax)
	if d == FromClient {
		limit = largeMessageMax
		if isSmall(messageType) {
			limit = smallMessageMax
		}
	}
	return length >= lengthMin && length <= limit
}

// isSmall: client messages that PostgreSQL bounds by PQ_SMALL_MESSAGE_LIMIT (tcop/postgres.c, SocketBackend).
func isSmall(messageType byte) bool {
	switch messageType {
	case ClientClose, ClientDescribe, ClientExecute, ClientFlush, ClientSync, ClientTerminate, ClientCopyDone, ClientCopyFail:
		return true
	}
	return false
}

// Whole looks at the message at the start of b without consuming it. size, in bytes, is 0 while the header is incomplete; complete
// tells whether all of the message is in b. It does not judge the length, Next does; but size is never less than a header.
func Whole(b []byte) (size int, complete bool) {
	if len(b) < HeaderBytes {
		return 0, false
	}
	length := binary.BigEndian.Uint32(b[1:])
	size = int(min(max(length, lengthMin), serverMessageMax)) + 1
	return size, size <= len(b)
}
