package relay

import (
	"bytes"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// mayDrop looks at a Query or Execute that may drop statements, the unnamed or all. It returns what its request has to undo.
func (c *Client) mayDrop(f protocol.Frame, s *Server) undoEntry {
	reset := false
	switch f.Type {
	case protocol.ClientQuery:
		s.unnamed.of = nil // a Query ends the unnamed statement, the client's and the server's
		reset = drops(f.Data[headerBytes:])
		if c.own != nil {
			c.own.dropUnnamed()
		}
	case protocol.ClientExecute:
		if e := c.executesDeallocate(f, s); e.undo != undoNothing {
			return e
		}
		reset = s.dropBound
	}
	if !reset {
		return undoEntry{}
	}
	return undoEntry{undo: undoReset}
}

// sentQuery notes that a Query of the client's is on its way, and what its request has to undo.
func (s *Server) sentQuery(dropped undoEntry) {
	s.sent(protocol.ClientQuery, queryDue)
	if dropped.undo != undoNothing {
		s.note(dropped)
	}
}

// begunMin is how much of a Query must be there for drops to tell; more blanks before the first word hide it.
const begunMin = 64

// begun reports that drops can be asked about the Query at the start of b.
func begun(b []byte) bool {
	size, complete := protocol.Whole(b)
	return complete || len(b) >= min(size, begunMin)
}

// deallocateMax is the longest DEALLOCATE of a single statement that is understood: its name may be escaped.
const deallocateMax = 512

// deallocate deals with a Query that is DEALLOCATE and a name that the client has given in the extended protocol: the name is the client's
// alone, so that the server is not asked. deals is false for any other Query.
func (c *Client) deallocate(w *weave, at int, s *Server) (step Step, passes, deals bool) {
	b := w.b[at:]
	if !begun(b) {
		return Step{Verdict: More}, false, true
	}
	size, complete := protocol.Whole(b)
	if size > deallocateMax || !drops(b[headerBytes:min(size, len(b))]) {
		return Step{}, false, false
	}
	if !complete {
		return Step{Verdict: More}, false, true
	}
	name, ok := deallocated(b[headerBytes:size])
	known := ok && c.own.names[name].statement != nil
	switch {
	case !ok, s.batchOpen:
		return Step{}, false, false
	case s.ledger.changedBefore > s.ledger.head, known && s.ledger.len() > 0:
		return Step{Verdict: Hold}, false, true // it is not certain that there is such a name, or it may be in a failed transaction
	case !known && !strings.HasPrefix(name, prepared.Prefix):
		return Step{}, false, false
	case known && s.TxStatus == StatusFailed:
		return Step{}, false, false
	}
	f, err := c.scanner.Next(b)
	if err != nil {
		return Step{Verdict: Violate, Err: violationOf(err)}, false, true
	}
	w.cut(at, size, s.desk)
	if !known { // one of ours must not go
		text := `deallocate "` + notOurs([]byte(name)) + `"`
		s.desk.ToServer = append(append(appendHeader(s.desk.ToServer, protocol.ClientQuery, len(text)+1), text...), 0)
		s.sentQuery(c.mayDrop(f, s))
		return Step{Verdict: Forward, N: len(f.Data)}, true, true
	}
	s.desk.Table.Release(c.own.remove(name, s.desk.Table).statement)
	c.own.dropUnnamed()
	delete(c.Session.prepared, name)
	if s.TxStatus == StatusActive { // where there may be an unnamed portal, which a Query ends
		s.desk.ToServer = append(append(s.desk.ToServer, closePortal...), syncMessage...)
		s.expect(closeDue, poolerOrigin)
		s.expectReady(syncDue, poolerOrigin)
	}
	s.desk.ToClient = append(s.desk.ToClient, deallocateComplete...)
	s.desk.ToClient = append(s.desk.ToClient, s.TxStatus)
	return Step{Verdict: Forward, N: len(f.Data)}, true, true
}

var closePortal = []byte{protocol.ClientClose, 0, 0, 0, 6, 'P', 0}

// deallocateComplete is CommandComplete and a ReadyForQuery that lacks its status.
var deallocateComplete = []byte("C\x00\x00\x00\x0fDEALLOCATE\x00Z\x00\x00\x00\x05")

// deallocated is the name in the text of a DEALLOCATE; ok is false for ALL, and for what is not plain: comments, Unicode escapes, a
// name that is cut, more statements.
func deallocated(text []byte) (name string, ok bool) {
	text = bytes.Trim(bytes.TrimSuffix(text, []byte{0}), blanks)
	text = bytes.TrimRight(bytes.TrimSuffix(text, []byte(";")), blanks)
	if !hasPrefixFold(text, "deallocate") {
		return "", false
	}
	text = text[len("deallocate"):]
	for {
		rest := bytes.TrimLeft(text, blanks)
		quoted := len(rest) > 0 && rest[0] == '"'
		if len(rest) == len(text) && !quoted {
			return "", false
		}
		text = rest
		if !hasPrefixFold(text, "prepare") || len(text) == len("prepare") || !bytes.ContainsRune([]byte(blanks+`"`), rune(text[len("prepare")])) {
			break
		}
		text = text[len("prepare"):]
	}
	if len(text) > 2 && text[0] == '"' && text[len(text)-1] == '"' {
		inner := text[1 : len(text)-1]
		name = string(bytes.ReplaceAll(inner, []byte(`""`), []byte(`"`)))
		return name, bytes.Count(inner, []byte(`"`)) == 2*(len(inner)-len(name)) && isASCII(inner) && len(inner) == len(significant(inner))
	}
	for i, x := range text {
		letter := x|0x20 >= 'a' && x|0x20 <= 'z' || x == '_'
		if !letter && (i == 0 || x != '$' && (x < '0' || x > '9')) {
			return "", false
		}
	}
	name = string(bytes.ToLower(text))
	return name, name != "" && name != "all" && len(name) == len(significant(text))
}

const blanks = " \t\r\n\f"

// drops reports whether a text begins like one that drops statements.
func drops(text []byte) bool {
	text = bytes.TrimLeft(text, blanks)
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
