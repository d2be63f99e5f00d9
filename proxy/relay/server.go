package relay

import "github.com/hybridbouncer/hybridbouncer/protocol"

// wholeMax is the longest ErrorResponse or ParameterStatus that is looked at as a whole; longer ones pass unread.
const wholeMax = 8 << 10

// FromServer judges the first bytes of b, which the server has sent. It consumes what the returned step covers; the caller comes
// again with the rest. When nothing is left, Settled tells whether the link may be parted.
func (s *Server) FromServer(b []byte) Step {
	if s.oursDue() {
		return s.answer(Step{}, nil)
	}
	if s.internalReply() && !s.errorForClient(b) {
		return s.fromServerInternal(b)
	}
	step := Step{Verdict: Forward}
	for step.N < len(b) {
		rest := b[step.N:]
		if !s.scanner.MidMessage() {
			if len(rest) < headerBytes {
				break
			}
			if single, alone := s.single(rest); alone {
				if step.N > 0 {
					break // what came before goes first
				}
				return single
			}
			if rest[0] == protocol.ServerReadyForQuery && s.withholds(rest) {
				if step.N > 0 {
					break
				}
				return s.readyAlone(rest)
			}
			if mended, alone := s.mend(rest, step.N == 0); alone {
				if step.N > 0 {
					break
				}
				return mended
			}
			if words := s.words(rest); words != nil {
				if step.N > 0 {
					break
				}
				return s.reworded(rest, words)
			}
		}
		s.midInternal = false
		f, err := s.scanner.Next(rest)
		if err != nil {
			return s.distrust(err.Error())
		}
		step.N += len(f.Data)
		if f.First {
			if f.Type == protocol.ServerErrorResponse {
				s.Tally.countError(f.Data)
			}
			if wrong := s.passed(f); wrong != "" {
				return s.distrust(wrong)
			}
			if f.Type == protocol.ServerReadyForQuery {
				s.finished(&step)
			}
		}
		if f.Last && s.ledger.front().origin != clientOrigin {
			break // what follows answers the proxy itself, or is the proxy's to give
		}
	}
	if step.N == 0 {
		return Step{Verdict: More}
	}
	if s.oursDue() {
		return s.answer(step, b[:step.N])
	}
	return step
}

// single judges the messages that are looked at as a whole and alone.
func (s *Server) single(rest []byte) (step Step, alone bool) {
	switch rest[0] {
	case protocol.ServerReadyForQuery, protocol.ServerErrorResponse, protocol.ServerParameterStatus:
	case protocol.ServerNotificationResponse:
		return s.overheard(rest)
	case protocol.ServerCommandComplete:
		if len(rest) > headerBytes && rest[headerBytes] != 'D' && !s.readsTag(rest[headerBytes]) {
			return Step{}, false // see tagged and completed
		}
	case protocol.ServerParameterDescription, protocol.ServerRowDescription:
		return Step{Verdict: More}, s.describing() && cut(rest, toldMax)
	default:
		return Step{}, false
	}
	if cut(rest, wholeMax) {
		return Step{Verdict: More}, true
	}
	size, complete := protocol.Whole(rest)
	if !complete {
		return Step{}, false
	}
	ends := rest[0] == protocol.ServerErrorResponse && s.Parts && !s.Kept && s.Settled() && protocol.Fatal(rest[:size])
	if rest[0] != protocol.ServerParameterStatus && !ends {
		return Step{}, false
	}
	_, err := s.scanner.Next(rest)
	if err != nil {
		return s.distrust(err.Error()), true
	}
	if ends {
		s.leaving = true
		return Step{Verdict: Drop, N: size}, true
	}
	return Step{Verdict: Report, N: size, Injected: s.internalReply()}, true
}

// cut reports that the rest of the message at the start of b has to be waited for. One that is longer than most passes in pieces.
func cut(b []byte, most int) bool {
	size, complete := protocol.Whole(b)
	return !complete && size <= most
}

// passed notes the effect of a message on what is owed. It returns what is wrong with the message, if anything is.
func (s *Server) passed(f protocol.Frame) (wrong string) {
	front := s.ledger.front().kind
	switch f.Type {
	case protocol.ServerDataRow, protocol.ServerCopyData, protocol.ServerNoticeResponse, protocol.ServerNotificationResponse,
		protocol.ServerCopyDone, protocol.ServerFunctionCallResponse,
		protocol.ServerParameterStatus, protocol.ServerNegotiateProtocolVersion:
	case protocol.ServerCommandComplete:
		s.copying, s.syncInCopy = copyNone, false
		if len(f.Data) > headerBytes && s.readsTag(f.Data[headerBytes]) {
			s.completed(string(protocol.CommandTag(f.Data)))
		}
		s.tagged(f.Data)
		return s.answered(front, executeDue, f.Type)
	case protocol.ServerEmptyQueryResponse, protocol.ServerPortalSuspended:
		s.copying, s.syncInCopy = copyNone, false
		if f.Type == protocol.ServerPortalSuspended && s.ledger.front().deed != nil {
			s.completed("")
		}
		return s.answered(front, executeDue, f.Type)
	case protocol.ServerParameterDescription:
		if s.describing() {
			s.parameters = parametersDigest(f)
			s.toldTypes(f)
		}
	case protocol.ServerRowDescription, protocol.ServerNoData:
		if s.describing() {
			s.described(f)
		}
		if front == queryDue || front == questionDue {
			return ""
		}
		return s.answered(front, describeDue, f.Type)
	case protocol.ServerParseComplete:
		return s.answered(front, parseDue, f.Type)
	case protocol.ServerBindComplete:
		return s.answered(front, bindDue, f.Type)
	case protocol.ServerCloseComplete:
		return s.answered(front, closeDue, f.Type)
	case protocol.ServerReadyForQuery:
		return s.ready(f, front)
	case protocol.ServerErrorResponse:
		s.saidFatal = s.saidFatal || protocol.Fatal(f.Data)
		s.failed(front, f.Data)
	case protocol.ServerCopyInResponse:
		s.enterCopy(front)
	case protocol.ServerCopyOutResponse:
		s.copying = copyOut
	case protocol.ServerCopyBothResponse:
		s.copying = copyBoth
	default:
		return "unknown message type " + itoa(int(f.Type))
	}
	return ""
}

// enterCopy notes that the server reads COPY data now. A Sync sent ahead of it was swallowed: the batch ends with the one after CopyDone,
// which may have been sent ahead too.
func (s *Server) enterCopy(front requestKind) {
	swallowed, ended := s.ledger.enterCopy()
	s.syncInCopy = swallowed > 0
	extended := front == executeDue
	if ended { // what was sent behind its end has been noted as it went
		s.copying = copyInDone
		s.batchOpen = s.batchOpen || extended && !s.ledger.endsBehindFront()
	} else {
		s.copying = copyIn
		s.batchOpen = extended
	}
}

// answered takes the reply that is due from the queue. A Query has any number of them.
func (s *Server) answered(front, due requestKind, messageType byte) (wrong string) {
	switch {
	case front == due:
		s.popped()
	case (front == queryDue || front == questionDue || front == failureDue) && due == executeDue:
	case s.doubt:
	default:
		return "message type " + itoa(int(messageType)) + " that no request of the client calls for"
	}
	return ""
}

// finished counts a ReadyForQuery that goes to the client.
func (s *Server) finished(step *Step) {
	step.Finished++
	s.Tally.Queries++
	if s.TxStatus == StatusIdle {
		s.Tally.Transactions++
	}
}

// ready notes a ReadyForQuery.
func (s *Server) ready(f protocol.Frame, front requestKind) (wrong string) {
	if len(f.Data) != headerBytes+1 {
		return "ReadyForQuery of a wrong length"
	}
	injected := s.ledger.front().origin == poolerOrigin
	switch {
	case front.endsWithReady():
		if !injected {
			s.replay.valid = false
		}
		s.popped()
	case s.doubt:
		s.skipping, s.batchOpen = false, false
	default:
		return "ReadyForQuery that no request of the client calls for"
	}
	switch s.TxStatus = f.Data[headerBytes]; s.TxStatus {
	case StatusIdle, StatusActive, StatusFailed:
	default:
		return "ReadyForQuery of an unknown status"
	}
	if !injected && s.client != nil {
		s.client.Session.ready(s.TxStatus, s)
	}
	s.copying, s.syncInCopy = copyNone, false
	return ""
}

// failed notes an ErrorResponse. In an extended-protocol message the server now skips to the next Sync, a Query included.
func (s *Server) failed(front requestKind, frame []byte) {
	if s.syncInCopy {
		// Did the Sync reach the server before the COPY failed (then it was ignored) or after (then it is answered)? Nobody can tell.
		s.doubt = true
	}
	s.copying, s.syncInCopy, s.parameters = copyNone, false, 0
	if r := s.ledger.front(); r.origin != poolerOrigin || !front.endsWithReady() {
		s.failedIn(r.deed)
	}
	switch front {
	case parseDue, bindDue, describeDue, executeDue, closeDue:
		s.learn(frame)
		before, found := s.ledger.toSync()
		s.skipping = !found
		s.batchOpen = s.batchOpen || s.skipping // a Query that is skipped has not ended it
		s.takeBack(before)
	}
}

func (s *Server) distrust(wrong string) Step {
	s.doubt = true
	return Step{Verdict: Distrust, Err: protocol.ErrServerLost().WithDetail("the server sent a " + wrong + "; its connection was closed.")}
}
