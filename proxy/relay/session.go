package relay

import (
	"strings"

	"github.com/hybridbouncer/hybridbouncer/catalog"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// SessionState is what a client's statements do to its session beyond their transactions, as far as their text tells. It lives with the client.
// A client that sets nothing costs a look at each text, and no memory.
//
// What a statement does is noted when PostgreSQL has answered it (prepared_effects.go), and holds when its transaction is committed
// (transaction.go). Where PostgreSQL alone knows the outcome (a procedure, a value that it spells anew, a savepoint whose name is not
// known) Outcome.Ask says that the server has to be asked. To ask is always right, and costs a round trip.
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

	// Catalogue tells what functions, triggers and the like of the database do; nil: it is not known yet.
	Catalogue *catalog.Catalogue
	// Unread: the database has a catalogue that has not been loaded. Every text may do anything then, and its server is cleaned.
	Unread   bool
	beyond   *catalog.Deeds     // what the text does beyond its words that has been read; nil: nothing
	judgedBy *catalog.Catalogue // the newest catalogue that its texts have been judged by
	outdated bool               // some of its prepared statements have been judged by an older one
	reviewed map[string]bool    // with outdated: the names that have been judged since
	// leadsToTemp: search_path has been set to a list under which new objects may be temporary.
	leadsToTemp bool

	made    sqltext.Effects // what is to be told by Made
	read    bool            // the lexer has read the text of the message that comes next
	pending *pending
	local   *local   // what decides the meaning of its texts until its transaction ends; nil: nothing of its own
	rereads bool     // Dialect may be another, which the server tells at the next ReadyForQuery, and may be what it was again when the transaction ends
	partial *partial // a message that is coming in pieces

	prepared  map[string]*effect // its prepared statements that have effects, of those that have been answered; nil: none
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
	// Defined: objects of the database were defined, altered or dropped: what the Catalogue says may be true no more.
	Defined bool
	// CannotUndo: the server has something that no SQL takes back.
	CannotUndo bool
	// Discarded: DISCARD ALL has succeeded, and behind it nothing was made that only a connection can hold. That is known where Ask is too.
	Discarded bool
	Listened
}

// leftovers are the effects that stay with a server.
const leftovers = sqltext.Prepares | sqltext.HoldsCursor | sqltext.MakesTemp | sqltext.LocksAdvisory | sqltext.HoldsOther |
	sqltext.Listens | sqltext.Opaque | sqltext.Unreadable | sqltext.CallsUnknown | sqltext.Seeds

// defining are the effects on the definitions of the database.
const defining = sqltext.Defines | sqltext.Creates

// noted are the effects that concern the session at all.
const noted = leftovers | defining | sqltext.Assigns | sqltext.ResetsAll | sqltext.DiscardsAll

// saving are the effects on savepoints.
const saving = sqltext.RollsBackTo | sqltext.Saves | sqltext.Releases

// ends are the statements behind which it is not plain any more what belongs to which transaction, when they stand in one text with
// something noted.
const ends = sqltext.Commits | sqltext.RollsBack | sqltext.RollsBackTo | sqltext.PreparesTransaction | sqltext.Chains

// note is what is pending, made if need be.
func (n *SessionState) note() *pending {
	if n.pending == nil {
		n.pending = &pending{}
	}
	return n.pending
}

// sends notes an effect that has been sent, whatever becomes of it.
func (n *SessionState) sends(e *effect, s *Server) {
	n.sendsOwn(e, s)
	for _, a := range e.names {
		if a.kind != sqltext.NameExecuted {
			continue
		}
		if runs := n.means([]byte(a.name), s); runs != nil {
			n.sendsOwn(runs, s)
		}
	}
}

// sendsOwn is sends without what is executed by name.
func (n *SessionState) sendsOwn(e *effect, s *Server) {
	if e.effects&n.minds() != 0 {
		p := n.note()
		p.sent |= e.effects
		for i := range e.changes {
			if e.changes[i].Reset {
				p.sent |= sqltext.ResetsAll
			}
		}
	}
	n.assign(e, s)
}

// rests reports that what comes next may rest on what a RESET gives back: see Begun.
func (n *SessionState) rests(s *Server) bool {
	return n.Begun && n.pending != nil && s.ledger.len() > 0 && !s.batchOpen && !s.passive() &&
		n.pending.sent&(sqltext.ResetsAll|sqltext.DiscardsAll) != 0
}

// Pending reports that statements with effects have been sent, and Resolve has not been called since.
func (n *SessionState) Pending() bool { return n.pending != nil }

// Resolve tells what the statements did, when the server is settled: no transaction is open, no reply is outstanding.
func (n *SessionState) Resolve() Outcome {
	p := n.pending
	n.pending = nil
	return Outcome{
		Changes: p.changes, Ask: p.unsure, Listened: n.listened(p),
		AskAll:     p.effects&(sqltext.Opaque|sqltext.Unreadable) != 0,
		Leftovers:  p.effects&n.leftovers() != 0,
		CannotUndo: p.effects&sqltext.Seeds != 0,
		Defined:    p.effects&defining != 0,
		Discarded:  p.effects&sqltext.DiscardsAll != 0 && p.effects&leftovers == 0,
	}
}

// NewChanges are those since the last call, while a transaction goes on. sure is false when some of them may have failed.
func (n *SessionState) NewChanges() (changes []Change, sure bool) {
	p := n.pending
	if p == nil {
		return nil, true
	}
	changes, p.told = p.changes[p.told:], len(p.changes)
	return changes, !p.unsure
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
