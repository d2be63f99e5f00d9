package history

import "time"

// Kinds of series.
const (
	KindListener    = "listener"
	KindPool        = "pool"
	KindApplication = "application"
	KindErrors      = "errors"
	KindProcess     = "process"
)

// Key says whose a series is. Only the fields of its kind are set: a pool has Listener, Database and User, an application has
// Listener and Name, a class of errors has Name.
type Key struct {
	Kind, Listener, Database, User, Name string
}

// Sample is every number of one instant that the memory takes. Counters are totals since the start of whatever they count; the
// History takes the differences, and bears a counter that begins anew.
type Sample struct {
	Listeners    []Listener
	Pools        []Pool
	Applications []Application
	Logins       uint64
	Refusals     uint64
	Cancels      uint64
	LoopsBusy    []time.Duration // time that each loop was not waiting for events, by its index
	Reachable    bool            // PostgreSQL is
}

// Listener is a listener in a Sample.
type Listener struct {
	Name     string
	Clients  int
	Size     int // of the pool that its first client will make; counts only while it has none
	Refusals uint64
}

// Gauges are the numbers of a pool at this moment.
type Gauges struct {
	Size              int // servers it may have without the reserve
	Busy              int // servers that are lent or are being cleaned
	Open              int // servers
	Overflow          int // servers open above Size
	Waiting           int // clients in the queue
	MaxWait           time.Duration
	OldestTransaction time.Duration
}

// Indexes of Counters.
const (
	Transactions = iota
	Queries
	Received // bytes from clients
	Sent     // bytes to clients
	Errors
	Connects // servers opened
	Failures // servers that could not be opened
	Promotions
	countersCount
)

// Counters are totals of a pool, by the indexes above.
type Counters [countersCount]uint64

// Indexes of a pool's histograms.
const (
	Wait = iota // for a server
	Transaction
	Query
	Histograms // how many there are
)

// Pool is a pool in a Sample.
type Pool struct {
	Listener, Database, User string
	Gauges
	Counters   Counters
	Histograms [Histograms][]uint64 // counts by bucket, not cumulative; the History does not keep the slices
	Errors     map[string]uint64    // by the class of their SQLSTATE; the History keeps the map until the next sample
}

// Application is an application_name in a Sample.
type Application struct {
	Listener, Database, User, Name string
	Held                           time.Duration // that its clients had servers, in total
}
