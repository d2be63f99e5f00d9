package proxy

import (
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// RESET goes back to what the client's session began with, its startup parameters, as on a direct connection. Between transactions of a client
// that is followed from server to server session.go sees to that; here it is done in transactions, and on the session port, where nothing else
// is followed (relay/restore.go).

// conclude is called between transactions when something is noted about a client's statements. It reports false when the server has been asked.
func (w *worker) conclude(c *Client, s *Server, last bool) bool {
	if !c.relay.Session.Restores {
		return w.resolve(c, s, last)
	}
	if last { // another client gets the server, which nobody will know
		c.relay.Session.Restore()
		s.doubtOwn(c)
		return true
	}
	w.restore(c, s)
	return true
}

// restore sets anew what RESET has taken of the startup parameters: it went back to what the server began with. Should that fail, the server is
// left in a failed transaction: nothing sent behind it can run without them.
func (w *worker) restore(c *Client, s *Server) {
	news := c.relay.Session.NewChanges
	if c.relay.Session.Restores {
		news = c.relay.Session.Restore
	}
	changes, sure := news()
	taken := c.taken(s, changes, sure)
	if taken == (sqltext.Settings{}) {
		return
	}
	outside := s.relay.TxStatus == relay.StatusIdle
	sql := w.sql[:0]
	if outside {
		sql = append(sql, "BEGIN;"...)
	}
	if sure {
		sql = sqltext.AppendSettingsDiff(sql, taken, sqltext.Settings{})
	} else {
		sql = sqltext.AppendRestore(sql, taken)
	}
	if outside {
		sql = append(sql, "COMMIT"...)
	}
	w.sql = sql
	s.inject(string(sql))
	s.applying = true
}

// taken are the parameters that the session began with and that changes have reset to what the server began with. Those that may have been
// set again behind that are among them unless it is sure.
func (c *Client) taken(s *Server, changes []relay.Change, sure bool) sqltext.Settings {
	var all []protocol.Param
	look := func(name, begun string) {
		for i, change := range changes {
			if resetsTo(change, name) && !(sure && setLater(changes[i+1:], name)) {
				all = append(all, protocol.Param{Name: name, Value: begun})
				return
			}
		}
	}
	c.info.base.Reported.Each(func(name, begun string) {
		if has, _ := s.base.Get(name); has != begun {
			look(name, begun)
		}
	})
	c.info.base.Own.Each(look)
	return sqltext.Settings{}.WithAll(all...)
}

// resetsTo reports that a change resets a parameter. RESET ALL leaves alone who the session acts as.
func resetsTo(change relay.Change, name string) bool {
	switch {
	case !change.Reset:
		return false
	case change.Name == "":
		return change.Discard || name != "role"
	case change.Name == "session_authorization":
		return name == "role"
	}
	return change.Name == name
}

// doubtOwn is for a server whose client leaves while nobody knows what it has of the startup parameters: whoever comes next sets its own.
func (s *Server) doubtOwn(c *Client) {
	if !c.relay.Session.Restores {
		return
	}
	s.own.Each(func(name, _ string) { s.own = s.own.With(name, unknownValue) })
}
