package relay

import (
	"bytes"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// hidden reports that what the server says next is not for a client: it answers the proxy itself, or its client is gone.
func (s *Server) internalReply() bool {
	if s.scanner.MidMessage() {
		return s.abandoned || s.midInternal
	}
	return s.abandoned || s.ledger.front().origin == poolerOrigin
}

// Inject notes that the proxy sends a simple Query of its own. Its replies are dropped; an error comes out as Refused.
func (s *Server) Inject() {
	s.begin(queryDue, poolerOrigin)
	s.unnamed.of = nil
}

// InjectDiscard is Inject for a DISCARD ALL: what is sent behind it finds no statement.
func (s *Server) InjectDiscard() {
	s.Inject()
	s.emptied(nil)
}

// errorForClient reports that b begins with an error that answers a Parse or Close of the proxy's own: it is what the client's message,
// for which that was sent, would have met. Where the proxy has sent the Sync too, no message of the client's is in that batch.
func (s *Server) errorForClient(b []byte) bool {
	return !s.abandoned && !s.scanner.MidMessage() && b[0] == protocol.ServerErrorResponse && !s.ledger.front().kind.endsWithReady() &&
		s.ledger.batchOrigin() != poolerOrigin
}

// Ask is Inject for a query whose one row comes out as Told.
func (s *Server) Ask() {
	s.begin(questionDue, poolerOrigin)
	s.unnamed.of = nil
}

// Asking reports that the answer to Ask is due.
func (s *Server) Asking() bool { return s.ledger.front().kind == questionDue }

// Injecting reports that a query of the proxy's own has not been answered.
func (s *Server) Injecting() bool {
	for i := range s.ledger.len() {
		if r := s.ledger.at(i); r.origin == poolerOrigin && r.kind.endsWithReady() {
			return true
		}
	}
	return false
}

// Hidden reports that what the server says next answers the proxy itself.
func (s *Server) Hidden() bool { return s.internalReply() }

// RunsOwn reports that the server carries out a statement of the proxy's own, and whether something of the client's is to follow.
func (s *Server) RunsOwn() (own, behind bool) {
	front := s.ledger.front()
	return front.origin == poolerOrigin && front.kind.endsWithReady(), s.ledger.len() > 1
}

// toldMax is the longest row that is taken as an answer; with a longer one the connection ends.
const toldMax = 48 << 10

// told judges a row that the proxy has asked for.
func (s *Server) told(rest []byte) Step {
	size, complete := protocol.Whole(rest)
	switch {
	case size > toldMax:
		s.doubt = true
		return Step{Verdict: Distrust, Err: protocol.ErrSettingTooLong(toldMax / 2)} // as the answer has them in hexadecimal
	case !complete:
		return Step{Verdict: More}
	}
	if _, err := s.scanner.Next(rest); err != nil {
		return s.distrust(err.Error())
	}
	return Step{Verdict: Told, N: size}
}

// fromServerInternal judges what no client is to see.
func (s *Server) fromServerInternal(b []byte) Step {
	step := Step{Verdict: Drop}
	for step.N < len(b) && s.internalReply() && !s.oursDue() && (step.N == 0 || !s.errorForClient(b[step.N:])) {
		rest := b[step.N:]
		if !s.scanner.MidMessage() {
			if len(rest) < headerBytes {
				break
			}
			if rest[0] == protocol.ServerDataRow && s.ledger.front().kind == questionDue && !s.abandoned {
				if step.N > 0 {
					break
				}
				return s.told(rest)
			}
			if single, alone := s.single(rest); alone {
				if step.N > 0 {
					break
				}
				return single
			}
		}
		injected := s.ledger.front().origin == poolerOrigin && s.ledger.front().kind.endsWithReady() && s.ledger.front().kind != failureDue
		if rest[0] == protocol.ServerErrorResponse && injected && step.N > 0 && !s.scanner.MidMessage() {
			break // comes out alone, as Refused
		}
		s.midInternal = true
		f, err := s.scanner.Next(rest)
		if err != nil {
			return s.distrust(err.Error())
		}
		step.N += len(f.Data)
		if !f.First {
			continue
		}
		if wrong := s.passed(f); wrong != "" {
			return s.distrust(wrong)
		}
		if f.Type == protocol.ServerErrorResponse && injected {
			step.Verdict = Refused
			return step
		}
	}
	if step.N == 0 {
		return Step{Verdict: More}
	}
	switch {
	case !s.oursDue():
	case s.abandoned:
		s.giveOurs() // to nobody
	default:
		return s.answer(step, nil)
	}
	return step
}

// Messages of the proxy's own to a server whose client has gone. A batch without Sync must not be committed, which a Sync would do: the
// ROLLBACK ends its implicit transaction (or is skipped, behind an error).
var (
	syncMessage     = []byte{protocol.ClientSync, 0, 0, 0, 4}
	rollbackMessage = append([]byte{protocol.ClientQuery, 0, 0, 0, 13}, "ROLLBACK\x00"...)
	rollbackAndSync = append(append([]byte{}, rollbackMessage...), syncMessage...)
	copyFailMessage = append([]byte{protocol.ClientCopyFail, 0, 0, 0, 16}, "client gone\x00"...)
	copyFailAndSync = append(append([]byte{}, copyFailMessage...), syncMessage...)
)

// Abandon is called once when the client of a server is gone. It tells what to send so that the server comes to rest by itself; from
// then on all it says is dropped, until Settled or, inside a transaction, until Quiet: then the caller rolls back.
// ok is false when the server cannot be saved: half a message of the client's is on its way, its stream is in doubt, or it has no end.
func (s *Server) Abandon(c *Client) (send []byte, ok bool) {
	if c.MidMessage() {
		s.doubt = true // whatever it is sent is taken for the rest of what it waits for
	}
	if s.doubt || s.copying == copyBoth {
		return nil, false
	}
	s.abandoned = true
	s.client = nil
	switch {
	case s.copying == copyIn && s.ledger.front().kind == executeDue:
		s.copying = copyInDone
		s.sent(protocol.ClientSync, syncDue)
		return s.withAliases(copyFailAndSync), true
	case s.copying == copyIn:
		s.copying = copyInDone
		return copyFailMessage, true
	case s.batchOpen:
		s.sent(protocol.ClientQuery, queryDue)
		s.sent(protocol.ClientSync, syncDue)
		s.unnamed.of = nil
		return s.withAliases(rollbackAndSync), true
	}
	return nil, true
}

// withAliases is what ends a batch, and what closes the aliases behind it.
func (s *Server) withAliases(end []byte) []byte {
	if len(s.aliases) == 0 {
		return end
	}
	s.desk.clear()
	s.closeAliases()
	return append(bytes.Clone(end), s.desk.ToServer...)
}

// Released is called when the server has gone back to its pool.
func (s *Server) Released() { s.abandoned = false }
