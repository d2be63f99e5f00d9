package relay

import (
	"github.com/hybridbouncer/hybridbouncer/catalog"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Only the database's catalogue tells what a text does beyond its words, in functions that it calls and relations that it uses (package
// catalog). That is added to the effects of the text, and treated like them from there on. Where no catalogue is used, a text that calls a
// function which is not PostgreSQL's own leaves a server that has to be cleaned. While the catalogue is not loaded, every text does.

// begins prepares a lexer for a text of this session.
func (n *SessionState) begins(l *sqltext.Lexer) {
	l.Begin(n.dialect())
	n.beyond = nil
	switch {
	case !n.Tracked:
	case n.Unread:
		l.Watch(sqltext.EveryName())
	case n.Catalogue != nil:
		l.Watch(n.Catalogue.Names())
	default:
		l.Trust(sqltext.Builtins())
	}
}

// SetCatalogue gives the session the catalogue of its database as it is now. unread says that there is one and that it is not loaded. What the
// client has prepared before was judged by the former catalogue: it is judged anew when it is bound next.
func (n *SessionState) SetCatalogue(c *catalog.Catalogue, unread bool) {
	n.Catalogue, n.Unread = c, unread
	if c != nil && c != n.judgedBy {
		n.outdated, n.reviewed = n.outdated || n.judgedBy != nil, nil
		n.judgedBy = c
	}
}

// reviews reports that what a name is known to mean may be true no more, because the catalogue is another now.
func (n *SessionState) reviews(name []byte) bool {
	return n.Tracked && (n.Unread || n.outdated && !n.reviewed[string(significant(name))])
}

// review reads the text of a prepared statement again and returns what it does; nil: nothing.
func (n *SessionState) review(name []byte, s *Server) *effect {
	body, ok := s.own().body(name)
	if n.Unread || !ok {
		return unreadable
	}
	text := textOf(body)
	n.begins(s.Lexer)
	s.Lexer.Feed(text)
	n.judge(s.Lexer, text, true)
	n.read = false // the lexer has not read the message that comes next
	does := n.doesPrepared(s.Lexer, n.ended(s.Lexer), body, s)
	n.remember(string(significant(name)), does)
	n.sure(name)
	return does
}

// sure notes that a prepared statement has been judged by the catalogue as it is now.
func (n *SessionState) sure(name []byte) {
	if !n.outdated {
		return
	}
	if n.reviewed == nil || len(n.reviewed) >= preparedMax {
		n.reviewed = make(map[string]bool)
	}
	n.reviewed[string(significant(name))] = true
}

// judge asks the catalogue about a text that the lexer has read. whole is false for a text of which only parts have been seen.
func (n *SessionState) judge(l *sqltext.Lexer, text []byte, whole bool) {
	c := n.Catalogue
	if !n.Tracked || c == nil || !c.Concerns(l.End()) {
		return
	}
	if n.beyond = c.Unread(); whole {
		n.beyond = c.Judge(text, n.dialect())
	}
}

// effects returns what the text that the lexer has read does.
func (n *SessionState) effects(l *sqltext.Lexer) sqltext.Effects {
	e := l.End()
	if n.leadsToTemp && e&sqltext.Creates != 0 {
		e |= sqltext.MakesTemp
	}
	if e&sqltext.LeadsToTemp != 0 {
		n.leadsToTemp = true
	}
	if n.Unread && e&sqltext.Mentions != 0 {
		e |= sqltext.CallsUnknown
	}
	if n.beyond != nil {
		for _, b := range beyondEffects {
			if n.beyond.What&b.deed != 0 {
				e |= b.effects
			}
		}
	}
	return e
}

// beyondEffects are the effects of a text that stand for what it does beyond its words.
var beyondEffects = [...]struct {
	deed    catalog.Deed
	effects sqltext.Effects
}{
	{catalog.SetsNamed, sqltext.Assigns},
	{catalog.SetsAny | catalog.Anything, sqltext.Opaque},
	{catalog.ListensNamed | catalog.ListensAny, sqltext.Listens},
	{catalog.MakesTemp, sqltext.MakesTemp},
	{catalog.HoldsCursor, sqltext.HoldsCursor},
	{catalog.Prepares, sqltext.Prepares},
	{catalog.LocksAdvisory, sqltext.LocksAdvisory},
	{catalog.HoldsOther, sqltext.HoldsOther},
	{catalog.Seeds | catalog.CannotUndo, sqltext.Seeds},
}

// addBeyond adds the parameters and channels of what a text does beyond its words. Whether a parameter has been set, and to what, only the
// server knows. The name of a channel is not told apart: a client that listens in a function keeps its server.
func (n *SessionState) addBeyond(e *effect) {
	if n.beyond == nil {
		return
	}
	for _, name := range n.beyond.Settings {
		e.changes = append(e.changes, boundChange{Change: Change{Name: name, Maybe: true}})
	}
	if n.beyond.What&(catalog.ListensNamed|catalog.ListensAny) != 0 {
		e.listens = append(e.listens, listenAct{})
	}
}
