package stats

import (
	"maps"
	"sync/atomic"
	"time"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
)

// Pool names a pool for the counters of all loops. There is one for each pool of the proxy.
type Pool struct {
	// immutable
	Listener, Database, User, PoolMode string

	longFrom atomic.Int64
}

// longByDefault is the age at which a transaction counts as long where long_transaction is 0.
const longByDefault = time.Second

// SetLongTransaction sets the age at which a transaction of the pool's clients counts as long; 0 means one second. Any goroutine may call it.
func (p *Pool) SetLongTransaction(long time.Duration) {
	if long <= 0 {
		long = longByDefault
	}
	p.longFrom.Store(int64(long))
}

// LongFrom returns the age at which a transaction counts as long.
func (p *Pool) LongFrom() time.Duration { return time.Duration(p.longFrom.Load()) }

// PoolCounters holds the counts of one loop for one pool: plain numbers with one writer, the loop. A Snapshot copies them by message.
type PoolCounters struct {
	Pool *Pool // immutable

	Tally                       relay.Tally
	Received, Sent              uint64 // bytes from and to clients
	Wait, Transaction, Query    Histogram
	Clients, Active             int // clients, and those of them that have a server
	ClientCloses                [clientCloses]uint64
	ServerCloses                [pool.CloseReasons]uint64
	Promotions                  [promotions]uint64
	Listening                   int    // clients that LISTEN and share a server for it
	Notifications, ListenLosses uint64 // notifications sent to them; losses of the server that they share

	// OldestTransaction is the age of the oldest open transaction. It is filled in a copy only.
	OldestTransaction time.Duration

	others *Application // the pool's applications that are not told apart; nil: none
}

// Copy returns a copy for another goroutine.
func (c *PoolCounters) Copy() *PoolCounters {
	one := *c
	one.Tally.Errors = maps.Clone(c.Tally.Errors)
	one.others = nil
	return &one
}

// Add adds the counts of one loop to the pool's numbers.
func (ps *PoolSnapshot) Add(c *PoolCounters) {
	ps.ClientsIdle += c.Clients - c.Active
	ps.ClientsActive += c.Active
	ps.OldestTransaction = max(ps.OldestTransaction, c.OldestTransaction)
	ps.Transactions += c.Tally.Transactions
	ps.Queries += c.Tally.Queries
	ps.ParsesSaved += c.Tally.ParsesSaved
	ps.ParsesInjected += c.Tally.ParsesInjected
	ps.StatementsHealed += c.Tally.StatementsHealed
	ps.StatementsCompared += c.Tally.StatementsCompared
	ps.StatementsChanged += c.Tally.StatementsChanged
	ps.StatementsEvicted += c.Tally.StatementsEvicted
	ps.ListeningClients += c.Listening
	ps.Notifications += c.Notifications
	ps.ListenLosses += c.ListenLosses
	ps.ReceivedBytes += c.Received
	ps.SentBytes += c.Sent
	ps.WaitTime.Add(&c.Wait)
	ps.TransactTime.Add(&c.Transaction)
	ps.QueryTime.Add(&c.Query)
	for class, n := range c.Tally.Errors {
		ps.ErrorsByClass = addTo(ps.ErrorsByClass, string(class[:]), n)
	}
	for reason, n := range c.ServerCloses {
		ps.ServerCloses = addTo(ps.ServerCloses, pool.CloseReason(reason).String(), n)
	}
	for reason, n := range c.ClientCloses {
		ps.ClientCloses = addTo(ps.ClientCloses, ClientClose(reason).String(), n)
	}
	if ps.Promotions == nil {
		ps.Promotions = make(map[string]uint64, promotions)
	}
	for reason, n := range c.Promotions {
		ps.Promotions[Promotion(reason).String()] += n // shown from the beginning, at 0
	}
}

// addTo adds a count under a label. A label appears with its first count.
func addTo(counts map[string]uint64, label string, n uint64) map[string]uint64 {
	if n == 0 {
		return counts
	}
	if counts == nil {
		counts = make(map[string]uint64)
	}
	counts[label] += n
	return counts
}
