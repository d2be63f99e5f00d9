package relay

import (
	"bytes"
	"slices"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// On a direct connection a statement has one name, for SQL and for the protocol. Here what a client prepares by the protocol has another name on
// its server, so that EXECUTE n, PREPARE n and DEALLOCATE n in its texts would not find it. For as long as such a text runs the server has an
// alias, a statement under the client's own name: PostgreSQL itself then says what it says.

// drops are the effects of a text that drops prepared statements.
const drops = sqltext.Deallocates | sqltext.DiscardsAll

// words is what a text says about prepared statements.
func (c *Client) words(text []byte, s *Server) (w prepared.Words) {
	n := &c.Session
	if !n.read && !n.Tracked && !mayName(text) {
		return w
	}
	n.readText(text, s)
	w.Drops = s.Lexer.End()&drops != 0
	for i := range s.Lexer.Names() {
		switch a := s.Lexer.Name(i); a.Kind {
		case sqltext.NameExecuted, sqltext.NamePrepared, sqltext.NameDeallocated:
			if a.Exact {
				w.Mentions = append(w.Mentions, prepared.Mention{Name: string(a.Text), Drops: a.Kind == sqltext.NameDeallocated})
			}
		case sqltext.NameSavepoint, sqltext.NameReleased, sqltext.NameRolledBack:
		}
	}
	return w
}

// mayName reports that a text may have the word PREPARE, EXECUTE, DEALLOCATE or DISCARD: it looks for "pre", "xec", "loc" and "isc", three
// bytes at a time where it can, which costs a fraction of reading the text.
func mayName(text []byte) bool {
	is := func(i int, c byte) bool { return text[i]|0x20 == c }
	for i := 2; i < len(text); {
		switch text[i] | 0x20 {
		case 'c':
			if is(i-1, 'e') && is(i-2, 'x') || is(i-1, 'o') && is(i-2, 'l') || is(i-1, 's') && is(i-2, 'i') {
				return true
			}
			i += 3
		case 'e':
			if is(i-1, 'r') && is(i-2, 'p') {
				return true
			}
			i++
		case 'r', 'o', 's':
			i++
		case 'p', 'x', 'l', 'i':
			i += 2
		default:
			i += 3
		}
	}
	return false
}

// mayCopy: a COPY would take for its data what is sent behind it.
func mayCopy(text []byte) bool { return bytes.Contains(bytes.ToLower(text), []byte("copy")) }

// has reports that a text mentions a name that the client has.
func (c *Client) has(words *prepared.Words) bool {
	return slices.ContainsFunc(words.Mentions, func(m prepared.Mention) bool { return c.aliased(m.Name).statement != nil })
}

// aliased is the client's statement of a name that SQL mentions.
func (c *Client) aliased(name string) named {
	if c.own == nil {
		return named{}
	}
	return c.own.names[name]
}

// aliasOf is what a server knows a client's name as: itself, unless it looks like one of ours.
func aliasOf(name string) string {
	if strings.HasPrefix(name, prepared.Prefix) {
		return notOurs([]byte(name))
	}
	return name
}

// mentions deals with a Query that mentions a statement of the client's: the server gets an alias before it, which is closed behind it. deals is
// false for any other Query.
func (c *Client) mentions(w *rewriter, at int, s *Server) (step Step, passes, deals bool) {
	if !c.Session.read {
		return Step{}, false, false // it is too long
	}
	b := w.b[at:]
	size, _ := protocol.Whole(b)
	words := c.words(b[headerBytes:size], s)
	switch {
	case len(words.Mentions) == 0, s.batchOpen, mayCopy(b[headerBytes:size]):
		return Step{}, false, false
	case s.ledger.changedBefore > s.ledger.head, c.has(&words) && s.ledger.len() > 0:
		return Step{Verdict: Hold}, false, true // it is not certain that there is such a name, or it may be in a failed transaction
	case s.TxStatus == StatusFailed:
		return Step{}, false, false
	}
	m := words.Mentions[0]
	ours := m.Drops && strings.HasPrefix(m.Name, prepared.Prefix) && s.Lexer.Statements() == 1
	if !ours && !c.has(&words) {
		return Step{}, false, false
	}
	f, err := c.scanner.Next(b)
	if err != nil {
		return Step{Verdict: Violate, Err: violationOf(err)}, false, true
	}
	w.cut(at, size, s.desk)
	c.installAliases(&words, s)
	if len(s.aliases) > 0 {
		s.desk.ToServer = append(s.desk.ToServer, syncMessage...)
		s.expectReady(syncDue, poolerOrigin) // an error of that Parse is nobody's: the Query will meet one
	}
	if ours { // a statement of ours must not go
		text := `deallocate "` + notOurs([]byte(m.Name)) + `"`
		s.desk.ToServer = append(append(appendHeader(s.desk.ToServer, protocol.ClientQuery, len(text)+1), text...), 0)
	} else {
		s.desk.ToServer = append(s.desk.ToServer, f.Data...)
	}
	c.sendQuery(f, s)
	if len(s.aliases) > 0 {
		s.closeAliases()
	}
	return Step{Verdict: Forward, N: len(f.Data)}, true, true
}

// sendQuery notes that a Query is on its way.
func (c *Client) sendQuery(f protocol.Frame, s *Server) {
	dropped := c.mayDrop(f, s)
	s.sent(f.Type, queryDue)
	if dropped {
		s.note(undoEntry{undo: undoReset})
	}
	c.watch(f, s)
}

// mayDrop reports that a Query or Execute may drop statements. A Query ends the unnamed statement.
func (c *Client) mayDrop(f protocol.Frame, s *Server) bool {
	switch f.Type {
	case protocol.ClientQuery:
		s.unnamed.of = nil
		if c.own == nil {
			return false
		}
		c.own.dropUnnamed()
		if c.Session.read {
			return s.Lexer.End()&drops != 0
		}
		return !f.Last || mayName(f.Data) // it is too long to be read ahead
	case protocol.ClientExecute:
		return s.dropBound
	}
	return false
}

// installAliases gives the server aliases for the names that a text mentions, until the batch ends.
func (c *Client) installAliases(words *prepared.Words, s *Server) {
	for _, m := range words.Mentions {
		own := c.aliased(m.Name)
		switch {
		case own.statement == nil:
		case m.Drops:
			s.installAlias(aliasOf(m.Name), "\x00\x00\x00") // an empty text, which nothing can be wrong with
		case !mayCopy([]byte(own.statement.Body())):
			s.installAlias(aliasOf(m.Name), own.statement.Body())
		}
	}
}

// installAlias prepares a statement under a client's own name, until the batch ends. body is that of a Parse.
func (s *Server) installAlias(name, body string) {
	if s.hasAlias(name) { // of another text, perhaps
		s.desk.ToServer = appendNamed(s.desk.ToServer, protocol.ClientClose, name)
		s.expect(closeDue, poolerOrigin)
	} else {
		s.aliases = append(s.aliases, name)
	}
	s.desk.ToServer = appendHeader(s.desk.ToServer, protocol.ClientParse, len(name)+1+len(body))
	s.desk.ToServer = append(append(s.desk.ToServer, name...), 0)
	s.desk.ToServer = append(s.desk.ToServer, body...)
	s.expect(parseDue, poolerOrigin)
}

// hasAlias reports that the server has a statement under a client's own name until the batch ends.
func (s *Server) hasAlias(name string) bool { return slices.Contains(s.aliases, name) }

// closeAliases closes the aliases behind the Sync that ends the batch.
func (s *Server) closeAliases() {
	for _, name := range s.aliases {
		s.desk.ToServer = appendNamed(s.desk.ToServer, protocol.ClientClose, name)
		s.expect(closeDue, poolerOrigin)
	}
	s.aliases = nil
	s.desk.ToServer = append(s.desk.ToServer, syncMessage...)
	s.expectReady(syncDue, poolerOrigin)
}

// deallocated notes that the server has dropped what it had under a client's own name.
func (s *Server) deallocated(name string) {
	if was := s.own().remove(name, s.desk.Table).statement; was != nil {
		s.desk.Table.Release(was)
	}
}
