package protocol

import (
	"bytes"
	"encoding/binary"
)

// ResultDigest tells results apart as PostgreSQL does before it runs a plan that it has kept (RevalidateCachedQuery in
// utils/cache/plancache.c): by the number of columns, their names, types and type modifiers; not by format, nor by the tables they come
// from. frame is a whole RowDescription or a NoData (manual 54.7). Of a name what comes before its first byte beyond ASCII counts: how the
// rest is written depends on client_encoding. It is never 0.
func ResultDigest(frame []byte) uint32 {
	d := newDigest()
	if len(frame) < HeaderBytes+2 || frame[0] != ServerRowDescription {
		return d.sum()
	}
	d.word(uint32(binary.BigEndian.Uint16(frame[HeaderBytes:])) + 1)
	for b := frame[HeaderBytes+2:]; ; {
		name, rest, ok := bytes.Cut(b, []byte{0})
		if !ok || len(rest) < fieldBytes {
			return d.sum()
		}
		for len(name) >= 4 && binary.BigEndian.Uint32(name)&0x80808080 == 0 {
			d.word(binary.BigEndian.Uint32(name))
			name = name[4:]
		}
		for _, c := range name {
			if c >= 0x80 {
				break
			}
			d.word(uint32(c))
		}
		d.word(binary.BigEndian.Uint32(rest[6:]))  // type
		d.word(binary.BigEndian.Uint32(rest[12:])) // type modifier
		b = rest[fieldBytes:]
	}
}

// fieldBytes is what a RowDescription has of a column behind its name: table, column, type, its size and modifier, format.
const fieldBytes = 4 + 2 + 4 + 2 + 4 + 2

// ParametersDigest tells the types of parameters apart. frame is a whole ParameterDescription. It is never 0.
func ParametersDigest(frame []byte) uint32 {
	d := newDigest()
	for b := frame[min(HeaderBytes+2, len(frame)):]; len(b) >= 4; b = b[4:] {
		d.word(binary.BigEndian.Uint32(b))
	}
	return d.sum()
}

// digest is FNV-1a by words.
type digest uint64

func newDigest() digest { return 14695981039346656037 }

func (d *digest) word(w uint32) { *d = (*d ^ digest(w)) * 1099511628211 }

func (d digest) sum() uint32 { return max(1, uint32(d>>32)^uint32(d)) }

// BindFormats says how a whole Bind sends parameters and wants results: whether any parameter is in binary, and how many result formats it
// names (one counts for all columns, none is text). ok is false when the message is malformed.
func BindFormats(frame []byte) (binaryParameters bool, results int, ok bool) {
	b := frame[min(HeaderBytes, len(frame)):]
	for range 2 { // portal and statement
		if _, b, ok = bytes.Cut(b, []byte{0}); !ok {
			return false, 0, false
		}
	}
	formats, b, ok := cutWords(b)
	if !ok || len(b) < 2 {
		return false, 0, false
	}
	for i := 1; i < len(formats); i += 2 {
		binaryParameters = binaryParameters || formats[i] != 0
	}
	count := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	for range count {
		if _, b, ok = cutValue(b); !ok {
			return false, 0, false
		}
	}
	words, _, ok := cutWords(b)
	return binaryParameters, len(words) / 2, ok
}
