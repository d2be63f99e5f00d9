package listen

import (
	"bytes"
	"maps"
	"slices"
)

// QueuedMax is how much may wait for a client that is in a transaction or does not read, in bytes.
const QueuedMax = 1 << 20

// Client is a client of the pooler as this package sees it. Its methods are called on its loop.
type Client interface {
	// Closing reports that the client is being closed: it is sent nothing more.
	Closing() bool
	// Between reports that the client is between transactions and that nothing of a reply is outstanding. PostgreSQL, too, sends
	// notifications only there.
	Between() bool
	// Backlog returns how much the client has been sent and has not taken yet, in bytes.
	Backlog() int
	// SendNotification sends a NotificationResponse, SendNotice a NoticeResponse. The frame is not kept.
	SendNotification(frame []byte)
	SendNotice(frame []byte)
	// Listens is called with true when the client has its first subscription, and with false when it has none any more.
	Listens(is bool)
	// CloseSlow closes the client because more than QueuedMax waits for it.
	CloseSlow()
	// CloseTooSmall closes the client because its pool cannot have a shared connection any more.
	CloseTooSmall()
}

// Subscriber is the subscriptions of one client, and the notifications that wait for it.
type Subscriber struct {
	client Client
	among  *Subscribers
	at     int                      // its place in Subscribers.all
	on     map[string]*subscription // by channel
	queue  []queued                 // what waits until the client is between transactions
	own    [][]byte                 // notifications that its own server has sent, which come before those
	bytes  int                      // in queue and own
	slow   bool                     // too much waits: it is being closed
	missed bool                     // it may have missed a notification, and has not been told
}

// queued is a notification that waits. Without a subscription it is a notice.
type queued struct {
	frame []byte
	sub   *subscription
}

// NewSubscriber makes one that has no subscription yet.
func NewSubscriber(client Client, among *Subscribers) Subscriber {
	return Subscriber{client: client, among: among}
}

// Channels returns the number of channels that the client listens to, or has reserved.
func (s *Subscriber) Channels() int { return len(s.on) }

// Has reports whether the client listens to a channel, or has reserved it.
func (s *Subscriber) Has(channel string) bool { return s.on[channel] != nil }

// Reserve keeps what is sent on a channel from now on until the client has committed its LISTEN.
func (s *Subscriber) Reserve(channel string) { s.among.add(s, channel) }

// Commit lets the client listen to a channel. own: its own server listens, too, and sends all that is notified from the commit on. What the
// shared connection receives on the channel is dropped then, until ServerDone.
func (s *Subscriber) Commit(channel string, own bool) {
	sub := s.among.add(s, channel)
	sub.committed, sub.own = true, own
}

// ServerDone is called when the client's server is about to listen no more. From now on the client gets what the shared connection receives,
// but for what its server has sent or sends nevertheless: see KeepOwn.
func (s *Subscriber) ServerDone() {
	for _, sub := range s.on {
		sub.own = false
	}
}

// Remove ends a subscription, if there is one.
func (s *Subscriber) Remove(channel string) {
	if sub := s.on[channel]; sub != nil {
		s.among.remove(sub)
	}
}

// RemoveAll ends all subscriptions.
func (s *Subscriber) RemoveAll() {
	for _, channel := range slices.Sorted(maps.Keys(s.on)) {
		s.Remove(channel)
	}
}

// RemoveReserved ends the subscriptions that have not been committed.
func (s *Subscriber) RemoveReserved() {
	for _, channel := range slices.Sorted(maps.Keys(s.on)) {
		if !s.on[channel].committed {
			s.Remove(channel)
		}
	}
}

// receive sends a notification to the client: now if it is between transactions, and else in DeliverQueue.
func (s *Subscriber) receive(frame []byte, sub *subscription) {
	switch {
	case s.client.Closing() || s.slow || sub != nil && sub.own:
	case s.bytes+s.client.Backlog()+len(frame) > QueuedMax:
		s.slow = true
		s.among.slow = append(s.among.slow, s)
	case sub != nil && !sub.committed || len(s.queue) > 0 || !s.client.Between():
		s.queue = append(s.queue, queued{frame: bytes.Clone(frame), sub: sub})
		s.bytes += len(frame)
	case sub != nil:
		s.client.SendNotification(frame)
	default:
		s.client.SendNotice(frame)
	}
}

// KeepOwn keeps a notification that the client's server has sent itself, up to the ReadyForQuery. A shared connection may have come up
// meanwhile and have received the same: see DeliverQueue.
func (s *Subscriber) KeepOwn(frame []byte) {
	if s.bytes+len(frame) > QueuedMax {
		s.deliverOwn() // the client has notified itself: what its own statements say is not held against it
	}
	s.own = append(s.own, bytes.Clone(frame))
	s.bytes += len(frame)
}

func (s *Subscriber) deliverOwn() {
	for _, frame := range s.own {
		s.bytes -= len(frame)
		s.client.SendNotification(frame)
	}
	s.own = nil
}

// DeliverQueue sends what has waited. It is called when the client is between transactions. A notification on a channel that is reserved goes
// on waiting. One on a channel that the client no longer listens to is dropped.
func (s *Subscriber) DeliverQueue() {
	own := s.own
	s.deliverOwn()
	kept := s.queue[:0]
	for _, q := range s.queue {
		twice := slices.IndexFunc(own, func(frame []byte) bool { return bytes.Equal(frame, q.frame) })
		if twice < 0 && q.sub != nil && s.on[q.sub.channel] == q.sub && !q.sub.committed {
			kept = append(kept, q)
			continue
		}
		s.bytes -= len(q.frame)
		switch {
		case twice >= 0:
			own = slices.Delete(own, twice, twice+1)
		case q.sub == nil:
			s.client.SendNotice(q.frame)
		case s.on[q.sub.channel] == q.sub:
			s.client.SendNotification(q.frame)
		}
	}
	s.keep(kept)
}

// DropReserved drops what waits on channels that are only reserved: it was notified before the client's LISTEN.
func (s *Subscriber) DropReserved() {
	kept := s.queue[:0]
	for _, q := range s.queue {
		if q.sub != nil && !q.sub.committed {
			s.bytes -= len(q.frame)
		} else {
			kept = append(kept, q)
		}
	}
	s.keep(kept)
}

// DropQueue drops everything: the client is gone.
func (s *Subscriber) DropQueue() { s.queue = nil }

// keep makes the first elements of the queue, which are kept, the whole of it.
func (s *Subscriber) keep(kept []queued) {
	clear(s.queue[len(kept):])
	if s.queue = kept; len(kept) == 0 {
		s.queue = nil
	}
}
