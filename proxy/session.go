package proxy

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// isolation is a listener's setting of that name: what of a session goes with its client from server to server.
type isolation uint8

const (
	isolationTracked isolation = iota // parameters follow the client; what else stays on a server is cleaned away
	isolationStrict                   // likewise, and a server is reset before another client gets it
	isolationOff                      // as PgBouncer: only what the server reports follows
)

func parseIsolation(word string) isolation {
	switch word {
	case "strict":
		return isolationStrict
	case "off":
		return isolationOff
	}
	return isolationTracked
}

// setSettings changes what the client has of the parameters that servers report.
func (c *Client) setSettings(settings sqltext.Settings) {
	c.settings, c.relay.Settings = settings, settings
	c.relay.Session.UTF8 = c.inUTF8(settings)
	conforming, _ := settings.Get("standard_conforming_strings")
	encoding, _ := settings.Get("client_encoding")
	c.relay.Session.Dialect = sqltext.Dialect{
		BackslashEscapes: conforming == "off", TrailingQuotes: sqltext.HasTrailingQuotes(encoding),
	}
	if c.application != nil {
		c.renamed()
	}
}

// resets reports whether a server has to be reset before the client may have it. A dirty one is cleaned at its checkin, unless it was a
// session's and that listener has no server_reset_query.
func (c *Client) resets(s *Server) bool {
	switch c.isolation {
	case isolationTracked:
		return s.dirty
	case isolationStrict:
		return s.dirty || s.lastID != c.info.id && s.lastID != 0
	case isolationOff:
	}
	return false
}

// applySettings makes the server's settings those of the client, by statements pipelined ahead of the client's first. Between equal
// settings it sends nothing. reset cleans the server first.
func (w *worker) applySettings(c *Client, s *Server, reset bool) {
	have := sqltext.Session{Reported: s.settings, Own: s.own}
	if reset {
		s.relay.InjectDiscard()
		s.sendQuery("DISCARD ALL")
		have = sqltext.Session{Reported: s.base}
	}
	w.sql = sqltext.AppendSessionDiff(w.sql[:0], sqltext.Session{Reported: c.settings, Own: c.relay.Own}, have)
	s.own = c.relay.Own
	if len(w.sql) > 0 {
		s.inject(string(w.sql))
	}
	s.applying = reset || len(w.sql) > 0
}

// rebase makes the client's parameters rest on those that the server began with. Of the parameters that servers report, the client carries
// only those that it has set itself. The others are the server's own at every moment, so that the client sees what a DBA has changed by
// ALTER SYSTEM or ALTER ROLE, and a promotion. Where nothing has changed it costs two comparisons.
func (c *Client) rebase(s *Server) {
	if c.inRecovery != s.inRecovery {
		c.inRecovery = s.inRecovery
		c.sendParameter("in_hot_standby", map[bool]string{false: "off", true: "on"}[s.inRecovery])
	}
	if c.base == s.base {
		return
	}
	c.base = s.base
	c.info.base.Reported = overlay(s.base, c.info.asked)
	c.tell(overlay(s.base, c.set))
}

// hasSet records that a reported parameter has a value because of a statement of the client's. One that has gone back to the value with which
// the session began counts as not set: SET LOCAL ends so.
func (c *Client) hasSet(name, value string) {
	name = strings.ToLower(name)
	if begun, _ := c.info.base.Reported.Get(name); begun != value {
		c.set = c.set.With(name, value)
		return
	}
	c.resetParameter(name)
}

// resetParameter makes a reported parameter what the client's startup packet said of it.
func (c *Client) resetParameter(name string) {
	if asked, ok := c.info.asked.Get(name); ok {
		c.set = c.set.With(name, asked)
	} else {
		c.set = c.set.Without(name)
	}
}

// sendParameter sends a ParameterStatus.
func (c *Client) sendParameter(name, value string) {
	status := pgproto3.ParameterStatus{Name: name, Value: value}
	told, _ := status.Encode(nil) // fails for messages over 1 GiB only
	c.counters.Sent += uint64(len(told))
	c.conn.Send(told)
}

// applied is called when the server's replies to applySettings are through. The server may spell a value in its own way: that is what the
// client has then, and hears.
func (s *Server) applied() {
	s.applying = false
	c := s.client
	if c == nil || c.settings == s.settings {
		return
	}
	if c.settings == c.info.base.Reported {
		c.info.base.Reported = s.settings
		c.info.asked = respelled(c.info.asked, s.settings)
	}
	c.set = respelled(c.set, s.settings)
	c.tell(s.settings)
}

// respelled returns the names of set with the values that a server reports for them.
func respelled(set, reported sqltext.Settings) sqltext.Settings {
	out := set
	set.Each(func(name, _ string) {
		if value, ok := reported.Get(name); ok {
			out = out.With(name, value)
		}
	})
	return out
}

// tell changes what the client has of the reported parameters, and lets it know.
func (c *Client) tell(settings sqltext.Settings) {
	if settings == c.settings {
		return
	}
	var told []byte
	settings.Each(func(name, value string) {
		if old, ok := c.settings.Get(name); !ok || old != value {
			status := pgproto3.ParameterStatus{Name: reportedName(c.pool.welcome.reported(), name), Value: value}
			told, _ = status.Encode(told) // fails for messages over 1 GiB only
		}
	})
	c.setSettings(settings)
	if len(told) > 0 {
		c.counters.Sent += uint64(len(told))
		c.conn.Send(told)
	}
}

// resolve follows what the statements of a client did to its session, at the end of their transactions. It reports false when the server
// has been asked: the answer brings the two here again. last: the client will not be there to be told.
func (w *worker) resolve(c *Client, s *Server, last bool) bool {
	var out relay.Outcome
	if c.relay.Session.Pending() {
		out = c.relay.Session.Resolve()
	}
	c.noteListens(s, &out.Listened)
	s.dirty = s.dirty || out.Leftovers || last
	s.outdated = s.outdated || out.CannotUndo
	if out.Defined {
		c.pool.catalogue.Load().outdate()
		c.relay.Session.SetCatalogue(nil, c.pool.catalogue.Load() != nil)
	}
	if last {
		return true
	}
	c.application.Sets(len(out.Changes))
	unexplained := c.unexplained(s, &out)
	names := append(c.doubtful(s, &out), unexplained...)
	s.settled = c.settings
	if out.Discarded {
		s.relay.Kept = false // nothing is left that only a connection holds
		s.dirty = s.dirty && !c.lends
		c.relay.Session.Shares = c.shares()
	}
	if !out.Ask {
		for _, change := range out.Changes {
			c.follow(s, change)
		}
		c.begunAgain(s, out.Changes)
		s.settled = c.settings
	}
	if len(names) == 0 {
		return true
	}
	s.asked, s.resetPerhaps = names, out.Changes
	maybe := slices.ContainsFunc(out.Changes, func(change relay.Change) bool { return change.Maybe })
	s.askedDoubts, s.questions = maybe || out.Ask || out.AskAll || len(unexplained) > 0, 0
	w.sql = sqltext.AppendQuestion(w.sql[:0], names, s.askedDoubts)
	s.relay.Ask()
	s.sendQuery(string(w.sql))
	c.held = true // what it sends next runs with what it has then
	c.conn.PauseReads()
	return false
}

// doubtful are the parameters whose values only the server knows, sorted. A custom one that has been reset is what the role or the database
// says, or empty; only its session can tell.
func (c *Client) doubtful(s *Server, out *relay.Outcome) []string {
	var names []string
	all, custom := out.AskAll, false
	for i, change := range out.Changes {
		switch {
		case change.Name == "":
			all, custom = all || out.Ask, true
		case !out.Ask && !change.Reset && !change.Maybe && c.goesBack(change.Name, out.Changes[i+1:]): // there is nothing to ask
		case out.Ask, !change.Exact, change.Reset && c.asksWhenReset(change.Name):
			names = append(names, change.Name)
		}
	}
	if all || custom {
		known := func(name, _ string) {
			if all || c.asksWhenReset(name) {
				names = append(names, name)
			}
		}
		c.relay.Own.Each(known)
		s.own.Each(known)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return slices.DeleteFunc(names, func(name string) bool {
		_, reported := s.settings.Get(name)
		return reported // the server says so of its own accord
	})
}

// unexplained returns the reported parameters that have changed although no text has said so: a function has set them, or PostgreSQL has
// read its configuration again (it reports that with the answer to the next statement). Only PostgreSQL can tell which.
func (c *Client) unexplained(s *Server, out *relay.Outcome) (names []string) {
	if c.settings == s.settled || !c.relay.Session.Tracked {
		return nil
	}
	c.settings.Each(func(name, value string) {
		had, _ := s.settled.Get(name)
		if had != value && !slices.ContainsFunc(out.Changes, func(change relay.Change) bool { return change.Name == name || change.Name == "" }) {
			names = append(names, name)
		}
	})
	return names
}

// goesBack reports that later changes make a parameter what the client's session began with, and on the server what that began with. Who the
// session acts as is apart: resetting one of its names sets the other.
func (c *Client) goesBack(name string, later []relay.Change) bool {
	return name != "role" && name != "session_authorization" && resetAmong(later, name) && !c.asksWhenReset(name)
}

// asksWhenReset reports that RESET of a parameter makes it something that is not known here.
func (c *Client) asksWhenReset(name string) bool {
	_, begun := c.info.base.Own.Get(name)
	return !begun && strings.Contains(name, ".")
}

// follow carries out a change that is certain.
func (c *Client) follow(s *Server, change relay.Change) {
	_, reported := s.settings.Get(change.Name)
	base, hasBase := c.info.base.Own.Get(change.Name)
	switch {
	case change.Name == "":
		c.resetAll(s, change.Discard)
	case reported && change.Reset: // begunAgain sees to it
		c.resetParameter(change.Name)
	case reported: // the server has told its value
		value, _ := c.settings.Get(change.Name)
		c.set = c.set.With(change.Name, value)
	case !change.Exact: // it is asked for
	case !change.Reset:
		c.relay.Own, s.own = c.relay.Own.With(change.Name, change.Value), s.own.With(change.Name, change.Value)
	case hasBase:
		c.relay.Own, s.own = c.relay.Own.With(change.Name, base), s.own.With(change.Name, unknownValue)
	default: // a custom one is asked for
		c.relay.Own, s.own = c.relay.Own.Without(change.Name), s.own.Without(change.Name)
	}
}

// begunAgain is for reported parameters that have been reset, perhaps: one that the server now reports to be what the server began with
// has gone back, and so it is for the client what its session began with.
func (c *Client) begunAgain(s *Server, changes []relay.Change) {
	settings := c.settings
	for i, change := range changes {
		if !change.Reset {
			continue
		}
		c.info.base.Reported.Each(func(name, begun string) {
			has, _ := s.base.Get(name)
			now, _ := s.settings.Get(name)
			if (change.Name == "" || change.Name == name) && now == has && !setLater(changes[i+1:], name) {
				settings = settings.With(name, begun)
			}
		})
	}
	c.tell(settings)
}

// resetAmong reports that a parameter has been reset, perhaps.
func resetAmong(changes []relay.Change, name string) bool {
	return slices.ContainsFunc(changes, func(c relay.Change) bool { return resetsTo(c, name) })
}

// unsetValue is what a parameter reads as, of those of which PostgreSQL does not tell who set them, when nobody has.
func unsetValue(name string) string {
	if name == "role" {
		return "none"
	}
	return ""
}

// setLater reports that a parameter is among the changes that followed.
func setLater(changes []relay.Change, name string) bool {
	return slices.ContainsFunc(changes, func(later relay.Change) bool { return later.Name == name })
}

// unknownValue is what a server is taken to have where restore may have set a parameter or not: no client has it, so that it is set anew.
const unknownValue = "\x01unknown"

// resetAll follows RESET ALL or DISCARD ALL. For the client, the session begins anew with its startup parameters.
func (c *Client) resetAll(s *Server, discard bool) {
	own, left := c.info.base.Own, sqltext.Settings{}
	own.Each(func(name, _ string) { left = left.With(name, unknownValue) })
	for _, name := range [...]string{"role", "session_authorization"} {
		if value, ok := s.own.Get(name); ok && !discard {
			own, left = own.With(name, value), left.With(name, value)
		}
	}
	c.relay.Own, s.own = own, left
	c.set = c.info.asked
}

// answered takes the server's answer about the values of parameters.
func (s *Server) answered(row []byte) {
	names, c := s.asked, s.client
	changes := s.resetPerhaps
	s.asked, s.resetPerhaps = nil, nil
	if c != nil && c.listens != nil && c.listens.asked != nil {
		if !c.answeredListens(row) {
			s.unreadable()
		}
		return
	}
	ok := protocol.Columns(row, func(i int, value []byte) {
		if i >= len(names) || c == nil {
			return
		}
		if _, reported := s.settings.Get(names[i]); reported {
			if value == nil { // no session has set it: the configuration has
				c.resetParameter(names[i])
				has, _ := s.settings.Get(names[i])
				s.reloaded(names[i], has)
			}
			return
		}
		if value == nil {
			c.relay.Own, s.own = c.relay.Own.Without(names[i]), s.own.Without(names[i])
			if begun, ok := c.info.base.Own.Get(names[i]); ok {
				c.relay.Own = c.relay.Own.With(names[i], begun) // it went back to what the server began with
			}
			return
		}
		text := make([]byte, hex.DecodedLen(len(value)))
		if _, err := hex.Decode(text, value); err != nil {
			return
		}
		has := string(text)
		c.relay.Own, s.own = c.relay.Own.With(names[i], has), s.own.With(names[i], has)
		if begun, ok := c.info.base.Own.Get(names[i]); ok && has == unsetValue(names[i]) && resetAmong(changes, names[i]) {
			c.relay.Own = c.relay.Own.With(names[i], begun) // so did a custom one, which is empty there, or the role
		}
	})
	if !ok {
		s.unreadable()
	}
}

func (s *Server) unreadable() {
	s.distrusted(protocol.ErrServerLost().WithDetail("the server sent a row that cannot be read; its connection was closed."))
}
