package relay

import (
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Where a client has its server to itself, PostgreSQL keeps what it sets. One thing is not as on a direct connection: the startup parameters
// were SET, on a server that others have had before, and so RESET, RESET ALL and DISCARD ALL go past them, back to what that server began
// with. These statements are noted, what is sent behind them waits (rests), and when one has been answered the caller sets anew what
// it took (Restore). SET is transactional: what is set anew right behind a RESET holds and is undone together with it, so that nothing has to be
// remembered beyond its ReadyForQuery, unless its transaction has failed: a ROLLBACK TO may bring that back.
//
// A text that is too long to be read, or that nobody can read, shows itself by its tags. What is pipelined behind it does not wait.

// resetting are the effects that are noted of a client that Restores. What is set counts only beside what is reset.
const resetting = sqltext.Assigns | sqltext.ResetsAll | sqltext.DiscardsAll

// readsResets reports that a Query or Parse is looked at where that is done for resets alone.
func (n *SessionState) readsResets(f protocol.Frame) bool {
	if size, _ := protocol.Whole(f.Data); size > judgedMax {
		if f.Type == protocol.ClientParse {
			clear(n.prepared) // it may be one of these that is another now
		}
		return false
	}
	return n.pending != nil || len(n.prepared) > 0 || !f.Last || mayReset(f.Data)
}

// mayReset reports that a text may hold RESET, SET or DISCARD: it looks for "set" and "isc", three bytes at a time where it can, which costs
// a fraction of reading the text.
func mayReset(text []byte) bool {
	for i := 2; i < len(text); {
		switch text[i] | 0x20 {
		case 't':
			if text[i-1]|0x20 == 'e' && text[i-2]|0x20 == 's' {
				return true
			}
			i += 3
		case 'c':
			if text[i-1]|0x20 == 's' && text[i-2]|0x20 == 'i' {
				return true
			}
			i += 3
		case 's', 'e':
			i++
		case 'i':
			i += 2
		default:
			i += 3
		}
	}
	return false
}

// resets reports that a text which the lexer has read resets something, or may set what has been reset.
func (n *SessionState) resets(l *sqltext.Lexer, e sqltext.Effects) bool {
	if e&(sqltext.ResetsAll|sqltext.DiscardsAll) != 0 || n.pending != nil && e&(resetting|saving) != 0 {
		return true
	}
	for i := range l.Assignments() {
		if l.Assignment(i).Reset {
			return true
		}
	}
	return false
}

// mayAssign notes that a statement is bound of which nothing is remembered: it may set again what another one in its batch resets.
func (n *SessionState) mayAssign() {
	if n.Restores && n.pending != nil {
		n.pending.unsure = true
	}
}

// unseen notes the tag of a statement that was not seen in its text.
func (n *SessionState) unseen(tag string) {
	switch tag {
	case "RESET", "DISCARD ALL":
		n.note().add(Change{Reset: true, Exact: true, Discard: tag != "RESET"})
		n.pending.unsure = true
		n.pending.sent |= sqltext.ResetsAll
	}
}

// Restore tells what has been reset, and set beside it, in the order in which that was done, when nothing is outstanding and no transaction
// has failed. sure is false when the server alone knows what holds. It is forgotten then.
func (n *SessionState) Restore() (changes []Change, sure bool) {
	p := n.pending
	n.pending = nil
	return p.changes, !p.unsure && p.effects&sqltext.Unreadable == 0
}
