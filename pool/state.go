package pool

import "fmt"

// ServerState says where a server is. Each state is a list of its pool, so that a count and the reality cannot disagree. The words are
// those of SHOW SERVERS.
type ServerState uint8

// The states, and the states that may follow each.
const (
	// ServerNew: the owner dials it; no query has been possible. Next: idle, active (granted at once), closing, gone (dial failed).
	ServerNew ServerState = iota
	// ServerIdle: ReadyForQuery idle seen, nothing owed, ready for any client. Next: active, tested (check), closing.
	ServerIdle
	// ServerActive: one client has it. Next: lendable, idle, active (handed over), tested (clean), being_canceled, closing.
	ServerActive
	// ServerLendable: a client has it, is between transactions and holds nothing that needs this connection; see lending.go.
	// Next: active (the client goes on), recalled, and whatever may follow active.
	ServerLendable
	// ServerRecalled: the owner was asked to give a lendable server back. Next: as for lendable.
	ServerRecalled
	// ServerTested: nobody has it; a check or reset query runs. Next: idle, active, being_canceled, closing.
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
	return [...]string{"new", "idle", "active", "lendable", "recalled", "tested", "being_canceled", "closing"}[s]
}

// linked reports whether a client has the server.
func (s ServerState) linked() bool {
	return s == ServerActive || s == ServerLendable || s == ServerRecalled
}

// edges are the legal moves.
var edges = [serverStates][serverStates]bool{
	ServerNew:  {ServerIdle: true, ServerActive: true, ServerClosing: true},
	ServerIdle: {ServerActive: true, ServerTested: true, ServerClosing: true},
	ServerActive: {
		ServerIdle: true, ServerActive: true, ServerLendable: true, ServerTested: true, ServerBeingCanceled: true, ServerClosing: true,
	},
	ServerLendable: {
		ServerIdle: true, ServerActive: true, ServerRecalled: true, ServerTested: true, ServerBeingCanceled: true, ServerClosing: true,
	},
	ServerRecalled: {
		ServerIdle: true, ServerActive: true, ServerTested: true, ServerBeingCanceled: true, ServerClosing: true,
	},
	ServerTested:        {ServerIdle: true, ServerActive: true, ServerClosing: true, ServerBeingCanceled: true},
	ServerBeingCanceled: {ServerIdle: true, ServerActive: true, ServerTested: true, ServerClosing: true},
}

// moveTo changes the state of a server, and with it the list that the server is in. Nothing else changes a state.
//
// An illegal edge panics. The owner contains the panic, so that it costs one connection.
func (s *Server) moveTo(to ServerState) {
	if !edges[s.state][to] {
		panic(fmt.Sprintf("bug: a server may not go from %s to %s", s.state, to))
	}
	s.withdraw()
	s.stopListening()
	s.leave()
	s.state = to
	if !to.linked() {
		s.borrower, s.home, s.use, s.refuge = nil, nil, UseQuick, nil
	}
	s.join()
}

// enter changes the pool that a server counts in; its state stays.
func (s *Server) enter(to *Pool) {
	s.leave()
	s.pool = to
	to.bare = false
	s.join()
}

// leave takes a server out of everything that it counts in.
func (s *Server) leave() {
	s.pool.states[s.state].remove(s)
	s.count(-1)
}

// join counts a server where its state, its pool and its use say.
func (s *Server) join() {
	s.pool.states[s.state].insert(s)
	s.count(1)
}

// count adds n to the sums that a server is part of.
func (s *Server) count(n int) {
	p := s.pool
	p.open += n
	for _, b := range p.budgets() {
		b.open += n
		if s.state == ServerClosing {
			b.closing += n
		}
	}
	if !s.state.linked() {
		return
	}
	switch {
	case s.home != p && n > 0:
		p.guests.PushBack(&s.role, s)
	case s.home != p:
		p.guests.Remove(&s.role)
	case s.use == UseQuick:
		p.quick += n
	case n > 0:
		p.slow.PushBack(&s.role, s)
	default:
		p.slow.Remove(&s.role)
	}
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
	CloseStale                                 // its parameters are no longer those of PostgreSQL's configuration
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
