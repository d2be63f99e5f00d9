package relay

import (
	"bytes"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// A text means what the settings of the session say while it is parsed: search_path above all. So equal texts are one statement only within a
// prepared.Scope, and a statement that has to be prepared anew is prepared for the scope of the moment, whatever it was before.

// local is what a transaction has set for itself alone, of the parameters that decide what a text means.
type local struct {
	values   []localValue   // the last of each name
	doubtful bool           // something may have been taken back
	private  prepared.Scope // nobody else's, while doubtful; empty: none was needed yet
}

type localValue struct{ name, value string }

// localMax bounds the values of one transaction.
const localMax = 16

// doubt notes that the values are not certain any more: what is prepared now is nobody else's.
func (l *local) doubt() { l.doubtful, l.private = true, "" }

// assign notes what a statement that has been sent sets, as far as it decides the meaning of texts.
func (n *SessionState) assign(e *effect, s *Server) {
	for i := range e.changes {
		c := &e.changes[i].Change
		n.rereads = n.rereads || s.mayReread(c)
		switch {
		case n.Restores:
		case c.local && (c.Name == "" || sqltext.DecidesMeaning(c.Name)):
			n.locals().assign(c)
			if s.outstanding() || e.effects&ends != 0 {
				n.local.doubt()
			}
		case !c.local && s.client != nil && s.client.unreported(c.Name): // what it is for the session is known when the transaction has ended
			n.locals().doubt()
		}
	}
}

// outstanding reports that more is owed than what belongs to the message just sent: the outcome of that may decide about this one.
func (s *Server) outstanding() bool {
	for i := range s.ledger.len() - 1 {
		if r := s.ledger.at(i); r.origin != poolerOrigin && (r.kind.endsWithReady() || r.kind == executeDue) {
			return true
		}
	}
	return false
}

func (n *SessionState) locals() *local {
	if n.local == nil {
		n.local = &local{}
	}
	return n.local
}

// unreported reports that a parameter (empty: perhaps one among others) decides the meaning of texts, and that the server does not say what it is.
func (c *Client) unreported(name string) bool {
	_, reported := c.Settings.Get(name)
	return name == "" || sqltext.DecidesMeaning(name) && !reported
}

// mayReread reports that a change may have the server read texts in another way than it does: that it is not to what is there already, as what
// drivers send when they take a connection out of their own pool.
func (s *Server) mayReread(c *Change) bool {
	switch {
	case c.Name == "" && c.Reset:
		return s.becomesAnother("standard_conforming_strings") || s.becomesAnother("client_encoding")
	case c.Name == "standard_conforming_strings", c.Name == "client_encoding":
		if s.client == nil || c.Reset {
			return s.becomesAnother(c.Name)
		}
		has, _ := s.client.Settings.Get(c.Name)
		return !c.Exact || !strings.EqualFold(c.Value, has)
	}
	return c.Name == ""
}

// becomesAnother reports that a parameter would change if it were reset.
func (s *Server) becomesAnother(name string) bool {
	if s.client == nil {
		return true
	}
	has, known := s.client.Settings.Get(name)
	begun, _ := s.Base.Get(name)
	return !known || has != begun
}

func (l *local) assign(c *Change) {
	l.private = ""
	value := c.Value
	if c.Reset {
		value = "\x01default"
	}
	for i := range l.values {
		if l.values[i].name == c.Name {
			l.values[i].value = value
			l.doubtful = l.doubtful || !c.Exact
			return
		}
	}
	l.values = append(l.values, localValue{c.Name, value})
	l.doubtful = l.doubtful || !c.Exact || len(l.values) > localMax || c.Name == ""
}

// scope is what decides how a text of the client's is parsed now.
func (c *Client) scope(table *prepared.Table) prepared.Scope {
	own, now := c.statements(), sqltext.Session{Reported: c.Settings, Own: c.Own}
	if own.scope == "" || own.scopeOf != now {
		own.scope, own.scopeOf = prepared.Scope(sqltext.AppendMeaning(nil, now)), now
	}
	if c.Session.local == nil {
		return own.scope
	}
	return c.Session.local.scope(own.scope, table)
}

func (l *local) scope(session prepared.Scope, table *prepared.Table) prepared.Scope {
	if l.doubtful {
		if l.private == "" {
			l.private = session + table.Private()
		}
		return l.private
	}
	var b strings.Builder
	b.WriteString(string(session))
	for _, v := range l.values {
		b.WriteString(v.name)
		b.WriteByte(0)
		b.WriteString(v.value)
		b.WriteByte(0)
	}
	return prepared.Scope(b.String())
}

// readsOtherwise reports that the server may read texts in another way than it has told: what changes that is on its way.
func (s *Server) readsOtherwise() bool {
	return s.client != nil && s.client.Session.rereads && (s.ledger.len() > 0 || s.batchOpen)
}

// rereads reports that a text would be another one if it were sent again: its strings may end elsewhere than they did, behind which there may be
// anything. escapes: a backslash was an escape when the client sent it.
func (s *Server) rereads(escapes bool, text []byte) bool {
	if s.client == nil || bytes.IndexByte(text, '\\') < 0 {
		return false
	}
	return escapes != s.client.Session.Dialect.BackslashEscapes || s.readsOtherwise()
}

// rescope is called before a statement is prepared anew: it becomes that of the scope of the moment, so that nobody who has prepared the same
// text under other settings gets it. The error is what to tell the client if that cannot be.
func (c *Client) rescope(own named, s *Server) (named, *protocol.Error) {
	table := s.desk.Table
	was, scope := own.statement.Scope(), c.scope(table)
	if was == scope {
		return own, nil
	}
	encoding, _, _ := strings.Cut(string(was), "\x00")
	now, _, _ := strings.Cut(string(scope), "\x00")
	body := []byte(own.statement.Body())
	text, _, _ := cutName(body)
	if (encoding != now || s.readsOtherwise()) && !isASCII(text) || s.rereads(own.escapes, text) {
		return own, protocol.ErrResultChanged() // only the client can say it in its new encoding, or with other escapes
	}
	if own.mentions() {
		return own, nil
	}
	statement, ok := table.Intern(scope, body, *own.statement.Words())
	if !ok {
		return own, protocol.ErrStatementMemory()
	}
	table.Release(own.statement)
	own.statement = statement
	c.own.names[own.name] = own
	return own, nil
}
