package relay

import (
	"bytes"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// holding are the effects that only a connection can hold, and that a client counts on beyond its transaction.
const holding = sqltext.Prepares | sqltext.HoldsCursor | sqltext.MakesTemp | sqltext.LocksAdvisory | sqltext.HoldsOther |
	sqltext.Listens | sqltext.Loads

// holding are those that this client needs a server of its own for.
func (n *SessionState) holding() sqltext.Effects {
	if n.Shares {
		return holding &^ sqltext.Listens
	}
	return holding
}

// judgedMax is the longest message that is read before it is sent. What a longer one makes is cleaned away after its transaction.
const judgedMax = 32 << 10

// readsAhead reports that the text of a message has to be read before it is sent.
func (c *Client) readsAhead(messageType byte, s *Server) bool {
	n := &c.Session
	switch messageType {
	case protocol.ClientQuery:
		return n.Promotes && !s.Kept || n.Shares || c.own != nil
	case protocol.ClientParse:
		return n.Promotes && !s.Kept || n.Shares
	}
	return false
}

// check reads the text of a Query or Parse ahead of sending it, and looks at a Bind. judged is false when it may go.
func (c *Client) check(b []byte, s *Server) (step Step, judged bool) {
	n := &c.Session
	if b[0] == protocol.ClientBind {
		return n.sharesBind(b, s)
	}
	if !c.readsAhead(b[0], s) {
		return Step{}, false
	}
	size, complete := protocol.Whole(b)
	switch {
	case size > judgedMax || size < headerBytes:
		return Step{}, false
	case !complete:
		return Step{Verdict: More}, true
	}
	text := b[headerBytes:size]
	if b[0] == protocol.ClientParse {
		var named bool
		if _, text, named = bytes.Cut(text, zero); !named {
			return Step{}, false // malformed: the server refuses it
		}
	}
	if !n.Promotes && !n.Shares && !n.Tracked && !mayName(text) {
		return Step{}, false
	}
	n.readText(text, s)
	e := n.effects(s.Lexer)
	if n.sharesText(s.Lexer, e, b[0] == protocol.ClientParse) {
		return s.share(), true
	}
	if n.Promotes && !s.Kept && e&n.holding() != 0 && !s.refusesAll(e) {
		return Step{Verdict: Promote, Kind: kindOfState(e & n.holding())}, true
	}
	return Step{}, false
}

// refusesAll reports that the server is in a failed transaction which a text with these effects does not end: it makes nothing.
func (s *Server) refusesAll(e sqltext.Effects) bool {
	return s.TxStatus == StatusFailed && s.ledger.len() == 0 && e&ends == 0
}

// Where a client has its server to itself nothing has to be followed. Whether it needs that is worth knowing all the same: a client that
// never makes what only a connection can hold would be served by a transaction pool as well.

// keeping are the effects by which a client shows, or may show, that it needs its connection.
const keeping = holding | sqltext.Opaque | sqltext.Unreadable

// observed notes the effects of a text that has been read.
func (n *SessionState) observed(e sqltext.Effects) {
	if e &= keeping; e != 0 && n.Observed {
		n.made, n.Observed = e, false
	}
}

// Made reports, once, that an observed client has made something that only a connection can hold, or may have.
func (n *SessionState) Made() (kind StateKind, made bool) {
	if n.made == 0 {
		return 0, false
	}
	kind = kindOfState(n.made)
	n.made = 0
	return kind, true
}
