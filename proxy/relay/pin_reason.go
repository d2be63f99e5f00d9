package relay

import (
	"bytes"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// StateKind is a kind of what only a connection can hold.
type StateKind uint8

// The kinds.
const (
	StateTempTable StateKind = iota
	StateCursor
	StatePrepared
	StateAdvisoryLock
	StateListen
	StateLoad
	StateOther // of dblink, a replication origin; on a session listener also what nobody can tell from the text
	StateKinds // their number
)

// stateKinds say what is what, in the order in which a text of several kinds is judged.
var stateKinds = [StateKinds]struct {
	effects     sqltext.Effects
	label, what string
}{
	StateTempTable:    {sqltext.MakesTemp, "temporary_table", "a temporary table"},
	StateCursor:       {sqltext.HoldsCursor, "with_hold_cursor", "a cursor WITH HOLD"},
	StatePrepared:     {sqltext.Prepares, "prepare", "a statement prepared by PREPARE"},
	StateAdvisoryLock: {sqltext.LocksAdvisory, "advisory_lock", "an advisory lock of the session"},
	StateListen:       {sqltext.Listens, "listen", "LISTEN"},
	StateLoad:         {sqltext.Loads, "load", "LOAD"},
	StateOther:        {sqltext.HoldsOther, "other", "a dblink connection or a replication origin"},
}

// String is the label of the metrics.
func (k StateKind) String() string { return stateKinds[k].label }

// What is the subject of a sentence about it.
func (k StateKind) What() string { return stateKinds[k].what }

// Effects are those of a statement that makes it.
func (k StateKind) Effects() sqltext.Effects { return stateKinds[k].effects }

// kindOfState is the first kind that a text with effects makes.
func kindOfState(e sqltext.Effects) StateKind {
	for k := range StateOther {
		if e&stateKinds[k].effects != 0 {
			return k
		}
	}
	return StateOther
}

// StatementText is the text in a whole Query or Parse at the start of b; what stands behind it in a Parse comes with it, behind its zero
// byte.
func StatementText(b []byte) []byte {
	size, complete := protocol.Whole(b)
	if !complete || size < headerBytes {
		return nil
	}
	text := b[headerBytes:size]
	switch b[0] {
	case protocol.ClientParse:
		_, text, _ = bytes.Cut(text, zero)
	case protocol.ClientBind:
		return nil // it holds names and values
	}
	return text
}
