package main

import (
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// The line has what the pools did since the line before; a pool that was removed and made anew counts from zero.
func TestStatsLine(t *testing.T) {
	begin := time.Unix(1000, 0)
	pool := func(user string, n uint64) stats.PoolSnapshot {
		p := stats.PoolSnapshot{User: user, Transactions: n, Queries: 2 * n, ReceivedBytes: 10 * n, SentBytes: 20 * n}
		p.TransactTime.Sum = time.Duration(n) * time.Millisecond
		p.QueryTime.Sum = time.Duration(n) * 500 * time.Microsecond
		p.WaitTime.Sum = time.Duration(n) * 100 * time.Microsecond
		return p
	}
	var s statsLine
	s.look(begin, nil)
	for i, step := range []struct {
		seconds int
		pools   []stats.PoolSnapshot
		want    string
	}{
		{10, []stats.PoolSnapshot{pool("a", 100), pool("b", 50)}, "stats: 15 xacts/s, 30 queries/s, in 150 B/s, out 300 B/s, xact 1000 us, query 250 us, wait 1500 us"},
		{20, []stats.PoolSnapshot{pool("a", 100), pool("b", 60)}, "stats: 1 xacts/s, 2 queries/s, in 10 B/s, out 20 B/s, xact 1000 us, query 250 us, wait 100 us"},
		{30, []stats.PoolSnapshot{pool("a", 20)}, "stats: 2 xacts/s, 4 queries/s, in 20 B/s, out 40 B/s, xact 1000 us, query 250 us, wait 200 us"},
		{40, nil, "stats: 0 xacts/s, 0 queries/s, in 0 B/s, out 0 B/s, xact 0 us, query 0 us, wait 0 us"},
	} {
		if have := s.look(begin.Add(time.Duration(step.seconds)*time.Second), step.pools); have != step.want {
			t.Errorf("step %d: have %s, want %s", i, have, step.want)
		}
	}
}
