package proxy

import (
	"strings"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Replication connections (session listeners only): the server of one is a walsender, opened for that client alone with the parameters of
// its startup packet, which decide what kind of process PostgreSQL starts, and closed when the client leaves. Its login therefore ends when
// its server is there: it stands in the pool's queue like any client, and is greeted with that server's own parameters, or with what
// PostgreSQL says to the login. What passes afterwards are commands of streaming replication (manual 55.4): no query time-out is measured,
// nothing is reset.

// replication is what a client wants of its own server. Immutable.
type replication struct {
	kind        protocol.Replication
	parameters  map[string]string // of the startup packet, but for user and database
	secretBytes int               // of its cancel key
}

// replicationOf is what a startup packet asks for; nil: an ordinary connection.
func replicationOf(startup *protocol.Startup, kind protocol.Replication) *replication {
	if kind == protocol.NoReplication {
		return nil
	}
	r := &replication{kind: kind, parameters: make(map[string]string), secretBytes: secretBytes(startup)}
	for _, p := range startup.Params {
		if p.Name != "user" && p.Name != "database" && !strings.HasPrefix(p.Name, "_pq_.") {
			r.parameters[p.Name] = p.Value
		}
	}
	return r
}

// queueReplication puts a client that has proved who it is into the queue for a server of its own.
func (w *worker) queueReplication(c *Client) {
	wt := w.newWaiter(c)
	wt.Dedicated = c.info.replication
	c.waiter = wt
	c.state = clientWaiting
	c.conn.PauseReads()
	w.pools(func() {
		c.pool.pool.Checkout(wt, w.loop.Now())
	})
	w.act()
}

// linkReplication ends the login of a client: the server that was opened for it is there. The process id that it is told is the server's if
// possible: pg_basebackup names a replication slot after it.
func (w *worker) linkReplication(c *Client, s *Server) {
	c.setSettings(s.settings)
	w.link(c, s)
	if err := w.proxy.cancels.add(c, s.key.ProcessID, c.info.replication.secretBytes); err != nil {
		c.close(stats.ClientServerLogin, protocol.ErrServerLost().WithDetail(err.Error()))
		return
	}
	greeting := (&parameters{reported: s.reported}).greet(sqltext.Settings{})
	greeting = append(protocol.AppendBackendKeyData(greeting, c.info.key), readyIdle...)
	s.reported = nil
	c.conn.Send(greeting)
	w.proxy.loggedIn(c)
	c.conn.ResumeReads()
}
