package relay

import "github.com/hybridbouncer/hybridbouncer/protocol"

// headerBytes is the length of a message's type and length word.
const headerBytes = 5

// FromClient judges the first bytes of b, which the client has sent. s is the server it is linked to, or nil. It consumes what the
// returned step covers; the caller comes again with the rest.
func (c *Client) FromClient(b []byte, s *Server) Step {
	if c.skip != skipNothing {
		return c.refusing(b)
	}
	if c.gathering() {
		return c.gather(b, s)
	}
	if s == nil || !c.tracked {
		return c.run(b, s)
	}
	fresh, saved := s.fresh(), s.Tally.ParsesSaved
	step := c.run(b, s)
	if step.Verdict == Rewrite || s.replay.valid {
		s.replay.keep(step, b[:step.N], s, fresh, s.Tally.ParsesSaved != saved)
	}
	return step
}

// run judges the first bytes of b, which begin with a message or go on with one.
func (c *Client) run(b []byte, s *Server) Step {
	w := rewriter{b: b}
	run := 0 // bytes of neighbours that leave together
	for run < len(b) {
		if c.scanner.MidMessage() {
			f, _ := c.scanner.Next(b[run:]) // a body has no header that could be wrong
			if c.dropping {
				return c.dropped(f, run)
			}
			run += len(f.Data)
			if c.Session.partial != nil {
				c.Session.watchPart(f, s)
			}
			continue
		}
		if len(b)-run < headerBytes {
			if _, known := kindOf(b[run]); !known && b[run] != protocol.ClientTerminate && run == 0 {
				return violation(b[run]) // PostgreSQL does not wait for its length either
			}
			break
		}
		if s == nil {
			return c.unlinked(b)
		}
		step, passes := c.linked(&w, run, s)
		if !passes {
			if run > 0 || w.desk != nil {
				break // what came before goes first
			}
			return step
		}
		c.Session.Cleared = false
		run += step.N
		if w.full() {
			break
		}
	}
	return w.step(run)
}

// dropped passes over a part of a message that is not forwarded. run is 0: a message is dropped only at the start of a step.
func (c *Client) dropped(f protocol.Frame, run int) Step {
	if f.Last {
		c.dropping = false
	}
	return Step{Verdict: Drop, N: run + len(f.Data)}
}

// unlinkedWhole is how long a message may be that has to be there as a whole before a server is taken for it: who sends the first bytes of
// a query and no more is to keep no server from others.
const unlinkedWhole = 8 << 10

// unlinked judges a message of a client that has no server. Most need one; those that PostgreSQL would answer with nothing, or with
// ReadyForQuery alone, do not.
func (c *Client) unlinked(b []byte) Step {
	if (c.defers || c.Deferred()) && b[0] == protocol.ClientQuery {
		if step, judged := c.deferring(b, false); judged {
			return step
		}
	}
	switch b[0] {
	case protocol.ClientQuery, protocol.ClientParse, protocol.ClientBind, protocol.ClientDescribe, protocol.ClientExecute,
		protocol.ClientClose, protocol.ClientFunctionCall:
		return c.checked(b, Step{Verdict: Checkout})
	case protocol.ClientSync:
		if size, _ := protocol.Whole(b); size > headerBytes {
			return c.checked(b, Step{Verdict: Checkout}) // there is nothing in a Sync: PostgreSQL will say so
		}
		return c.checked(b, Step{Verdict: AnswerReady})
	case protocol.ClientFlush:
		if size, _ := protocol.Whole(b); size > headerBytes {
			return c.checked(b, Step{Verdict: Checkout}) // nor in a Flush
		}
		return c.checked(b, Step{Verdict: Drop})
	case protocol.ClientCopyData, protocol.ClientCopyDone, protocol.ClientCopyFail:
		// "The frontend can send CopyData after the server has failed the COPY: the server ignores it" (manual 54.2.6).
		return c.checked(b, Step{Verdict: Drop})
	case protocol.ClientTerminate:
		return Step{Verdict: Leave, N: len(b)}
	}
	return violation(b[0])
}

// checked turns a wrong length word into a violation and, unless a server must come first, passes over the message.
func (c *Client) checked(b []byte, step Step) Step {
	before := c.scanner
	f, err := c.scanner.Next(b)
	if err != nil {
		return Step{Verdict: Violate, Err: violationOf(err)}
	}
	switch step.Verdict {
	case Checkout, AnswerReady:
		if size, complete := protocol.Whole(b); !complete && (step.Verdict == AnswerReady || size <= unlinkedWhole) {
			c.scanner = before
			return Step{Verdict: More}
		}
	}
	if step.Verdict == Checkout {
		c.scanner = before
		return step
	}
	c.dropping = !f.Last
	step.N = len(f.Data)
	return step
}

func violation(messageType byte) Step {
	return Step{Verdict: Violate, Err: protocol.ErrProtocol("invalid frontend message type " + itoa(int(messageType)))}
}

// linked judges a message of a client that has a server, and notes what the server will owe for it. at is where in w.b it begins.
// passes is false when the message is not passed over: step then stands alone.
func (c *Client) linked(w *rewriter, at int, s *Server) (step Step, passes bool) {
	b := w.b[at:]
	if s.ledger.len() >= OwedMax && s.full(w, at) || c.Session.rests(s) || c.Session.serial(b[0], s) {
		return Step{Verdict: Hold}, false
	}
	c.Session.read = false
	if c.rejection != nil {
		if !s.passive() {
			return c.reject(w, at, s)
		}
		c.rejection = nil // the server skips it by itself
	}
	if (c.Session.Promotes && !s.Kept || c.Session.Shares || c.own != nil && b[0] == protocol.ClientQuery) && !s.passive() {
		if step, judged := c.check(b, s); judged {
			return step, false
		}
	}
	switch b[0] {
	case protocol.ClientParse, protocol.ClientBind, protocol.ClientDescribe, protocol.ClientClose:
		if c.tracked && !s.passive() {
			return c.statement(w, at, s)
		}
	case protocol.ClientQuery, protocol.ClientFunctionCall:
		if c.tracked && s.batchOpen && !s.passive() && !s.batchAnswered(w, at) {
			return Step{Verdict: Hold}, false
		}
		if c.own != nil && b[0] == protocol.ClientQuery && !s.passive() {
			if step, passes, deals := c.mentions(w, at, s); deals {
				return step, passes
			}
		}
	case protocol.ClientTerminate:
		return Step{Verdict: Leave, N: len(b)}, false
	}
	kind, known := kindOf(b[0])
	if !known {
		return violation(b[0]), false
	}
	if size, _ := protocol.Whole(b); b[0] == protocol.ClientFlush && size > headerBytes && !s.passive() {
		kind = closeDue // an error, and whatever that makes the server skip
	}
	f, err := c.scanner.Next(b)
	if err != nil {
		return Step{Verdict: Violate, Err: violationOf(err)}, false
	}
	dropped := false
	if c.tracked && !s.passive() {
		s.confused = s.confused || s.batchOpen && kind != syncDue && kind.endsWithReady()
		dropped = c.mayDrop(f, s)
	}
	s.sent(f.Type, kind)
	if dropped {
		s.note(undoEntry{undo: undoReset})
	}
	c.watch(f, s)
	switch {
	case f.Type == protocol.ClientFlush && s.oursDue():
		w.cut(at+len(f.Data), 0, s.desk)
		s.giveOurs()
	case f.Type == protocol.ClientSync && len(s.aliases) > 0 && f.Last:
		w.cut(at+len(f.Data), 0, s.desk)
		s.closeAliases()
	}
	return Step{Verdict: Forward, N: len(f.Data)}, true
}

// kindOf is what a message is owed.
func kindOf(messageType byte) (kind requestKind, known bool) {
	switch messageType {
	case protocol.ClientQuery:
		return queryDue, true
	case protocol.ClientFunctionCall:
		return functionDue, true
	case protocol.ClientSync:
		return syncDue, true
	case protocol.ClientParse:
		return parseDue, true
	case protocol.ClientBind:
		return bindDue, true
	case protocol.ClientDescribe:
		return describeDue, true
	case protocol.ClientExecute:
		return executeDue, true
	case protocol.ClientClose:
		return closeDue, true
	case protocol.ClientFlush, protocol.ClientCopyData, protocol.ClientCopyDone, protocol.ClientCopyFail:
		return nothingDue, true
	}
	return nothingDue, false
}

// sent notes that a message of the client's is on its way to the server.
func (s *Server) sent(messageType byte, kind requestKind) {
	switch {
	case s.copying == copyIn || s.copying == copyBoth:
		s.sentInCopy(messageType)
	case kind == nothingDue:
		switch messageType {
		case protocol.ClientFlush:
			s.ledger.flushed = s.ledger.tail
		case protocol.ClientCopyDone, protocol.ClientCopyFail:
			s.copyEnded() // the server has not said yet whether it is in a COPY
			s.endedCopy(messageType)
		}
	case kind == syncDue:
		s.skipping = false
		s.expectReady(kind, clientOrigin)
	case s.skipping: // the server discards it, a Query too (manual 54.2.3)
	case kind.endsWithReady():
		s.expectReady(kind, clientOrigin)
	default:
		s.expect(kind, clientOrigin)
	}
}

// expect enters a request that is not the last of its batch.
func (s *Server) expect(kind requestKind, from origin) {
	s.batchOpen = true
	s.ledger.push(kind, from)
}

// record is expect for a request that changes something.
func (s *Server) record(kind requestKind, from origin, e undoEntry) {
	s.expect(kind, from)
	s.note(e)
}

// expectReady enters a request that ReadyForQuery ends, and with it its batch.
func (s *Server) expectReady(kind requestKind, from origin) {
	s.batchOpen = false
	s.begin(kind, from)
}

// begin enters a request that ReadyForQuery ends: what is sent behind it belongs to another batch.
func (s *Server) begin(kind requestKind, from origin) {
	s.renewed = 0
	s.batch++
	s.ledger.push(kind, from)
	s.ledger.begins()
}

// copyEnded notes that the client has sent CopyDone or CopyFail behind its newest request.
func (s *Server) copyEnded() {
	if s.ledger.len() > 0 {
		s.ledger.newest().copyEnded = true
	}
}

// passive reports that the server will not carry out what it is sent next: it skips to the next Sync, or reads COPY data.
func (s *Server) passive() bool {
	return s.skipping || s.copying == copyIn || s.copying == copyBoth
}

// sentInCopy notes a message sent while the server reads COPY data. Flush and Sync are ignored by it (manual 54.2.6); anything else
// ends the connection, which the server itself will say.
func (s *Server) sentInCopy(messageType byte) {
	switch messageType {
	case protocol.ClientCopyData, protocol.ClientFlush:
	case protocol.ClientCopyDone, protocol.ClientCopyFail:
		switch {
		case s.copying == copyIn:
			s.copying = copyInDone
			s.endedCopy(messageType)
		case messageType == protocol.ClientCopyDone:
			s.copying = copyOut
		}
	case protocol.ClientSync:
		s.syncInCopy = true
	default:
		s.doubt = true
	}
}

// endedCopy: the answer to the Execute of a COPY comes only now, and unless it is an error the server sits on it until it is told to send,
// whatever Flush came before.
func (s *Server) endedCopy(messageType byte) {
	if messageType == protocol.ClientCopyDone && s.batchOpen && s.ledger.newest().kind == executeDue {
		s.ledger.flushed = min(s.ledger.flushed, s.ledger.tail-1)
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

// violationOf is the error of the scanner as the client is told it.
func violationOf(err error) *protocol.Error {
	if e, ok := err.(*protocol.Error); ok { //nolint:errorlint // the scanner wraps nothing
		return e
	}
	return protocol.ErrProtocol(err.Error())
}
