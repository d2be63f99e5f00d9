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
	run := 0 // bytes of neighbours that are forwarded together
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
			break
		}
		if s == nil {
			return c.unlinked(b)
		}
		if s.owed.n >= OwedMax {
			break
		}
		step, passes := c.linked(b[run:], s)
		if !passes {
			if run > 0 {
				break // what came before goes first
			}
			return step
		}
		run += step.N
	}
	if run == 0 {
		return Step{Verdict: More}
	}
	return Step{Verdict: Forward, N: run}
}

// dropped passes over a part of a message that is not forwarded. run is 0: a message is dropped only at the start of a step.
func (c *Client) dropped(f protocol.Frame, run int) Step {
	if f.Last {
		c.dropping = false
	}
	return Step{Verdict: Drop, N: run + len(f.Data)}
}

// unlinked judges a message of a client that has no server. Most need one; those that PostgreSQL would answer with nothing, or with
// ReadyForQuery alone, do not.
func (c *Client) unlinked(b []byte) Step {
	switch b[0] {
	case protocol.ClientQuery, protocol.ClientParse, protocol.ClientBind, protocol.ClientDescribe, protocol.ClientExecute,
		protocol.ClientClose, protocol.ClientFunctionCall:
		return c.checked(b, Step{Verdict: Checkout})
	case protocol.ClientSync:
		if size, _ := protocol.Whole(b); size > headerBytes {
			return c.checked(b, Step{Verdict: Checkout}) // there is nothing in a Sync: PostgreSQL will say so
		}
		return c.checked(b, Step{Verdict: AnswerReady})
	case protocol.ClientFlush, protocol.ClientCopyData, protocol.ClientCopyDone, protocol.ClientCopyFail:
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
	if step.Verdict == Checkout {
		c.scanner = before
		return step
	}
	if step.Verdict == AnswerReady && !f.Last {
		c.scanner = before
		return Step{Verdict: More}
	}
	c.dropping = !f.Last
	step.N = len(f.Data)
	return step
}

func violation(messageType byte) Step {
	return Step{Verdict: Violate, Err: protocol.ErrProtocol("invalid frontend message type " + itoa(int(messageType)))}
}

// linked judges a message of a client that has a server, and notes what the server will owe for it. passes is false when the message
// is not forwarded: step then stands alone.
func (c *Client) linked(b []byte, s *Server) (step Step, passes bool) {
	messageType := b[0]
	kind := owedNothing
	switch messageType {
	case protocol.ClientQuery:
		kind = owedQuery
	case protocol.ClientFunctionCall:
		kind = owedFunction
	case protocol.ClientSync:
		kind = owedSync
	case protocol.ClientParse:
		kind = owedParse
	case protocol.ClientBind:
		kind = owedBind
	case protocol.ClientDescribe:
		kind = owedDescribe
	case protocol.ClientExecute:
		kind = owedExecute
	case protocol.ClientClose:
		kind = owedClose
	case protocol.ClientFlush, protocol.ClientCopyData, protocol.ClientCopyDone, protocol.ClientCopyFail:
	case protocol.ClientTerminate:
		return Step{Verdict: Leave, N: len(b)}, false
	default:
		return violation(messageType), false
	}
	f, err := c.scanner.Next(b)
	if err != nil {
		return Step{Verdict: Violate, Err: violationOf(err)}, false
	}
	s.sent(messageType, kind)
	if c.Session.Tracked {
		c.Session.watch(f, s)
	}
	return Step{Verdict: Forward, N: len(f.Data)}, true
}

// sent notes that a message of the client's is on its way to the server.
func (s *Server) sent(messageType byte, kind owedKind) {
	switch {
	case s.copying == copyIn || s.copying == copyBoth:
		s.sentInCopy(messageType)
		return
	case kind == owedNothing:
		switch messageType {
		case protocol.ClientFlush:
			s.unflushed = 0
		case protocol.ClientCopyDone, protocol.ClientCopyFail:
			s.owed.markEnded() // the server has not said yet whether it is in a COPY
		}
		return
	case kind == owedSync:
		s.skipping, s.batchOpen = false, false
	case s.skipping:
		return // the server discards it, a Query too (manual 54.2.3)
	case kind == owedQuery || kind == owedFunction:
		s.batchOpen = false
	default:
		s.batchOpen = true
		s.unflushed++
		s.owed.push(kind)
		return
	}
	s.unflushed = 0
	s.owed.push(kind)
}

// sentInCopy notes a message sent while the server reads COPY data. Flush and Sync are ignored by it (manual 54.2.6); anything else
// ends the connection, which the server itself will say.
func (s *Server) sentInCopy(messageType byte) {
	switch messageType {
	case protocol.ClientCopyData, protocol.ClientFlush:
	case protocol.ClientCopyDone, protocol.ClientCopyFail:
		if s.copying == copyIn {
			s.copying = copyInDone
		}
	case protocol.ClientSync:
		s.syncInCopy = true
	default:
		s.doubt = true
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
