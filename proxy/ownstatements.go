package proxy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// The pooler's own statements run on servers that clients have set up. What a client has set must not make them fail.

// timeouts are the parameters by which PostgreSQL ends a statement or a connection, and what is too short for the pooler: below that the
// pooler's own statements could meet them. An idle server must not meet the last two at all.
var timeouts = []struct {
	name  string
	short time.Duration
}{
	{"statement_timeout", shortTimeout},
	{"transaction_timeout", shortTimeout},
	{"lock_timeout", shortTimeout},
	{"idle_in_transaction_session_timeout", shortTimeout},
	{"idle_session_timeout", 1<<63 - 1},
}

// shortTimeout is far more than a SET takes. Who has set more than that pays nothing.
const shortTimeout = 100 * time.Millisecond

// calm takes back the time-outs of a former client that would end the server while it is idle, or meet the pooler's next statement. It
// reports true when the server has been asked to: rest checks the server in when that is through. Should it fail, the server is closed, and
// no client hears of it.
func (w *worker) calm(s *Server) bool {
	if s.own == (sqltext.Settings{}) || s.replication != nil {
		return false
	}
	if facts := s.facts(); !facts.Clean() && facts != (pool.Facts{TxStatus: relay.StatusIdle, Dirty: true}) {
		return false // the gate has something to say about it
	}
	sql, own := w.sql[:0], s.own
	for _, t := range timeouts {
		value, ok := own.Get(t.name)
		if limit, known := timeoutOf(value); ok && (!known || limit > 0 && limit < t.short) {
			sql = append(append(append(sql, "RESET "...), t.name...), ';')
			s.own = s.own.Without(t.name)
		}
	}
	w.sql = sql
	if len(sql) == 0 {
		return false
	}
	s.relay.Released()
	s.cancelAt, s.deadline = 0, w.loop.Now()+checkMax
	w.watch()
	s.inject(string(sql))
	return true
}

// timeoutOf reads the value of a time-out as PostgreSQL does (manual, 20.1.1): a number of milliseconds, or a number with a unit. known is
// false for what it cannot read.
func timeoutOf(value string) (limit time.Duration, known bool) {
	value = strings.TrimSpace(value)
	end := strings.IndexFunc(value, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(value)
	}
	n, err := strconv.ParseFloat(value[:end], 64)
	unit, ok := timeUnits[strings.TrimSpace(value[end:])]
	if err != nil || !ok || n > 1<<31 {
		return 0, false
	}
	return time.Duration(n * float64(unit)), true
}

var timeUnits = map[string]time.Duration{
	"": time.Millisecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
}

// questionsMax is how often a server is asked what a client has set before the pooler gives up.
const questionsMax = 5

// canceledCode is the SQLSTATE of a statement that a time-out or a cancel request has ended.
const canceledCode = "57014"

// asksAgain decides about an error that answers the question what a client has set. A time-out of the client's, or a cancel request, has hit
// the question: it is asked once more, without the client's statement_timeout.
func (s *Server) asksAgain(code string) bool {
	if s.client == nil || s.asked == nil || code != canceledCode {
		return false
	}
	s.questions++
	s.repeats = true
	return true
}

// repeatQuestion is called when the answer to the question has come to its end.
func (s *Server) repeatQuestion() {
	if !s.repeats || s.relay.Hidden() {
		return
	}
	s.repeats = false
	if s.client == nil || s.asked == nil {
		return
	}
	if s.questions >= questionsMax { // nobody will know what the server has: it is cleaned, and the client keeps what it had before
		for _, name := range s.asked {
			s.own = s.own.With(name, unknownValue)
		}
		s.asked, s.resetPerhaps, s.dirty = nil, nil, true
		return
	}
	w := s.worker
	sql := w.sql[:0]
	bare := slices.Contains(s.asked, "statement_timeout") // that would answer with what is set here
	if !bare {
		sql = append(sql, "BEGIN;SET LOCAL statement_timeout = 0;"...)
	}
	sql = sqltext.AppendQuestion(sql, s.asked, s.askedDoubts)
	if !bare {
		sql = append(sql, ";COMMIT"...)
	}
	w.sql = sql
	s.relay.Ask()
	s.sendQuery(string(sql))
}
