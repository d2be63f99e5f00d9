package relay

import (
	"bytes"

	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// PostgreSQL refuses to run a statement whose result has other columns than when it was prepared (0A000, "cached plan must not change
// result type"). On a direct connection only a client that prepared it before the columns changed meets that. Here a client may have
// prepared it a moment ago and still meet it, because the server has had it for longer. Then the batch is sent again behind a new Parse,
// which is safe where nothing of it has been carried out: the batch is the only thing on its way, outside a transaction, and failed in its
// first message. A client that has not heard the new columns, by a Parse or a Describe in that batch, gets the error as on a direct connection.

// retry is the last batch that was sent to an idle server and begins with the use of a statement.
type retry struct {
	bytes []byte
	valid bool
	fresh bool // the client has prepared a statement in it, and was answered by the proxy
}

// retryMax is the longest batch that is kept.
const retryMax = 4 << 10

// fresh reports that nothing of the client's is on its way to the server and no transaction is open.
func (s *Server) fresh() bool { return s.TxStatus == StatusIdle && !s.batchOpen && s.sound() }

// keep remembers what a step over b sends to the server, if it begins or goes on with something that may be sent again.
func (r *retry) keep(step Step, b []byte, s *Server, fresh, saved bool) {
	if fresh {
		r.valid, r.fresh, r.bytes = step.Verdict == Rewrite && s.notes.n > 0, false, r.bytes[:0]
	}
	if step.Verdict == Rewrite {
		b = s.desk.ToServer
	}
	if r.valid = r.valid && len(r.bytes)+len(b) <= retryMax; r.valid {
		r.bytes = append(r.bytes, b...)
		r.fresh = r.fresh || saved
	}
}

// mend makes the error good that rest begins with, if that can be done; do says whether to. A Describe fails behind its
// ParameterDescription, which therefore waits for what comes next: PostgreSQL says both in one breath.
func (s *Server) mend(rest []byte, do bool) (step Step, alone bool) {
	if !s.retry.valid {
		return Step{}, false
	}
	before := 0
	if rest[0] == protocol.ServerParameterDescription && s.owed.front()&owedNoted != 0 {
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
	if !s.heals(rest[before:]) {
		return Step{}, false
	}
	if !do {
		return Step{}, true
	}
	if before > 0 {
		_, _ = s.scanner.Next(rest) // the ParameterDescription
	}
	step = s.heal(rest[before:])
	step.N += before
	return step, true
}

// heals reports whether the error at the start of rest can be made good.
func (s *Server) heals(rest []byte) bool {
	if s.owed.front()&owedNoted == 0 || s.notes.at(0).kind != noteUse {
		return false
	}
	size, complete := protocol.Whole(rest)
	if !complete {
		return false
	}
	replies, describes, ok := s.retry.judge()
	if !ok || replies != s.owed.n {
		return false
	}
	switch string(protocol.SQLState(rest[:size])) {
	case "0A000":
		return (describes || s.retry.fresh) && bytes.Contains(rest[:size], revalidated)
	case "26000": // it was dropped by something that could not be seen, a function for example
		return true
	}
	return false
}

// revalidated is the field of PostgreSQL's error that says where in its source it comes from (utils/cache/plancache.c).
var revalidated = []byte("\x00RRevalidateCachedQuery\x00")

// judge looks at the messages: how many replies they call for, and whether a Describe is among them. ok is false when there is anything but
// one batch that uses statements.
func (r *retry) judge() (replies int, describes, ok bool) {
	ended := false
	for b := r.bytes; len(b) > 0; {
		size, complete := protocol.Whole(b)
		if !complete || ended {
			return 0, false, false
		}
		switch b[0] {
		case protocol.ClientDescribe:
			describes = true
			replies++
		case protocol.ClientBind, protocol.ClientExecute:
			replies++
		case protocol.ClientSync:
			ended = true
			replies++
		case protocol.ClientFlush:
		default:
			return 0, false, false
		}
		b = b[size:]
	}
	return replies, describes, true
}

// heal drops the error at the start of rest and sends the batch again, behind a new Parse of the statement that failed.
func (s *Server) heal(rest []byte) Step {
	x := *s.notes.at(0)
	state := prepared.Stale
	if string(protocol.SQLState(rest)) == "26000" {
		s.lose(x.statement)
		state = prepared.Absent
	}
	f, err := s.scanner.Next(rest)
	if err != nil {
		return s.distrust(err.Error())
	}
	s.desk.clear()
	found, noted := s.owed.dropToSync()
	s.cameToNothing(noted)
	s.clamp()
	if found {
		s.owed.hideFront()
	} else {
		s.desk.ToServer = append(s.desk.ToServer, syncMessage...)
		s.begin(owedSync | owedInjected)
	}
	s.replace(x.statement, state)
	s.noted(owedParse|owedInjected, note{kind: noteAdd, statement: x.statement})
	s.again(x)
	s.Tally.StatementsHealed++
	return Step{Verdict: Rewrite, N: len(f.Data)}
}

// again sends what was kept; first is what its first message uses.
func (s *Server) again(first note) {
	s.retry.valid = false
	s.desk.ToServer = append(s.desk.ToServer, s.retry.bytes...)
	for i, b := 0, s.retry.bytes; len(b) > 0; i++ {
		size, _ := protocol.Whole(b)
		switch kind, _ := kindOf(b[0]); {
		case kind == owedNothing:
			s.unflushed = 0
		case kind == owedSync:
			s.oweReady(kind)
		case i == 0:
			s.noted(kind, first)
		default:
			s.owe(kind)
		}
		b = b[size:]
	}
}
