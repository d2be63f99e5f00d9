package relay

import (
	"bytes"
	"slices"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// What prepared statements do to the session. It is a Bind that says which of them runs, by its name.
//
// PostgreSQL takes a Parse under a name that the client has used before when the old statement has been closed, and skips both when a message
// before them in their batch has failed: then the old one is still there. Until that is known, and for ever where it cannot be, what runs
// under the name may be either of them: taking a SET for a SELECT would leave its value to the next client of the server.

// parsed remembers a statement that has effects.
func (n *SessionState) parsed(l *sqltext.Lexer, name, textAndTypes []byte, s *Server) {
	e := n.ended(l)
	if n.leavesStatements(s) {
		n.leaves(name, s)
	}
	minds := n.minds() | sqltext.AssignsLocally
	if n.Shares {
		minds |= sqltext.Unlistens // it may listen when it runs this
	}
	if e&minds == 0 || n.Restores && !n.resets(l, e) {
		n.remember(name, nil, s.startsBatch())
		return
	}
	does := n.effectOf(l, e)
	n.listens = n.listens || e&sqltext.Listens != 0
	types := typesOf(textAndTypes)
	for i := range does.changes {
		c := &does.changes[i]
		c.Exact = c.Exact && types.isText(c.valueParam)
		if !types.isText(c.nameParam) { // PostgreSQL makes another name of it
			c.nameParam = 0
			does.effects |= sqltext.Unreadable
		}
	}
	n.remember(name, &does, s.startsBatch())
}

// leavesStatements reports that what the client prepares is the server's, and there for the next client (max_prepared_statements = 0). A server
// that is the client's own is emptied behind it.
func (n *SessionState) leavesStatements(s *Server) bool {
	return !n.Restores && s.client != nil && !s.client.tracked
}

// bound notes a Bind of a statement with effects. frame begins with its header; whole tells whether all of it is there.
func (n *SessionState) bound(frame []byte, whole bool, s *Server) {
	portal, rest, ok := bytes.Cut(frame[min(headerBytes, len(frame)):], zero)
	name, _, named := bytes.Cut(rest, zero)
	if p := n.pending; p != nil && p.awaits {
		p.unsure = true // another may take the portal's place
	}
	if !ok || !named {
		if !whole {
			n.note(effect{effects: sqltext.Unreadable}, s)
		}
		return
	}
	e := n.means(name)
	if n.leavesStatements(s) && !n.here[string(significant(name))] {
		e = unreadable // it may be another client's
	}
	if e == nil {
		n.mayAssign()
		return
	}
	run := effect{effects: e.effects, changes: make([]boundChange, len(e.changes)), listenings: e.listenings, unnamed: e.unnamed, either: e.either}
	for i, c := range e.changes {
		run.changes[i] = c.bind(frame, &run)
	}
	if e.effects&n.minds() == 0 {
		n.assignLocally(run, s)
		return
	}
	p := n.note(run, s)
	p.unsure = p.unsure || run.either
	p.awaits, p.portal = true, string(portal)
}

// executes notes that a text runs a prepared statement by its name. Of what the text says more, parameters, nothing is known: the server is asked.
func (n *SessionState) executes(name string, s *Server) {
	e := n.means([]byte(name))
	if e == nil {
		return
	}
	run := effect{effects: e.effects, changes: slices.Clone(e.changes), listenings: e.listenings, unnamed: e.unnamed, either: true}
	for i := range run.changes {
		c := &run.changes[i]
		if c.nameParam > 0 {
			run.effects |= sqltext.Unreadable
		}
		c.Exact = c.Exact && c.valueParam == 0
	}
	if e.effects&n.minds() == 0 {
		n.assignLocally(run, s)
		return
	}
	n.note(run, s).unsure = true
}

// bind fills in the bound parameters of a change: of a Bind that was too long to be kept, those at its beginning.
func (c boundChange) bind(frame []byte, run *effect) boundChange {
	if c.nameParam > 0 {
		name, _, ok := protocol.BoundParameter(frame, c.nameParam)
		if !ok || !isPlain(name) {
			run.effects |= sqltext.Unreadable
			return c
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
	return c
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

// unreadable is what a statement does of which nothing is known.
var unreadable = &effect{effects: sqltext.Unreadable}

// means is what may run under a name; nil: nothing that is noted.
func (n *SessionState) means(name []byte) *effect {
	e := n.prepared[string(significant(name))]
	switch {
	case e == nil && n.forgotten:
		return unreadable
	case e == nil || e.before == nil:
		return e
	case e.batch == n.batch: // should the Parse be skipped, so will be what comes behind it
		if e.plain() {
			return nil
		}
		return e
	}
	return e.before.or(e)
}

// remember notes what a name means from here on; nil: nothing that is noted. first: the Parse is the first message of its batch.
func (n *SessionState) remember(name []byte, does *effect, first bool) {
	name = significant(name)
	was := n.prepared[string(name)]
	if was == nil && does == nil {
		return
	}
	key := string(name)
	if len(name) == 0 && first { // it ends the unnamed statement, whatever is wrong with it
		delete(n.prepared, key)
		was = nil
	}
	switch {
	case was != nil:
		does = n.instead(key, was, does)
	case does != nil && !first: // there may have been one that does nothing
		does = n.instead(key, &effect{}, does)
	case does == nil:
		return
	}
	if n.prepared == nil {
		n.prepared = make(map[string]*effect)
	}
	if len(n.prepared) >= preparedMax {
		clear(n.prepared)
		n.replaced, n.forgotten = nil, true
	}
	n.prepared[key] = does
}

// closed notes a Close, which PostgreSQL may skip as well. frame is all of it.
func (n *SessionState) closed(frame []byte) {
	if len(frame) <= headerBytes || frame[headerBytes] != 'S' {
		return
	}
	if name, _, ok := bytes.Cut(frame[headerBytes+1:], zero); ok {
		n.remember(name, nil, false)
	}
}

// instead is what a name means that has meant something before.
func (n *SessionState) instead(key string, was, does *effect) *effect {
	if len(n.replaced) == replacedMax {
		n.unsettle()
		if e := n.prepared[key]; e != nil {
			was = e
		}
	}
	if was.before != nil {
		was = was.before.or(was)
	}
	if does == nil {
		does = &effect{}
	}
	does.before, does.batch = was, n.batch
	n.replaced = append(n.replaced, key)
	return does
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
		n.note(effect{effects: sqltext.Prepares}, s)
	}
}

// settleNames is called when everything has been answered that the client has sent: if there was no error, what came last is what a name means.
func (n *SessionState) settleNames() {
	if n.erred {
		n.unsettle()
		n.erred = false
		return
	}
	for _, key := range n.replaced {
		e := n.prepared[key]
		if e == nil {
			continue
		}
		if e.before = nil; e.plain() {
			delete(n.prepared, key)
		}
	}
	n.replaced = n.replaced[:0]
}

// unsettle gives up finding out which of its statements a name means.
func (n *SessionState) unsettle() {
	for _, key := range n.replaced {
		if e := n.prepared[key]; e != nil && e.before != nil {
			n.prepared[key] = e.before.or(e)
		}
	}
	n.replaced = n.replaced[:0]
}

const (
	// preparedMax bounds the prepared statements with effects that are remembered of one client.
	preparedMax = 4096
	// replacedMax bounds those of which it is not known yet what their names mean.
	replacedMax = 64
	// alternativesMax bounds what one name may do.
	alternativesMax = 32
)

// plain reports that a statement does nothing that is noted.
func (e *effect) plain() bool { return e.effects == 0 }

// or is what a name does that means one of two statements.
func (e *effect) or(other *effect) *effect {
	both := &effect{
		effects: e.effects | other.effects, unnamed: e.unnamed || other.unnamed, either: true,
		changes: slices.Clone(e.changes), listenings: slices.Clone(e.listenings),
	}
	for _, c := range other.changes {
		if !slices.Contains(both.changes, c) {
			both.changes = append(both.changes, c)
		}
	}
	for _, l := range other.listenings {
		if !slices.Contains(both.listenings, l) {
			both.listenings = append(both.listenings, l)
		}
	}
	if len(both.changes) > alternativesMax { // the server is cleaned all the same
		both.changes, both.effects = both.changes[:alternativesMax], both.effects|unreadable.effects
	}
	if len(both.listenings) > alternativesMax {
		both.listenings, both.unnamed = both.listenings[:alternativesMax], true
	}
	return both
}
