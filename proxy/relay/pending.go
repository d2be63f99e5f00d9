package relay

import (
	"bytes"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// pending is what is noted since the last transaction that ended.
type pending struct {
	effects sqltext.Effects
	changes []Change
	unsure  bool
	broken  bool   // a statement has failed, and its transaction has not ended yet
	ends    int    // transactions that have ended since
	undone  bool   // the last of them by ROLLBACK
	told    int    // changes that NewChanges has told of
	maybe   bool   // an error came since: of the others it is not certain which hold
	awaits  bool   // an effect is bound and not executed yet
	portal  string // to which

	// Of DISCARD ALL, as what only a connection can hold is gone behind it.
	discards   int  // sent
	discarding int  // succeeded, in a transaction that may not have ended
	discarded  int  // succeeded
	remade     bool // something of that kind was sent behind the last

	listenings listenings
}

// add notes a change. Who the session acts as is asked for: setting one sets the other.
func (p *pending) add(c Change) {
	if len(p.changes) >= changesMax {
		p.effects |= sqltext.Unreadable
		return
	}
	if c.Name == "session_authorization" {
		c.Exact = false
		p.changes = append(p.changes, Change{Name: "role"})
	}
	p.changes = append(p.changes, c)
}

// changesMax bounds the parameters set in one transaction.
const changesMax = 256

// executed notes that the portal with the effect runs.
func (p *pending) executed(frame []byte) {
	if !p.awaits {
		return
	}
	portal, _, ok := bytes.Cut(frame[headerBytes:], zero)
	if ok && string(portal) == p.portal {
		p.awaits = false
	} else {
		p.unsure = true
	}
}

// failed notes an error: its transaction comes to nothing, if it is not saved by a savepoint.
func (p *pending) failed() {
	p.broken, p.maybe = true, true
	p.listenings.failed = true
}

// ready notes a ReadyForQuery. An error undoes what was noted, unless some of it was committed before; a transaction that goes on behind
// one has been rolled back to a savepoint.
func (p *pending) ready(status byte, more bool) {
	p.listenings.ready(status)
	if status == StatusIdle && !p.broken {
		p.discarded += p.discarding
	}
	p.discarding = 0
	switch {
	case p.broken && status == StatusIdle:
		p.broken = false
		if p.ends == 0 {
			p.ends, p.undone = 1, true
		} else if p.ends > 1 || !p.undone {
			p.unsure = true
		}
	case p.broken && status == StatusActive:
		p.broken, p.unsure = false, true
	}
	if status == StatusIdle && more {
		p.ended()
	}
}

// completed notes the tag of a command while something is pending.
func (p *pending) completed(frame []byte) {
	tag := protocol.CommandTag(frame)
	p.listenings.tagged(tag)
	switch string(tag) {
	case "COMMIT", "PREPARE TRANSACTION":
		p.ends++
		p.undone = false
	case "ROLLBACK":
		p.ends++
		p.undone = true
	case "DISCARD ALL":
		p.discarding++
	default:
		if size, complete := protocol.Whole(frame); !complete && size > 0 {
			p.unsure = true // its tag is cut
		}
	}
}

// ended notes that a transaction is over while more is on its way: a ROLLBACK of that does not take back what this one did.
func (p *pending) ended() {
	if p.ends == 0 {
		p.ends = 1
	}
}

// Resolve tells what the statements did, when the server is settled: no transaction is open, no reply is outstanding.
func (n *SessionState) Resolve() Outcome {
	p := n.pending
	n.pending = nil
	out := Outcome{Listened: n.listened(p), AskAll: p.effects&(sqltext.Opaque|sqltext.Unreadable) != 0}
	out.Leftovers = p.effects&n.leftovers() != 0
	out.Discarded = p.discards > 0 && p.discarded == p.discards && !p.remade
	p.unsure = p.unsure || p.awaits || p.ends > 1
	if p.ends == 1 && p.undone && !p.unsure {
		return out
	}
	out.Changes, out.Ask = p.changes, p.unsure
	return out
}
