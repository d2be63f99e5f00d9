package relay

import "github.com/hybridbouncer/hybridbouncer/protocol"

// Reject refuses the statement that the client sends next, a whole Query, Parse or Bind, wherever it stands: in a transaction, in a batch, behind
// requests that are not answered yet. In its place the server is sent what it has to refuse, so that everything after it goes as after any
// error of PostgreSQL's: the transaction has failed, the rest of the batch is skipped. The client is told err.
func (c *Client) Reject(err *protocol.Error) { c.rejection = err }

// reject puts what the server refuses in the place of a Query, Parse or Bind. Like linked it reports the bytes to pass over.
func (c *Client) reject(w *rewriter, at int, s *Server) (step Step, passes bool) {
	query := w.b[at] == protocol.ClientQuery
	if query && s.batchOpen && !s.batchAnswered(w, at) {
		return Step{Verdict: Hold}, false // if the batch fails the Query is skipped, which a Sync would not be
	}
	err := c.rejection
	c.rejection = nil
	f, scanErr := c.scanner.Next(w.b[at:])
	if scanErr != nil {
		return Step{Verdict: Violate, Err: violationOf(scanErr)}, false
	}
	c.dropping = !f.Last
	w.cut(at, len(f.Data), s.desk)
	switch {
	case query && c.own != nil:
		c.own.dropUnnamed() // as a Query does
	case f.Type == protocol.ClientParse && c.tracked && f.Data[headerBytes] == 0:
		s.loseUnnamed(c.statements()) // as a Parse without a name that fails does
	}
	s.reject(err)
	s.ledger.newest().rest.insists = c.Session.endsTransaction(f.Data, s)
	if query {
		s.desk.ToServer = append(s.desk.ToServer, syncMessage...)
		s.expectReady(syncDue, clientOrigin)
		if len(s.aliases) > 0 {
			s.closeAliases()
		}
	}
	return Step{Verdict: Forward, N: len(f.Data)}, true
}

// loseUnnamed ends the client's unnamed statement, by a message that the server skips when it skips what comes next.
func (s *Server) loseUnnamed(own *statements) {
	s.desk.ToServer = appendNamed(s.desk.ToServer, protocol.ClientClose, "")
	s.changeUnnamed(closeDue, poolerOrigin, own.serial+1, &own.unnamed)
	own.dropUnnamed()
	s.unnamed.of = nil
}

// Fresh reports that nothing of the client's is on its way to the server, no transaction is open, and the client has not got half of a
// message: a statement that comes now may be refused without the server.
func (s *Server) Fresh() bool { return s.fresh() && !s.Torn() }

// endsTransaction reports that a text ends the transaction it comes in: a failed one does not refuse what follows.
func (n *SessionState) endsTransaction(message []byte, s *Server) bool {
	s.Lexer.Begin(n.Dialect)
	s.Lexer.Feed(StatementText(message))
	return s.Lexer.End()&ends != 0
}
