package relay

import (
	"bytes"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// PostgreSQL refuses to run a statement whose result has other columns than when it was prepared (0A000, "cached plan must not change
// result type"). On a direct connection only a client that prepared it before the columns changed meets that. Here a client may have
// prepared it a moment ago and still meet it, because the server has had it for longer. Then the batch is sent again behind a new Parse,
// which is safe where nothing of it has been carried out: the batch is the only thing on its way, outside a transaction, and failed in its
// first message. A client that has not heard the new columns, by a Parse or a Describe in that batch, gets the error as on a direct connection.

// replayBuffer is the last batch that was sent to an idle server and begins with the use of a statement.
type replayBuffer struct {
	bytes []byte
	valid bool
	fresh bool // the client has prepared a statement in it, and was answered by the proxy
}

// replayMax is the longest batch that is kept.
const replayMax = 4 << 10

// fresh reports that nothing of the client's is on its way to the server and no transaction is open.
func (s *Server) fresh() bool { return s.TxStatus == StatusIdle && !s.batchOpen && s.sound() }

// keep remembers what a step over b sends to the server, if it begins or goes on with something that may be sent again.
func (r *replayBuffer) keep(step Step, b []byte, s *Server, fresh, saved bool) {
	if fresh {
		r.valid, r.fresh, r.bytes = step.Verdict == Rewrite && s.ledger.changesSomething(), false, r.bytes[:0]
	}
	if step.Verdict == Rewrite {
		b = s.desk.ToServer
	}
	if r.valid = r.valid && len(r.bytes)+len(b) <= replayMax; r.valid {
		r.bytes = append(r.bytes, b...)
		r.fresh = r.fresh || saved
	}
}

// mend makes the error good that rest begins with, if that can be done; do says whether to. A Describe fails behind its
// ParameterDescription, which therefore waits for what comes next: PostgreSQL says both in one breath.
func (s *Server) mend(rest []byte, do bool) (step Step, alone bool) {
	if !s.replay.valid {
		return Step{}, false
	}
	before := 0
	if rest[0] == protocol.ServerParameterDescription && s.ledger.front().undo != undoNothing {
		size, _ := protocol.Whole(rest)
		if size > wholeMax {
			return Step{}, false
		}
		if len(rest) < size+headerBytes {
			return Step{Verdict: More}, true
		}
		before = size
	}
	if rest[before] != protocol.ServerErrorResponse {
		return Step{}, false
	}
	if size, complete := protocol.Whole(rest[before:]); !complete && size <= wholeMax {
		return Step{Verdict: More}, true
	}
	if !s.mayReplay(rest[before:]) {
		return Step{}, false
	}
	if !do {
		return Step{}, true
	}
	if before > 0 {
		_, _ = s.scanner.Next(rest) // the ParameterDescription
	}
	step = s.replayBatch(rest[before:])
	step.N += before
	return step, true
}

// mayReplay reports whether the error at the start of rest can be made good.
func (s *Server) mayReplay(rest []byte) bool {
	if s.ledger.front().undo == undoNothing || s.ledger.front().undo != undoUse {
		return false
	}
	size, complete := protocol.Whole(rest)
	if !complete {
		return false
	}
	r, ok := s.replay.judge()
	if !ok || r.replies != s.ledger.len() {
		return false
	}
	code := string(protocol.SQLState(rest[:size]))
	switch {
	case code == "0A000":
		return s.unaware(s.ledger.front(), r) && bytes.Contains(rest[:size], revalidated)
	case code == "26000": // it was dropped by something that could not be seen, a function for example
		return true
	case strings.HasPrefix(code, "42"), code == "XX000":
		// A parameter's type follows from a column whose type is another now, or is gone ("cache lookup failed for type").
		return s.unaware(s.ledger.front(), r)
	}
	return false
}

// unaware reports that the client does not go by columns that it was told before: it asks for those of this statement now, or it has never been
// told any and asks for some now, or has prepared something only now.
func (s *Server) unaware(x *request, r replayed) bool {
	if r.asks {
		return true
	}
	own := s.own()
	return own != nil && own.names[x.name].clientSignature.Result == 0 && (r.describes || s.replay.fresh)
}

// revalidated is the field of PostgreSQL's error that says where in its source it comes from (utils/cache/plancache.c).
var revalidated = []byte("\x00RRevalidateCachedQuery\x00")

// replayed is what a batch consists of that could be sent again.
type replayed struct {
	replies   int  // it calls for
	unflushed int  // of those, behind the last Flush
	describes bool // a Describe is among it
	asks      bool // it begins with a Describe, or a Bind and a Describe of its portal
}

// judge looks at the messages. ok is false when there is anything but one batch that uses statements.
func (r *replayBuffer) judge() (b replayed, ok bool) {
	ended := false
	for rest := r.bytes; len(rest) > 0; {
		size, complete := protocol.Whole(rest)
		if !complete || ended {
			return replayed{}, false
		}
		switch rest[0] {
		case protocol.ClientDescribe:
			b.asks = b.asks || b.replies == 0
			b.describes = true
		case protocol.ClientBind:
			if b.replies == 0 {
				relies, _ := requiredSignature(rest, prepared.Signature{Result: unread})
				b.asks = relies.Result == 0
			}
		case protocol.ClientExecute:
		case protocol.ClientSync:
			ended = true
		case protocol.ClientFlush:
			b.unflushed = 0
			rest = rest[size:]
			continue
		default:
			return replayed{}, false
		}
		b.replies++
		b.unflushed++
		rest = rest[size:]
	}
	return b, true
}

// heal drops the error at the start of rest and sends the batch again, behind a new Parse of the statement that failed.
func (s *Server) replayBatch(rest []byte) Step {
	x := *s.ledger.front()
	state := prepared.Stale
	if string(protocol.SQLState(rest)) == "26000" {
		s.lose(x.statement)
		state = prepared.Absent
	}
	f, err := s.scanner.Next(rest)
	if err != nil {
		return s.distrust(err.Error())
	}
	batch, _ := s.replay.judge()
	sent := s.outstandingRequests()
	s.desk.clear()
	before, found := s.ledger.toSync()
	s.takeBack(before)
	if found {
		s.ledger.front().origin = poolerOrigin
	} else {
		s.desk.ToServer = append(s.desk.ToServer, syncMessage...)
		s.begin(syncDue, poolerOrigin)
	}
	e := s.replaceDeclared(x.statement, state, s.relied(&x))
	s.record(parseDue, poolerOrigin, undoEntry{undo: undoAdd, statement: x.statement})
	if batch.asks && sent[0].kind == bindDue && len(sent) > 1 && sent[1].kind == describeDue { // what the portal looks like was known, and is news now
		sent[1].undoEntry = undoEntry{undo: undoUse, statement: x.statement, name: x.name, serial: e.Serial}
	}
	s.again(sent, e)
	s.ledger.flushed = max(s.ledger.flushed, s.ledger.tail-uint64(batch.unflushed))
	s.Tally.StatementsHealed++
	return Step{Verdict: Rewrite, N: len(f.Data)}
}

// outstandingRequests copies the ledger.
func (s *Server) outstandingRequests() []request {
	all := make([]request, s.ledger.len())
	for i := range all {
		all[i] = *s.ledger.at(i)
	}
	return all
}

// again sends what was kept, to be answered as it would have been. e is what the server has now of the statement that was prepared anew.
func (s *Server) again(all []request, e *prepared.Entry) {
	s.replay.valid = false
	s.desk.ToServer = append(s.desk.ToServer, s.replay.bytes...)
	for _, r := range all {
		switch {
		case r.kind == syncDue:
			s.expectReady(r.kind, r.origin)
		case r.undo == undoNothing:
			s.expect(r.kind, r.origin)
		default:
			if r.serial != 0 && s.cache.Find(r.statement) == e {
				r.serial = e.Serial
			}
			s.record(r.kind, r.origin, r.undoEntry)
		}
		if r.deed != nil {
			s.does(*r.deed)
		}
	}
}
