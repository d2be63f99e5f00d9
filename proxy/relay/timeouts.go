package relay

import "time"

// Limits are the time-outs that concern a client with a server. 0: none.
type Limits struct {
	IdleTransaction time.Duration
	Transaction     time.Duration
	Query           time.Duration
}

// Clocks are the instants a link remembers, in time since the process started.
type Clocks struct {
	Transaction time.Duration // the first message of the transaction went to the server
	Deferred    time.Duration // how long the transaction had lasted before it had a server; no instant
	Query       time.Duration // the oldest unanswered request went to the server
	Progress    time.Duration // bytes last passed in either direction
	Unasked     time.Duration // when Expired last found that the server has nothing to answer
}

// Timeout is a time-out that has struck.
type Timeout uint8

// The time-outs of a link.
const (
	NoTimeout Timeout = iota
	IdleTransactionTimeout
	TransactionTimeout
	QueryTimeout
)

// Expired says which time-out of a linked client has struck. Which clock runs follows from what the server owes, so that each
// measures what its name says (invariant 9): the query's while the server has something to answer; the idle one while it waits for the
// client, be it inside a transaction, in a batch without Sync or in the middle of a message. Between transactions none runs.
// partial: the client has sent a part of a message that nobody has seen yet. stalled: the bytes wait for a slow client or server,
// nobody is idle.
func (s *Server) Expired(now time.Duration, clocks *Clocks, limits *Limits, partial, stalled bool) Timeout {
	midMessage := s.client != nil && s.client.MidMessage()
	if s.abandoned || s.Settled() && !midMessage && !partial {
		return NoTimeout
	}
	if limits.Transaction > 0 && clocks.Transaction > 0 && now-clocks.Transaction+clocks.Deferred >= limits.Transaction {
		return TransactionTimeout
	}
	if s.Answering() && !(midMessage && s.ledger.len() == 1) { // it is not asked before the message is whole
		if limits.Query > 0 && now-max(clocks.Query, clocks.Unasked) >= limits.Query {
			return QueryTimeout
		}
		return NoTimeout
	}
	clocks.Unasked = now
	if limits.IdleTransaction > 0 && !stalled && now-clocks.Progress >= limits.IdleTransaction {
		return IdleTransactionTimeout
	}
	return NoTimeout
}
