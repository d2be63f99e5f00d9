// Package listen owns LISTEN on a transaction port: which clients of a pool hear which channels, the protocol of the one connection that
// listens for all of them, and the notifications that wait for a client. It must not know clients, servers or pools as connections: it sees
// a Client, a Connection and a Host, which package proxy implements (listenhost.go there).
//
// One server of a pool, the shared connection, listens to every channel that a client of the pool listens to. It is the only source of their
// notifications. PostgreSQL keeps the notifications of a database in one queue, so a listening session receives them in the order of their
// commits. A query that such a session has answered shows that it has received everything that was committed before the query was sent. This
// package calls such a query, with the LISTEN and UNLISTEN that are due, a round.
//
// The shared connection is a server like any other, lent by the pool while somebody listens. The first client to listen gives the very server
// on which its LISTEN was committed, and takes another one for its next statement. So there is no moment at which no session listens, nothing
// to wait for, and no server more than before. When the shared connection is lost, the Hub asks the pool for another server.
//
// A Hub belongs to loop 0; all its methods are called there. Subscribers and their Subscriber belong to one loop each, and are called on that
// loop. No method blocks, and time comes in as an argument or from the Host.
//
// Read hub.go first: what is listened to, and the answer to a client that begins to listen. Then rounds.go, tenure.go (how a server becomes
// the shared connection and stops being it), subscribers.go (who hears a notification, on each loop) and subscriber.go (when).
package listen

import (
	"slices"
	"time"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
)

// Host is what a Hub needs of the process around it: its loops, and the pool of its clients. All methods are called on loop 0.
type Host interface {
	// Loops returns the number of event loops.
	Loops() int
	// Now returns the time since the process started.
	Now() time.Duration
	// Post runs f on a loop, behind everything that was posted to that loop before. It never runs f at once.
	Post(loop int, f func())
	// Subscribers returns the subscribers of the pool on a loop. The Hub calls it on that loop.
	Subscribers(loop int) *Subscribers
	// Draining reports that the process is about to end: the Hub takes no server any more.
	Draining() bool
	// MayListen reports whether the pool has a server to spare for listening.
	MayListen() bool
	// MayGoOnListening is MayListen for a pool that has a shared connection: the settings may have changed.
	MayGoOnListening() bool
	// JoinQueue asks the pool for a server. Within the call or later it leads to Obtained, NotObtained or LostOnTheWay, unless LeaveQueue
	// comes first.
	JoinQueue()
	// LeaveQueue takes JoinQueue back.
	LeaveQueue()
	// Adopt makes a connection the shared one. The pool counts it so, and what it says goes to Hub.Read.
	Adopt(c Connection)
	// ReportLoss counts and logs that the shared connection was lost while it listened.
	ReportLoss()
	// RetryMax is the longest pause between two tries to replace a lost connection.
	RetryMax() time.Duration
}

// Connection is a server that listens, or may. It has no client. Two of them are compared by ==.
type Connection interface {
	// Query sends a simple query. Its answer goes to Hub.Read. If it does not come within a time that the Connection sets, the server is
	// closed, which leads to Hub.Lost.
	Query(sql string)
	// Rest is called when every query has been answered: no answer is waited for.
	Rest()
	// Closing reports that the server is being closed: nothing more is read of it.
	Closing() bool
	// Report takes a ParameterStatus.
	Report(frame []byte)
	// Refused takes the ErrorResponse to a query of the Hub's, and closes the server.
	Refused(frame []byte)
	// Distrusted closes a server that has said something that cannot be.
	Distrusted(err *protocol.Error)
	// Release gives the server back to its pool, which cleans it before it lends it again. The server may listen to channels.
	Release()
}

// Hub is the shared connection of one pool, and what is to be listened to.
type Hub struct {
	host       Host
	connection Connection // nil: there is none now
	hearing    relay.Hearing
	encoding   string // client_encoding of all clients that listen
	channels   map[string]*channel
	subscribed []int // by loop: the number of channels that have subscribers there

	due    []string  // channels whose LISTEN or UNLISTEN has to be sent
	asked  []Request // answered by the round on its way
	next   []Request // answered by the round after it
	absent []Request // answered when there is a shared connection

	offered bool // a client has been told to give its server
	queued  bool // the Host stands in the pool's queue
	needed  bool // a server is to be taken from the pool

	pause, retryAt time.Duration // between tries after a loss
	answeredAt     time.Duration // when the last round was answered
	emptyAt        time.Duration // since when nobody listens
	lossy          bool          // notifications may have been lost, and the clients have not been told
	restoring      bool          // with lossy: the round on its way has every LISTEN that the lost connection had
}

// channel is a channel that some client listens to, or did a moment ago.
type channel struct {
	on     []bool // by loop: it has subscribers there
	active bool   // LISTEN has been sent, and no UNLISTEN since
	due    bool   // it is in Hub.due
}

// Request asks that the shared connection listen to channels, and have received everything that was committed before.
type Request struct {
	// Loop is the loop that asks. It has subscribers of Channels from now on.
	Loop int
	// Encoding is the client_encoding of the client. It is not looked at when there are no Channels.
	Encoding string
	Channels []string
	// Must: where there is no shared connection the request waits for one, instead of being answered NoConnection.
	Must bool
	// Offers: the client has a server to give.
	Offers bool
	// Done is called with the answer, on Loop, and never within Ensure.
	Done func(Answer)
}

// Answer is the answer to a Request.
type Answer uint8

// The answers.
const (
	// Listens: the shared connection listens to the channels. All that it received before has been delivered on the asking loop.
	Listens Answer = iota
	// NoConnection: there is none now. Its Request did not have Must.
	NoConnection
	// Give: there is none, and the client is to give the server that it offers: to Take, or to NotGiven if it cannot.
	Give
	// OtherEncoding: the shared connection listens in another encoding.
	OtherEncoding
	// TooSmall: the pool has no server to spare.
	TooSmall
	// TimedOut: no server became free within query_wait_timeout.
	TimedOut
	// Unreadable is no answer of a Hub's: its caller cannot read the name of the channel, and does not ask.
	Unreadable
)

// NewHub makes the Hub of one pool.
func NewHub(host Host) *Hub {
	return &Hub{host: host, channels: make(map[string]*channel), subscribed: make([]int, host.Loops())}
}

// Ensure has the shared connection listen to the channels of a request. The asking loop says Leave when it has no subscriber of one any more.
func (h *Hub) Ensure(r Request) {
	gains := len(r.Channels) > 0
	if gains && h.connection == nil && !h.offered && !h.queued && len(h.channels) == 0 {
		h.encoding = r.Encoding
	}
	if gains && r.Encoding != h.encoding && h.connection != nil && len(h.channels) == 0 {
		h.setEncoding(r.Encoding)
	}
	switch {
	case gains && r.Encoding != h.encoding: // a client that gains no channel may have changed its encoding since
		h.answer(r, OtherEncoding)
		return
	case h.connection == nil && !h.host.MayListen():
		h.answer(r, TooSmall)
		return
	}
	for _, name := range r.Channels {
		h.want(name, r.Loop)
	}
	h.place(r)
}

// place puts a request, whose channels are wanted, onto the list that it waits in.
func (h *Hub) place(r Request) {
	switch {
	case h.connection != nil:
		h.next = append(h.next, r)
		h.sendRound()
	case !r.Must:
		h.answer(r, NoConnection)
	case r.Offers && !h.offered:
		h.offered = true
		h.answer(r, Give)
	default:
		h.absent = append(h.absent, r)
		h.needed = h.needed || !h.offered
		h.seek()
	}
}

// answer answers a request on its own loop, behind the notifications that were distributed before.
func (h *Hub) answer(r Request, a Answer) {
	h.host.Post(r.Loop, func() { r.Done(a) })
}

// placeAbsent places all requests anew that wait for a connection.
func (h *Hub) placeAbsent() {
	waiting := h.absent
	h.absent = nil
	for _, r := range waiting {
		h.place(r)
	}
}

// refuseAbsent answers all requests that wait for a connection.
func (h *Hub) refuseAbsent(a Answer) {
	for _, r := range h.absent {
		h.answer(r, a)
	}
	h.absent = nil
}

// want notes that a loop has subscribers of a channel.
func (h *Hub) want(name string, loop int) {
	ch := h.channels[name]
	if ch == nil {
		ch = &channel{on: make([]bool, len(h.subscribed))}
		h.channels[name] = ch
	}
	if !ch.on[loop] {
		ch.on[loop] = true
		h.subscribed[loop]++
	}
	h.review(name, ch)
}

// Leave notes that a loop has no subscriber of a channel any more.
func (h *Hub) Leave(name string, loop int) {
	ch := h.channels[name]
	if ch == nil || !ch.on[loop] {
		return
	}
	ch.on[loop] = false
	h.subscribed[loop]--
	h.review(name, ch)
	h.sendRound()
}

// review puts a channel onto the list of those whose LISTEN or UNLISTEN has to be sent, and forgets a channel for which nothing has to be.
func (h *Hub) review(name string, ch *channel) {
	wanted := ch.wanted()
	switch {
	case wanted != ch.active && !ch.due && h.connection != nil:
		ch.due = true
		h.due = append(h.due, name)
	case !wanted && !ch.active && !ch.due:
		delete(h.channels, name)
	}
	if len(h.channels) > 0 {
		h.emptyAt = 0
	} else {
		h.emptyAt = h.host.Now()
	}
}

// wanted reports that some loop has subscribers of the channel.
func (ch *channel) wanted() bool { return slices.Contains(ch.on, true) }

// Left returns the number of channels and requests that the Hub still knows.
func (h *Hub) Left() int { return len(h.channels) + len(h.absent) + len(h.asked) + len(h.next) }
