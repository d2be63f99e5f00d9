package relay

import (
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// TestExpired: which clock runs follows from who has to act (invariant 9). Each limit is a second; the client's last bytes went out, and
// PostgreSQL's last came in, at the instants given.
func TestExpired(t *testing.T) {
	query := encodeClient(t, `Query "select pg_sleep(10)"`)
	parse, flush := encodeClient(t, `Parse "" "select 1"`), encodeClient(t, "Flush")
	parsed := encodeServer(t, "ParseComplete")
	begin, begun := encodeClient(t, `Query "begin"`), encodeServer(t, "CommandComplete BEGIN | ReadyForQuery T")
	for name, test := range map[string]struct {
		does    func(l *clocked)
		partial bool
		want    Timeout
	}{
		"nothing was asked":            {func(*clocked) {}, false, NoTimeout},
		"a query runs":                 {func(l *clocked) { l.sends(query) }, false, QueryTimeout},
		"a transaction is idle":        {func(l *clocked) { l.sends(begin); l.hears(begun) }, false, IdleTransactionTimeout},
		"a query in a transaction":     {func(l *clocked) { l.sends(begin); l.hears(begun); l.sends(query) }, false, QueryTimeout},
		"a batch without Sync":         {func(l *clocked) { l.sends(parse) }, false, IdleTransactionTimeout},
		"a batch with Flush":           {func(l *clocked) { l.sends(parse); l.sends(flush) }, false, QueryTimeout},
		"a batch with Flush, answered": {func(l *clocked) { l.sends(parse); l.sends(flush); l.hears(parsed) }, false, IdleTransactionTimeout},
		"half a query":                 {func(l *clocked) { l.sends(query[:len(query)-4]) }, false, IdleTransactionTimeout},
		"half a query behind one":      {func(l *clocked) { l.sends(query); l.sends(query[:len(query)-4]) }, false, QueryTimeout},
		"half a Parse":                 {func(l *clocked) { l.sends(parse[:len(parse)-4]) }, false, IdleTransactionTimeout},
		"half a header":                {func(*clocked) {}, true, IdleTransactionTimeout},
		"half a header behind a query": {func(l *clocked) { l.sends(query) }, true, QueryTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			l := newClocked(t)
			test.does(l)
			if got := l.expired(limit-1, test.partial); got != NoTimeout {
				t.Errorf("before the limit: %d", got)
			}
			if got := l.expired(limit, test.partial); got != test.want {
				t.Errorf("after the limit: %d, want %d", got, test.want)
			}
		})
	}
	// asyncpg prepares, thinks, and runs: what it thinks is no time of PostgreSQL's.
	l := newClocked(t)
	l.sends(parse)
	l.sends(flush)
	l.hears(parsed)
	l.limits.IdleTransaction = 0
	for range 5 {
		l.now += limit
		if got := l.expired(0, false); got != NoTimeout {
			t.Fatalf("while the client thinks: %d", got)
		}
	}
	l.sends(encodeClient(t, "Bind | Execute | Sync"))
	if got := l.expired(limit-1, false); got != NoTimeout {
		t.Errorf("it has just begun to run: %d", got)
	}
	if got := l.expired(limit, false); got != QueryTimeout {
		t.Errorf("it runs for too long: %d", got)
	}
}

const limit = time.Second

// clocked is a link with the clocks that package proxy keeps.
type clocked struct {
	t      *testing.T
	client Client
	server Server
	clocks Clocks
	limits Limits
	now    time.Duration
}

func newClocked(t *testing.T) *clocked {
	l := &clocked{t: t, client: NewClient(false), server: NewServer(), limits: Limits{IdleTransaction: limit, Query: limit}, now: time.Hour}
	l.server.Link(&l.client, &Tally{}, &Desk{}, 0)
	l.server.Watch(&l.client, &sqltext.Lexer{})
	l.clocks.Progress = l.now
	return l
}

func (l *clocked) sends(b []byte) {
	l.t.Helper()
	for len(b) > 0 {
		step := l.client.FromClient(b, &l.server)
		if step.Verdict != Forward {
			l.t.Fatalf("%v", step)
		}
		b = b[step.N:]
	}
	l.clocks.Progress = l.now
	if l.clocks.Query == 0 {
		l.clocks.Query = l.now
	}
}

func (l *clocked) hears(b []byte) {
	l.t.Helper()
	if step := l.server.FromServer(b); step.Verdict != Forward || step.N != len(b) {
		l.t.Fatalf("%v", step)
	} else if step.Finished > 0 {
		l.clocks.Query = 0
	}
	l.clocks.Progress = l.now
}

func (l *clocked) expired(after time.Duration, partial bool) Timeout {
	return l.server.Expired(l.now+after, &l.clocks, &l.limits, partial, false)
}
