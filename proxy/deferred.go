package proxy

import (
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// A BEGIN that comes alone is answered without a server where none is free, and with defer_begin always; it is sent ahead of the first
// statement. relay/deferred.go decides, this file answers, sends, and keeps the time-outs of a transaction that has no server yet.

// obtain links a client to a server, or answers the BEGIN at the start of b where none is free. n is the length of what it has answered. It
// reports false when the client has to wait.
func (w *worker) obtain(c *Client, b []byte) (n int, goesOn bool) {
	linked, waits := w.checkout(c)
	if linked || !waits || c.state != clientWaiting || c.pool.mode != relay.Transaction || w.draining {
		return 0, linked
	}
	step, begins := c.relay.DeferBegin(b)
	if !begins {
		return 0, false
	}
	w.leaveQueue(c)
	c.state = clientIdle
	c.conn.ResumeReads()
	c.answer(step.Tag)
	w.act()
	c.deliverUnlinked()
	return step.N, true
}

// answers are a CommandComplete and the ReadyForQuery behind it.
var answers = [...][]byte{
	relay.TagBegin:    []byte("C\x00\x00\x00\x0aBEGIN\x00Z\x00\x00\x00\x05T"),
	relay.TagStart:    []byte("C\x00\x00\x00\x16START TRANSACTION\x00Z\x00\x00\x00\x05T"),
	relay.TagCommit:   []byte("C\x00\x00\x00\x0bCOMMIT\x00Z\x00\x00\x00\x05I"),
	relay.TagRollback: []byte("C\x00\x00\x00\x0dROLLBACK\x00Z\x00\x00\x00\x05I"),
}

// answer tells a client without a server that its transaction has begun, or ended.
func (c *Client) answer(tag relay.Tag) {
	c.idleSince = c.worker.loop.Now()
	if c.relay.Deferred() {
		c.setBegun(c.idleSince)
	} else {
		c.setBegun(0)
	}
	c.counters.Sent += uint64(len(answers[tag]))
	c.conn.Send(answers[tag])
}

// setBegun notes when a client began a transaction that no server knows of; 0: it has none.
func (c *Client) setBegun(at time.Duration) {
	w := c.worker
	switch {
	case c.begun == 0 && at > 0:
		w.begun++
		w.watch()
	case c.begun > 0 && at == 0:
		w.begun--
	}
	c.begun = at
}

// sendReady sends ReadyForQuery to a client without a server.
func (c *Client) sendReady() {
	w := c.worker
	c.idleSince = w.loop.Now()
	w.scratch = append(append(w.scratch[:0], readyIdle[:len(readyIdle)-1]...), c.relay.TxStatus())
	c.conn.Send(w.scratch)
}

// begin sends the BEGIN that a client has been told of already to the server that it has been linked to.
func (w *worker) begin(c *Client, s *Server) {
	s.clocks.Deferred = w.loop.Now() - c.begun
	c.setBegun(0)
	s.sendQuery(s.relay.Begin(&c.relay))
}

// tickDeferred keeps the time-outs of a transaction that has no server yet: they count from its BEGIN, or from what the client said last.
func (c *Client) tickDeferred(now time.Duration, limits *relay.Limits) {
	switch {
	case limits.Transaction > 0 && now-c.begun >= limits.Transaction:
		c.close(stats.ClientTransactionTimeout, protocol.ErrTransactionTimeout(limits.Transaction))
	case limits.IdleTransaction > 0 && now-c.idleSince >= limits.IdleTransaction:
		c.close(stats.ClientIdleTransaction, protocol.ErrIdleTransaction(limits.IdleTransaction))
	}
}

// defersBegin: in other modes a client keeps its server between transactions, or has none.
func defersBegin(l *config.Listener) bool {
	return l.DeferBegin && l.PoolMode == relay.Transaction.String()
}
