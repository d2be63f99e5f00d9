package proxy

import (
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// defer_begin: a BEGIN that comes alone takes no server; it is sent ahead of the first statement. relay/deferred.go decides, this file
// answers, sends, and keeps the time-outs of a transaction that has no server yet.

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
		c.begun = c.idleSince
	}
	c.counters.Sent += uint64(len(answers[tag]))
	c.conn.Send(answers[tag])
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
