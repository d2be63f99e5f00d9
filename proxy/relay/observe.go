package relay

import (
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Where a client has its server to itself nothing has to be followed. Whether it needs that is worth knowing all the same: a client that
// never makes what only a connection can hold would be served by a transaction pool as well.

// keeping are the effects by which a client shows, or may show, that it needs its connection.
const keeping = holding | sqltext.Opaque | sqltext.Unreadable

// observe looks at a message that has been passed on. A text that comes in pieces is not put together: it counts as one that nobody can
// read.
func (n *SessionState) observe(f protocol.Frame, s *Server) {
	var e sqltext.Effects
	switch f.Type {
	case protocol.ClientQuery, protocol.ClientParse:
		e = sqltext.Unreadable
		if text := StatementText(f.Data); f.Last && text != nil {
			s.Lexer.Begin(n.Dialect)
			s.Lexer.Feed(text)
			e = s.Lexer.End()
		}
	case protocol.ClientFunctionCall:
		e = sqltext.Unreadable // of a function by its number
	}
	n.observed(e)
}

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
