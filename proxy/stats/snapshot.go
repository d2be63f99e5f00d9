// Package stats owns the numbers that the pooler keeps: counters and histograms of pools, counts of applications, the reasons for which
// clients are closed and servers promoted, and the Snapshot that shows all of them at one instant. It must not know how clients and servers
// work, nor how a Snapshot is shown: admin formats it.
//
// PoolCounters and Applications belong to one event loop each, which writes them without a lock. Other goroutines see copies in a Snapshot.
//
// Read snapshot.go first; pool_counters.go and application.go feed it.
package stats

import "time"

// Snapshot holds every number of the program at one instant. /metrics, /health/db and the console only format it, so that no two views can
// disagree. Proxy.Snapshot gathers it by message from each loop: a scrape never touches a loop's memory.
type Snapshot struct {
	Draining         bool
	ServerReachable  bool              // PostgreSQL is there, at one of its addresses at least, as the last attempt tells
	ServerError      string            // text of the last failed attempt, when not reachable; no secrets
	Logins           uint64            // clients that finished their login
	Refusals         map[string]uint64 // logins that did not succeed, by reason; the sum over the listeners
	Cancels          uint64            // cancel requests received
	CancelsForwarded uint64
	Panics           uint64 // contained panics
	Statements       int    // distinct prepared statements in use by clients or servers of transaction listeners
	StatementBytes   int    // what they and their names take
	Loops            []LoopSnapshot
	Listeners        []ListenerSnapshot
	Pools            []PoolSnapshot
	Applications     []ApplicationSnapshot // by listener, database, user and name

	applicationAt map[snapshotKey]int // where an application is, while the Snapshot is gathered
}

// LoopSnapshot tells how busy one event loop is.
type LoopSnapshot struct {
	Index       int
	Connections int
	BusyTotal   time.Duration // time spent not waiting for events
}

// ListenerSnapshot sums the pools of one listener. Utilization and its level follow DESIGN section 9.
type ListenerSnapshot struct {
	Name          string
	PoolMode      string
	Addresses     []string // as bound; a port of 0 is resolved
	MaxClientConn int
	Clients       int
	Size          int               // default_pool_size: what a pool will have that nobody has used yet
	Refusals      map[string]uint64 // logins that did not succeed, by SQLSTATE or by what happened instead
	// SessionListener is, for a transaction listener, the one that clients belong on who need a connection of their own; empty: there is none.
	SessionListener string
}

// PoolSnapshot is one (listener, database, user).
type PoolSnapshot struct {
	Listener, Database, User, PoolMode string

	Size, MinSize, ReserveSize int

	ClientsIdle, ClientsActive, ClientsWaiting int

	ServersOpening, ServersIdle, ServersActive, ServersTested int
	ServersBeingCanceled, ServersClosing                      int
	ServersDedicated                                          int // of those opening and active: for one replication client alone
	// Unreachable: the last attempt to reach PostgreSQL at the address of this pool failed.
	Unreachable bool

	MaxWait           time.Duration // age of the oldest waiter; 0 when none waits
	OldestTransaction time.Duration // age of the oldest open transaction

	Transactions  uint64
	Queries       uint64
	ReceivedBytes uint64 // from clients
	SentBytes     uint64 // to clients
	WaitTime      Histogram
	TransactTime  Histogram
	QueryTime     Histogram

	ParsesSaved       uint64 // Parse messages answered by the pooler: the server had the statement
	ParsesInjected    uint64 // Parse messages sent ahead of a Bind or Describe: the server lacked it, or it was to be parsed anew
	StatementsEvicted uint64 // statements closed on a server to make room for others
	StatementsHealed  uint64 // batches sent again because a statement's plan no longer fitted the tables

	StatementsCompared uint64 // Binds held until a statement prepared anew had been compared with what the client was told of it
	StatementsChanged  uint64 // of those, the ones refused because it was no longer so
	ListeningClients   int    // clients that LISTEN and share a server for it
	Notifications      uint64 // sent to them
	ListenLosses       uint64 // times that this server was lost

	ErrorsByClass  map[string]uint64 // first two characters of the SQLSTATE
	ServerConnects uint64
	ServerFailures uint64            // failed dials
	ServerCloses   map[string]uint64 // by reason
	ClientCloses   map[string]uint64 // by reason
	Promotions     map[string]uint64 // by reason
}
