package listen_test

import (
	"strconv"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/proxy/listen"
)

// clientState says where a client is.
type clientState int

const (
	idle       clientState = iota
	busy                   // in a transaction that has nothing to do with LISTEN
	announcing             // the Hub has been asked before the LISTEN is sent
	judged                 // the LISTEN has run in a transaction that is open
	committed              // the reply to the commit is withheld until the Hub has answered
)

// client is a listen.Client, and does what package proxy does around a LISTEN.
type client struct {
	world      *world
	loop       int
	subscriber listen.Subscriber
	state      clientState
	channel    string   // of its LISTEN
	hears      bool     // its own server listens, for there was no shared connection
	server     *session // that server

	since   map[string]int // by channel: the last notification when its LISTEN was answered
	last    map[string]int // by channel: the last notification that it got
	got     map[int]bool
	notices int
	closed  int
	excused int // the last notification when it was last told of a loss
	again   int // the last notification when it last got one twice or out of order
}

func (c *client) Closing() bool  { return false }
func (c *client) Between() bool  { return c.state == idle }
func (c *client) Backlog() int   { return 0 }
func (c *client) Listens(bool)   {}
func (c *client) CloseSlow()     { c.world.fault("closed for being slow") }
func (c *client) CloseTooSmall() { c.closed++ }

func (c *client) SendNotice([]byte) {
	c.notices++
	c.excused = c.world.noted
}

func (c *client) SendNotification(frame []byte) {
	var m pgproto3.NotificationResponse
	if err := m.Decode(frame[5:]); err != nil {
		c.world.fault("%v", err)
		return
	}
	number, _ := strconv.Atoi(m.Payload)
	if !c.subscriber.Has(m.Channel) {
		c.world.fault("notification %d on %s, to which the client does not listen", number, m.Channel)
	}
	if number <= c.last[m.Channel] {
		c.again = max(c.again, c.world.noted)
	}
	c.last[m.Channel] = max(c.last[m.Channel], number)
	c.got[number] = true
}

// step is the next thing that the client does.
func (c *client) step() {
	w := c.world
	switch c.state {
	case idle:
		channel := channels[w.random.IntN(len(channels))]
		switch n := w.random.IntN(8); {
		case n == 0:
			c.subscriber.Remove(channel)
			delete(c.since, channel)
		case n == 1:
			c.subscriber.RemoveAll()
			clear(c.since)
		case n < 5:
			c.state = busy
		default:
			c.announce(channel)
		}
		if c.subscriber.Channels() == 0 {
			c.again = 0 // a client that listens to nothing is not told of a loss
		}
	case busy:
		c.release()
	case judged:
		if w.random.IntN(3) == 0 {
			c.subscriber.RemoveReserved()
			c.release()
		} else {
			c.commit()
		}
	case announcing, committed:
		c.readServer()
	}
}

// finish ends the transaction that the client is in.
func (c *client) finish() {
	switch c.state {
	case busy:
		c.release()
	case judged:
		c.commit()
	case idle, announcing, committed:
		c.readServer()
	}
}

func (c *client) ask(r listen.Request) {
	r.Loop, r.Encoding = c.loop, "UTF8"
	c.world.onHub(c.loop, func() { c.world.hub.Ensure(r) })
}

// announce is the beginning of a LISTEN.
func (c *client) announce(channel string) {
	c.state, c.channel = announcing, channel
	c.subscriber.Reserve(channel)
	c.ask(listen.Request{Channels: []string{channel}, Done: func(a listen.Answer) {
		c.state = judged
		switch a {
		case listen.Listens:
			c.subscriber.DropReserved()
			c.hears = false
		case listen.NoConnection:
			c.hears = true
		default:
			c.world.fault("answer %d", a)
		}
	}})
}

func (c *client) commit() {
	c.state = committed
	if c.hears {
		c.subscriber.DropReserved()
	}
	c.subscriber.Commit(c.channel, c.hears)
	if !c.hears {
		c.ask(listen.Request{Done: func(listen.Answer) { c.answered() }})
		return
	}
	c.server = c.world.newSession()
	c.server.channels[c.channel] = true
	c.awaitHub(true)
}

func (c *client) awaitHub(offers bool) {
	c.ask(listen.Request{Channels: []string{c.channel}, Must: true, Offers: offers, Done: func(a listen.Answer) {
		switch {
		case a == listen.Listens: // whatever the client's server has received is received by the shared connection, too, one round later
			c.subscriber.ServerDone()
			c.readServer()
			c.server.end()
			c.ask(listen.Request{Done: func(listen.Answer) { c.answered() }})
		case a != listen.Give:
			c.world.fault("answer %d", a)
		case c.world.random.IntN(4) == 0:
			c.world.onHub(c.loop, c.world.hub.NotGiven)
			c.awaitHub(false)
		default:
			c.give()
		}
	}})
}

// give gives the Hub the client's server.
func (c *client) give() {
	s, has, w := c.server, []string{c.channel}, c.world
	c.readServer() // a server that has said more is not given
	c.subscriber.ServerDone()
	c.answered()
	w.onHub(c.loop, func() {
		if w.random.IntN(8) == 0 {
			s.end()
			w.hub.GivenLost()
		} else {
			w.hub.Take(s, has)
		}
	})
}

// readServer keeps what the client's own server says.
func (c *client) readServer() {
	if c.server == nil {
		return
	}
	for _, number := range c.server.inbox {
		if c.server.channels[c.world.notes[number]] {
			m := pgproto3.NotificationResponse{PID: 1, Channel: c.world.notes[number], Payload: strconv.Itoa(number)}
			frame, _ := m.Encode(nil)
			c.subscriber.KeepOwn(frame)
		}
	}
	c.server.inbox = nil
}

// answered sends the reply to the commit of a LISTEN.
func (c *client) answered() {
	c.server, c.hears = nil, false
	c.release()
	if _, listens := c.since[c.channel]; !listens {
		c.since[c.channel] = c.world.noted
	}
}

// release is a ReadyForQuery between transactions.
func (c *client) release() {
	c.subscriber.DeliverQueue()
	c.state = idle
}
