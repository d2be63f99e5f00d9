package relay

import (
	"bytes"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// mayDrop notes a Query or Execute that may drop statements, the unnamed or all.
func (c *Client) mayDrop(f protocol.Frame, kind owedKind, s *Server) owedKind {
	reset := false
	switch f.Type {
	case protocol.ClientQuery:
		s.unnamed.of = nil // a Query ends the unnamed statement, the client's and the server's
		if c.own != nil {
			c.own.dropUnnamed()
			reset = drops(f.Data[headerBytes:])
		}
	case protocol.ClientExecute:
		reset = s.dropBound
	}
	if !reset {
		return kind
	}
	s.notes.push(note{kind: noteReset})
	s.changes++
	s.resets++
	return kind | owedNoted
}

// begunMin is how much of a Query must be there for drops to tell; more blanks before the first word hide it.
const begunMin = 64

// begun reports that drops can be asked about the Query at the start of b.
func begun(b []byte) bool {
	size, complete := protocol.Whole(b)
	return complete || len(b) >= min(size, begunMin)
}

// drops reports whether a text begins like one that drops statements.
func drops(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n\f")
	return hasPrefixFold(text, "deallocate") || hasPrefixFold(text, "discard")
}

// hasPrefixFold is bytes.HasPrefix for any case of ASCII letters; prefix is in lower case.
func hasPrefixFold(b []byte, prefix string) bool {
	if len(b) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if b[i]|0x20 != prefix[i] {
			return false
		}
	}
	return true
}
