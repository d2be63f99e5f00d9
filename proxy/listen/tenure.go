package listen

import (
	"maps"
	"slices"
	"time"

	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

const (
	// lingerTime is how long the shared connection outlives its last subscriber.
	lingerTime = 5 * time.Second
	// checkInterval is how often a shared connection that has nothing else to do is asked whether it is still there.
	checkInterval = 30 * time.Second
	// firstPause is the pause after a first loss. It doubles up to Host.RetryMax.
	firstPause = 100 * time.Millisecond
)

// forgetClient are the queries that take from a server what its last client has set. Nothing of it may end the shared connection, or change
// what it says. DISCARD ALL would do, but for the channels that a given server listens to.
//
// Each is a transaction of its own. The first lifts a statement_timeout that the others would run under. RESET ALL leaves role and
// session_authorization as they are (GUC_NO_RESET_ALL in guc_tables.c). What follows it keeps the settings of the role and of the database from
// ending the connection, and from making a LISTEN wait: a deferrable transaction may (manual 13.2.3). A timeout that this PostgreSQL does not
// have yet is left out by the WHERE of the last.
var forgetClient = [...]string{
	"SET statement_timeout = 0",
	"RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; SET statement_timeout = 0; SET default_transaction_isolation = 'read committed'; " +
		"SET default_transaction_deferrable = off; SET search_path = pg_catalog",
	"SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN " +
		"('idle_session_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout', 'lock_timeout')",
}

// Take makes a server the shared connection. The server is lent to the Hub, has no client, and listens to the channels that has names. A Hub
// that cannot use it gives it back.
func (h *Hub) Take(c Connection, has []string) {
	h.offered = false
	if h.host.Draining() {
		c.Release()
		return
	}
	if !h.host.MayListen() { // any more: nobody would listen for them
		c.Release()
		h.needed = false
		h.onEachLoop((*Subscribers).CloseAll)
		h.refuseAbsent(TooSmall)
		return
	}
	if h.queued {
		h.queued = false
		h.host.LeaveQueue()
	}
	h.host.Adopt(c)
	h.connection, h.hearing, h.needed = c, relay.Hearing{}, false
	for _, name := range slices.Sorted(maps.Keys(h.channels)) {
		ch := h.channels[name]
		ch.active = slices.Contains(has, name)
		h.review(name, ch)
	}
	for _, sql := range forgetClient {
		h.query(sql)
	}
	h.setEncoding(h.encoding)
	h.sendRound()
	h.placeAbsent()
}

// NotGiven is called when the client that was told to give its server could not.
func (h *Hub) NotGiven() {
	h.offered = false
	h.placeAbsent()
}

// GivenLost is called when the server that a client gave was lost before it arrived. The reply to the client's LISTEN has been sent.
func (h *Hub) GivenLost() {
	h.offered = false
	h.loss()
	h.backOff()
	h.placeAbsent()
}

// setEncoding sets the encoding in which the shared connection receives notifications.
func (h *Hub) setEncoding(encoding string) {
	h.encoding = encoding
	h.query(string(sqltext.AppendSettingsDiff(nil, sqltext.Settings{}.With("client_encoding", encoding), sqltext.Settings{})))
}

// Lost is called when a server that is the shared connection is closed or being closed.
func (h *Hub) Lost(c Connection) {
	if h.connection != c {
		return
	}
	h.connection, h.hearing = nil, relay.Hearing{}
	h.due = h.due[:0]
	listened := false
	for name, ch := range h.channels {
		listened = listened || ch.active
		ch.active, ch.due = false, false
		h.review(name, ch)
	}
	h.absent = slices.Concat(h.asked, h.next)
	h.asked, h.next = nil, nil
	if h.host.Draining() {
		h.absent = nil
		return
	}
	h.restoring = false
	if listened {
		h.loss()
	}
	h.needed = h.lossy && len(h.channels) > 0 // also if it was lost before it listened, in the place of another
	h.backOff()
	h.placeAbsent()
}

// loss notes that notifications may be lost, until another connection listens.
func (h *Hub) loss() {
	h.lossy, h.needed = true, len(h.channels) > 0
	h.host.ReportLoss()
	h.onEachLoop((*Subscribers).MarkLoss)
}

// backOff puts off the next try to get a server from the pool.
func (h *Hub) backOff() {
	h.pause = min(max(2*h.pause, firstPause), max(firstPause, h.host.RetryMax()))
	h.retryAt = h.host.Now() + h.pause
}

// seek stands in the pool's queue for a server, if one is needed.
func (h *Hub) seek() {
	if !h.needed || h.connection != nil || h.offered || h.queued || h.host.Draining() || h.host.Now() < h.retryAt {
		return
	}
	h.queued = true
	h.host.JoinQueue()
}

// Obtained is called when the pool has lent the server that JoinQueue asked for. While a client's server is on its way that one is taken: it
// has received what was notified since the client's LISTEN, which may have been answered already.
func (h *Hub) Obtained(c Connection) {
	h.queued = false
	if h.offered {
		c.Release()
		return
	}
	h.Take(c, nil)
}

// NotObtained is called when the pool lends no server.
func (h *Hub) NotObtained() {
	h.queued = false
	h.refuseAbsent(TimedOut)
	h.backOff()
}

// LostOnTheWay is called when the server that the pool has lent was lost before it arrived: the Hub stands in the queue again.
func (h *Hub) LostOnTheWay() {
	h.queued = false
	h.seek()
}

// Tick looks at the clocks. It is called several times a second.
func (h *Hub) Tick(now time.Duration) {
	if h.connection == nil {
		h.needed = h.needed && (len(h.channels) > 0 || len(h.absent) > 0)
		h.seek()
		return
	}
	may := h.host.MayGoOnListening()
	switch {
	case !may && len(h.channels) > 0:
		h.onEachLoop((*Subscribers).CloseAll)
	case h.hearing.Owed > 0:
	case !may:
		h.release()
	case len(h.channels) == 0 && len(h.next) == 0 && now-h.emptyAt >= lingerTime:
		h.release()
	case now-h.answeredAt >= checkInterval:
		h.query("")
	}
}

// release gives the shared connection back to the pool.
func (h *Hub) release() {
	c := h.connection
	h.connection = nil
	c.Release()
}
