package relay

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// SessionState is what a client's statements do to its session beyond their transactions, as far as their text tells. It lives with the client.
// A client that sets nothing costs a look at each text, and no memory.
//
// What is noted is certain only when its transaction has ended. Where the outcome is plain it is followed; where it is not (an error on
// the way, a savepoint rolled back, several transactions in one pipeline, a value that PostgreSQL spells anew) Outcome.Ask says that the
// server has to be asked. To ask is always right, and costs a round trip.
type SessionState struct {
	// Tracked: its texts are looked at.
	Tracked bool
	// Dialect is how the server reads its texts.
	Dialect sqltext.Dialect

	// Promotes: a statement that makes something which only a connection can hold is judged Promote before it is sent.
	Promotes bool
	// Observed: its texts are looked at, though nothing is followed: until one of them leaves something that only a connection can hold.
	Observed bool
	// Restores: its client has its server to itself, and of what its texts do nothing is followed but what they reset: see restore.go.
	Restores bool

	// Begun: its session did not begin as a server's does. What RESET gives back is then not what the server goes back to, and the caller
	// has to set it anew before the next message.
	Begun bool

	Sharing

	made    sqltext.Effects // what is to be told by Made
	read    bool            // the lexer has read the text of the message that comes next
	pending *pending
	local   *local   // what decides the meaning of its texts until its transaction ends; nil: nothing of its own
	rereads bool     // Dialect may be another, which the server tells at the next ReadyForQuery, and may be what it was again when the transaction ends
	partial *partial // a message that is coming in pieces

	// See means.go.
	prepared  map[string]*effect // its prepared statements that have effects; nil: none
	replaced  []string           // of these, the names of which it is not known yet what they mean
	batch     uint32             // counts Syncs
	erred     bool               // there was an error since everything was answered
	forgotten bool               // they were too many: of any other name nothing is known
	here      map[string]bool    // the names parsed in this batch, where statements stay with the server: those that are there for certain
}

// Change is a parameter that was set or reset for the session.
type Change struct {
	Name  string // folded; empty: all of them are reset
	Value string // when Exact and not Reset
	Reset bool
	Exact bool
	// Maybe: it may have been left alone, although its statement succeeded.
	Maybe bool
	// Discard: DISCARD ALL, which resets who the session acts as too.
	Discard bool
	local   bool // until the transaction ends
}

// Outcome is what the transaction that has just ended did to the session.
type Outcome struct {
	// Changes are in the order in which they were made; none when they were rolled back.
	Changes []Change
	// Ask: it is not certain which of them hold. Changes that are not Exact have to be asked for in any case.
	Ask bool
	// AskAll: others may have changed too.
	AskAll bool
	// Leftovers: the server has something that no other client may find.
	Leftovers bool
	// Discarded: DISCARD ALL has succeeded, and behind it nothing was made that only a connection can hold. That is known where Ask is too.
	Discarded bool
	Listened
}

// effect is what a statement does when it runs.
type effect struct {
	effects    sqltext.Effects
	changes    []boundChange
	listenings []Listening
	unnamed    bool // it listens to a channel whose name is not known

	either bool    // it is what one of several statements does: see means.go
	before *effect // what its name means if PostgreSQL skips its Parse; nil: it is known that it has not
	batch  uint32  // SessionState.batch at its Parse
}

// boundChange is a Change whose name or value may be a bound parameter.
type boundChange struct {
	Change
	nameParam, valueParam int
}

// leftovers are the effects that stay with a server.
const leftovers = sqltext.Prepares | sqltext.HoldsCursor | sqltext.MakesTemp | sqltext.LocksAdvisory | sqltext.HoldsOther |
	sqltext.Listens | sqltext.Opaque | sqltext.Unreadable

// noted are the effects that concern the session at all.
const noted = leftovers | sqltext.Assigns | sqltext.ResetsAll | sqltext.DiscardsAll

// ends are the statements behind which it is not plain any more what belongs to which transaction, when they stand in one text with
// something noted.
const ends = sqltext.Commits | sqltext.RollsBack | sqltext.RollsBackTo | sqltext.PreparesTransaction | sqltext.Chains

// partial is a Query, Parse, Bind or Execute that is cut.
type partial struct {
	kind  byte
	lexer sqltext.Lexer
	head  []byte // of a Parse, up to the end of its name; of a Bind or Execute, up to partialBindMax
	named bool   // the name is whole; the text is being read
	tail  []byte // of a Parse, from the end of its text, up to partialBindMax
}

// partialBindMax is how much is kept of a Bind that is cut: names, and the parameters of a set_config.
const partialBindMax = 8 << 10

// watch notes a message that has been passed on to the server.
func (n *SessionState) watch(f protocol.Frame, s *Server) {
	switch f.Type {
	case protocol.ClientQuery:
		clear(n.here) // the server may be parted behind it
		if !f.Last {
			n.watchPart(f, s)
			return
		}
		l := s.Lexer
		if !n.read {
			l.Begin(n.dialect())
			l.Feed(f.Data[headerBytes:])
		}
		n.queried(l, s)
	case protocol.ClientParse:
		if !f.Last {
			n.watchPart(f, s)
			return
		}
		name, rest, ok := bytes.Cut(f.Data[headerBytes:], zero)
		if !ok {
			return // malformed: the server refuses it
		}
		l := s.Lexer
		if !n.read {
			l.Begin(n.dialect())
			l.Feed(rest)
		}
		n.parsed(l, name, rest, s)
	case protocol.ClientBind:
		if len(n.prepared) == 0 && n.pending == nil && !n.forgotten && !n.leavesStatements(s) {
			return
		}
		if !f.Last {
			n.watchPart(f, s)
			return
		}
		n.bound(f.Data, true, s)
	case protocol.ClientExecute:
		if n.pending == nil {
			return
		}
		if !f.Last {
			n.watchPart(f, s)
			return
		}
		n.pending.executed(f.Data)
	case protocol.ClientClose:
		if len(n.prepared) > 0 && f.Last {
			n.closed(f.Data)
		}
	case protocol.ClientFunctionCall:
		if n.Tracked && f.First && !ofLargeObjects(f.Data) {
			n.note(effect{effects: sqltext.Opaque}, s)
		}
	case protocol.ClientSync:
		n.batch++
		clear(n.here)
	}
}

// ofLargeObjects reports that a FunctionCall is of one of the functions for large objects (include/catalog/pg_proc.dat), which is what drivers
// use it for; any other may be set_config.
func ofLargeObjects(frame []byte) bool {
	if len(frame) < headerBytes+4 {
		return false
	}
	switch binary.BigEndian.Uint32(frame[headerBytes:]) {
	case 715, 764, 767, 765, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172, 3457, 3458, 3459, 3460:
		return true
	}
	return false
}

var zero = []byte{0}

// dialect is how the server reads the text that comes next, which may come behind one that changes that and has not been answered.
func (n *SessionState) dialect() sqltext.Dialect {
	d := n.Dialect
	d.Doubtful, d.TrailingQuotes = d.Doubtful || n.rereads, d.TrailingQuotes || n.rereads
	return d
}

// watchPart goes on with a message that is cut.
func (n *SessionState) watchPart(f protocol.Frame, s *Server) {
	p := n.partial
	data := f.Data
	if f.First {
		p = &partial{kind: f.Type}
		n.partial = p
		data = data[headerBytes:]
		p.lexer.Begin(n.dialect())
		p.named = f.Type == protocol.ClientQuery
		if f.Type == protocol.ClientBind || f.Type == protocol.ClientExecute {
			p.head = append(p.head, f.Data[:headerBytes]...)
		}
	}
	switch {
	case p.kind == protocol.ClientBind, p.kind == protocol.ClientExecute:
		p.head = append(p.head, data[:min(len(data), max(0, partialBindMax-len(p.head)))]...)
	case p.named:
		p.readText(data)
	default:
		name, rest, ok := bytes.Cut(data, zero)
		p.head = append(p.head, name[:min(len(name), max(0, partialBindMax-len(p.head)))]...)
		if ok {
			p.named = true
			p.readText(rest)
		}
	}
	if !f.Last {
		return
	}
	n.partial = nil
	switch p.kind {
	case protocol.ClientQuery:
		n.queried(&p.lexer, s)
	case protocol.ClientParse:
		n.parsed(&p.lexer, p.head, p.tail, s)
	case protocol.ClientBind:
		n.bound(p.head, len(p.head) < partialBindMax, s)
	case protocol.ClientExecute:
		n.pending.executed(p.head)
	}
}

// readText reads a text and, in a Parse, the types behind it.
func (p *partial) readText(b []byte) {
	if p.tail == nil {
		end := bytes.IndexByte(b, 0)
		if end < 0 {
			end = len(b)
		} else {
			p.tail = make([]byte, 0, 8)
		}
		p.lexer.Feed(b[:end])
		b = b[end:]
	}
	p.tail = append(p.tail, b[:min(len(b), max(0, partialBindMax-len(p.tail)))]...)
}

// ended is what a text does. What EXECUTE runs, it does not say: a statement that the client has prepared by the protocol, which knows it by
// another name, or one of another client's.
func (n *SessionState) ended(l *sqltext.Lexer) sqltext.Effects {
	e := l.End()
	n.observed(e)
	if e&sqltext.Executes != 0 {
		e |= sqltext.Opaque
	}
	return e
}

// queried notes the text of a Query.
func (n *SessionState) queried(l *sqltext.Lexer, s *Server) {
	e := n.ended(l)
	if n.local != nil && e&ends != 0 {
		n.local.doubt()
	}
	if n.pending != nil {
		n.pending.doubts(e)
	}
	if n.Restores && !n.resets(l, e) {
		return
	}
	if e&n.minds() == 0 {
		if e&sqltext.AssignsLocally != 0 {
			n.assignLocally(n.effectOf(l, e), s)
		}
		return
	}
	p := n.note(n.effectOf(l, e), s)
	p.doubts(e)
	if e&ends != 0 {
		p.unsure = true
	}
}

// effectOf copies what a Lexer has found.
func (n *SessionState) effectOf(l *sqltext.Lexer, e sqltext.Effects) effect {
	found := effect{effects: e}
	if !n.Restores {
		found.listenings, found.unnamed = n.listeningsOf(l, e)
	}
	if e&sqltext.DiscardsAll != 0 {
		found.changes = append(found.changes, boundChange{Change: Change{Reset: true, Exact: true, Discard: true}})
	}
	for i := range l.Assignments() {
		a := l.Assignment(i)
		found.changes = append(found.changes, boundChange{
			Change:    Change{Name: string(a.Name), Value: string(a.Value), Reset: a.Reset, Exact: a.Exact, Maybe: a.Maybe, local: a.Local},
			nameParam: a.NameParam, valueParam: a.ValueParam,
		})
	}
	return found
}

// note adds to what is pending.
func (n *SessionState) note(e effect, s *Server) *pending {
	if n.pending == nil {
		n.pending = &pending{}
	}
	p := n.pending
	p.effects |= e.effects
	if e.effects&sqltext.DiscardsAll != 0 {
		p.discards, p.remade = p.discards+1, false
	} else if e.effects&leftovers != 0 {
		p.remade = true
	}
	// What is bound already may run behind this; and behind a transaction that has ended, all that is noted is not of one.
	p.unsure = p.unsure || p.awaits || p.ends > 0
	n.sendsListenings(&e, s)
	for _, c := range e.changes {
		if (c.Name != "" || c.Reset) && !c.local {
			p.add(c.Change)
		}
	}
	n.assignLocally(e, s)
	if s.skipping || s.outstanding() {
		p.unsure = true
	}
	return p
}

// outstanding reports that more is owed than what belongs to the message just sent: the outcome of that may decide about this one.
func (s *Server) outstanding() bool {
	for i := range s.ledger.len() - 1 {
		if r := s.ledger.at(i); r.origin != poolerOrigin && (r.kind.endsWithReady() || r.kind == executeDue) {
			return true
		}
	}
	return false
}

// startsBatch reports that the message just sent is the first of its batch: PostgreSQL cannot skip it.
func (s *Server) startsBatch() bool {
	n := s.ledger.len()
	return !s.ledger.clientsFrom(n-s.ledger.inBatch(), n-1) && !s.skipping
}

// rests reports that what comes next may rest on what a RESET gives back: see Begun.
func (n *SessionState) rests(s *Server) bool {
	if !n.Begun || n.pending == nil || s.ledger.len() == 0 || s.batchOpen || s.passive() {
		return false
	}
	for i := range n.pending.changes {
		if n.pending.changes[i].Reset {
			return true
		}
	}
	return false
}

// pending is what its client has noted and the reply due now may be about; nil: nothing.
func (s *Server) pending() *pending {
	if s.watched == nil || s.ledger.front().origin == poolerOrigin {
		return nil
	}
	return s.watched.pending
}

// Pending reports that statements with effects have been sent, and Resolve has not been called since.
func (n *SessionState) Pending() bool { return n.pending != nil }

// NewChanges are those since the last call, while a transaction goes on. sure is false when some of them may have failed.
func (n *SessionState) NewChanges() (changes []Change, sure bool) {
	p := n.pending
	if p == nil {
		return nil, true
	}
	changes, sure = p.changes[p.told:], !p.maybe
	p.told, p.maybe = len(p.changes), false
	return changes, sure
}

// Resetting reports that a parameter has been reset, perhaps, since the last transaction that ended or the last call of NewChanges.
func (n *SessionState) Resetting(name string) bool {
	if n.pending == nil {
		return false
	}
	reset := false
	for _, c := range n.pending.changes[n.pending.told:] {
		if c.Name == "" || strings.EqualFold(c.Name, name) {
			reset = c.Reset
		}
	}
	return reset
}
