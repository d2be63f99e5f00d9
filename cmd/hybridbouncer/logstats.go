package main

import (
	"fmt"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// statsLine writes the line of log_stats, in PgBouncer's form. Only the goroutine of service.run uses it.
type statsLine struct {
	ticker *time.Ticker // nil: no line is due
	at     time.Time    // of the last look
	pools  map[poolName]poolTotals
}

type poolName struct{ listener, database, user string }

// poolTotals are counters of a pool since it was made.
type poolTotals struct {
	transactions, queries, received, sent uint64
	transactTime, queryTime, waitTime     time.Duration
}

// set starts, changes or stops the ticker as the configuration says.
func (s *statsLine) set(c config.Log) {
	if s.ticker != nil {
		s.ticker.Stop()
		s.ticker = nil
	}
	if c.Stats && c.StatsPeriod > 0 {
		s.ticker = time.NewTicker(c.StatsPeriod)
	}
}

// due returns the channel that says when a line is due; nil for never.
func (s *statsLine) due() <-chan time.Time {
	if s.ticker == nil {
		return nil
	}
	return s.ticker.C
}

// look returns the text about all pools since the last look. The counters of a pool that was removed since are lost.
func (s *statsLine) look(now time.Time, pools []stats.PoolSnapshot) string {
	var sum poolTotals
	current := make(map[poolName]poolTotals, len(pools))
	for i := range pools {
		p := &pools[i]
		name := poolName{p.Listener, p.Database, p.User}
		total := poolTotals{
			transactions: p.Transactions, queries: p.Queries, received: p.ReceivedBytes, sent: p.SentBytes,
			transactTime: p.TransactTime.Sum, queryTime: p.QueryTime.Sum, waitTime: p.WaitTime.Sum,
		}
		before := s.pools[name]
		if before.queries > total.queries || before.received > total.received { // the pool was made anew
			before = poolTotals{}
		}
		sum.addDifference(total, before)
		current[name] = total
	}
	seconds := uint64(max(now.Sub(s.at), time.Second) / time.Second)
	s.at, s.pools = now, current
	// As in PgBouncer: per second, except the times of a transaction and a query, which are averages.
	return fmt.Sprintf("stats: %d xacts/s, %d queries/s, in %d B/s, out %d B/s, xact %d us, query %d us, wait %d us",
		sum.transactions/seconds, sum.queries/seconds, sum.received/seconds, sum.sent/seconds,
		average(sum.transactTime, sum.transactions), average(sum.queryTime, sum.queries), average(sum.waitTime, seconds))
}

func (t *poolTotals) addDifference(now, before poolTotals) {
	t.transactions += now.transactions - before.transactions
	t.queries += now.queries - before.queries
	t.received += now.received - before.received
	t.sent += now.sent - before.sent
	t.transactTime += now.transactTime - before.transactTime
	t.queryTime += now.queryTime - before.queryTime
	t.waitTime += now.waitTime - before.waitTime
}

// average returns microseconds; 0 without an event.
func average(total time.Duration, events uint64) int64 {
	if events == 0 {
		return 0
	}
	return total.Microseconds() / int64(events)
}
