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
	return s.ledger.front().origin == synthesized && !s.scanner.MidMessage()
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
	for s.ledger.front().origin == synthesized {
		reply := parseComplete
		if s.ledger.front().kind == closeDue {
			reply = closeComplete
		}
		if !s.abandoned {
			s.desk.ToClient = append(s.desk.ToClient, reply...)
		}
		s.popped()
	}
}

// tagged looks for the commands that drop statements behind the proxy's back.
func (s *Server) tagged(frame []byte) {
	if len(frame) <= headerBytes || frame[headerBytes] != 'D' {
		return
	}
	switch tag := protocol.CommandTag(frame); {
	case bytes.Equal(tag, []byte("DEALLOCATE ALL")), bytes.Equal(tag, []byte("DISCARD ALL")):
		var own *statements
		if s.ledger.front().origin != poolerOrigin {
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
	s.retainSent()
	s.cache.Each(s.desk.Table.ReleaseForServer)
	s.cache.Clear()
	own.forgetNames(s.desk.Table)
	for i := range s.ledger.upToStatements() {
		s.afterEmptied(s.ledger.at(i), own)
	}
	s.releaseSent()
}

// retainSent keeps the texts of statements that have been sent and count again, while nobody else refers to them.
func (s *Server) retainSent() {
	for i := range s.ledger.upToStatements() {
		if x := s.ledger.at(i); x.undo == undoParse || x.undo == undoAdd || x.undo == undoName {
			s.desk.Table.Retain(x.statement)
		}
	}
}

// releaseSent takes back retainSent.
func (s *Server) releaseSent() {
	for i := range s.ledger.upToStatements() {
		if x := s.ledger.at(i); x.undo == undoParse || x.undo == undoAdd || x.undo == undoName {
			s.desk.Table.Release(x.statement)
		}
	}
}

// afterEmptied corrects an undoEntry that was made before it was known that everything is gone.
func (s *Server) afterEmptied(x *request, own *statements) {
	table := s.desk.Table
	switch x.undo {
	case undoParse, undoAdd:
		if s.cache.Use(x.statement) == nil {
			s.hold(x.statement)
		}
	case undoEvict:
		if !s.lose(x.statement) { // it was not prepared again ahead of this
			table.ReleaseForServer(x.statement)
			x.undo = undoVoid
		}
	}
	switch {
	case own == nil:
	case x.undo == undoParse, x.undo == undoName:
		if own.remember(x.name, x.statement, table) {
			table.Retain(x.statement)
			own.read(x.name, x.escapes)
		}
	case x.undo == undoForget:
		if again := own.remove(x.name, table).statement; again != nil {
			table.Release(again) // the undoEntry has a reference of its own
		} else {
			table.Release(x.statement)
			x.undo = undoVoid
		}
	}
}

// learn looks at an error in the oldest message owed: it may tell what the server holds, and what the client's unnamed statement is now.
func (s *Server) learn(frame []byte) {
	if s.ledger.front().undo == undoNothing {
		return
	}
	x := s.ledger.front()
	switch x.undo {
	case undoUse:
		switch string(protocol.SQLState(frame)) {
		case "0A000": // cached plan must not change result type
			s.cache.MarkStale(x.statement)
		case "26000": // dropped by something that was not seen
			s.lose(x.statement)
		}
	case undoUnnamedAdd:
		s.lacksUnnamed(x.serial)
	case undoUnnamed:
		// A Parse that fails leaves no unnamed statement behind.
		s.lacksUnnamed(x.serial)
		if own := s.own(); own != nil {
			s.replaceUnnamed(own, x.serial, unnamed{})
		}
		if x.rest != nil {
			x.rest.restore = false
		}
	}
}

// failedTransaction is the SQLSTATE of "current transaction is aborted, commands ignored until end of transaction block".
const failedTransaction = "25P02"

// words is what the client is told instead of the error at the start of rest; nil when that is right as it is.
func (s *Server) words(rest []byte) []byte {
	if rest[0] != protocol.ServerErrorResponse || s.ledger.front().undo == undoNothing {
		return nil
	}
	size, complete := protocol.Whole(rest)
	if !complete {
		return nil
	}
	switch x := s.ledger.front(); x.undo {
	case undoReject:
		if code := string(protocol.SQLState(rest[:size])); code == rejectedCode || x.rest.insists && code == failedTransaction {
			return x.rest.err.Append(nil)
		}
	case undoUse:
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
	s.failed(s.ledger.front().kind, f.Data)
	s.desk.clear()
	s.desk.ToClient = append(s.desk.ToClient, words...)
	return Step{Verdict: Rewrite, N: len(f.Data)}
}
