package relay

// ledger is the requests that a server has not answered yet, oldest first: what each is, from whom it comes, and how to take back what it has
// changed here. A request enters when it is sent (Server.sent, expect, begin) and leaves in one of three ways: it is answered
// (Server.popped), it fails (Server.failed), or the server skips it, up to the next Sync, because one before it has failed
// (takeBack). The zero value is empty.
//
// Requests are numbered in the order in which they were sent. What has to be known of several is a mark: the number behind the newest
// of them. A mark at or below head speaks of nothing that is outstanding.
type ledger struct {
	ring       []request // its length is a power of two
	head, tail uint64    // the numbers of the oldest request, and of the next

	flushed       uint64 // behind a Sync, Flush or Query: the server does not sit on the replies before it
	batch         uint64 // the first of the batch that is open, if one is
	changed       uint64 // of the requests that later batches rest on
	changedBefore uint64 // of those, the ones in earlier batches
	unsure        uint64 // of the changes to the unnamed statement that the server may yet skip
	unsureBefore  uint64 // of those, the ones in earlier batches
	resets        uint64 // of the requests that may drop all statements
	statements    uint64 // of those that change what statements there are, one by one
	deeds         uint64 // of the requests with deeds
}

// request is one message that a server will answer, or skip.
type request struct {
	kind   requestKind
	origin origin
	// copyEnded: behind it the client has sent CopyDone or CopyFail already. Should it turn out to be a COPY, nothing that follows is read
	// as its data.
	copyEnded bool
	deed      *deed // nil: it does nothing that matters to the session
	undoEntry
}

// requestKind says how the server answers a request. What ends each answer is in server.go.
type requestKind uint8

const (
	nothingDue  requestKind = iota
	queryDue                // everything up to ReadyForQuery
	functionDue             // FunctionCallResponse or ErrorResponse, then ReadyForQuery
	syncDue                 // ReadyForQuery, after an ErrorResponse if the commit failed
	parseDue                // ParseComplete
	bindDue                 // BindComplete
	describeDue             // (ParameterDescription,) RowDescription or NoData
	executeDue              // ... CommandComplete, EmptyQueryResponse or PortalSuspended
	closeDue                // CloseComplete
	questionDue             // as queryDue; a row of it is for the proxy itself
	failureDue              // as queryDue; it is meant to fail
)

// endsWithReady: ReadyForQuery ends it. Query and Sync are told apart, because a server that skips to Sync after an error answers no
// Query in between (invariant 1).
func (k requestKind) endsWithReady() bool {
	switch k {
	case queryDue, functionDue, syncDue, questionDue, failureDue:
		return true
	}
	return false
}

// origin says who sent a request, and who answers it.
type origin uint8

const (
	clientOrigin origin = iota // the client; its server answers
	poolerOrigin               // the proxy; its server answers, and no client sees that
	synthesized                // the client; no server has seen it, and the proxy answers when it is the oldest
)

const (
	// ledgerFirst is enough for the batches of the usual drivers.
	ledgerFirst = 16
	// ledgerKeep is the longest ring that is kept when it is empty: a long pipeline must not keep its memory for ever.
	ledgerKeep = 1 << 10
	// OwedMax bounds the requests outstanding on one server. The client is held when it is reached, and the server told not to sit on its
	// answers, so that it is always let go again.
	OwedMax = 1 << 16
)

// none stands for the request that is not there. Nobody writes to it.
var none request

func (l *ledger) len() int { return int(l.tail - l.head) }

// at is the i-th oldest request; none when there is none.
func (l *ledger) at(i int) *request {
	if i >= l.len() {
		return &none
	}
	return &l.ring[(l.head+uint64(i))&uint64(len(l.ring)-1)]
}

func (l *ledger) front() *request {
	if l.head == l.tail {
		return &none
	}
	return &l.ring[l.head&uint64(len(l.ring)-1)]
}

// newest is the request sent last; none when it has been answered.
func (l *ledger) newest() *request {
	if l.head == l.tail {
		return &none
	}
	return &l.ring[(l.tail-1)&uint64(len(l.ring)-1)]
}

func (l *ledger) push(kind requestKind, from origin) *request {
	if l.len() == len(l.ring) {
		l.grow()
	}
	r := &l.ring[l.tail&uint64(len(l.ring)-1)]
	r.kind, r.origin, r.copyEnded = kind, from, false
	l.tail++
	return r
}

func (l *ledger) grow() {
	wider := make([]request, max(ledgerFirst, 2*len(l.ring)))
	for n := l.head; n < l.tail; n++ {
		wider[n&uint64(len(wider)-1)] = l.ring[n&uint64(len(l.ring)-1)]
	}
	l.ring = wider
}

// drop forgets the k oldest.
func (l *ledger) drop(k int) {
	for range k {
		if r := l.front(); r.undo != undoNothing || r.deed != nil {
			*r = request{}
		}
		l.head++
	}
	if l.head == l.tail && len(l.ring) > ledgerKeep {
		l.ring = nil
	}
}

// begins marks the end of a batch: what is sent next belongs to another.
func (l *ledger) begins() {
	l.flushed, l.batch = l.tail, l.tail
	l.changedBefore, l.unsureBefore = l.changed, l.unsure
}

// inBatch is the number of requests outstanding of the batch whose Sync has not been sent.
func (l *ledger) inBatch() int { return int(l.tail - max(l.batch, l.head)) }

// upToStatements is the number of requests up to the newest that changes a statement: a flood of DEALLOCATE ALL behind it is not walked.
func (l *ledger) upToStatements() int { return int(max(l.statements, l.head) - l.head) }

// unflushed is the number of requests whose answers the server may sit on.
func (l *ledger) unflushed() int { return int(l.tail - max(l.flushed, l.head)) }

// toSync is the number of requests before the oldest Sync, all if there is none.
func (l *ledger) toSync() (before int, found bool) {
	for i := range l.len() {
		if l.at(i).kind == syncDue {
			return i, true
		}
	}
	return l.len(), false
}

// endsBehindFront reports whether a ReadyForQuery is due for something behind the oldest request.
func (l *ledger) endsBehindFront() bool {
	for i := 1; i < l.len(); i++ {
		if l.at(i).kind.endsWithReady() {
			return true
		}
	}
	return false
}

// batchOrigin says whose Sync ends the batch of the oldest request.
func (l *ledger) batchOrigin() origin {
	before, _ := l.toSync()
	return l.at(before).origin
}

// readyDue reports that a ReadyForQuery is due to the client for a request among those from the i-th oldest up to the one before the end-th.
func (l *ledger) readyDue(i, end int) bool {
	for ; i < end; i++ {
		if r := l.at(i); r.kind.endsWithReady() && r.origin != poolerOrigin {
			return true
		}
	}
	return false
}

// clientsFrom reports that a request of the client's is among those from the i-th oldest up to the one before the end-th.
func (l *ledger) clientsFrom(i, end int) bool {
	for ; i < end; i++ {
		if l.at(i).origin != poolerOrigin {
			return true
		}
	}
	return false
}

// changesSomething reports that a request has something to undo.
func (l *ledger) changesSomething() bool {
	for i := range l.len() {
		if l.at(i).undo != undoNothing {
			return true
		}
	}
	return false
}

// enterCopy is called when the oldest request turns out to be a COPY in, which swallows the Syncs that follow it up to the CopyDone.
// ended: that one has been sent already.
func (l *ledger) enterCopy() (swallowed int, ended bool) {
	for !l.front().copyEnded && l.at(1).kind == syncDue {
		copies := *l.front()
		copies.copyEnded = l.at(1).copyEnded
		l.drop(1)
		*l.front() = copies
		swallowed++
	}
	if ended = l.front().copyEnded; ended {
		l.front().copyEnded = false
	}
	return swallowed, ended
}
