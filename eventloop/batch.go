package eventloop

// Where the kernel takes many sends in one system call (Batches), what the handlers of a turn send leaves at its end. A system call for each
// message costs more than its own time: at its end the sender is likely to be put aside for the process it has just woken, and comes back
// to cold caches. docs/BENCHMARKS.md has the figures; to receive in batches as well was tried, and gained nothing.
//
// What has been posted counts as taken by the socket, until it turns out that it was not: then it is the backlog.

const (
	// batchMax is how much leaves at once: what a turn has to say first does not wait for all that it reads.
	batchMax = 64
	// postMax is the longest message that is posted. A copy of more costs as much as is saved.
	postMax = 4 << 10
	// outboxBytes is the room for what is posted.
	outboxBytes = 64 << 10
)

// outbox is what handlers have sent and has not left yet. The zero value is empty.
type outbox struct {
	batch []Outgoing
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
	o.batch = append(o.batch, Outgoing{FD: int(c.fd), Bytes: o.bytes[at:]})
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
	out := &o.batch[last]
	out.Bytes = out.Bytes[:len(out.Bytes)+len(b)]
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
		l.kernel.SendAll(o.batch)
	}
	for i, c := range o.from {
		out := &o.batch[i]
		c.state &^= posted
		c.sent(out.Bytes, out.N, out.Errno)
	}
	clear(o.from)
	o.batch, o.from, o.bytes = o.batch[:0], o.from[:0], o.bytes[:0]
	return true
}
