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

// judge reads the text of a Query or Parse ahead of sending it, and looks at a Bind. judged is false when it may go.
func (n *SessionState) judge(b []byte, s *Server) (step Step, judged bool) {
	if b[0] == protocol.ClientBind {
		return n.sharesBind(b, s)
	}
	if b[0] != protocol.ClientQuery && b[0] != protocol.ClientParse {
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
	s.Lexer.Begin(n.dialect())
	s.Lexer.Feed(text)
	e := s.Lexer.End()
	if n.sharesText(s.Lexer, e, b[0] == protocol.ClientParse) {
		return s.share(), true
	}
	if n.Promotes && !s.Kept && e&n.holding() != 0 && !s.refusesAll(e) {
		return Step{Verdict: Promote, Kind: kindOfState(e & n.holding())}, true
	}
	n.read = true
	return Step{}, false
}

// refusesAll reports that the server is in a failed transaction which a text with these effects does not end: it makes nothing.
func (s *Server) refusesAll(e sqltext.Effects) bool {
	return s.TxStatus == StatusFailed && s.ledger.len() == 0 && e&ends == 0
}
