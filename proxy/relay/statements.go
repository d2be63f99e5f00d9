package relay

import (
	"bytes"

	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// statements is what a client has prepared. It is made at the client's first Parse.
type statements struct {
	names    map[string]named
	bytes    int // reserved in the table for the names
	texts    int // bytes of the statements behind the names; one that two clients have counts for both
	unnamed  unnamed
	serial   uint64         // of the latest change to the unnamed statement
	gathered []byte         // the beginning of a long Parse that is still coming
	scope    prepared.Scope // of what it prepares with the settings of scopeOf; empty: not known yet
	scopeOf  sqltext.Session
}

// named is a statement under a client's name for it.
type named struct {
	statement       *prepared.Statement
	name            string
	size            int  // what it counts in statements.texts
	escapes         bool // a backslash in it is an escape
	clientSignature prepared.Signature
	parsed          uint64 // Entry.Serial of what the client's Parse has made; that server may be another by now
}

// unnamed is the unnamed statement, which outlives the transaction it was prepared in.
type unnamed struct {
	there           bool
	serial          uint64 // of the change that made it what it is
	message         []byte // the Parse as it came; empty: longer than unnamedMax
	batch           uint32 // Server.batch at its Parse
	words           prepared.Words
	escapes         bool             // a backslash in it is an escape
	settings        sqltext.Settings // client_encoding is that in which it came
	declared        bool             // message declares the types that the client was told
	clientSignature prepared.Signature
}

// held says whose unnamed statement a server has.
type held struct {
	of        *statements // nil: nobody's, or not known
	serial    uint64
	signature prepared.Signature // as the server has said; zero: not known
	asked     bool               // the proxy has asked for the signature, and the answer is on its way
}

const (
	// headMax is the longest name that is understood, and the longest portal and name together of a Bind.
	headMax = 4 << 10
	// unnamedMax is the longest unnamed Parse that is remembered. A longer one passes through as it comes; the next transaction has to
	// prepare it again.
	unnamedMax = 32 << 10
	// namedMax is the longest named Parse: it is kept whole for as long as anybody has a name for it.
	namedMax = 1 << 20
	// gatherMin is how long a Parse must be to be gathered here rather than left with the socket until it is whole.
	gatherMin = 32 << 10
	// savedMax bounds the unnamed statements that one pipeline keeps to undo others.
	savedMax = 1 << 20
	// nameBytes is what a name costs in a client's map, beyond its letters.
	nameBytes = 72
)

// remember gives the client a name for a statement; the reference is the name's. It returns false if the client's statements, or those of all
// clients, take too much memory.
func (own *statements) remember(name string, statement *prepared.Statement, table *prepared.Table) bool {
	bytes, size := nameBytes+len(name), statement.Size()
	if own.bytes+own.texts+bytes+size > table.ClientMax() || !table.Reserve(bytes) {
		return false
	}
	if own.names == nil {
		own.names = make(map[string]named)
	}
	own.bytes += bytes
	own.texts += size
	own.names[name] = named{statement: statement, name: name, size: size}
	return true
}

// read notes how the text of a name was read.
func (own *statements) read(name string, escapes bool) {
	if own == nil {
		return
	}
	if n := own.names[name]; n.statement != nil {
		n.escapes = escapes
		own.names[name] = n
	}
}

// remove takes a name away and hands out its reference; the zero value when there is no such name.
func (own *statements) remove(name string, table *prepared.Table) named {
	if own == nil {
		return named{}
	}
	was := own.names[name]
	if was.statement != nil {
		delete(own.names, name)
		own.bytes -= nameBytes + len(name)
		own.texts -= was.size
		table.Reserve(-nameBytes - len(name))
	}
	return was
}

// body returns what follows the name in the Parse of a prepared statement: its text, and the types of its parameters.
func (own *statements) body(name []byte) (body []byte, ok bool) {
	switch {
	case own == nil:
	case len(name) == 0:
		if own.unnamed.there && len(own.unnamed.message) > headerBytes {
			_, body, ok = bytes.Cut(own.unnamed.message[headerBytes:], zero)
		}
	default:
		if n, known := own.names[string(name)]; known && n.statement != nil {
			body, ok = []byte(n.statement.Body()), true
		}
	}
	return body, ok
}

// mentions reports that the text has the name of another statement: what it means is the client's alone.
func (n named) mentions() bool { return n.statement != nil && len(n.statement.Words().Mentions) > 0 }

func (u *unnamed) mentions() bool { return len(u.words.Mentions) > 0 }

// dropUnnamed ends the unnamed statement.
func (own *statements) dropUnnamed() {
	own.serial++
	own.unnamed.there, own.unnamed.serial, own.unnamed.clientSignature = false, own.serial, prepared.Signature{}
}

// forgetNames takes all names away.
func (own *statements) forgetNames(table *prepared.Table) {
	if own == nil {
		return
	}
	for _, n := range own.names {
		table.Release(n.statement)
	}
	table.Reserve(-own.bytes)
	own.names, own.bytes, own.texts = nil, 0, 0
}

// Forget gives back what a client that is gone has prepared.
func (c *Client) Forget(table *prepared.Table) {
	c.own.forgetNames(table)
	c.own = nil
}

// Server's side: what it holds, and what must go ahead of a message so that it holds what the message needs.

// provide makes the server hold a statement of which it has e, by a Parse ahead of what follows if need be.
func (s *Server) provide(statement *prepared.Statement, e *prepared.Entry) *prepared.Entry {
	if e.State() == prepared.Held {
		return e
	}
	return s.renew(statement, e)
}

// renew has a statement prepared anew, whatever the server has of it.
func (s *Server) renew(statement *prepared.Statement, e *prepared.Entry) *prepared.Entry {
	e = s.replace(statement, e.State())
	s.record(parseDue, poolerOrigin, undoEntry{undo: undoAdd, statement: statement})
	s.Tally.ParsesInjected++
	return e
}

// hold notes that the server will have the statement.
func (s *Server) hold(statement *prepared.Statement) *prepared.Entry {
	s.desk.Table.RetainForServer(statement)
	return s.cache.Add(statement)
}

// makeRoom closes what is in the way of a Parse: a stale statement of that name, and the least recently used beyond the limit.
func (s *Server) makeRoom(statement *prepared.Statement, state prepared.State) {
	if state == prepared.Stale {
		s.evict(statement)
	}
	for s.cache.Len() >= max(1, s.StatementsMax) {
		s.evict(s.cache.Oldest())
		s.Tally.StatementsEvicted++
	}
}

// evict closes a statement on the server.
func (s *Server) evict(statement *prepared.Statement) {
	s.cache.Remove(statement)
	s.desk.ToServer = appendNamed(s.desk.ToServer, protocol.ClientClose, statement.Name())
	s.record(closeDue, poolerOrigin, undoEntry{undo: undoEvict, statement: statement})
}

// lost reports that the unnamed statement cannot be sent again: its text is not there, or would be another one now.
func (s *Server) lost(u *unnamed) bool {
	if len(u.message) <= headerBytes || s.client == nil {
		return true
	}
	text, _, _ := cutName(u.message[headerBytes+1:])
	return s.rereads(u.escapes, text) || !isASCII(text) && (!sameEncoding(u.settings, s.client.Settings) || s.readsOtherwise())
}

func sameEncoding(was, now sqltext.Settings) bool {
	if was == now {
		return true
	}
	before, _ := was.Get("client_encoding")
	encoding, _ := now.Get("client_encoding")
	return before == encoding
}

// provideUnnamed makes the server hold the client's unnamed statement. When there is none, or its text is lost, the server is left without
// any, so that it says so itself.
func (s *Server) provideUnnamed(own *statements) {
	if own != nil && own.unnamed.there && !s.lost(&own.unnamed) {
		s.desk.ToServer = append(s.desk.ToServer, own.unnamed.message...)
		own.unnamed.batch = s.batch
		s.changeUnnamed(parseDue, poolerOrigin, own.unnamed.serial, nil)
		s.unnamed.becomes(own)
		s.Tally.ParsesInjected++
		return
	}
	s.desk.ToServer = appendNamed(s.desk.ToServer, protocol.ClientClose, "")
	s.expect(closeDue, poolerOrigin)
	s.unnamed.of = nil
}

// becomes notes that the server will have the client's unnamed statement.
func (h *held) becomes(own *statements) {
	h.of, h.serial, h.signature, h.asked = own, own.unnamed.serial, prepared.Signature{}, false
}

// changeUnnamed notes a message after which the server's unnamed statement is the client's of this serial. before is what the client had;
// nil when it has that one already. A message of the client's that comes first in its batch cannot be skipped: nothing is kept to
// undo it, and what is sent next may rest on it, as PostgreSQL will tell the client itself if it fails.
func (s *Server) changeUnnamed(kind requestKind, from origin, serial uint64, before *unnamed) {
	e := undoEntry{undo: undoUnnamed, serial: serial}
	if before == nil {
		e.undo = undoUnnamedAdd
	}
	if s.ledger.inBatch() > 0 || before == nil {
		e.rest = nothingToUndo
		if before != nil {
			e.rest = &undoRest{restore: true, unnamed: *before}
			if s.savedBytes += len(before.message); s.savedBytes > savedMax {
				s.savedBytes -= len(before.message)
				e.rest.unnamed.message = nil
			}
			before.message = nil // the undoEntry has it now
		}
	}
	s.record(kind, from, e)
	if e.rest != nil {
		s.ledger.unsure = s.ledger.tail
	}
}

// nothingToUndo is that of a undoUnnamedAdd. Nobody writes to it.
var nothingToUndo = &undoRest{}

// hasUnnamed reports whether the server has the client's unnamed statement, and whether that is certain.
func (s *Server) hasUnnamed(own *statements) (has, certain bool) {
	if own == nil || !own.unnamed.there || s.unnamed.of != own || s.unnamed.serial != own.unnamed.serial {
		return false, s.ledger.unsureBefore <= s.ledger.head
	}
	return true, s.ledger.unsureBefore <= s.ledger.head || own.unnamed.batch == s.batch
}

// appendNamed builds a Close or Describe of a statement.
func appendNamed(dst []byte, messageType byte, name string) []byte {
	dst = appendHeader(dst, messageType, 1+len(name)+1)
	dst = append(dst, 'S')
	dst = append(dst, name...)
	return append(dst, 0)
}

// appendHeader builds the type and length of a message with so many bytes behind them.
func appendHeader(dst []byte, messageType byte, behind int) []byte {
	n := 4 + behind
	return append(dst, messageType, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// cutName takes a zero-terminated string off b.
func cutName(b []byte) (name, rest []byte, ok bool) {
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		return nil, nil, false
	}
	return b[:end], b[end+1:], true
}

// isParseBody reports whether b is a text, the number of its parameter types, and the types.
func isParseBody(b []byte) bool {
	_, types, ok := cutName(b)
	if !ok || len(types) < 2 {
		return false
	}
	return len(types) == 2+4*(int(types[0])<<8|int(types[1]))
}
