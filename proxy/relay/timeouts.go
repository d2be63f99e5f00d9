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
	Query       time.Duration // the oldest unanswered request went to the server
	Progress    time.Duration // bytes last passed in either direction
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
// measures what its name says (invariant 9): while the server answers, the query's; while it waits for the client inside a
// transaction or a batch without Sync, the idle one. sessionMode: between transactions no clock runs. stalled: the bytes wait for a
// slow client or server, nobody is idle.
func (s *Server) Expired(now time.Duration, clocks *Clocks, limits *Limits, stalled bool) Timeout {
	inTransaction := s.TxStatus != StatusIdle || !s.quiet()
	if !inTransaction || s.abandoned {
		return NoTimeout
	}
	if limits.Transaction > 0 && now-clocks.Transaction >= limits.Transaction {
		return TransactionTimeout
	}
	if s.Answering() {
		if limits.Query > 0 && now-clocks.Query >= limits.Query {
			return QueryTimeout
		}
		return NoTimeout
	}
	if limits.IdleTransaction > 0 && !stalled && now-clocks.Progress >= limits.IdleTransaction {
		return IdleTransactionTimeout
	}
	return NoTimeout
}
