package listen

import (
	"slices"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
)

// Subscribers are the clients of one pool that listen, on one loop.
type Subscribers struct {
	leave    func(channel string)
	channels map[string][]*subscription
	all      []*Subscriber // those that have a subscription
	slow     []*Subscriber // found in the middle of a walk, and closed behind it
}

// subscription is one client and one channel.
type subscription struct {
	subscriber *Subscriber
	channel    string
	at         int  // its place in the channel's list
	committed  bool // otherwise the client is about to listen
	own        bool // the client's own server sends what is notified on the channel
}

// NewSubscribers makes the subscribers of one pool on one loop. leave is called when nobody there listens to a channel any more; it leads to
// Hub.Leave.
func NewSubscribers(leave func(channel string)) *Subscribers {
	return &Subscribers{leave: leave, channels: make(map[string][]*subscription)}
}

// Channels returns the number of channels that somebody listens to.
func (a *Subscribers) Channels() int { return len(a.channels) }

// add lets a client receive what is sent on a channel. Several times count once.
func (a *Subscribers) add(s *Subscriber, channel string) *subscription {
	if sub := s.on[channel]; sub != nil {
		return sub
	}
	sub := &subscription{subscriber: s, channel: channel, at: len(a.channels[channel])}
	a.channels[channel] = append(a.channels[channel], sub)
	if s.on == nil {
		s.on = make(map[string]*subscription)
	}
	if len(s.on) == 0 {
		s.at = len(a.all)
		a.all = append(a.all, s)
		s.client.Listens(true)
	}
	s.on[channel] = sub
	return sub
}

// remove ends a subscription. The last one of a channel tells the Hub.
func (a *Subscribers) remove(sub *subscription) {
	list := a.channels[sub.channel]
	last := list[len(list)-1]
	list[sub.at], last.at = last, sub.at
	list[len(list)-1] = nil
	a.channels[sub.channel] = list[:len(list)-1]
	s := sub.subscriber
	delete(s.on, sub.channel)
	if len(s.on) == 0 {
		end := a.all[len(a.all)-1]
		a.all[s.at], end.at = end, s.at
		a.all[len(a.all)-1] = nil
		a.all = a.all[:len(a.all)-1]
		s.client.Listens(false)
	}
	if len(list) == 1 {
		delete(a.channels, sub.channel)
		a.leave(sub.channel)
	}
}

// Deliver hands notifications to the clients that listen to their channels.
func (a *Subscribers) Deliver(frames []byte) {
	relay.EachNotification(frames, func(frame, channel []byte) {
		for _, sub := range a.channels[string(channel)] {
			sub.subscriber.receive(frame, sub)
		}
	})
	a.closeSlow()
}

// closeSlow closes the clients that do not read their notifications. The others are not delayed by them.
func (a *Subscribers) closeSlow() {
	slow := a.slow
	a.slow = nil
	for _, s := range slow {
		s.client.CloseSlow()
	}
}

// MarkLoss notes which clients may have missed a notification. TellLoss tells them.
func (a *Subscribers) MarkLoss() {
	for _, s := range a.all {
		s.missed = true
	}
}

// TellLoss tells the clients that MarkLoss has noted. It is called when the shared connection listens again: what a client looks up then
// cannot change without a notification.
func (a *Subscribers) TellLoss() {
	notice := protocol.NoticeNotificationsLost().AppendNotice(nil)
	for _, s := range a.all {
		if s.missed {
			s.missed = false
			s.receive(notice, nil)
		}
	}
	a.closeSlow()
}

// CloseAll closes all clients that listen: the pool has become too small for a server that listens.
func (a *Subscribers) CloseAll() {
	for _, s := range slices.Clone(a.all) {
		s.client.CloseTooSmall()
	}
}
