// Package relay owns the decisions about the bytes between a client and the server it is linked to: what passes untouched, what
// needs a server first, which replies are still owed, when a batch has ended and the link may be parted, when a stream can no
// longer be trusted, and what a client's statements did to its session. It must not know sockets, clocks, goroutines or pools: it is
// fed bytes and answers with small values, so that the whole protocol behaviour can be read, simulated and tested from transcripts.
//
// A Client is the half that lives as long as the client; a Server the half that lives as long as the server. Linked, the two are
// called by one event loop only, and FromClient is given the Server it writes to. Nothing here allocates on the way of a query.
//
// One ledger (ledger.go) holds the requests that a server has not answered: what each is, who sent it (client, pooler; or the pooler
// answers it itself), what it has changed here that a failure takes back (undolog.go), and what it does to the session when it has run
// (its deed). A request is sent, and then it is answered, it fails, or it is skipped up to the next Sync. Three parties listen to
// that, by plain calls:
//
//   - prepared statements: popped and takeBack (undolog.go) keep or undo names, and what the server holds;
//   - the session's parameters and LISTEN: carryOut, completed and failedIn (prepared_effects.go) put what has run on a stack of
//     transactions and savepoints (transaction.go), from which Resolve tells what was committed;
//   - the meaning of texts: ready (prepared_effects.go, scope.go) ends what a transaction has set for itself.
//
// Read verdict.go, then client.go (bytes from the client) and server.go (bytes from the server); ledger.go is the queue between them.
// Prepared statements: statements.go (names, and what a server holds), prepare.go (a client's messages), answers.go (replies that no
// server gave), rewriter.go (bytes that change on their way), signature.go (columns that have changed), pinned_types.go (parameters'
// types), replay.go (a batch that is sent again), scope.go (what a text means), aliases.go (names in SQL).
package relay

import (
	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Mode says when a link may be parted. It is the listener's pool_mode.
type Mode uint8

// The pool modes, with PgBouncer's meaning.
const (
	Session     Mode = iota // when the client leaves
	Transaction             // when a transaction has ended
	Statement               // likewise, and transactions of several statements are refused
)

// String is the word of the configuration file.
func (m Mode) String() string {
	switch m {
	case Session:
		return "session"
	case Transaction:
		return "transaction"
	case Statement:
		return "statement"
	}
	return "unknown"
}

// ParseMode reads the word of the configuration file.
func ParseMode(word string) (Mode, bool) {
	switch word {
	case "session":
		return Session, true
	case "transaction":
		return Transaction, true
	case "statement":
		return Statement, true
	}
	return Session, false
}

// Client is the relay's view of one client: where in a message its stream is, and whether it is being refused.
type Client struct {
	scanner  protocol.Scanner
	dropping bool // the rest of the message in progress is not forwarded
	skip     skip
	defers   bool // see Defer
	deferred deferral
	// rejection is what the client is told instead of an answer to its next message; nil: that passes.
	rejection *protocol.Error

	// Session is what its statements do to its session.
	Session SessionState
	tracked bool        // its statements are its own on any server
	own     *statements // nil until its first Parse
	// Settings are the client's, of the parameters that servers report; Own are others, as far as they differ from what a server begins
	// with. They decide how its texts are parsed.
	Settings, Own sqltext.Settings
}

// skip says which messages of a refused client are still to be dropped before it is answered ReadyForQuery.
type skip uint8

const (
	skipNothing skip = iota
	skipMessage      // the refused Query or FunctionCall, whose rest may still arrive
	skipToSync       // the refused extended-protocol batch, as PostgreSQL does after an error
)

// NewClient is the state of a client that has just logged in. tracked: what it prepares is there on any server it gets.
func NewClient(tracked bool) Client {
	return Client{scanner: protocol.NewScanner(protocol.FromClient), tracked: tracked}
}

// MidMessage reports whether the client has sent only part of a message of which some was forwarded.
func (c *Client) MidMessage() bool {
	return c.scanner.MidMessage() && !c.dropping && !c.gathering()
}

// Transaction status as ReadyForQuery tells it (PostgreSQL manual, 54.7).
const (
	StatusIdle   = byte('I')
	StatusActive = byte('T')
	StatusFailed = byte('E')
)

// Server is the relay's view of one server: what it owes, and whether what it says can be trusted.
type Server struct {
	scanner protocol.Scanner
	ledger  ledger

	// TxStatus is the status byte of the last ReadyForQuery.
	TxStatus byte
	copying  copyPhase
	// batchOpen: an extended-protocol message went out and its Sync did not yet. Flush is no boundary.
	batchOpen bool
	// skipping: the server discards everything up to the next Sync, after an error in an extended-protocol message.
	skipping bool
	// midInternal: the message that is half said is not for the client. The queue may be past it already.
	midInternal bool
	// syncInCopy: the server is taken to have ignored a Sync, because it reads COPY data.
	syncInCopy bool
	doubt      bool   // see Doubtful
	saidFatal  bool   // see SaidFatal
	leaving    bool   // see Leaving
	confused   bool   // see Confused
	abandoned  bool   // the client is gone: replies are dropped until nothing is owed
	batch      uint32 // counts batches and queries

	client     *Client        // linked; nil otherwise
	cache      prepared.Cache // the statements it holds
	unnamed    held
	aliases    []string // statements under clients' own names, to be closed behind the next Sync
	dropBound  bool     // a statement that would do that has been bound since the server was lent
	savedBytes int      // in the ledger, of unnamed statements
	desk       *Desk
	portals    []portal // with effects, of those that have been bound
	replay     replayBuffer
	lastBound  lastBound // what the client bound last
	parameters uint32    // digest of the ParameterDescription that was the last message
	lent       uint64    // the newest Entry.Serial when the server was lent to its client
	renewed    uint64    // the Entry.Serial of what was prepared anew to see its signature, while its Bind is held

	// StatementsMax is how many statements it may hold.
	StatementsMax int

	// Parts: the two are parted as soon as the server is settled, unless it is Kept.
	Parts bool
	// Kept: the server is its client's own until it leaves; the caller says so after Promote.
	Kept    bool
	watched *SessionState // of the client it is linked to; nil: nobody's, or neither Tracked nor Restores
	// Base is what the server has reported at its login: what RESET goes back to.
	Base sqltext.Settings
	// Lexer reads the texts of the linked client. It belongs to the loop, and is never nil while a client is watched.
	Lexer *sqltext.Lexer

	// Tally counts what passed. The relay only adds to it; it belongs to the link's pool and is never nil while linked.
	Tally *Tally
}

// Tally counts what a relay saw. It has one writer: the loop that owns the link.
type Tally struct {
	Queries      uint64 // ReadyForQuery passed on
	Transactions uint64 // of those, the ones with status idle
	Errors       map[[2]byte]uint64

	ParsesSaved        uint64 // Parse messages that no server saw
	ParsesInjected     uint64 // those that the proxy added
	StatementsEvicted  uint64 // closed for others, beyond max_prepared_statements
	StatementsHealed   uint64 // batches sent again behind a new Parse
	StatementsCompared uint64 // Binds held until the server had said what a statement prepared anew looks like
	StatementsChanged  uint64 // of those, the ones that the client was wrong about
}

func (t *Tally) countError(frame []byte) {
	code := protocol.SQLState(frame)
	if len(code) < 2 {
		return
	}
	if t.Errors == nil {
		t.Errors = make(map[[2]byte]uint64)
	}
	t.Errors[[2]byte{code[0], code[1]}]++
}

// NewServer is the state of a server that has just logged in: idle, owing nothing.
func NewServer() Server {
	return Server{scanner: protocol.NewScanner(protocol.FromServer), TxStatus: StatusIdle}
}

// Watch lets a server know whose statements it runs.
func (s *Server) Watch(c *Client, l *sqltext.Lexer) {
	s.watched, s.Lexer = nil, l
	if c.Session.Tracked || c.Session.Restores {
		c.Session.local = nil
		s.watched = &c.Session
	}
}

// Unwatch is called when the two are parted.
func (s *Server) Unwatch() { s.watched = nil }

// Link is called when the server is lent to a client.
func (s *Server) Link(c *Client, tally *Tally, desk *Desk, statementsMax int) {
	s.client, s.Tally, s.desk, s.StatementsMax = c, tally, desk, statementsMax
	s.dropBound, s.renewed, s.lastBound.of, s.lent = false, 0, boundNothing, s.cache.Latest()
	s.portals = s.portals[:0]
	s.midInternal = s.scanner.MidMessage() // what it has begun to say to nobody is not for this client either
	if !c.tracked {
		s.unnamed.of = nil
	}
}

// Unlink is called when the two are parted.
func (s *Server) Unlink() { s.client = nil }

// Forget gives back what a server that is gone held.
func (s *Server) Forget() {
	if s.desk == nil {
		return // it was never lent
	}
	s.client = nil
	s.takeBack(s.ledger.len())
	s.cache.Each(s.desk.Table.ReleaseForServer)
	s.cache.Clear()
}

// copyPhase says which way COPY data flows on a server.
type copyPhase uint8

const (
	copyNone   copyPhase = iota
	copyIn               // from the client, until its CopyDone or CopyFail
	copyInDone           // the client has ended it, CommandComplete or an error is to come
	copyOut              // to the client
	copyBoth             // both ways (replication), until the client's CopyDone; then it is copyOut
)

// Settled reports whether the server is between transactions with nothing outstanding: every reply has come, no batch is open, no
// COPY runs, no message is half said. It is what the relay has to say to invariant 1; the pool's gate asks for more, Doubtful first.
func (s *Server) Settled() bool {
	return s.TxStatus == StatusIdle && s.quiet()
}

// quiet reports that nothing is outstanding, whatever the transaction status.
func (s *Server) quiet() bool {
	return s.ledger.len() == 0 && !s.batchOpen && s.copying == copyNone && !s.scanner.MidMessage()
}

// Quiet reports that nothing is outstanding on the server, whatever its transaction status.
func (s *Server) Quiet() bool { return s.quiet() }

// Owed is the number of replies outstanding.
func (s *Server) Owed() int { return s.ledger.len() }

// InCopy reports whether a COPY is in progress.
func (s *Server) InCopy() bool { return s.copying != copyNone }

// Streaming reports that COPY data flows both ways: a stream of replication, which has no end of its own.
func (s *Server) Streaming() bool { return s.copying == copyBoth }

// StreamPauses reports that a stream is between two of its messages, so that its client can be told something else.
func (s *Server) StreamPauses() bool { return s.Streaming() && !s.Torn() }

// MidMessage reports whether only part of a message of the server has arrived.
func (s *Server) MidMessage() bool { return s.scanner.MidMessage() }

// Torn reports that part of a message of the server's has gone to the client: nothing else may be said to it before the rest.
func (s *Server) Torn() bool { return s.scanner.MidMessage() && !s.internalReply() }

// Doubtful reports that the relay can no longer tell whose replies come next. Such a server is closed, never lent again.
func (s *Server) Doubtful() bool { return s.doubt }

// Confused reports that the server has had a Query inside a batch, which leaves PostgreSQL 18 with a wrong idea of its transaction: the
// statement after the Sync fails (XX000, StartTransactionCommand). No other client is to meet that.
func (s *Server) Confused() bool { return s.confused }

// SaidFatal reports that the server has said why it will close, to its client if it has one.
func (s *Server) SaidFatal() bool { return s.saidFatal }

// Leaving reports that the server has said why it will close while it owed nothing: its client, which gives it back, is not concerned.
func (s *Server) Leaving() bool { return s.leaving }

// BatchOpen reports an extended-protocol batch whose Sync has not been sent.
func (s *Server) BatchOpen() bool { return s.batchOpen }

// Answering reports whether the server has been asked for something it must answer now: a Query, a FunctionCall, or extended
// messages followed by Sync or Flush. It is false while a client sits in the middle of a batch (invariant 9).
func (s *Server) Answering() bool {
	return s.ledger.len() > s.ledger.unflushed() && s.copying != copyIn
}

// Abandoned reports that the server's client is gone and replies are being dropped.
func (s *Server) Abandoned() bool { return s.abandoned }
