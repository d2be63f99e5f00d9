package proxy

import (
	"bytes"
	"slices"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// audience are the clients of one pool that listen, on one loop.
type audience struct {
	worker   *worker
	pool     *serverPool
	channels map[string][]*subscription
	slow     []*Client // found in the middle of a walk, and closed behind it
}

// subscription is one client and one channel.
type subscription struct {
	client  *Client
	channel string
	at      int  // its place in the channel's list
	active  bool // committed; otherwise the client is about to listen
}

// audienceOf finds or makes the audience of a pool on this loop.
func (w *worker) audienceOf(sp *serverPool) *audience {
	a := w.audiences[sp]
	if a == nil {
		a = &audience{worker: w, pool: sp, channels: make(map[string][]*subscription)}
		w.audiences[sp] = a
	}
	return a
}

// forgetListening drops what the loop has for a pool that is no more: nobody listens there.
func (w *worker) forgetListening(sp *serverPool) {
	delete(w.audiences, sp)
	w.notifiers = slices.DeleteFunc(w.notifiers, func(n *notifier) bool { return n.pool == sp })
}

// add lets a client hear a channel. Several times count once.
func (a *audience) add(c *Client, name string) *subscription {
	if sub := c.listens.on[name]; sub != nil {
		return sub
	}
	sub := &subscription{client: c, channel: name, at: len(a.channels[name])}
	a.channels[name] = append(a.channels[name], sub)
	if c.listens.on == nil {
		c.listens.on = make(map[string]*subscription)
	}
	if len(c.listens.on) == 0 {
		c.counters.Listening++
	}
	c.listens.on[name] = sub
	return sub
}

// remove takes a subscription away. The last one of a channel tells the shared connection.
func (a *audience) remove(sub *subscription) {
	all := a.channels[sub.channel]
	last := all[len(all)-1]
	all[sub.at], last.at = last, sub.at
	all[len(all)-1] = nil
	a.channels[sub.channel] = all[:len(all)-1]
	c := sub.client
	delete(c.listens.on, sub.channel)
	if len(c.listens.on) == 0 {
		c.counters.Listening--
	}
	if len(all) > 1 {
		return
	}
	delete(a.channels, sub.channel)
	index := a.worker.index
	a.worker.reach(a.pool, func(n *notifier) { n.leave(sub.channel, index) })
}

// hear hands notifications to those who listen.
func (a *audience) hear(frames []byte) {
	relay.EachNotification(frames, func(frame, channel []byte) {
		for _, sub := range a.channels[string(channel)] {
			sub.client.hear(frame, sub)
		}
	})
	a.closeSlow()
}

// closeSlow ends the clients that do not read what they hear. The others are not delayed by them.
func (a *audience) closeSlow() {
	slow := a.slow
	a.slow = nil
	for _, c := range slow {
		c.close(stats.ClientNotificationsUnread, protocol.ErrNotificationsUnread(notificationsMax))
	}
}

// each calls f once for every client that listens.
func (a *audience) each(f func(c *Client)) {
	for c := a.worker.clients.first; c != nil; {
		next := c.next
		if c.pool == a.pool && c.listens != nil && len(c.listens.on) > 0 {
			f(c)
		}
		c = next
	}
}

// markLoss notes who may have missed something, and tellLoss tells them when the shared connection listens again: what they look up then
// cannot be out of date without a notification.
func (a *audience) markLoss() { a.each(func(c *Client) { c.listens.lossy = true }) }

func (a *audience) tellLoss() {
	notice := protocol.NoticeNotificationsLost().AppendNotice(nil)
	a.each(func(c *Client) {
		if c.listens.lossy {
			c.listens.lossy = false
			c.hear(notice, nil)
		}
	})
	a.closeSlow()
}

// disperse closes all who listen: the pool has become too small for a server that listens.
func (a *audience) disperse() {
	a.each(func(c *Client) { c.close(stats.ClientListenImpossible, protocol.ErrListenImpossible(listenNeedsTwo)) })
}

// notificationsMax is how much may wait for a client that is in a transaction or does not read, in bytes.
const notificationsMax = 1 << 20

// heard is a notification that waits until its client is between transactions. Without a subscription it is a notice.
type heard struct {
	frame []byte
	sub   *subscription
}

// hear sends a notification to a client, now if it is between transactions and else with its next ReadyForQuery.
func (c *Client) hear(frame []byte, sub *subscription) {
	l := c.listens
	switch {
	case c.state == clientClosing || l.slow:
	case l.queued+c.conn.Backlog()+len(frame) > notificationsMax:
		l.slow = true
		a := c.worker.audienceOf(c.pool)
		a.slow = append(a.slow, c)
	case sub != nil && !sub.active || l.ready || len(l.queue) > 0 || !c.between():
		l.queue = append(l.queue, heard{frame: bytes.Clone(frame), sub: sub})
		l.queued += len(frame)
	default:
		c.deliver(frame, sub != nil)
	}
}

// between reports that a client is between transactions and nothing of a reply is outstanding: there PostgreSQL sends notifications too.
func (c *Client) between() bool {
	s := c.server
	return s == nil && !c.relay.Deferred() || s != nil && s.relay.Settled() && !c.relay.MidMessage()
}

// catchUp sends what a client was to hear when a transaction that no server knew of has ended.
func (c *Client) catchUp() {
	if c.listens != nil && c.server == nil && c.between() {
		c.deliverQueue()
	}
}

// deliver sends a notification, or a notice.
func (c *Client) deliver(frame []byte, notification bool) {
	if notification {
		c.counters.Notifications++
	}
	c.counters.Sent += uint64(len(frame))
	c.conn.Send(frame)
}

// overhears keeps a notification that the client's server has heard itself, up to the ReadyForQuery. There a shared connection may have come
// up and have heard the same: see deliverQueue.
func (c *Client) overhears(frame []byte) {
	l := c.listensOf()
	if l.queued+len(frame) > notificationsMax {
		c.deliverOwn() // it has notified itself: what its own statements say is not held against it
	}
	l.own = append(l.own, bytes.Clone(frame))
	l.queued += len(frame)
}

func (c *Client) deliverOwn() {
	l := c.listens
	for _, frame := range l.own {
		l.queued -= len(frame)
		c.deliver(frame, true)
	}
	l.own = nil
}

// deliverQueue sends what has waited, and is called when the client is between transactions. What it has not committed to listen to goes on
// waiting; what it no longer listens to is forgotten.
func (c *Client) deliverQueue() {
	l := c.listens
	own := l.own
	c.deliverOwn()
	kept := l.queue[:0]
	for _, h := range l.queue {
		twice := slices.IndexFunc(own, func(frame []byte) bool { return bytes.Equal(frame, h.frame) })
		switch {
		case twice >= 0:
			own = slices.Delete(own, twice, twice+1)
			l.queued -= len(h.frame)
		case h.sub != nil && l.on[h.sub.channel] != h.sub:
			l.queued -= len(h.frame)
		case h.sub != nil && !h.sub.active:
			kept = append(kept, h)
		default:
			l.queued -= len(h.frame)
			c.deliver(h.frame, h.sub != nil)
		}
	}
	clear(l.queue[len(kept):])
	if l.queue = kept; len(kept) == 0 {
		l.queue = nil
	}
}

// forgetReserved drops what was heard on channels that the client has not committed to listen to: it was notified before.
func (l *listens) forgetReserved() {
	kept := l.queue[:0]
	for _, h := range l.queue {
		if h.sub != nil && !h.sub.active {
			l.queued -= len(h.frame)
		} else {
			kept = append(kept, h)
		}
	}
	clear(l.queue[len(kept):])
	l.queue = kept
}
