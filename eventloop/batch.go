package eventloop

import "syscall"

// Where the kernel takes many transfers in one system call (Batches), a turn reads first, then lets the handlers work, then sends. A system
// call for each message costs more than its own time: the sender is likely to be put aside, at its end, for the process it has just woken,
// and comes back to cold caches. docs/BENCHMARKS.md has the figures.
//
// What has been fetched and not looked at counts as unread; what has been posted and not sent as taken by the socket, until it turns out
// that it was not.

const (
	// batchMax is how many events are handled between two batches: what one turn sends does not wait for all that it reads.
	batchMax = 64
	// postMax is the longest message that is posted, fetchMax what is fetched at once. A copy of more costs as much as is saved.
	postMax  = 4 << 10
	fetchMax = 4 << 10
	// outboxBytes is the room for what is posted.
	outboxBytes = 64 << 10
)

// outbox is what handlers have sent and has not left yet. The zero value is empty.
type outbox struct {
	batch []Transfer
	from  []*Conn
	bytes []byte // the batch's point into it, so it never grows
}

// post puts b into the outbox. It reports false when b has to be dealt with at once: then nothing of c's is in the outbox any more.
func (c *Conn) post(b []byte) bool {
	l := c.loop
	if !l.batches {
		return false
	}
	o := &l.outbox
	if c.state&posted != 0 {
		if o.extend(c, b) {
			return true
		}
		l.sendOutbox() // order: what it has posted goes ahead
	}
	if len(b) > postMax || len(c.out) > 0 || c.state&broken != 0 {
		return false
	}
	if len(o.batch) == batchMax || len(o.bytes)+len(b) > outboxBytes {
		l.sendOutbox()
	}
	if o.bytes == nil {
		o.bytes = make([]byte, 0, outboxBytes)
	}
	at := len(o.bytes)
	o.bytes = append(o.bytes, b...)
	o.batch = append(o.batch, Transfer{FD: int(c.fd), Bytes: o.bytes[at:]})
	o.from = append(o.from, c)
	c.state |= posted
	return true
}

// extend adds b to what c has posted last, if nobody has posted since.
func (o *outbox) extend(c *Conn, b []byte) bool {
	last := len(o.batch) - 1
	if o.from[last] != c || len(o.bytes)+len(b) > outboxBytes || len(b) > postMax {
		return false
	}
	o.bytes = append(o.bytes, b...)
	t := &o.batch[last]
	t.Bytes = t.Bytes[:len(t.Bytes)+len(b)]
	return true
}

// unpost has what c has posted leave now.
func (c *Conn) unpost() {
	if c.state&posted != 0 {
		c.loop.sendOutbox()
	}
}

// deliverOutbox sends what has been posted, and what the news of that leads to.
func (l *Loop) deliverOutbox() {
	for l.sendOutbox() {
		l.settle()
	}
}

// sendOutbox sends what has been posted. It calls no handler. It reports whether there was anything.
func (l *Loop) sendOutbox() bool {
	o := &l.outbox
	switch len(o.batch) {
	case 0:
		return false
	case 1:
		oneByOne(l.kernel, o.batch)
	default:
		l.kernel.Transfer(o.batch)
	}
	for i, c := range o.from {
		t := &o.batch[i]
		c.state &^= posted
		c.sent(t.Bytes, t.N, t.Errno)
	}
	clear(o.from)
	o.batch, o.from, o.bytes = o.batch[:0], o.from[:0], o.bytes[:0]
	return true
}

// inbox is what has been received for Conns whose turn to be told has not come yet. The zero value is empty.
type inbox struct {
	batch []Transfer
	to    []*Conn // nil once it has been told
	next  int     // nobody before it waits
	bytes []byte  // batchMax times fetchMax
}

// fetch receives for all who have something to read. The end of a stream and errors stay with the socket, which reports them again.
func (l *Loop) fetch(events []Event) {
	if len(events) < 2 || !l.batches {
		return
	}
	in := &l.inbox
	if in.bytes == nil {
		in.bytes = make([]byte, batchMax*fetchMax)
	}
	for _, e := range events {
		c := l.connOf(e.Token)
		if c == nil || e.Flags&Readable == 0 || !c.mayFetch() {
			continue
		}
		at, room := len(in.batch)*fetchMax, fetchMax
		if c.readMax > 0 {
			room = min(room, int(c.readMax))
		}
		in.batch = append(in.batch, Transfer{FD: int(c.fd), Bytes: in.bytes[at : at+room], Receive: true})
		in.to = append(in.to, c)
	}
	if len(in.batch) < 2 {
		in.batch, in.to = in.batch[:0], in.to[:0]
		return
	}
	l.kernel.Transfer(in.batch)
	for _, c := range in.to {
		c.state |= fetched
	}
}

// of is what has been fetched for c.
func (in *inbox) of(c *Conn) *Transfer { return &in.batch[in.find(c)] }

func (in *inbox) find(c *Conn) int {
	i := in.next
	for in.to[i] != c {
		i++
	}
	return i
}

// drop forgets what has been fetched for c, because it has been told or is gone.
func (in *inbox) drop(c *Conn) {
	i := in.find(c)
	in.to[i] = nil
	c.state &^= fetched
	for in.next < len(in.to) && in.to[in.next] == nil {
		in.next++
	}
}

// receive is Recv, of what has been fetched if anything has. room holds at least fetchMax.
func (c *Conn) receive(room []byte) (int, syscall.Errno) {
	k := c.loop.kernel
	if c.state&fetched == 0 {
		return k.Recv(int(c.fd), room)
	}
	t := c.loop.inbox.of(c)
	n, errno := t.N, t.Errno
	c.loop.inbox.drop(c)
	if errno != 0 || n == 0 {
		return n, errno
	}
	full := n == len(t.Bytes)
	n = copy(room, t.Bytes[:n])
	if full && n < len(room) {
		if more, errno := k.Recv(int(c.fd), room[n:]); errno == 0 {
			n += more
		}
	}
	return n, 0
}

// mayFetch reports that the next thing c does is to read from its socket.
func (c *Conn) mayFetch() bool {
	return c.state&(paused|ended|broken) == 0 && len(c.kept) <= len(c.loop.buffer)/2 && (c.tls == nil || !c.tls.more)
}

// keepFetched keeps what has been fetched for c until it reads on.
func (c *Conn) keepFetched() {
	if c.state&fetched == 0 {
		return
	}
	t := c.loop.inbox.of(c)
	c.loop.inbox.drop(c)
	if t.Errno != 0 || t.N == 0 {
		return // the socket says so again
	}
	keep := &c.kept
	if c.tls != nil {
		keep = &c.tls.sealed
		c.tls.more = true // until it has been looked at
	}
	if *keep == nil {
		*keep = c.loop.take(t.N)
	}
	*keep = append(*keep, t.Bytes[:t.N]...)
	c.redeliver()
}

// endFetch ends a batch: what nobody has asked for, because its Conn is paused or a handler panicked, is kept.
func (l *Loop) endFetch() {
	in := &l.inbox
	for _, c := range in.to {
		if c != nil {
			c.keepFetched()
		}
	}
	clear(in.to)
	in.batch, in.to, in.next = in.batch[:0], in.to[:0], 0
}
