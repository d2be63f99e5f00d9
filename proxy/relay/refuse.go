package relay

import "github.com/hybridbouncer/hybridbouncer/protocol"

// Refuse starts a refusal: the client waited for a server in vain and has been told so with an ERROR. b is what it has sent and
// nobody has seen. The refused message is dropped, of an extended-protocol batch everything up to its Sync, and the client is then
// answered ReadyForQuery, as PostgreSQL would have done.
//
// It reports false when the client has pipelined more behind the refused batch. What follows may rest on what was refused (an INSERT
// after a BEGIN that never ran), and a client that is still sending cannot have seen the error: such a client is closed instead. What
// was pipelined has arrived by now: the client has waited in the queue meanwhile, and the caller asks the socket for more.
func (c *Client) Refuse(b []byte) bool {
	if len(b) < headerBytes || c.scanner.MidMessage() || c.skip != skipNothing {
		return false
	}
	switch b[0] {
	case protocol.ClientQuery, protocol.ClientFunctionCall:
		c.skip = skipMessage
	default:
		c.skip = skipToSync
	}
	c.deferred.failed = c.Deferred()
	return !c.pipelinesBehind(b)
}

// RefuseAlone is Refuse of a Query, or of a batch that begins with a Parse or Bind, which has arrived to its end with nothing behind it. The
// unnamed statement ends, as by a Query or such a Parse that fails. It reports false, and refuses nothing, where b holds less or more than that.
func (c *Client) RefuseAlone(b []byte) bool {
	for rest := b; len(rest) >= headerBytes; {
		size, complete := protocol.Whole(rest)
		if !complete {
			return false
		}
		ends := rest[0] == protocol.ClientQuery || rest[0] == protocol.ClientSync
		if rest = rest[size:]; !ends {
			continue
		}
		if len(rest) > 0 || !c.Refuse(b) {
			return false
		}
		if c.own != nil && (b[0] == protocol.ClientQuery || b[0] == protocol.ClientParse && b[headerBytes] == 0) {
			c.own.dropUnnamed()
		}
		return true
	}
	return false
}

// OneBatch reports whether b holds one Query, or one batch to its Sync, and nothing behind it.
func OneBatch(b []byte) bool {
	for len(b) >= headerBytes {
		size, complete := protocol.Whole(b)
		if !complete {
			return false
		}
		ends := b[0] == protocol.ClientQuery || b[0] == protocol.ClientSync
		if b = b[size:]; ends {
			return len(b) == 0
		}
	}
	return false
}

// pipelinesBehind looks, without consuming, whether b holds anything behind the batch being refused.
func (c *Client) pipelinesBehind(b []byte) bool {
	for len(b) >= headerBytes {
		size, complete := protocol.Whole(b)
		if !complete {
			return false
		}
		if c.skip == skipMessage || b[0] == protocol.ClientSync {
			return len(b) > size
		}
		b = b[size:]
	}
	return false
}

// refusing drops what belongs to the refused batch.
func (c *Client) refusing(b []byte) Step {
	n := 0
	for n < len(b) {
		if !c.scanner.MidMessage() {
			if len(b)-n < headerBytes {
				break
			}
			if b[n] == protocol.ClientTerminate {
				return Step{Verdict: Leave, N: len(b)}
			}
		}
		ends := c.skip == skipMessage || b[n] == protocol.ClientSync && !c.scanner.MidMessage()
		f, err := c.scanner.Next(b[n:])
		if err != nil {
			return Step{Verdict: Violate, Err: violationOf(err)}
		}
		n += len(f.Data)
		if ends && !f.Last {
			c.skip = skipMessage // the end of this message is the end of the batch
			break
		}
		if ends {
			c.skip = skipNothing
			return Step{Verdict: EndRefusal, N: n}
		}
	}
	if n == 0 {
		return Step{Verdict: More}
	}
	return Step{Verdict: Drop, N: n}
}
