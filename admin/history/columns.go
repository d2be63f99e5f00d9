package history

import "math"

// rule says how the values of several moments become one.
type rule uint8

const (
	mean rule = iota
	peak      // the largest, which a mean would hide
)

// Field is one series of a kind of key.
type Field struct {
	Name string
	Unit string // as the API's documentation words it
	rule rule
}

// Peak says whether several moments are shown by their largest value; else by their mean.
func (f Field) Peak() bool { return f.rule == peak }

// quantiles are those that are kept of each histogram.
var quantiles = [...]float64{0.5, 0.95, 0.99}

// Columns of a listener.
const (
	listenerSize = iota
	listenerBusy
	listenerOpen
	listenerOverflow
	listenerWaiting
	listenerMaxWait
	listenerOldest
	listenerClients
	listenerRefusals
	listenerCounters                                     // as many as Counters
	listenerQuantiles = listenerCounters + countersCount // for each histogram as many as quantiles
)

// Columns of a pool.
const (
	poolBusy = iota
	poolWaiting
	poolMaxWait
	poolTransactions
	poolWaitP99
)

// Columns of the process.
const (
	processLogins = iota
	processRefusals
	processCancels
	processReachable
	processLoopBusy
	processLoopsBusy
)

// fields are the columns of each kind, in their order.
var fields = map[string][]Field{
	KindListener: {
		{"size", "servers", peak},
		{"busy", "servers", mean},
		{"open", "servers", mean},
		{"overflow", "servers", peak},
		{"waiting", "clients", peak},
		{"max_wait", "seconds", peak},
		{"oldest_transaction", "seconds", peak},
		{"clients", "clients", peak},
		{"refusals", "logins per second", mean},
		{"transactions", "transactions per second", mean},
		{"queries", "queries per second", mean},
		{"received", "bytes per second", mean},
		{"sent", "bytes per second", mean},
		{"errors", "errors per second", mean},
		{"server_connects", "servers per second", mean},
		{"server_connect_failures", "servers per second", mean},
		{"promotions", "promotions per second", mean},
		{"wait_p50", "seconds", mean},
		{"wait_p95", "seconds", peak},
		{"wait_p99", "seconds", peak},
		{"transaction_p50", "seconds", mean},
		{"transaction_p95", "seconds", peak},
		{"transaction_p99", "seconds", peak},
		{"query_p50", "seconds", mean},
		{"query_p95", "seconds", peak},
		{"query_p99", "seconds", peak},
	},
	KindPool: {
		{"busy", "servers", mean},
		{"waiting", "clients", peak},
		{"max_wait", "seconds", peak},
		{"transactions", "transactions per second", mean},
		{"wait_p99", "seconds", peak},
	},
	KindApplication: {{"server_seconds", "server-seconds per second", mean}},
	KindErrors:      {{"errors", "errors per second", mean}},
	KindProcess: {
		{"logins", "logins per second", mean},
		{"refusals", "logins per second", mean},
		{"cancels", "requests per second", mean},
		{"reachable", "1 or 0", mean},
		{"loop_busy", "part of a CPU core, of the busiest loop", peak},
		{"loops_busy", "CPU cores, of all loops", mean},
	},
}

// Fields are the series of a kind, in the order in which Read gives them.
func Fields(kind string) []Field { return fields[kind] }

// none stands for no value.
var none = float32(math.NaN())

func isNone(v float32) bool { return v != v }

// column is one series: a ring of seconds, a ring of minutes, and the minute that is not over yet.
type column struct {
	rule             rule
	seconds, minutes []float32

	sum     float64
	count   int
	largest float32
	exact   float32 // of the whole minute, where that is better known than from its seconds; none: it is not
}

// block is the series of one key.
type block struct {
	key     Key // Kind is empty: nobody has it
	columns []column
}

func newBlock(key Key) *block {
	b := &block{key: key, columns: make([]column, len(fields[key.Kind]))}
	for i := range b.columns {
		ring := make([]float32, SecondsKept+MinutesKept)
		b.columns[i] = column{rule: fields[key.Kind][i].rule, seconds: ring[:SecondsKept:SecondsKept], minutes: ring[SecondsKept:]}
	}
	b.clear()
	return b
}

// clear forgets everything.
func (b *block) clear() {
	for i := range b.columns {
		c := &b.columns[i]
		for j := range c.seconds {
			c.seconds[j] = none
		}
		for j := range c.minutes {
			c.minutes[j] = none
		}
		c.restart()
	}
}

// put writes the value of a second; NaN: there is none.
func (b *block) put(second int64, field int, value float64) {
	c, v := &b.columns[field], float32(value)
	c.seconds[second%SecondsKept] = v
	if isNone(v) {
		return
	}
	c.sum += value
	c.count++
	c.largest = max(c.largest, v)
}

// empty says whether a second has no value in the first column.
func (b *block) empty(second int64) bool { return isNone(b.columns[0].seconds[second%SecondsKept]) }

// skip empties the seconds after last up to and including now, and the minutes between the two.
func (b *block) skip(last, now int64) {
	from := max(last+1, now-SecondsKept+1)
	fromMinute := max(last/60+1, now/60-MinutesKept+1)
	for i := range b.columns {
		c := &b.columns[i]
		for s := from; s <= now; s++ {
			c.seconds[s%SecondsKept] = none
		}
		for m := fromMinute; m <= now/60; m++ {
			c.minutes[m%MinutesKept] = none
		}
	}
}

// forget empties what lies ahead of now, up to and including last.
func (b *block) forget(now, last int64) {
	b.skip(now-1, min(last, now+SecondsKept-1))
	for i := range b.columns {
		b.columns[i].restart()
		for m := now / 60; m <= min(last/60, now/60+MinutesKept-1); m++ {
			b.columns[i].minutes[m%MinutesKept] = none
		}
	}
}

// closeMinute writes the value of a minute that is over.
func (b *block) closeMinute(minute int64) {
	for i := range b.columns {
		c := &b.columns[i]
		v := c.exact
		if isNone(v) && c.count > 0 {
			v = c.largest
			if c.rule == mean {
				v = float32(c.sum / float64(c.count))
			}
		}
		c.minutes[minute%MinutesKept] = v
		c.restart()
	}
}

func (c *column) restart() { c.sum, c.count, c.largest, c.exact = 0, 0, float32(math.Inf(-1)), none }
