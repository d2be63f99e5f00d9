package relay

import (
	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// What a message does to names and statements is done when it is sent, because what is sent next rests on it. Whether it came true is
// known only from the reply. Until then its request has an undoEntry, which tells how to take it back.

// undoEntry is what one request has changed.
type undoEntry struct {
	undo            undoKind
	escapes         bool // undoForget, undoName, undoParse: named.escapes
	statement       *prepared.Statement
	name            string             // the client's
	serial          uint64             // of the client's unnamed statement; undoUse, of a Describe: of the Entry
	clientSignature prepared.Signature // undoForget
	rest            *undoRest          // undoUnnamed, undoReject
}

// undoRest is the part of an undoEntry that is seldom needed.
type undoRest struct {
	restore bool // undoUnnamed: the client had another one before
	unnamed unnamed
	err     *protocol.Error // undoReject
	insists bool            // undoReject: it would not have been refused by a failed transaction
}

type undoKind uint8

const (
	undoNothing    undoKind = iota
	undoUse                 // Bind, Describe: nothing is changed, but the answer may tell something about the statement
	undoDescribe            // Describe of the unnamed statement, likewise
	undoName                // Parse that the proxy answers: the client has a new name
	undoParse               // Parse of the client's: a new name, and the server holds the statement
	undoAdd                 // Parse of the proxy's own: the server holds the statement
	undoEvict               // Close of the proxy's own: the server no longer holds it
	undoForget              // Close that the proxy answers: the client has lost the name
	undoUnnamed             // the unnamed statement is another one; rest is nil if the message cannot be skipped
	undoUnnamedAdd          // Parse of the proxy's own: the server has the client's
	undoReset               // DEALLOCATE or DISCARD: what is left is known when it is answered
	undoReject              // the server is made to fail, and the client is told why by the proxy
	undoVoid                // it has been undone already
)

// changes reports that later batches rest on it: until it is answered, they are held.
func (k undoKind) changes() bool {
	switch k {
	case undoName, undoParse, undoAdd, undoEvict, undoForget, undoReset:
		return true
	}
	return false
}

// note gives the newest request an undoEntry.
func (s *Server) note(e undoEntry) {
	l := &s.ledger
	r := l.newest()
	r.undoEntry = e
	if e.undo == undoReset {
		l.resets = l.tail
	} else if e.undo.changes() {
		l.statements = l.tail
	}
	if e.undo.changes() {
		l.changed = l.tail
		if r.kind.endsWithReady() {
			l.changedBefore = l.tail
		}
	}
}

// popped takes the oldest request out of the ledger: it has been answered.
func (s *Server) popped() {
	r := s.ledger.front()
	if r.deed != nil {
		s.carryOut(r.deed)
	}
	switch r.undo {
	case undoEvict:
		s.desk.Table.ReleaseForServer(r.statement)
	case undoForget:
		s.desk.Table.Release(r.statement)
	case undoUnnamed, undoUnnamedAdd:
		s.forgetSaved(r)
	}
	s.ledger.drop(1)
}

// forgetSaved counts the unnamed statement that an undoEntry no longer keeps.
func (s *Server) forgetSaved(r *request) {
	if r.rest != nil {
		s.savedBytes -= len(r.rest.unnamed.message)
	}
}

// takeBack undoes the k oldest requests, newest first: the server has failed in the first of them and skips the others.
func (s *Server) takeBack(k int) {
	for i := k - 1; i >= 0; i-- {
		if r := s.ledger.at(i); r.undo != undoNothing {
			s.undo(r)
			if r.undo == undoUnnamed || r.undo == undoUnnamedAdd {
				s.forgetSaved(r)
			}
		}
	}
	s.ledger.drop(k)
}

// undo makes good for what an undoEntry says. The client may be gone; its names are then gone too.
func (s *Server) undo(r *request) {
	own := s.own()
	switch r.undo {
	case undoName, undoParse:
		if removed := own.remove(r.name, s.desk.Table).statement; removed != nil {
			s.desk.Table.Release(removed)
		}
		if r.undo == undoParse {
			s.lose(r.statement)
		}
	case undoAdd:
		s.lose(r.statement)
	case undoEvict:
		s.cache.Add(r.statement)
	case undoForget:
		if own == nil || !own.remember(r.name, r.statement, s.desk.Table) {
			s.desk.Table.Release(r.statement)
		}
		own.tell(r.name, r.statement, r.clientSignature)
		own.read(r.name, r.escapes)
	case undoUnnamed, undoUnnamedAdd:
		s.lacksUnnamed(r.serial)
		if own != nil && r.rest != nil && r.rest.restore {
			s.replaceUnnamed(own, r.serial, r.rest.unnamed)
		}
	case undoUse:
		if e := s.cache.Find(r.statement); e != nil && e.Serial == r.serial {
			e.Asked = false
		}
	case undoDescribe:
		if s.unnamed.serial == r.serial {
			s.unnamed.asked = false
		}
	case undoNothing, undoReset, undoReject, undoVoid:
	}
}

// lacksUnnamed notes that the server did not get an unnamed statement. It may have been sent another one since.
func (s *Server) lacksUnnamed(serial uint64) {
	if s.unnamed.serial == serial {
		s.unnamed.of = nil
	}
}

// replaceUnnamed puts another unnamed statement in the place of one that never was: with the client or, where it has prepared another
// one since, with the request that would bring it back.
func (s *Server) replaceUnnamed(own *statements, serial uint64, with unnamed) {
	if own.unnamed.serial == serial {
		own.unnamed = with
		return
	}
	for i := range s.ledger.len() {
		if r := s.ledger.at(i); r.undo == undoUnnamed && r.rest != nil && r.rest.unnamed.serial == serial {
			r.rest.unnamed = with
		}
	}
}

// lose notes that the server does not hold the statement. It reports whether it had.
func (s *Server) lose(statement *prepared.Statement) bool {
	had := s.cache.Remove(statement)
	if had {
		s.desk.Table.ReleaseForServer(statement)
	}
	return had
}

// own is what the client has prepared; nil when there is none or the client is gone.
func (s *Server) own() *statements {
	if s.client == nil {
		return nil
	}
	return s.client.own
}
