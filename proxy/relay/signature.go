package relay

import (
	"bytes"

	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// A client that has described a statement goes by what it was told: it sends parameters in those types, and reads rows by those columns. On
// a direct connection that stays true, because PostgreSQL keeps the types of parameters and refuses to run a plan whose columns have changed
// (0A000). Here the statement may be prepared anew on another server, after an ALTER TABLE, and look different there. So what a client was
// told of columns, and of parameters where pinned_types.go can do nothing for them, goes with its name for the statement (named.clientSignature), what a
// server has goes with the server's Entry, and a Bind passes where the two agree. That costs a comparison. Where the server has not said yet
// what it has, or has something else, the statement is prepared anew and described in one breath, and the Bind is held until the answer: a
// round trip. If the client is wrong about what is there now, it meets PostgreSQL's own error.

// fit is whether a client's Bind goes with what the server has.
type fit uint8

const (
	fits      fit = iota
	fitUnseen     // the rest of the Bind, or what comes behind it, has to be seen
	fitAsked      // the server has been asked
	fitNot
)

// fit compares what the client was told of a statement with e, what the server has of it, and has it prepared anew if need be.
func (s *Server) fit(w *rewriter, at int, own named, e *prepared.Entry) fit {
	held := e.State() == prepared.Held
	if held && e.Signature.Compatible(own.clientSignature) || s.TxStatus == StatusFailed {
		return fits
	}
	required, seen := requiredSignature(w.b[at:], own.clientSignature)
	switch {
	case !seen:
		return fitUnseen
	case required == (prepared.Signature{}), held && e.Signature.Compatible(required):
		return fits
	case held && e.Serial == s.renewed && e.Asked:
		s.flush(w, at)
		return fitAsked
	case held && e.Serial == s.renewed:
		return fitNot
	}
	w.cut(at, 0, s.desk)
	e = s.renew(own.statement, e)
	e.Asked, s.renewed = true, e.Serial
	s.ask(own.statement.Name(), undoEntry{undo: undoUse, statement: own.statement, name: own.name, serial: e.Serial})
	return fitAsked
}

// fitUnnamed is fit for the unnamed statement. What the client itself has prepared on the server is what it was told of.
func (s *Server) fitUnnamed(w *rewriter, at int, own *statements, has bool) fit {
	h := &s.unnamed
	known := h.asked || h.signature != (prepared.Signature{})
	if has && (!known || h.signature.Compatible(own.unnamed.clientSignature)) || s.TxStatus == StatusFailed || !own.unnamed.there || s.lost(&own.unnamed) {
		return fits
	}
	required, seen := requiredSignature(w.b[at:], own.unnamed.clientSignature)
	switch {
	case !seen:
		return fitUnseen
	case required == (prepared.Signature{}), has && h.signature.Compatible(required):
		return fits
	case has && h.asked:
		s.flush(w, at)
		return fitAsked
	case has:
		return fitNot
	}
	w.cut(at, 0, s.desk)
	s.provideUnnamed(own)
	h.asked = true
	s.ask("", undoEntry{undo: undoDescribe, serial: h.serial})
	return fitAsked
}

// ask sends a Describe of the proxy's own.
func (s *Server) ask(name string, x undoEntry) {
	s.desk.ToServer = appendNamed(s.desk.ToServer, protocol.ClientDescribe, name)
	s.record(describeDue, poolerOrigin, x)
	s.desk.ToServer = append(s.desk.ToServer, flushMessage...)
	s.ledger.flushed = s.ledger.tail
	s.Tally.StatementsCompared++
}

// signatureMax is the longest Bind that is looked at as a whole; of a longer one all is taken to rest on what was told.
const signatureMax = 16 << 10

// requiredSignature is that part of what a client was told which matters to the Bind at the start of b: the types of parameters if it sends any in
// binary; the columns, unless it asks for them once more right behind and does not name a format for each. seen is false when more has to be
// there to tell.
func requiredSignature(b []byte, known prepared.Signature) (relies prepared.Signature, seen bool) {
	size, whole := protocol.Whole(b)
	switch {
	case size > signatureMax:
		return known, true
	case !whole, len(b) == size:
		return known, false
	}
	binary, results, ok := protocol.BindFormats(b[:size])
	if !ok {
		return prepared.Signature{}, true // the server says so
	}
	if !binary {
		known.Parameters = 0
	}
	if known.Result == 0 || results > 1 || b[size] != protocol.ClientDescribe {
		return known, true
	}
	next := b[size:]
	if cut(next, headMax) {
		return known, false
	}
	portal, _, _ := cutName(b[headerBytes:size])
	if name, ok := portalOf(next); ok && bytes.Equal(name, portal) {
		known.Result = 0
	}
	return known, true
}

// portalOf is the name in the Describe of a portal that b begins with.
func portalOf(b []byte) (name []byte, ok bool) {
	size, complete := protocol.Whole(b)
	if !complete || size <= headerBytes || b[headerBytes] != 'P' {
		return nil, false
	}
	name, rest, ok := cutName(b[headerBytes+1 : size])
	return name, ok && len(rest) == 0
}

// unfit judges a Bind that does not fit, or not yet.
func (c *Client) unfit(w *rewriter, at int, s *Server, how fit) (step Step, passes bool) {
	switch how {
	case fitUnseen:
		return Step{Verdict: More}, false
	case fitAsked:
		return Step{Verdict: Hold}, false
	case fits, fitNot:
	}
	s.Tally.StatementsChanged++
	return c.refuseUse(w, at, s, protocol.ErrResultChanged())
}

// refuseUse makes the server fail in the place of a Bind or Describe; the client is told refused.
func (c *Client) refuseUse(w *rewriter, at int, s *Server, refused *protocol.Error) (step Step, passes bool) {
	f, err := c.scanner.Next(w.b[at:])
	if err != nil {
		return Step{Verdict: Violate, Err: violationOf(err)}, false
	}
	c.dropping = !f.Last
	w.cut(at, len(f.Data), s.desk)
	s.reject(refused)
	s.renewed = 0
	return Step{Verdict: Forward, N: len(f.Data)}, true
}

// lastBound is what the client bound last, as far as a Describe of the portal could tell something.
type lastBound struct {
	of        boundKind
	statement *prepared.Statement
	name      string // the client's, for the statement
	serial    uint64 // of the Entry, or of the unnamed statement
	portal    []byte
}

type boundKind uint8

const (
	boundNothing boundKind = iota
	boundNamed
	boundUnnamed
)

// used notes a Bind or Describe of a named statement that is on its way.
func (s *Server) used(u usage, own named, e *prepared.Entry) {
	s.renewed = 0
	x := undoEntry{undo: undoUse, statement: own.statement, name: own.name}
	if own.mentions() {
		s.lastBound.of = boundNothing // what it looks like depends on another
	} else if u.kind == describeDue {
		x.serial = e.Serial
	} else if s.lastBound.of = boundNothing; own.clientSignature.Result == 0 || own.clientSignature.Result != e.Signature.Result {
		s.lastBound.of, s.lastBound.statement, s.lastBound.name, s.lastBound.serial = boundNamed, own.statement, own.name, e.Serial
		s.lastBound.portal = append(s.lastBound.portal[:0], u.portal...)
	}
	s.record(u.kind, clientOrigin, x)
}

// usedUnnamed is used for the unnamed statement.
func (s *Server) usedUnnamed(u usage, own *statements) {
	if own.unnamed.mentions() {
		s.expect(u.kind, clientOrigin)
		return
	}
	if u.kind == describeDue {
		s.record(u.kind, clientOrigin, undoEntry{undo: undoDescribe, serial: own.unnamed.serial})
		return
	}
	s.lastBound.of, s.lastBound.serial = boundUnnamed, own.unnamed.serial
	s.lastBound.portal = append(s.lastBound.portal[:0], u.portal...)
	s.expect(u.kind, clientOrigin)
}

// describePortal passes a Describe on. If it is of what was bound last, the answer tells what the statement looks like.
func (c *Client) describePortal(b []byte, s *Server, portal []byte) (step Step, passes bool) {
	d := &s.lastBound
	if d.of == boundNothing || !bytes.Equal(portal, d.portal) {
		return c.asIs(b, s)
	}
	f, err := c.scanner.Next(b)
	if err != nil {
		return Step{Verdict: Violate, Err: violationOf(err)}, false
	}
	if d.of == boundNamed {
		s.record(describeDue, clientOrigin, undoEntry{undo: undoUse, statement: d.statement, name: d.name, serial: d.serial})
	} else {
		s.record(describeDue, clientOrigin, undoEntry{undo: undoDescribe, serial: d.serial})
	}
	return Step{Verdict: Forward, N: len(f.Data)}, true
}

// describing reports that the oldest reply owed tells what a statement looks like.
func (s *Server) describing() bool {
	r := s.ledger.front()
	return r.kind == describeDue && r.undo != undoNothing
}

// described notes what a RowDescription or NoData tells about the statement.
func (s *Server) described(f protocol.Frame) {
	signature := prepared.Signature{Parameters: s.parameters, Result: resultDigest(f)}
	s.parameters = 0
	own := s.own()
	if s.ledger.front().origin == poolerOrigin {
		own = nil // the client does not hear it
	}
	switch x := s.ledger.front(); x.undo {
	case undoUse:
		if x.serial == 0 {
			return
		}
		if e := s.cache.Find(x.statement); e != nil && e.Serial == x.serial {
			e.Learn(signature)
		}
		own.tell(x.name, x.statement, signature)
	case undoDescribe:
		if s.unnamed.serial == x.serial {
			s.unnamed.signature, s.unnamed.asked = s.unnamed.signature.With(signature), false
		}
		if own != nil && own.unnamed.serial == x.serial {
			if own.unnamed.declared {
				signature.Parameters = 0
			}
			own.unnamed.clientSignature = own.unnamed.clientSignature.With(signature)
		}
	}
}

// tell notes what the client has been told of a statement, if it has it still.
func (own *statements) tell(name string, statement *prepared.Statement, signature prepared.Signature) {
	if own == nil {
		return
	}
	n := own.names[name]
	if n.statement != statement && n.isOf(statement) {
		signature.Parameters = 0 // they are declared
	}
	if now := n.clientSignature.With(signature); n.isOf(statement) && n.clientSignature != now {
		n.clientSignature = now
		own.names[name] = n
	}
}

// unread is the digest of what is too long to be looked at: it equals itself.
const unread = 1

func resultDigest(f protocol.Frame) uint32 {
	if !f.Last {
		return unread
	}
	return protocol.ResultDigest(f.Data)
}

func parametersDigest(f protocol.Frame) uint32 {
	if !f.Last {
		return unread
	}
	return protocol.ParametersDigest(f.Data)
}
