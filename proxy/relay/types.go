package relay

import "bytes"

// parameterTypes are the types that a Parse declares.
type parameterTypes []byte

// typesOf finds them behind the text; nil when the message is not whole.
func typesOf(textAndTypes []byte) parameterTypes {
	_, rest, ok := bytes.Cut(textAndTypes, zero)
	if !ok || len(rest) < 2 {
		return nil
	}
	return parameterTypes(rest[2:])
}

// isText reports that a bound parameter (0: none) comes as its text.
func (t parameterTypes) isText(n int) bool {
	if n == 0 || t != nil && 4*n > len(t) {
		return true // no parameter, or of a type that PostgreSQL infers to be text
	}
	if t == nil {
		return false
	}
	switch oid := uint32(t[4*n-4])<<24 | uint32(t[4*n-3])<<16 | uint32(t[4*n-2])<<8 | uint32(t[4*n-1]); oid {
	case 0, 25, 705, 1043: // inferred, text, unknown, varchar
		return true
	}
	return false
}
