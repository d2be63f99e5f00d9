package relay

import (
	"bytes"
	"slices"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// What a client's statements do to its session is known when they have run. So a request that may do something carries a deed, and the deed is
// carried out when PostgreSQL answers: ParseComplete gives a name its effect, BindComplete gives it to a portal, each CommandComplete
// runs the statement it belongs to. A request that is skipped does nothing. What has to be known before that, at the time of sending, is
// found in the deeds that are outstanding (means).

// deed is what a request does when it is answered.
type deed struct {
	kind   deedKind
	name   string  // of the statement: deedNames, deedBinds
	portal string  // deedBinds, deedExecutes
	effect *effect // deedRuns, deedNames; deedBinds: with the values bound
	of     *effect // deedBinds: what the name meant when that was sent
	done   int     // deedRuns: statements that have completed
}

type deedKind uint8

const (
	deedRuns     deedKind = iota // Query
	deedNames                    // Parse; a Close has no effect
	deedBinds                    // Bind
	deedExecutes                 // Execute
)

// effect is what a text does when it runs.
type effect struct {
	effects sqltext.Effects
	changes []boundChange
	listens []listenAct
	names   []nameAct
}

// boundChange is a Change whose name or value may be a bound parameter.
type boundChange struct {
	Change
	nameParam, valueParam int
	statement             int
}

// listenAct is a LISTEN or UNLISTEN; one without a channel that does not stop is of a channel whose name is not known.
type listenAct struct {
	Listening
	statement int
}

// nameAct is what a text does with the name of a savepoint or a prepared statement; it is empty when it is not known.
type nameAct struct {
	kind      sqltext.NameKind
	name      string
	statement int
}

// portal is what a portal does when it is executed.
type portal struct {
	name   string
	effect *effect
}

const (
	// preparedMax bounds the prepared statements with effects that are remembered of one client.
	preparedMax = 4096
	// portalsMax bounds the portals with effects that are remembered of one transaction.
	portalsMax = 64
)

// unreadable is what a statement does of which nothing is known.
var unreadable = &effect{effects: sqltext.Unreadable}

// effectOf copies what a Lexer has found.
func (n *SessionState) effectOf(l *sqltext.Lexer, e sqltext.Effects) *effect {
	found := &effect{effects: e}
	if e&sqltext.DiscardsAll != 0 {
		found.changes = append(found.changes, boundChange{Change: Change{Reset: true, Exact: true, Discard: true}})
	}
	for i := range l.Assignments() {
		a := l.Assignment(i)
		found.changes = append(found.changes, boundChange{
			Change:    Change{Name: string(a.Name), Value: string(a.Value), Reset: a.Reset, Exact: a.Exact, Maybe: a.Maybe, local: a.Local},
			nameParam: a.NameParam, valueParam: a.ValueParam, statement: a.Statement,
		})
	}
	for i := range l.Listenings() {
		a := l.Listening(i)
		known := a.Exact && (a.ASCII || n.UTF8)
		switch {
		case known:
			found.listens = append(found.listens, listenAct{Listening{Channel: string(a.Channel), Stops: a.Stops}, a.Statement})
		case !a.Stops:
			found.listens = append(found.listens, listenAct{statement: a.Statement})
		}
	}
	if e&sqltext.Listens != 0 && e&sqltext.Unreadable != 0 { // there may be others
		found.listens = append(found.listens, listenAct{})
	}
	for i := range l.Names() {
		a := l.Name(i)
		act := nameAct{kind: a.Kind, statement: a.Statement}
		if a.Exact {
			act.name = string(a.Text)
		}
		found.names = append(found.names, act)
	}
	n.addBeyond(found)
	return found
}

// run is the effect with its parameters filled in from a Bind, whose frame begins with its header. What the frame does not have, all of it if
// there is none, is not known.
func (e *effect) run(frame []byte) *effect {
	bound := &effect{effects: e.effects, changes: slices.Clone(e.changes), listens: e.listens, names: e.names}
	for i := range bound.changes {
		c := &bound.changes[i]
		if c.nameParam > 0 {
			name, _, ok := protocol.BoundParameter(frame, c.nameParam)
			if !ok || !isPlain(name) {
				bound.effects |= sqltext.Unreadable
				continue
			}
			c.Name = string(bytes.ToLower(name))
		}
		if c.valueParam > 0 && c.Exact {
			value, _, ok := protocol.BoundParameter(frame, c.valueParam)
			c.Reset = ok && value == nil // NULL resets
			c.Exact = ok && isPlain(value)
			if c.Exact {
				c.Value = string(value)
			}
		}
	}
	return bound
}

// isPlain: ASCII, the same in all encodings.
func isPlain(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 || c == 0 {
			return false
		}
	}
	return true
}

// does gives the newest request a deed.
func (s *Server) does(d deed) {
	if s.ledger.len() == 0 {
		return // the message calls for no answer
	}
	s.ledger.newest().deed = &d
	s.ledger.deeds = s.ledger.tail
}

// deedsOutstanding reports that some request has a deed.
func (s *Server) deedsOutstanding() bool { return s.ledger.deeds > s.ledger.head }

// means is what may run under a name that is sent now, as far as that is known; nil: nothing that matters.
func (n *SessionState) means(name []byte, s *Server) *effect {
	name = significant(name)
	if s.deedsOutstanding() {
		for i := s.ledger.len() - 1; i >= 0; i-- {
			if d := s.ledger.at(i).deed; d != nil && d.kind == deedNames && d.name == string(name) {
				return d.effect
			}
		}
	}
	if e := n.prepared[string(name)]; e != nil || !n.forgotten {
		return e
	}
	return unreadable
}

// knows reports that a name has an effect, or may have one when all is answered.
func (n *SessionState) knows(name []byte, s *Server) bool {
	return s.deedsOutstanding() || n.prepared[string(significant(name))] != nil
}

// remember gives a name its effect; nil: none.
func (n *SessionState) remember(name string, e *effect) {
	if e == nil {
		delete(n.prepared, name)
		return
	}
	if n.prepared == nil {
		n.prepared = make(map[string]*effect)
	}
	if len(n.prepared) >= preparedMax {
		clear(n.prepared)
		n.forgotten = true
	}
	n.prepared[name] = e
}

// parsed notes a Parse that has been sent.
func (n *SessionState) parsed(l *sqltext.Lexer, name, textAndTypes []byte, s *Server) {
	e := n.ended(l)
	if n.leavesStatements(s) {
		n.leaves(name, s)
	}
	n.sure(name)
	does := n.doesPrepared(l, e, textAndTypes, s)
	if does != nil || n.knows(name, s) {
		s.does(deed{kind: deedNames, name: string(significant(name)), effect: does})
	}
}

// doesPrepared returns what a text will do that is prepared; nil: nothing that is remembered.
func (n *SessionState) doesPrepared(l *sqltext.Lexer, e sqltext.Effects, textAndTypes []byte, s *Server) *effect {
	if e&n.mindsPrepared(s) == 0 || n.Restores && !n.resets(l, e) && e&sqltext.Deallocates == 0 {
		return nil
	}
	does := n.effectOf(l, e)
	types := typesOf(textAndTypes)
	for i := range does.changes {
		c := &does.changes[i]
		c.Exact = c.Exact && types.isText(c.valueParam)
		if !types.isText(c.nameParam) { // PostgreSQL makes another name of it
			c.nameParam = 0
			does.effects |= sqltext.Unreadable
		}
	}
	return does
}

// bound notes a Bind that has been sent. frame begins with its header; whole tells whether all of it is there.
func (n *SessionState) bound(frame []byte, whole bool, s *Server) {
	to, rest, ok := bytes.Cut(frame[min(headerBytes, len(frame)):], zero)
	name, _, named := bytes.Cut(rest, zero)
	var e *effect
	switch {
	case ok && named:
		if e = n.means(name, s); e == nil && n.reviews(name) {
			e = n.review(name, s)
		}
		if n.leavesStatements(s) && !n.here[string(significant(name))] {
			e = unreadable // it may be another client's
		}
	case whole:
		return // malformed
	default:
		e = unreadable
	}
	if e == nil {
		n.mayAssign()
		if len(s.portals) > 0 || s.deedsOutstanding() {
			s.does(deed{kind: deedBinds, name: string(significant(name)), portal: string(to)})
		}
		return
	}
	run := e.run(frame)
	n.sends(run, s)
	s.does(deed{kind: deedBinds, name: string(significant(name)), portal: string(to), effect: run, of: e})
}

// executed notes an Execute that has been sent.
func (n *SessionState) executed(frame []byte, s *Server) {
	if to, _, ok := bytes.Cut(frame[headerBytes:], zero); ok && (len(s.portals) > 0 || s.deedsOutstanding()) {
		s.does(deed{kind: deedExecutes, portal: string(to)})
	}
}

// closed notes a Close that has been sent. frame is all of it.
func (n *SessionState) closed(frame []byte, s *Server) {
	if len(frame) <= headerBytes || frame[headerBytes] != 'S' {
		return
	}
	if name, _, ok := bytes.Cut(frame[headerBytes+1:], zero); ok && n.knows(name, s) {
		s.does(deed{kind: deedNames, name: string(significant(name))})
	}
}

// leavesStatements reports that what the client prepares is the server's, and there for the next client (max_prepared_statements = 0). A server
// that is the client's own is emptied behind it.
func (n *SessionState) leavesStatements(s *Server) bool {
	return n.Tracked && s.client != nil && !s.client.tracked
}

// leaves notes that the server has a statement now that the next client would find. The next unnamed one takes the place of the last.
func (n *SessionState) leaves(name []byte, s *Server) {
	if n.here == nil {
		n.here = make(map[string]bool)
	}
	if len(n.here) < preparedMax { // of any other it is not known that the client has prepared it
		n.here[string(significant(name))] = true
	}
	if len(name) > 0 {
		n.sends(&effect{effects: sqltext.Prepares}, s)
		n.pending.effects |= sqltext.Prepares
	}
}

// carryOut is called when a Parse, Bind or Close has been answered.
func (s *Server) carryOut(d *deed) {
	if s.client == nil {
		return
	}
	n := &s.client.Session
	switch d.kind {
	case deedNames:
		n.remember(d.name, d.effect)
	case deedBinds:
		e := d.effect
		if now := n.prepared[d.name]; now != d.of && d.of != unreadable { // the Parse that it was bound to was skipped
			if e = nil; now != nil {
				e = now.run(nil)
			}
		}
		s.fillPortal(d.portal, e)
	case deedRuns, deedExecutes:
	}
}

// fillPortal says what a portal does; nil: nothing.
func (s *Server) fillPortal(name string, e *effect) {
	s.portals = slices.DeleteFunc(s.portals, func(p portal) bool { return p.name == name })
	switch {
	case e == nil:
	case len(s.portals) < portalsMax:
		s.portals = append(s.portals, portal{name: name, effect: e})
	default: // it may run at any time
		s.client.Session.ran(e, -1, s)
		s.client.Session.note().unsure = true
	}
}

// ranBy is the effect of the request that is being answered; nil: none. from is the number of the statement that is due.
func (s *Server) ranBy(d *deed) (e *effect, from int) {
	switch {
	case d == nil:
	case d.kind == deedRuns:
		return d.effect, d.done
	case d.kind == deedExecutes:
		for i := range s.portals {
			if s.portals[i].name == d.portal {
				return s.portals[i].effect, -1
			}
		}
	}
	return nil, 0
}

// completed is called when a statement of the client's has run: tag is its tag, empty if it has none.
func (s *Server) completed(tag string) {
	if s.client == nil || s.ledger.front().origin == poolerOrigin {
		return
	}
	n, d := &s.client.Session, s.ledger.front().deed
	e, statement := s.ranBy(d)
	if e != nil {
		n.ran(e, statement, s)
	}
	if d != nil {
		d.done++
	}
	if n.pending != nil {
		n.pending.tagged(tag, e, statement)
	} else if n.Restores {
		n.unseen(tag)
	}
	if n.local != nil && tag == tagRollback {
		n.local.doubt() // that of a ROLLBACK TO is the same
	}
}

// ran carries out what a statement of an effect does; -1: all of them.
func (n *SessionState) ran(e *effect, statement int, s *Server) {
	due := func(of int) bool { return statement < 0 || of == statement }
	for _, a := range e.names {
		if !due(a.statement) {
			continue
		}
		switch a.kind {
		case sqltext.NameDeallocated:
			s.deallocated(a.name)
			delete(n.prepared, a.name)
		case sqltext.NameExecuted:
			if runs := n.prepared[a.name]; runs != nil && runs.effects&n.minds() != 0 {
				n.note().ran(runs.run(nil), func(int) bool { return true })
				n.note().unsure = true // behind EXPLAIN it may not have run
			}
		}
	}
	if e.effects&n.minds() != 0 {
		n.note().ran(e, due)
		if e.effects&sqltext.Unreadable != 0 && len(e.changes) > 0 { // which statement does what is a guess
			n.note().guess(e)
		}
	}
}

// failedIn is called when the request that is being answered has failed.
func (s *Server) failedIn(d *deed) {
	if s.client == nil {
		return
	}
	n := &s.client.Session
	if d != nil && d.kind == deedNames && d.name == "" {
		delete(n.prepared, "") // a Parse that fails leaves no unnamed statement behind
	}
	e, _ := s.ranBy(d)
	if e != nil && e.effects&n.minds() != 0 {
		n.note().ranInPart(e)
	}
	if n.pending != nil {
		n.pending.failed = true
	}
}

// ready notes a ReadyForQuery to the client.
func (n *SessionState) ready(status byte, s *Server) {
	if n.pending != nil {
		n.pending.ready(status)
	}
	if status != StatusIdle {
		return
	}
	s.portals = s.portals[:0]
	n.rereads = n.rereads && s.ledger.len() > 0
	switch {
	case n.local == nil:
	case s.ledger.len() == 0:
		n.local = nil
	default: // is it that of the next transaction, which is on its way?
		n.local.doubt()
	}
}

// readsTag reports that a tag with this first letter is to be read.
func (s *Server) readsTag(first byte) bool {
	if s.client == nil || s.ledger.front().origin == poolerOrigin {
		return false
	}
	n := &s.client.Session
	return s.ledger.front().deed != nil || n.pending != nil || n.local != nil || n.Restores && (first == 'R' || first == 'D')
}
