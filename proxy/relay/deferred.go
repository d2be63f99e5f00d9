package relay

import (
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// A BEGIN that comes alone is answered without a server, with defer_begin always, and otherwise where no server is free: no PostgreSQL ever
// refuses a BEGIN, so drivers do not expect it. The BEGIN goes ahead of the next message that needs a server, by Server.Begin. A COMMIT or
// ROLLBACK that comes before one needs none either.
//
// With defer_begin only a BEGIN that no server would refuse is answered like that. The server is taken to be in a transaction as soon as the
// BEGIN has been sent: decisions that are taken before its reply has come are right.

// deferral is a transaction that has begun for the client, and for no server yet.
type deferral struct {
	begin sqltext.Begin // 0: none
	// failed: the client has been told an error in it, because there was no server to be had.
	failed bool
}

// Tag says which command the proxy answers itself.
type Tag uint8

// The tags.
const (
	TagBegin Tag = iota
	TagStart
	TagCommit
	TagRollback
)

// String is the tag as CommandComplete has it.
func (t Tag) String() string {
	return [...]string{"BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK"}[t]
}

// Defer lets the client's BEGIN wait for the first statement.
func (c *Client) Defer() { c.defers = true }

// Deferred reports that the client is in a transaction that no server knows of.
func (c *Client) Deferred() bool { return c.deferred.begin != 0 }

// TxStatus is the transaction status of a client that has no server.
func (c *Client) TxStatus() byte {
	switch {
	case c.deferred.failed:
		return StatusFailed
	case c.Deferred():
		return StatusActive
	}
	return StatusIdle
}

// DeferBegin judges the Query at the start of b, for which no server is free. ok is false when it has to wait for one.
func (c *Client) DeferBegin(b []byte) (step Step, ok bool) {
	if len(b) < headerBytes || b[0] != protocol.ClientQuery || c.Deferred() {
		return Step{}, false
	}
	step, judged := c.deferring(b, true)
	return step, judged && step.Verdict == Answer
}

// deferring judges a Query of a client that has no server. judged is false when it needs one. mayFail: also a BEGIN that some servers refuse
// is answered.
func (c *Client) deferring(b []byte, mayFail bool) (step Step, judged bool) {
	size, complete := protocol.Whole(b)
	if size > headerBytes+sqltext.TransactionTextMax || size < headerBytes {
		return Step{}, false
	}
	if !complete {
		return Step{Verdict: More}, true
	}
	text, was := b[headerBytes:size], c.deferred
	step = Step{Verdict: Answer}
	if was.begin == 0 {
		begin, starts, ok := sqltext.ParseBegin(text)
		if !ok || begin.MayFail() && !mayFail {
			return Step{}, false
		}
		if c.deferred.begin = begin; starts {
			step.Tag = TagStart
		}
	} else {
		commits, ok := sqltext.ParseEnd(text)
		if !ok {
			return Step{}, false
		}
		step.Tag = TagRollback
		if commits && !was.failed {
			step.Tag = TagCommit
		}
		c.deferred = deferral{}
	}
	step = c.checked(b, step)
	if c.own != nil {
		c.own.dropUnnamed() // as any Query does
	}
	return step, true
}

// Begin notes that the transaction of a client that has been linked begins on the server, and tells what to send for it.
func (s *Server) Begin(c *Client) (sql string) {
	sql = c.deferred.begin.Text()
	kind := queryDue
	s.TxStatus = StatusActive
	if c.deferred.failed {
		sql += failing
		kind = failureDue
		s.TxStatus = StatusFailed
	}
	c.deferred = deferral{}
	s.begin(kind, poolerOrigin)
	s.unnamed.of = nil
	return sql
}

// failing makes a transaction fail: there is no such savepoint.
const failing = "; ROLLBACK TO SAVEPOINT hybridbouncer_waited_in_vain"
