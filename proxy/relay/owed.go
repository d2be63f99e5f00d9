package relay

// owedKind is one reply (or series of replies) that a server owes. What ends it is in server.go.
type owedKind uint8

const (
	owedNothing  owedKind = iota
	owedQuery             // everything up to ReadyForQuery
	owedFunction          // FunctionCallResponse or ErrorResponse, then ReadyForQuery
	owedSync              // ReadyForQuery, after an ErrorResponse if the commit failed
	owedParse             // ParseComplete
	owedBind              // BindComplete
	owedDescribe          // (ParameterDescription,) RowDescription or NoData
	owedExecute           // ... CommandComplete, EmptyQueryResponse or PortalSuspended
	owedClose             // CloseComplete
	owedAsked             // as owedQuery; a row of it is for the proxy itself
	owedFailing           // as owedQuery; it is meant to fail

	// owedInjected marks a reply to a message of the proxy's own: no client sees it.
	owedInjected owedKind = 0x80
	// owedEnded marks a request behind which the client has sent CopyDone or CopyFail already: should it turn out to be a COPY, nothing
	// that follows is read as its data.
	owedEnded owedKind = 0x40

	// owedOurs marks a reply that the proxy gives itself, when it is the oldest.
	owedOurs owedKind = 0x20
	// owedNoted marks a request with a note (notes.go).
	owedNoted owedKind = 0x10

	owedMarks = owedInjected | owedEnded | owedOurs | owedNoted
)

// endsWithReady: ReadyForQuery ends it. Query and Sync are told apart, because a server that skips to Sync after an error answers no
// Query in between (invariant 1).
func (k owedKind) endsWithReady() bool {
	k &^= owedMarks
	return k == owedQuery || k == owedFunction || k == owedSync || k == owedAsked || k == owedFailing
}

// owedInline is enough for the batches of the usual drivers; longer pipelines use a ring on the heap.
const owedInline = 16

// OwedMax bounds the replies outstanding on one server (20 bytes of pipeline each at least). PostgreSQL flushes its replies each
// 8 KiB, so a client that is held here is always let go again.
const OwedMax = 1 << 16

// Owed is the queue of replies outstanding, oldest first. The zero value is empty.
type Owed struct {
	inline [owedInline]owedKind
	ring   []owedKind // nil while inline is enough; its length is a power of two
	head   int
	n      int
}

// Len is the number of replies outstanding.
func (o *Owed) Len() int { return o.n }

func (o *Owed) slots() []owedKind {
	if o.ring != nil {
		return o.ring
	}
	return o.inline[:]
}

func (o *Owed) push(k owedKind) {
	slots := o.slots()
	if o.n == len(slots) {
		slots = o.grow(slots)
	}
	slots[(o.head+o.n)&(len(slots)-1)] = k
	o.n++
}

func (o *Owed) grow(slots []owedKind) []owedKind {
	wider := make([]owedKind, 2*len(slots))
	for i := range o.n {
		wider[i] = slots[(o.head+i)&(len(slots)-1)]
	}
	o.ring, o.head = wider, 0
	return wider
}

// at is the i-th oldest reply; owedNothing when there is none.
func (o *Owed) at(i int) owedKind {
	if i >= o.n {
		return owedNothing
	}
	slots := o.slots()
	return slots[(o.head+i)&(len(slots)-1)]
}

// endsBehindFront reports whether a ReadyForQuery is owed to something behind the oldest reply.
func (o *Owed) endsBehindFront() bool {
	for i := 1; i < o.n; i++ {
		if o.at(i).endsWithReady() {
			return true
		}
	}
	return false
}

func (o *Owed) front() owedKind { return o.at(0) }

func (o *Owed) pop() {
	slots := o.slots()
	o.head = (o.head + 1) & (len(slots) - 1)
	o.n--
	if o.n == 0 {
		o.head = 0
		if len(o.ring) > 4096 {
			o.ring = nil // a long pipeline must not keep its memory for ever
		}
	}
}

// dropToSync forgets what a server that has failed in an extended-protocol message will not answer: everything up to the next Sync.
// It reports whether there is one, and how many of what it forgot had notes.
func (o *Owed) dropToSync() (found bool, noted int) {
	for o.n > 0 {
		front := o.front()
		if front&^owedMarks == owedSync {
			return true, noted
		}
		if front&owedNoted != 0 {
			noted++
		}
		o.pop()
	}
	return false, noted
}

// batchInjected reports that the Sync which ends the batch of the oldest reply is the proxy's.
func (o *Owed) batchInjected() bool {
	for i := range o.n {
		if o.at(i)&^owedMarks == owedSync {
			return o.at(i)&owedInjected != 0
		}
	}
	return false
}

// hideFront marks the oldest reply as one that no client is to see.
func (o *Owed) hideFront() { o.slots()[o.head] |= owedInjected }

// markEnded notes that the client has sent CopyDone or CopyFail behind its newest request.
func (o *Owed) markEnded() {
	if o.n > 0 {
		slots := o.slots()
		slots[(o.head+o.n-1)&(len(slots)-1)] |= owedEnded
	}
}

// enterCopy is called when the oldest request turns out to be a COPY in, which swallows the Syncs that follow it up to the CopyDone.
// ended: that one has been sent already.
func (o *Owed) enterCopy() (swallowed int, ended bool) {
	for o.front()&owedEnded == 0 && o.at(1)&^owedMarks == owedSync {
		slots := o.slots()
		slots[(o.head+1)&(len(slots)-1)] = o.front() | o.at(1)&owedEnded
		o.pop()
		swallowed++
	}
	ended = o.front()&owedEnded != 0
	if ended {
		o.slots()[o.head] &^= owedEnded
	}
	return swallowed, ended
}
