package pool

import "fmt"

// ServerState says where a server is; each state is a list of its pool, so that a count and the reality cannot disagree. The words are
// those of SHOW SERVERS.
type ServerState uint8

// The states, and which may follow.
const (
	// ServerNew: being dialled; no query has been possible. Next: idle, active (granted at once), closing, gone (dial failed).
	ServerNew ServerState = iota
	// ServerIdle: ReadyForQuery idle seen, nothing owed, lendable. Next: active, tested (check), closing.
	ServerIdle
	// ServerActive: lent to one waiter. Next: idle, active (handed over), tested (clean), being_canceled, closing.
	ServerActive
	// ServerTested: nobody has it; a check or reset query runs. Next: idle, active, closing.
	ServerTested
	// ServerBeingCanceled: nobody has it, but a CancelRequest for its former client's query is on its way and would hit the next one.
	// Next: idle, active, tested, closing.
	ServerBeingCanceled
	// ServerClosing: told goodbye, still counted until Closed. Terminal.
	ServerClosing
	serverStates
)

// String is the word of SHOW SERVERS.
func (s ServerState) String() string {
	return [...]string{"new", "idle", "active", "tested", "being_canceled", "closing"}[s]
}

// edges are the legal moves.
var edges = [serverStates][serverStates]bool{
	ServerNew:           {ServerIdle: true, ServerActive: true, ServerClosing: true},
	ServerIdle:          {ServerActive: true, ServerTested: true, ServerClosing: true},
	ServerActive:        {ServerIdle: true, ServerActive: true, ServerTested: true, ServerBeingCanceled: true, ServerClosing: true},
	ServerTested:        {ServerIdle: true, ServerActive: true, ServerClosing: true, ServerBeingCanceled: true},
	ServerBeingCanceled: {ServerIdle: true, ServerActive: true, ServerTested: true, ServerClosing: true},
}

// moveTo is the only way a server changes its state and its list.
func (s *Server) moveTo(to ServerState) {
	if !edges[s.state][to] {
		panic(fmt.Sprintf("bug: a server may not go from %s to %s", s.state, to))
	}
	s.stays()
	s.leavesListening()
	p := s.pool
	p.states[s.state].remove(s)
	if to == ServerClosing {
		p.database.closing++
		p.user.closing++
	}
	s.state = to
	if to != ServerActive {
		s.borrower = nil
	}
	p.states[to].pushFront(s)
}

// CloseReason is why a server ends: label in the metrics, key in the log.
type CloseReason uint8

// The reasons.
const (
	CloseInTransaction      CloseReason = iota // given back inside a transaction
	CloseRepliesOwed                           // given back with replies outstanding
	CloseInCopy                                // given back in COPY
	CloseMidMessage                            // given back with half a message on its way
	CloseUnreadBytes                           // given back with bytes unread
	CloseDoubt                                 // its stream can no longer be trusted
	CloseLifetime                              // server_lifetime
	CloseIdleTimeout                           // server_idle_timeout
	CloseStale                                 // older than a RECONNECT
	CloseOverSize                              // the pool was made smaller
	CloseEvicted                               // its place was needed: by another pool, or for a dedicated server
	CloseLost                                  // PostgreSQL closed it
	CloseClientGone                            // its client left it in a state that cannot be saved
	CloseShutdown                              // the pooler is going down
	CloseDedicated                             // the one client that it was opened for has left
	CloseTransactionTimeout                    // transaction_timeout of its client
	CloseQueryTimeout                          // query_timeout of its client
	CloseUnresponsive                          // it did not answer the pooler in time
	CloseRefusedStatement                      // it refused a statement of the pooler's own
	CloseReasons                               // their number
)

// String is the label.
func (r CloseReason) String() string {
	return [...]string{
		"in_transaction", "replies_owed", "in_copy", "mid_message", "unread_bytes", "doubt", "lifetime", "idle_timeout", "stale", "over_size",
		"evicted", "lost", "client_gone", "shutdown", "dedicated", "transaction_timeout", "query_timeout", "unresponsive",
		"refused_statement",
	}[r]
}
