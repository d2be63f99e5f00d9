package relay

import (
	"bytes"
	"slices"

	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// On a direct connection a statement has one name, for SQL and for the protocol. Here what a client prepares by the protocol has another name on
// its server, so that EXECUTE n, PREPARE n and DEALLOCATE n in its texts would not find it. For as long as such a text runs the statement is
// prepared once more, under the client's own name: PostgreSQL itself then says what it says.

// mentioned is the name in a text that is EXECUTE, EXPLAIN EXECUTE, PREPARE or DEALLOCATE of one. ok is false for any other text, and for what
// is not plain: comments before the name, Unicode escapes, names that are not ASCII.
func mentioned(text []byte) (name []byte, ok bool) {
	word, rest := cutWord(text)
	if equalFold(word, "explain") {
		word, rest = explained(rest)
	}
	switch {
	case equalFold(word, "execute"), equalFold(word, "prepare"):
	case equalFold(word, "deallocate"):
		if word, after := cutWord(rest); equalFold(word, "prepare") && len(bytes.Trim(after, blanks+";\x00")) > 0 {
			rest = after
		}
	default:
		return nil, false
	}
	rest = bytes.TrimLeft(rest, blanks)
	if len(rest) == 0 || rest[0] != '"' {
		word, rest = cutWord(rest)
		return bytes.ToLower(word), len(word) > 0 && isASCII(word) && (len(rest) == 0 || rest[0] < 0x80)
	}
	for i := 1; i < len(rest); i++ {
		if rest[i] != '"' {
			continue
		}
		if i+1 == len(rest) || rest[i+1] != '"' {
			name = bytes.ReplaceAll(rest[1:i], []byte(`""`), []byte(`"`))
			return name, len(name) > 0 && isASCII(name)
		}
		i++
	}
	return nil, false
}

// explained skips the options of EXPLAIN.
func explained(text []byte) (word, rest []byte) {
	text = bytes.TrimLeft(text, blanks)
	if len(text) > 0 && text[0] == '(' {
		_, text, _ = bytes.Cut(text, []byte(")"))
	}
	for word, rest = cutWord(text); equalFold(word, "analyze") || equalFold(word, "analyse") || equalFold(word, "verbose"); {
		word, rest = cutWord(rest)
	}
	return word, rest
}

// cutWord takes an identifier or key word off the text, behind blanks; it is empty when something else comes first.
func cutWord(text []byte) (word, rest []byte) {
	text = bytes.TrimLeft(text, blanks)
	n := 0
	for n < len(text) {
		c := text[n]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
		if !letter && (n == 0 || c != '$' && (c < '0' || c > '9')) {
			break
		}
		n++
	}
	return text[:n], text[n:]
}

// equalFold compares with a word in lower case.
func equalFold(word []byte, lower string) bool {
	return len(word) == len(lower) && hasPrefixFold(word, lower)
}

// mayMention reports whether a text could mention a name, by its first letter.
func mayMention(text []byte) bool {
	text = bytes.TrimLeft(text, blanks)
	if len(text) < len("execute") {
		return false
	}
	switch text[0] | 0x20 {
	case 'e':
		return hasPrefixFold(text, "execute") || hasPrefixFold(text, "explain")
	case 'p':
		return hasPrefixFold(text, "prepare")
	case 'd':
		return hasPrefixFold(text, "deallocate")
	}
	return false
}

// lendable is the client's statement that a text mentions.
func (c *Client) lendable(text []byte) (named, bool) {
	if c.own == nil || len(c.own.names) == 0 || !mayMention(text) || mayCopy(text) {
		return named{}, false
	}
	name, ok := mentioned(text)
	if !ok {
		return named{}, false
	}
	own := c.own.names[string(name)]
	return own, own.statement != nil && !bytes.HasPrefix(name, []byte(prepared.Prefix)) && !mayCopy([]byte(own.statement.Body()))
}

// mayCopy: a COPY would take for its data what is sent behind it.
func mayCopy(text []byte) bool { return bytes.Contains(bytes.ToLower(text), []byte("copy")) }

// lendQuery deals with a Query that mentions a statement of the client's: that is prepared before it under the client's name, and closed behind
// it. deals is false for any other Query.
func (c *Client) lendQuery(w *weave, at int, s *Server) (step Step, passes, deals bool) {
	b := w.b[at:]
	size, complete := protocol.Whole(b)
	switch {
	case len(b) < min(size, headerBytes+begunMin):
		return Step{Verdict: More}, false, true
	case size > judgedMax, !mayMention(b[headerBytes:min(size, len(b))]):
		return Step{}, false, false
	case !complete:
		return Step{Verdict: More}, false, true
	}
	own, ok := c.lendable(b[headerBytes:size])
	switch {
	case !ok, s.batchOpen:
		return Step{}, false, false
	case s.ledger.len() > 0:
		return Step{Verdict: Hold}, false, true // it is not certain that there is such a name, or it may be in a failed transaction
	case s.TxStatus == StatusFailed:
		return Step{}, false, false
	}
	f, err := c.scanner.Next(b)
	if err != nil {
		return Step{Verdict: Violate, Err: violationOf(err)}, false, true
	}
	w.cut(at, 0, s.desk)
	s.lend(own)
	s.desk.ToServer = append(s.desk.ToServer, syncMessage...)
	s.expectReady(syncDue, poolerOrigin) // an error of that Parse is nobody's: the Query will meet one
	s.sentQuery(c.mayDrop(f, s))
	c.watch(f, s)
	if word, _ := cutWord(f.Data[headerBytes:]); equalFold(word, "execute") && c.Session.Tracked {
		c.Session.executes(own.name, s)
	}
	w.cut(at+size, 0, s.desk)
	s.closeStrays()
	return Step{Verdict: Forward, N: len(f.Data)}, true, true
}

// lend prepares a statement under the client's name for it, until the batch ends.
func (s *Server) lend(own named) {
	if s.hasStray(own.name) { // of another text, perhaps
		s.desk.ToServer = appendNamed(s.desk.ToServer, protocol.ClientClose, own.name)
		s.expect(closeDue, poolerOrigin)
	} else {
		s.strays = append(s.strays, own.name)
	}
	body := own.statement.Body()
	s.desk.ToServer = appendHeader(s.desk.ToServer, protocol.ClientParse, len(own.name)+1+len(body))
	s.desk.ToServer = append(append(s.desk.ToServer, own.name...), 0)
	s.desk.ToServer = append(s.desk.ToServer, body...)
	s.expect(parseDue, poolerOrigin)
}

// hasStray reports that the server has a statement under a client's own name until the batch ends.
func (s *Server) hasStray(name string) bool { return slices.Contains(s.strays, name) }

// lendTo is called ahead of a message about a statement whose text may mention another of the client's: PostgreSQL looks that up when it
// parses, describes, binds and executes.
func (c *Client) lendTo(s *Server, text []byte) (lent named, ok bool) {
	lent, ok = c.lendable(text)
	if ok {
		s.lend(lent)
	}
	return lent, ok
}

// lendToUsed is lendTo for a Bind or Describe.
func (c *Client) lendToUsed(s *Server, u usage, text []byte) {
	lent, ok := c.lendTo(s, text)
	switch word, _ := cutWord(text); {
	case !ok || u.kind != bindDue:
	case drops(text):
		s.deallocates, s.deallocating = lent.name, string(u.portal)
	case equalFold(word, "execute") && c.Session.Tracked:
		c.Session.executes(lent.name, s)
	}
}

// executesDeallocate looks at an Execute that drops the statement that was lent to it. It returns what its request has to undo.
func (c *Client) executesDeallocate(f protocol.Frame, s *Server) undoEntry {
	portal, _, ok := cutName(f.Data[headerBytes:])
	if s.deallocates == "" || !ok || string(portal) != s.deallocating {
		return undoEntry{}
	}
	was := c.own.remove(s.deallocates, s.desk.Table)
	s.deallocates = ""
	if was.statement == nil {
		return undoEntry{}
	}
	return undoEntry{undo: undoForget, name: was.name, statement: was.statement, told: was.told, escapes: was.escapes}
}
