package relay

import (
	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// What a message does to names and statements is done when it is sent, because what is sent next rests on it. Whether it came true is
// known only from the reply; until then a note tells how to undo it. An entry of the queue with the mark owedNoted has a note.

// note is what one message on its way has changed.
type note struct {
	kind      noteKind
	statement *prepared.Statement
	name      string         // the client's
	serial    uint64         // of the client's unnamed statement; noteUse, of a Describe: of the Entry
	told      prepared.Shape // noteForget
	escapes   bool           // noteForget, noteName, noteParse: named.escapes
	undo      *undo          // noteUnnamed, noteReject
}

// undo is the rest of a note that is seldom needed.
type undo struct {
	restore bool // noteUnnamed: the client had another one before
	unnamed unnamed
	err     *protocol.Error // noteReject
	insists bool            // noteReject: it would not have been refused by a failed transaction
}

type noteKind uint8

const (
	noteUse        noteKind = iota // Bind, Describe: nothing is changed, but the answer may tell something about the statement
	noteDescribe                   // Describe of the unnamed statement, likewise
	noteName                       // Parse that the proxy answers: the client has a new name
	noteParse                      // Parse of the client's: a new name, and the server holds the statement
	noteAdd                        // Parse of the proxy's own: the server holds the statement
	noteEvict                      // Close of the proxy's own: the server no longer holds it
	noteForget                     // Close that the proxy answers: the client has lost the name
	noteUnnamed                    // the unnamed statement is another one; undo is nil if the message cannot be skipped
	noteUnnamedAdd                 // Parse of the proxy's own: the server has the client's
	noteReset                      // DEALLOCATE or DISCARD by Query: what is left is known when it is answered
	noteReject                     // the server is made to fail, and the client is told why by the proxy
	noteVoid                       // has been undone already
)

// changes reports that later batches rest on it: until it is answered, they are held.
func (k noteKind) changes() bool {
	switch k {
	case noteName, noteParse, noteAdd, noteEvict, noteForget, noteReset:
		return true
	}
	return false
}

// notes is a queue, oldest first. The zero value is empty.
type notes struct {
	ring    []note // its length is a power of two
	head, n int
}

const notesFirst = 8

func (q *notes) push(x note) {
	if q.n == len(q.ring) {
		wider := make([]note, max(notesFirst, 2*q.n))
		for i := range q.n {
			wider[i] = *q.at(i)
		}
		q.ring, q.head = wider, 0
	}
	q.n++
	*q.at(q.n - 1) = x
}

// at is the i-th oldest.
func (q *notes) at(i int) *note { return &q.ring[(q.head+i)&(len(q.ring)-1)] }

// drop forgets the k oldest.
func (q *notes) drop(k int) {
	for i := range k {
		*q.at(i) = note{}
	}
	q.head = (q.head + k) & max(0, len(q.ring)-1)
	if q.n -= k; q.n == 0 && len(q.ring) > 1024 {
		*q = notes{}
	}
}

// noted queues a reply with a note.
func (s *Server) noted(kind owedKind, x note) {
	s.owe(kind | owedNoted)
	s.notes.push(x)
	if x.kind.changes() {
		s.changes++
	}
}

// cameTrue takes the oldest note: its message has been answered.
func (s *Server) cameTrue() {
	x := s.notes.at(0)
	switch x.kind {
	case noteEvict, noteForget:
		s.desk.Table.Release(x.statement)
	case noteUse, noteDescribe, noteName, noteParse, noteAdd, noteUnnamed, noteUnnamedAdd, noteReset, noteReject, noteVoid:
	}
	s.forgetNote(x)
	s.notes.drop(1)
}

// forgetNote counts a note that is no longer outstanding.
func (s *Server) forgetNote(x *note) {
	if x.kind == noteReset {
		s.resets--
	}
	switch {
	case x.kind.changes():
		s.changes--
		s.changesOld = max(0, s.changesOld-1)
	case (x.kind == noteUnnamed || x.kind == noteUnnamedAdd) && x.undo != nil:
		s.unnamed.unsure--
		s.unnamed.unsureOld = max(0, s.unnamed.unsureOld-1)
		s.savedBytes -= len(x.undo.unnamed.message)
	}
}

// cameToNothing undoes the k oldest notes, newest first: the server has failed in the first of them, or in a message before it that has
// none, and skips the others.
func (s *Server) cameToNothing(k int) {
	for i := k - 1; i >= 0; i-- {
		x := s.notes.at(i)
		s.undo(x)
		s.forgetNote(x)
	}
	s.notes.drop(k)
}

// undo makes good for what the note says. The client may be gone; its names are then gone too.
func (s *Server) undo(x *note) {
	own := s.own()
	switch x.kind {
	case noteName, noteParse:
		if removed := own.remove(x.name, s.desk.Table).statement; removed != nil {
			s.desk.Table.Release(removed)
		}
		if x.kind == noteParse {
			s.lose(x.statement)
		}
	case noteAdd:
		s.lose(x.statement)
	case noteEvict:
		s.cache.Add(x.statement)
	case noteForget:
		if own == nil || !own.remember(x.name, x.statement, s.desk.Table) {
			s.desk.Table.Release(x.statement)
		}
		own.tell(x.name, x.statement, x.told)
		own.read(x.name, x.escapes)
	case noteUnnamed, noteUnnamedAdd:
		s.lacksUnnamed(x.serial)
		if own != nil && x.undo != nil && x.undo.restore {
			s.replaceUnnamed(own, x.serial, x.undo.unnamed)
		}
	case noteUse:
		if e := s.cache.Find(x.statement); e != nil && e.Serial == x.serial {
			e.Asked = false
		}
	case noteDescribe:
		if s.unnamed.serial == x.serial {
			s.unnamed.asked = false
		}
	case noteReset, noteReject, noteVoid:
	}
}

// lacksUnnamed notes that the server did not get an unnamed statement. It may have been sent another one since.
func (s *Server) lacksUnnamed(serial uint64) {
	if s.unnamed.serial == serial {
		s.unnamed.of = nil
	}
}

// replaceUnnamed puts another unnamed statement in the place of one that never was: with the client, or, where it has prepared another
// one since, with the note that would bring it back.
func (s *Server) replaceUnnamed(own *statements, serial uint64, with unnamed) {
	if own.unnamed.serial == serial {
		own.unnamed = with
		return
	}
	for i := range s.notes.n {
		if x := s.notes.at(i); x.kind == noteUnnamed && x.undo != nil && x.undo.unnamed.serial == serial {
			x.undo.unnamed = with
		}
	}
}

// lose notes that the server does not hold the statement. It reports whether it had.
func (s *Server) lose(statement *prepared.Statement) bool {
	had := s.cache.Remove(statement)
	if had {
		s.desk.Table.Release(statement)
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
