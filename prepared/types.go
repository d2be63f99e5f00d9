package prepared

import (
	"bytes"
	"encoding/binary"
)

// Types of parameters that PostgreSQL infers although a Parse names them: "not said", unknown and, in a CALL, void (parser/parse_param.c).
const (
	oidNone    = 0
	oidUnknown = 705
	oidVoid    = 2278
)

// infers reports whether a text may have parameters whose types are not declared: a $ and a number, which may stand in a string or a comment
// too. body is what is behind the name in a Parse.
func infers(body []byte) bool {
	text, types, ok := bytes.Cut(body, []byte{0})
	if !ok || len(types) < 2 {
		return false
	}
	types = types[2:]
	for {
		_, rest, found := bytes.Cut(text, []byte{'$'})
		if !found {
			return false
		}
		n, digits := 0, 0
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			n = min(10*n+int(rest[digits]-'0'), 1<<16)
			digits++
		}
		if n > 0 && !declares(types, n) {
			return true
		}
		text = rest[digits:]
	}
}

// declares reports whether the n-th of the types, from 1, is one.
func declares(types []byte, n int) bool {
	if 4*n > len(types) {
		return false
	}
	switch binary.BigEndian.Uint32(types[4*n-4:]) {
	case oidNone, oidUnknown, oidVoid:
		return false
	}
	return true
}

// Declarable reports whether a Parse can declare the types, four bytes each, so that PostgreSQL infers none.
func Declarable(types []byte) bool {
	for n := 1; 4*n <= len(types); n++ {
		if !declares(types, n) {
			return false
		}
	}
	return true
}

// AppendDeclared appends the body of a Parse with the types in the place of those that it has. dst may be the beginning of the slice that
// body is the rest of.
func AppendDeclared(dst, body, types []byte) []byte {
	text := bytes.IndexByte(body, 0) + 1
	dst = append(dst, body[:text]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(types)/4))
	return append(dst, types...)
}
