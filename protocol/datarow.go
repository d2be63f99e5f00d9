package protocol

import "encoding/binary"

// Columns calls f with each value of a whole DataRow, nil for NULL; the bytes are the frame's. It reports false when the message is
// malformed.
func Columns(frame []byte, f func(i int, value []byte)) bool {
	if len(frame) < HeaderBytes+2 {
		return false
	}
	n := int(binary.BigEndian.Uint16(frame[HeaderBytes:]))
	rest := frame[HeaderBytes+2:]
	for i := range n {
		value, after, ok := cutValue(rest)
		if !ok {
			return false
		}
		f(i, value)
		rest = after
	}
	return len(rest) == 0
}

// cutValue takes a value with a length word before it off b; nil for NULL.
func cutValue(b []byte) (value, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	length := int32(binary.BigEndian.Uint32(b))
	b = b[4:]
	if length < 0 {
		return nil, b, length == -1
	}
	if int(length) > len(b) {
		return nil, nil, false
	}
	return b[:length:length], b[length:], true
}

// BoundParameter is the value of $n in a whole Bind: binary tells its format, value is nil for NULL. ok is false when there is none.
func BoundParameter(frame []byte, n int) (value []byte, binaryFormat, ok bool) {
	if len(frame) < HeaderBytes || n < 1 {
		return nil, false, false
	}
	b := frame[HeaderBytes:]
	for range 2 { // portal and statement
		_, rest, ok := cString(b)
		if !ok {
			return nil, false, false
		}
		b = rest
	}
	formats, b, ok := cutWords(b)
	if !ok || len(b) < 2 {
		return nil, false, false
	}
	count := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	if n > count {
		return nil, false, false
	}
	for range n {
		if value, b, ok = cutValue(b); !ok {
			return nil, false, false
		}
	}
	switch len(formats) / 2 {
	case 0:
	case 1:
		binaryFormat = binary.BigEndian.Uint16(formats) != 0
	default:
		if 2*n > len(formats) {
			return nil, false, false
		}
		binaryFormat = binary.BigEndian.Uint16(formats[2*n-2:]) != 0
	}
	return value, binaryFormat, true
}

// cutWords takes a counted list of 16 bit words off b.
func cutWords(b []byte) (words, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := 2 * int(binary.BigEndian.Uint16(b))
	b = b[2:]
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}
