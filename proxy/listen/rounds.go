package listen

import (
	"slices"

	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// sendRound sends the next round when the last one has been answered: the LISTEN and UNLISTEN that are due, or an empty query. PostgreSQL
// sends the notifications that it knows of ahead of the ReadyForQuery.
func (h *Hub) sendRound() {
	if h.connection == nil || h.hearing.Owed > 0 || len(h.due) == 0 && len(h.next) == 0 {
		return
	}
	var sql []byte
	for _, name := range h.due {
		ch := h.channels[name]
		ch.due = false
		wanted := ch.wanted()
		switch {
		case wanted && !ch.active:
			sql = sqltext.AppendListen(sql, name)
		case !wanted && ch.active:
			sql = sqltext.AppendUnlisten(sql, name)
		}
		ch.active = wanted
		h.review(name, ch)
	}
	h.due = h.due[:0]
	h.asked, h.next = h.next, h.asked[:0]
	h.restoring = h.lossy
	h.query(string(sql))
}

// query sends one query to the shared connection.
func (h *Hub) query(sql string) {
	h.hearing.Owed++
	h.connection.Query(sql)
}

// Read takes bytes that the shared connection has sent. It returns how many it needs no more; the others come again with those that follow.
func (h *Hub) Read(b []byte) (consumed int) {
	total, c := len(b), h.connection
	for len(b) > 0 && h.connection == c && !c.Closing() {
		step := h.hearing.FromServer(b)
		switch step.Verdict {
		case relay.Forward:
			h.distribute(b[:step.N])
		case relay.Report:
			c.Report(b[:step.N])
		case relay.Ready:
			h.answered()
		case relay.Refused:
			c.Refused(b[:step.N])
		case relay.Distrust:
			c.Distrusted(step.Err)
		case relay.Drop:
		default: // More
			return total - len(b)
		}
		b = b[step.N:]
	}
	return total - len(b)
}

// distribute hands whole notifications to the loops that have subscribers.
func (h *Hub) distribute(frames []byte) {
	for loop, channels := range h.subscribed {
		switch {
		case channels == 0:
		case loop == 0:
			h.host.Subscribers(0).Deliver(frames)
		default:
			whole := slices.Clone(frames)
			h.host.Post(loop, func() { h.host.Subscribers(loop).Deliver(whole) })
		}
	}
}

// answered is called when a query has been answered.
func (h *Hub) answered() {
	if h.hearing.Owed > 0 {
		return
	}
	h.connection.Rest()
	h.answeredAt, h.pause = h.host.Now(), 0
	if h.lossy && (h.restoring || len(h.due) == 0) { // not by the answer to a query that went ahead of the LISTENs
		h.lossy, h.restoring = false, false
		h.onEachLoop((*Subscribers).TellLoss)
	}
	for _, r := range h.asked {
		h.answer(r, Listens)
	}
	clear(h.asked)
	h.asked = h.asked[:0]
	h.sendRound()
}

// onEachLoop calls f with the subscribers of every loop: at once with those of loop 0.
func (h *Hub) onEachLoop(f func(*Subscribers)) {
	f(h.host.Subscribers(0))
	for loop := 1; loop < len(h.subscribed); loop++ {
		h.host.Post(loop, func() { f(h.host.Subscribers(loop)) })
	}
}
