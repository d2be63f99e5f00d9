package relay

import (
	"encoding/binary"

	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// PostgreSQL infers the types of parameters that a Parse leaves open once, at that Parse, and so a client that was told of them goes by them
// for as long as it has the statement, whatever becomes of the table. Here the text may be parsed again on another server, after an ALTER TABLE,
// where other types are inferred. So from the ParameterDescription on the client's name stands for the text with the types it was told, all
// declared (prepared.Table.Declare). The server that told them has them already: there the statement as it came stands in (Entry.Declared),
// and nothing is prepared twice.
//
// A client that asks is told what a direct connection would tell it: where the server has had the text from before the client's Parse, it is
// prepared anew ahead of the Describe. Clients that never ask share the text as it came.

// declaredMax is the most parameters whose types are declared for a client. A statement with more is compared by digest (signature.go): the client
// meets 0A000 where a server has inferred others.
const declaredMax = 256

// declarable is the types in a ParameterDescription; none when there are too many, or they cannot be declared.
func declarable(f protocol.Frame) (types []byte) {
	if !f.Last || len(f.Data) < headerBytes+2 || len(f.Data) > headerBytes+2+4*declaredMax {
		return nil
	}
	types = f.Data[headerBytes+2:]
	if len(types) != 4*int(binary.BigEndian.Uint16(f.Data[headerBytes:])) || !prepared.Declarable(types) {
		return nil
	}
	return types
}

// toldTypes notes that the client has been told of the types of a statement's parameters.
func (s *Server) toldTypes(f protocol.Frame) {
	own, x := s.own(), s.ledger.front()
	if own == nil || s.ledger.front().origin == poolerOrigin {
		return
	}
	types := declarable(f)
	switch {
	case len(types) == 0:
	case x.undo == undoDescribe:
		if own.unnamed.serial == x.serial {
			own.unnamed.declare(types)
		}
	case x.undo == undoUse && x.serial != 0 && x.statement.Infers():
		if e := s.cache.Find(x.statement); e != nil && e.Serial == x.serial {
			own.declare(x, e, types, s.desk.Table)
		}
	}
}

// declare makes a client's name that of the statement with these types. Where there is no room for that in the table, it stays what it is.
func (own *statements) declare(x *request, e *prepared.Entry, types []byte, table *prepared.Table) {
	n := own.names[x.name]
	if !n.isOf(x.statement) {
		return
	}
	declared, ok := table.Declare(x.statement, types)
	if !ok {
		return
	}
	e.Declared = declared.ID()
	table.Release(n.statement)
	n.statement, n.clientSignature.Parameters = declared, 0
	own.names[x.name] = n
}

// isOf reports that the name stands for the statement, or for one that was declared from it.
func (n named) isOf(statement *prepared.Statement) bool {
	return n.statement != nil && (n.statement == statement || n.statement.Origin() == statement)
}

// declare puts the types into the Parse that is kept of the unnamed statement.
func (u *unnamed) declare(types []byte) {
	if !u.there || u.mentions() || len(u.message) <= headerBytes {
		return
	}
	const name = headerBytes + 1 // the empty one
	u.message = prepared.AppendDeclared(u.message[:name], u.message[name:], types)
	binary.BigEndian.PutUint32(u.message[1:], uint32(len(u.message)-1))
	u.declared = true
}

// standIn is what a server has of the statement that the client's was declared from, if PostgreSQL has inferred the same types there and the
// client is right about it; nil otherwise.
func (s *Server) standIn(own named) *prepared.Entry {
	origin := own.statement.Origin()
	if origin == nil {
		return nil
	}
	e := s.cache.Find(origin)
	if e.State() != prepared.Held || e.Declared != own.statement.ID() || !e.Signature.Compatible(own.clientSignature) {
		return nil
	}
	return s.cache.Use(origin)
}

// outdated reports that the types which the server has inferred may be others than it would infer now, and that the client is to hear of them
// for the first time.
func (s *Server) outdated(own named, e *prepared.Entry) bool {
	mine := e != nil && e.Serial == own.parsed && e.Serial > s.lent
	return own.statement.Infers() && own.clientSignature.Parameters == 0 && !own.mentions() && !mine && s.TxStatus != StatusFailed && e.State() == prepared.Held
}

// parsedBy notes that an Entry is what the client's own Parse has made, or would have made.
func (own *statements) parsedBy(name string, e *prepared.Entry) {
	n := own.names[name]
	n.parsed = e.Serial
	own.names[name] = n
}

// relied is the statement with the types that the client behind a request goes by; nil when those of x.statement are inferred still.
func (s *Server) relied(x *request) *prepared.Statement {
	if own := s.own(); own != nil {
		if n := own.names[x.name]; n.isOf(x.statement) && n.statement != x.statement {
			return n.statement
		}
	}
	return nil
}

// replaceDeclared is replace with the types of another statement, if it is not nil.
func (s *Server) replaceDeclared(statement *prepared.Statement, state prepared.State, declared *prepared.Statement) *prepared.Entry {
	if declared == nil {
		return s.replace(statement, state)
	}
	s.makeRoom(statement, state)
	name, body := statement.Name(), declared.Body()
	out := appendHeader(s.desk.ToServer, protocol.ClientParse, len(name)+1+len(body))
	out = append(append(out, name...), 0)
	s.desk.ToServer = append(out, body...)
	e := s.hold(statement)
	e.Declared = declared.ID()
	return e
}
