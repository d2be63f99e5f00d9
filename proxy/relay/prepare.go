package relay

import (
	"bytes"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// statement judges a Parse, Bind, Describe or Close of a linked client whose statements are tracked. at is where in w.b it begins. Like
// linked it reports the bytes to pass over; what is sent in their place is woven into w.
func (c *Client) statement(w *rewriter, at int, s *Server) (step Step, passes bool) {
	b := w.b[at:]
	if b[0] == protocol.ClientParse {
		return c.parse(w, at, s)
	}
	if b[0] == protocol.ClientBind {
		return c.bind(w, at, s)
	}
	size, complete := protocol.Whole(b)
	if size > headMax {
		return c.asIs(b, s) // the scanner or the server will say what is wrong with it
	}
	if !complete {
		return Step{Verdict: More}, false
	}
	name, rest, ok := cutName(b[headerBytes+min(1, size-headerBytes) : size])
	switch {
	case !ok || len(rest) > 0:
		return c.asIs(b, s) // malformed
	case b[headerBytes] == 'P' && b[0] == protocol.ClientDescribe:
		return c.describePortal(b, s, name)
	case b[headerBytes] != 'S':
		return c.asIs(b, s) // a portal, or malformed
	}
	if b[0] == protocol.ClientDescribe {
		return c.use(w, at, s, usage{kind: describeDue, name: name, nameAt: headerBytes + 1})
	}
	return c.closeStatement(w, at, s, name)
}

// asIs passes a message on as it came.
func (c *Client) asIs(b []byte, s *Server) (step Step, passes bool) {
	f, err := c.scanner.Next(b)
	if err != nil {
		return Step{Verdict: Violate, Err: violationOf(err)}, false
	}
	return c.passOn(f, s), true
}

// passOn notes a message that goes to the server as it came.
func (c *Client) passOn(f protocol.Frame, s *Server) Step {
	kind, _ := kindOf(f.Type)
	s.sent(f.Type, kind)
	c.watch(f, s)
	return Step{Verdict: Forward, N: len(f.Data)}
}

// bind finds the name in a Bind. Only its head must be there; the parameters stream.
func (c *Client) bind(w *rewriter, at int, s *Server) (step Step, passes bool) {
	b := w.b[at:]
	size, complete := protocol.Whole(b)
	head := b[:min(size, len(b), headMax)]
	_, rest, ok := cutName(head[headerBytes:])
	var name []byte
	if ok {
		nameAt := len(head) - len(rest)
		if name, _, ok = cutName(rest); ok {
			return c.use(w, at, s, usage{kind: bindDue, portal: head[headerBytes : nameAt-1], name: name, nameAt: nameAt})
		}
	}
	switch {
	case len(head) == headMax && size > headMax:
		return Step{Verdict: Violate, Err: protocol.ErrProtocol("names of portal and statement longer than 4096 bytes")}, false
	case !complete:
		return Step{Verdict: More}, false
	}
	return c.asIs(b, s) // malformed: the server says so
}

// mustHold reports that what comes next, a message with a statement's name, rests on replies that are on their way: on those to earlier
// batches that changed what there is, and on one that may drop all there is. For the latter the server is asked not to sit on it.
func (s *Server) mustHold(w *rewriter, at int) bool {
	if s.ledger.changedBefore > s.ledger.head {
		return true
	}
	if s.ledger.resets <= s.ledger.head {
		return false
	}
	s.flush(w, at)
	return true
}

// batchAnswered reports that all of the open batch has been answered, and has the server answer it otherwise. A Query in a batch waits for
// that: if the batch fails it is skipped, with all that follows up to the Sync, and what it drops is not dropped.
func (s *Server) batchAnswered(w *rewriter, at int) bool {
	if s.ledger.len() == 0 {
		return true
	}
	s.flush(w, at)
	if s.oursDue() {
		w.cut(at, 0, s.desk)
		s.giveOurs()
	}
	return s.ledger.len() == 0
}

// full is called when OwedMax is reached. It reports that no more may be outstanding before the server has answered some, and has it answer them. The answers that
// the proxy can give itself make room at once.
func (s *Server) full(w *rewriter, at int) bool {
	s.flush(w, at)
	if s.oursDue() {
		w.cut(at, 0, s.desk)
		s.giveOurs()
	}
	return s.ledger.len() >= OwedMax
}

// flush asks the server not to sit on what it has to say.
func (s *Server) flush(w *rewriter, at int) {
	if s.ledger.unflushed() > 0 {
		w.cut(at, 0, s.desk)
		s.desk.ToServer = append(s.desk.ToServer, flushMessage...)
		s.ledger.flushed = s.ledger.tail
	}
}

var flushMessage = []byte{protocol.ClientFlush, 0, 0, 0, 4}

// usage is a message that uses a statement: where in it the name is.
type usage struct {
	kind   requestKind
	portal []byte // of a Bind
	name   []byte
	nameAt int
}

// use judges a Bind or Describe.
func (c *Client) use(w *rewriter, at int, s *Server, u usage) (step Step, passes bool) {
	if len(u.name) == 0 {
		return c.useUnnamed(w, at, s, u)
	}
	if s.mustHold(w, at) {
		return Step{Verdict: Hold}, false
	}
	own, e, standsIn, refused := c.find(s, u.name)
	if refused != nil {
		return c.refuseUse(w, at, s, refused)
	}
	if u.kind == bindDue && own.clientSignature != (prepared.Signature{}) {
		if fit := s.fit(w, at, own, e); fit != fits {
			return c.unfit(w, at, s, fit)
		}
	}
	b := w.b[at:]
	f, err := c.scanner.Next(b)
	if err != nil {
		return Step{Verdict: Violate, Err: violationOf(err)}, false
	}
	statement, name := own.statement, ""
	if u.kind == bindDue {
		s.lastBound.of = boundNothing
	}
	switch {
	case statement != nil:
		name = statement.Name()
	case bytes.HasPrefix(u.name, []byte(prepared.Prefix)):
		name = notOurs(u.name)
	default:
		return c.passOn(f, s), true // there is none of that name, and PostgreSQL says so
	}
	w.cut(at, u.nameAt+len(u.name), s.desk)
	if statement != nil {
		c.installAliases(statement.Words(), s)
		if u.kind == describeDue && !standsIn && s.outdated(own, e) {
			e = s.renew(statement, e)
			c.own.parsedBy(own.name, e)
		} else {
			e = s.provide(statement, e)
		}
		s.dropBound = s.dropBound || statement.Words().Drops
	}
	out := appendHeader(s.desk.ToServer, f.Type, int(f.Size)-headerBytes-len(u.name)+len(name))
	out = append(out, b[headerBytes:u.nameAt]...)
	s.desk.ToServer = append(out, name...)
	if statement != nil {
		s.used(u, own, e)
	} else {
		s.expect(u.kind, clientOrigin)
	}
	c.watch(f, s)
	return Step{Verdict: Forward, N: len(f.Data)}, true
}

// find looks up the client's statement of a name, and what the server has of it or of what stands in for it. The statement is none if there is
// no such name; the error is what to tell the client if it cannot be prepared any more.
func (c *Client) find(s *Server, name []byte) (own named, e *prepared.Entry, standsIn bool, refused *protocol.Error) {
	if c.own != nil {
		own = c.own.names[string(significant(name))]
	}
	if own.statement == nil {
		return own, nil, false, nil
	}
	if e = s.cache.Use(own.statement); e.State() == prepared.Held {
		if own.escapes != c.Session.Dialect.BackslashEscapes && strings.Contains(own.statement.Body(), `\`) {
			return own, nil, false, protocol.ErrResultChanged() // it may have to be prepared anew all the same
		}
		return own, e, false, nil
	}
	if in := s.standIn(own); in != nil {
		own.statement = own.statement.Origin()
		return own, in, true, nil
	}
	if own, refused = c.rescope(own, s); refused != nil {
		return own, nil, false, refused
	}
	return own, s.cache.Use(own.statement), false, nil
}

// useUnnamed is use for the unnamed statement.
func (c *Client) useUnnamed(w *rewriter, at int, s *Server, u usage) (step Step, passes bool) {
	has, certain := s.hasUnnamed(c.own)
	if !certain || c.own != nil && c.own.unnamed.mentions() && s.mustHold(w, at) {
		return Step{Verdict: Hold}, false
	}
	if u.kind == bindDue && c.own != nil && c.own.unnamed.clientSignature != (prepared.Signature{}) {
		if fit := s.fitUnnamed(w, at, c.own, has); fit != fits {
			return c.unfit(w, at, s, fit)
		}
	}
	f, err := c.scanner.Next(w.b[at:])
	if err != nil {
		return Step{Verdict: Violate, Err: violationOf(err)}, false
	}
	if c.own != nil && c.own.unnamed.mentions() {
		w.cut(at, 0, s.desk)
		c.installAliases(&c.own.unnamed.words, s)
	}
	if !has {
		w.cut(at, 0, s.desk)
		s.provideUnnamed(c.own)
	}
	if u.kind == bindDue {
		s.lastBound.of = boundNothing
	}
	if c.own == nil || !c.own.unnamed.there {
		return c.passOn(f, s), true
	}
	s.dropBound = s.dropBound || c.own.unnamed.words.Drops
	s.usedUnnamed(u, c.own)
	c.watch(f, s)
	return Step{Verdict: Forward, N: len(f.Data)}, true
}

// significant is the part of a statement's name that PostgreSQL tells it apart by: NAMEDATALEN less one, 63 bytes (commands/prepare.c).
func significant(name []byte) []byte { return name[:min(len(name), 63)] }

// notOurs makes a name of the client's that looks like one of ours into one that no statement has.
func notOurs(name []byte) string { return string(name) + " " }

// parse finds the name in a Parse. A named one must be there as a whole: it becomes a statement that others may use.
func (c *Client) parse(w *rewriter, at int, s *Server) (step Step, passes bool) {
	b := w.b[at:]
	size, complete := protocol.Whole(b)
	name, body, ok := cutName(b[headerBytes:min(size, len(b))])
	switch {
	case !ok && len(b) < min(size, headMax):
		return Step{Verdict: More}, false
	case !ok && complete:
		return c.asIs(b, s) // malformed: the server says so
	case !ok:
		return Step{Verdict: Violate, Err: protocol.ErrProtocol("name of a statement longer than 4096 bytes")}, false
	case len(name) == 0:
		return c.parseUnnamed(w, at, s, size, complete)
	case s.mustHold(w, at):
		return Step{Verdict: Hold}, false
	case complete:
		f, err := c.scanner.Next(b)
		if err != nil {
			return Step{Verdict: Violate, Err: violationOf(err)}, false
		}
		w.cut(at, len(f.Data), s.desk)
		c.parseNamed(s, f, name, body)
		return Step{Verdict: Forward, N: len(f.Data)}, true
	case size > namedMax:
		f, err := c.scanner.Next(b)
		if err != nil {
			return Step{Verdict: Violate, Err: violationOf(err)}, false
		}
		c.dropping = true
		w.cut(at, len(f.Data), s.desk)
		s.reject(protocol.ErrStatementTooLong(namedMax))
		return Step{Verdict: Forward, N: len(f.Data)}, true
	case size <= gatherMin:
		return Step{Verdict: More}, false
	case at > 0:
		return Step{Verdict: More}, false // what came before goes first
	}
	return c.startGathering(b), false
}

// parseNamed deals with a whole Parse that has a name. What goes to the server in its place is appended to the desk.
func (c *Client) parseNamed(s *Server, f protocol.Frame, name, body []byte) {
	own := c.statements()
	key := string(significant(name))
	if !isParseBody(body) {
		s.desk.ToServer = append(s.desk.ToServer, f.Data...)
		s.expect(parseDue, clientOrigin)
		return
	}
	if own.names[key].statement != nil {
		s.duplicate(name, body)
		return
	}
	if s.Kept && !bytes.HasPrefix(name, []byte(prepared.Prefix)) && !s.hasAlias(string(name)) {
		// SQL's PREPARE may have taken the name: PostgreSQL says so if an empty statement cannot have it.
		s.desk.ToServer = appendHeader(s.desk.ToServer, protocol.ClientParse, len(name)+1+3)
		s.desk.ToServer = append(append(s.desk.ToServer, name...), 0, 0, 0, 0)
		s.expect(parseDue, poolerOrigin)
	}
	if !isASCII(name) || s.Kept && !s.hasAlias(string(name)) {
		// Whether the bytes are characters is for PostgreSQL to say: it hears the name in a Close of nothing.
		s.desk.ToServer = appendNamed(s.desk.ToServer, protocol.ClientClose, string(name))
		s.expect(closeDue, poolerOrigin)
	}
	scope := c.scope(s.desk.Table)
	words := c.words(body, s)
	if len(words.Mentions) > 0 {
		c.installAliases(&words, s)
		scope += s.desk.Table.Private() // its meaning is the client's alone
	}
	statement, ok := s.desk.Table.Intern(scope, body, words)
	if !ok {
		s.reject(protocol.ErrStatementMemory())
		return
	}
	if !own.remember(key, statement, s.desk.Table) {
		s.desk.Table.Release(statement)
		s.reject(protocol.ErrStatementMemory())
		return
	}
	escapes := c.Session.Dialect.BackslashEscapes
	own.read(key, escapes)
	state := s.cache.Use(statement).State()
	if state == prepared.Held && s.sound() {
		s.record(parseDue, synthesized, undoEntry{undo: undoName, name: key, statement: statement, escapes: escapes})
		s.Tally.ParsesSaved++
	} else {
		own.parsedBy(key, s.replace(statement, state))
		s.record(parseDue, clientOrigin, undoEntry{undo: undoParse, name: key, statement: statement, escapes: escapes})
	}
	c.watch(f, s)
}

// replace sends a Parse of a statement, whatever the server has in its place.
func (s *Server) replace(statement *prepared.Statement, state prepared.State) *prepared.Entry {
	if state == prepared.Held {
		state = prepared.Stale
	}
	s.makeRoom(statement, state)
	s.desk.ToServer = append(s.desk.ToServer, statement.ParseMessage()...)
	return s.hold(statement)
}

func isASCII(b []byte) bool {
	for _, x := range b {
		if x >= 0x80 {
			return false
		}
	}
	return true
}

// sound reports that the server would take a Parse: it is not in a failed transaction, and nothing of an earlier batch is on its way that
// could bring it there. Only then may the proxy answer in its place.
func (s *Server) sound() bool {
	if s.TxStatus == StatusFailed {
		return false
	}
	return !s.ledger.clientsFrom(0, s.ledger.len()-s.ledger.inBatch())
}

// duplicate makes the server say, in its own words and in the right place, that the client has such a statement already. The one that it
// gets for this is closed at the end of the batch.
func (s *Server) duplicate(name, body []byte) {
	own := string(name)
	if bytes.HasPrefix(name, []byte(prepared.Prefix)) {
		own = notOurs(name)
	}
	out := s.desk.ToServer
	if !s.hasAlias(own) {
		out = appendHeader(out, protocol.ClientParse, len(own)+1+3)
		out = append(append(out, own...), 0, 0, 0, 0) // an empty text, no types
		s.expect(parseDue, poolerOrigin)
		s.aliases = append(s.aliases, own)
	}
	out = appendHeader(out, protocol.ClientParse, len(own)+1+len(body))
	out = append(append(out, own...), 0)
	s.desk.ToServer = append(out, body...)
	s.expect(parseDue, clientOrigin)
}

// reject makes the server fail in the place of a message that it does not get; the client is told err, unless the server has something else
// to say, of a failed transaction for example.
func (s *Server) reject(err *protocol.Error) {
	const text = "select rejected_by_hybridbouncer" // there is no such column
	out := appendHeader(s.desk.ToServer, protocol.ClientParse, 1+len(text)+1+2)
	out = append(out, 0)
	out = append(out, text...)
	s.desk.ToServer = append(out, 0, 0, 0)
	s.unnamed.of = nil
	s.record(parseDue, clientOrigin, undoEntry{undo: undoReject, rest: &undoRest{err: err}})
}

const rejectedCode = "42703"

// parseUnnamed lets a Parse without a name pass, and remembers it for the transactions to come.
func (c *Client) parseUnnamed(w *rewriter, at int, s *Server, size int, complete bool) (step Step, passes bool) {
	b := w.b[at:]
	if !complete && size <= unnamedMax {
		return Step{Verdict: More}, false
	}
	var words prepared.Words
	if complete {
		words = c.words(b[headerBytes+1:size], s)
	}
	if len(words.Mentions) > 0 && s.mustHold(w, at) {
		return Step{Verdict: Hold}, false
	}
	f, err := c.scanner.Next(b)
	if err != nil {
		return Step{Verdict: Violate, Err: violationOf(err)}, false
	}
	own := c.statements()
	if len(words.Mentions) > 0 {
		w.cut(at, 0, s.desk)
		c.installAliases(&words, s)
	}
	own.serial++
	s.changeUnnamed(parseDue, clientOrigin, own.serial, &own.unnamed)
	kept := own.unnamed.message[:0]
	if size <= unnamedMax {
		kept = appendKept(kept, f.Data)
	}
	own.unnamed = unnamed{there: true, serial: own.serial, message: kept, batch: s.batch, words: words}
	own.unnamed.escapes, own.unnamed.settings = c.Session.Dialect.BackslashEscapes, c.Settings
	s.unnamed.becomes(own)
	c.watch(f, s)
	return Step{Verdict: Forward, N: len(f.Data)}, true
}

// appendKept copies b into kept, which is empty, unless that is far too large.
func appendKept(kept, b []byte) []byte {
	const slack = 1 << 10
	if cap(kept) > slack && cap(kept) > 4*len(b) {
		kept = nil
	}
	if cap(kept) < len(b) {
		return append(make([]byte, 0, len(b)), b...)
	}
	return append(kept, b...)
}

// closeStatement judges a Close of a statement: the server keeps it, for others or for the next time.
func (c *Client) closeStatement(w *rewriter, at int, s *Server, name []byte) (step Step, passes bool) {
	b := w.b[at:]
	own := c.own
	if len(name) == 0 {
		f, err := c.scanner.Next(b)
		if err != nil {
			return Step{Verdict: Violate, Err: violationOf(err)}, false
		}
		own = c.statements()
		s.changeUnnamed(closeDue, clientOrigin, own.serial+1, &own.unnamed)
		own.dropUnnamed()
		s.unnamed.of = nil
		c.watch(f, s)
		return Step{Verdict: Forward, N: len(f.Data)}, true
	}
	if s.mustHold(w, at) {
		return Step{Verdict: Hold}, false
	}
	key := string(significant(name))
	was := own.remove(key, s.desk.Table)
	statement := was.statement
	ours := bytes.HasPrefix(name, []byte(prepared.Prefix))
	if statement == nil && !ours {
		return c.asIs(b, s)
	}
	f, err := c.scanner.Next(b)
	if err != nil {
		return Step{Verdict: Violate, Err: violationOf(err)}, false
	}
	w.cut(at, len(f.Data), s.desk)
	if statement == nil {
		s.expect(closeDue, synthesized) // to close what is not there is no error
	} else {
		s.record(closeDue, synthesized, undoEntry{undo: undoForget, name: key, statement: statement, clientSignature: was.clientSignature, escapes: was.escapes})
	}
	c.watch(f, s)
	return Step{Verdict: Forward, N: len(f.Data)}, true
}

// statements is what the client has prepared, made if need be.
func (c *Client) statements() *statements {
	if c.own == nil {
		c.own = &statements{}
	}
	return c.own
}

// startGathering keeps the beginning of a long Parse: the whole of it is needed at once, and the socket's buffer is too small for it.
func (c *Client) startGathering(b []byte) Step {
	f, err := c.scanner.Next(b)
	if err != nil {
		return Step{Verdict: Violate, Err: violationOf(err)}
	}
	c.statements().gathered = append([]byte(nil), f.Data...) // its length word may promise more than ever comes
	return Step{Verdict: Drop, N: len(f.Data)}
}

func (c *Client) gathering() bool { return c.own != nil && c.own.gathered != nil }

// gather goes on with a long Parse. When all of it is there it needs a server like any other.
func (c *Client) gather(b []byte, s *Server) Step {
	own, left := c.own, c.scanner.Left()
	switch {
	case len(b) < left:
		own.gathered = append(own.gathered, b...)
		_, _ = c.scanner.Next(b) // a body has no header that could be wrong
		return Step{Verdict: Drop, N: len(b)}
	case s == nil:
		return Step{Verdict: Checkout}
	}
	w := rewriter{b: b}
	if s.ledger.len() >= OwedMax && s.full(&w, 0) || s.mustHold(&w, 0) {
		if w.desk != nil {
			return w.step(0)
		}
		return Step{Verdict: Hold}
	}
	_, _ = c.scanner.Next(b)
	c.Session.read = false
	message := append(own.gathered, b[:left]...)
	own.gathered = nil
	w.cut(0, left, s.desk)
	if s.passive() {
		s.desk.ToServer = append(s.desk.ToServer, message...)
		s.sent(protocol.ClientParse, parseDue)
	} else {
		name, body, _ := cutName(message[headerBytes:])
		whole := protocol.NewScanner(protocol.FromClient)
		f, _ := whole.Next(message) // its header was right when it came
		c.parseNamed(s, f, name, body)
	}
	return w.step(left)
}
