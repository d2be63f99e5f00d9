package relay

import (
	"bytes"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// Answers of the proxy's own.
var (
	parseComplete = []byte{protocol.ServerParseComplete, 0, 0, 0, 4}
	closeComplete = []byte{protocol.ServerCloseComplete, 0, 0, 0, 4}
)

// oursDue reports that the oldest reply owed is the proxy's to give, and that the client can take it now.
func (s *Server) oursDue() bool {
	return s.owed.front()&owedOurs != 0 && !s.scanner.MidMessage()
}

// answer turns a step into one that gives the replies that are due: first what the server has said, then they.
func (s *Server) answer(step Step, said []byte) Step {
	s.desk.clear()
	s.desk.ToClient = append(s.desk.ToClient, said...)
	s.giveOurs()
	step.Verdict = Rewrite
	return step
}

// giveOurs takes the proxy's replies off the front of the queue. A client that is gone gets none.
func (s *Server) giveOurs() {
	for s.owed.front()&owedOurs != 0 {
		reply := parseComplete
		if s.owed.front()&^owedMarks == owedClose {
			reply = closeComplete
		}
		if !s.abandoned {
			s.desk.ToClient = append(s.desk.ToClient, reply...)
		}
		s.popped()
	}
}

// closeStrays closes, behind the Sync that ends the batch, the statements that the server got only so that it refuses another.
func (s *Server) closeStrays() {
	for _, name := range s.strays {
		s.desk.ToServer = appendNamed(s.desk.ToServer, protocol.ClientClose, name)
		s.owe(owedClose | owedInjected)
	}
	s.strays = nil
	s.desk.ToServer = append(s.desk.ToServer, syncMessage...)
	s.oweReady(owedSync | owedInjected)
}

// tagged looks for the commands that drop statements behind the proxy's back.
func (s *Server) tagged(frame []byte) {
	if len(frame) <= headerBytes || frame[headerBytes] != 'D' {
		return
	}
	switch tag := protocol.CommandTag(frame); {
	case bytes.Equal(tag, []byte("DEALLOCATE ALL")), bytes.Equal(tag, []byte("DISCARD ALL")):
		var own *statements
		if s.owed.front()&owedInjected == 0 {
			own = s.own()
		}
		s.emptied(own)
	}
}

// emptied notes that the server has dropped all its statements. own is what the client has that asked for it; nil when none did. What has
// been sent since counts again.
func (s *Server) emptied(own *statements) {
	if s.desk == nil {
		return
	}
	s.cache.Each(s.desk.Table.Release)
	s.cache.Clear()
	own.forgetNames(s.desk.Table)
	for i := range s.notes.n {
		s.afterEmptied(s.notes.at(i), own)
	}
}

// afterEmptied makes a note that was made before it was known that everything is gone right again.
func (s *Server) afterEmptied(x *note, own *statements) {
	table := s.desk.Table
	switch x.kind {
	case noteParse, noteAdd:
		if s.cache.Use(x.statement) == nil {
			s.hold(x.statement)
		}
	case noteEvict:
		if !s.lose(x.statement) { // it was not prepared again ahead of this
			table.Release(x.statement)
			s.void(x)
		}
	}
	switch {
	case own == nil:
	case x.kind == noteParse, x.kind == noteName:
		if own.remember(x.name, x.statement, table) {
			table.Retain(x.statement)
			own.read(x.name, x.escapes)
		}
	case x.kind == noteForget:
		if again := own.remove(x.name, table).statement; again != nil {
			table.Release(again) // the note has a reference of its own
		} else {
			table.Release(x.statement)
			s.void(x)
		}
	}
}

// void makes a note mean nothing.
func (s *Server) void(x *note) {
	s.forgetNote(x)
	x.kind = noteVoid
}

// learn looks at an error in the oldest message owed: it may tell what the server holds, and what the client's unnamed statement is now.
func (s *Server) learn(frame []byte) {
	if s.owed.front()&owedNoted == 0 {
		return
	}
	x := s.notes.at(0)
	switch x.kind {
	case noteUse:
		switch string(protocol.SQLState(frame)) {
		case "0A000": // cached plan must not change result type
			s.cache.MarkStale(x.statement)
		case "26000": // dropped by something that was not seen
			s.lose(x.statement)
		}
	case noteUnnamedAdd:
		s.lacksUnnamed(x.serial)
	case noteUnnamed:
		// A Parse that fails leaves no unnamed statement behind.
		s.lacksUnnamed(x.serial)
		if own := s.own(); own != nil {
			s.replaceUnnamed(own, x.serial, unnamed{})
		}
		if x.undo != nil {
			x.undo.restore = false
		}
	}
}

// failedTransaction is the SQLSTATE of "current transaction is aborted, commands ignored until end of transaction block".
const failedTransaction = "25P02"

// words is what the client is told instead of the error at the start of rest; nil when that is right as it is.
func (s *Server) words(rest []byte) []byte {
	if rest[0] != protocol.ServerErrorResponse || s.owed.front()&owedNoted == 0 {
		return nil
	}
	size, complete := protocol.Whole(rest)
	if !complete {
		return nil
	}
	switch x := s.notes.at(0); x.kind {
	case noteReject:
		if code := string(protocol.SQLState(rest[:size])); code == rejectedCode || x.undo.insists && code == failedTransaction {
			return x.undo.err.Append(nil)
		}
	case noteUse:
		ours, theirs := []byte(`"`+x.statement.Name()+`"`), []byte(`"`+x.name+`"`)
		if body := rest[headerBytes:size]; bytes.Contains(body, ours) {
			body = bytes.ReplaceAll(body, ours, theirs)
			return append(appendHeader(nil, rest[0], len(body)), body...)
		}
	}
	return nil
}

// reworded puts other words in the place of an error.
func (s *Server) reworded(rest, words []byte) Step {
	f, err := s.scanner.Next(rest)
	if err != nil {
		return s.distrust(err.Error())
	}
	s.Tally.countError(words)
	s.failed(s.owed.front()&^owedMarks, f.Data)
	s.desk.clear()
	s.desk.ToClient = append(s.desk.ToClient, words...)
	return Step{Verdict: Rewrite, N: len(f.Data)}
}
