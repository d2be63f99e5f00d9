package listen_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/listen"
)

// TestDelivery: clients on three loops begin and stop to listen, commit and roll back, while others notify and the shared connection is lost
// now and then, in an order that a seed makes. A client that has been told that its LISTEN is committed gets every later notification once and
// in order, or is told afterwards that something was lost. At the end LISTEN is in force for all.
func TestDelivery(t *testing.T) {
	const seeds, steps = 1000, 300
	losses, notices, received := 0, 0, 0
	for seed := range uint64(seeds) {
		w := newWorld(seed)
		for range steps {
			w.step()
		}
		w.settle()
		w.check()
		for _, channel := range channels {
			w.notify(channel)
		}
		w.quiet = w.noted - len(channels)
		w.settle()
		w.check()
		if w.wrong != "" {
			t.Fatalf("seed %d: %s", seed, w.wrong)
		}
		losses += w.losses
		for _, c := range w.clients {
			notices += c.notices
			received += len(c.got)
		}
	}
	if losses < seeds/2 || notices < seeds/2 || received < 10*seeds {
		t.Errorf("%d losses, %d notices, %d notifications: that was no test", losses, notices, received)
	}
}

// TestLossToldInTime: the clients are told of a loss when the LISTENs of before are in force, although others have begun to listen meanwhile.
func TestLossToldInTime(t *testing.T) {
	w := newWorld(1)
	w.hub.Ensure(listen.Request{Encoding: "UTF8", Channels: []string{"a"}, Done: func(listen.Answer) {}})
	w.clients[0].subscriber.Commit("a", false)
	w.hub.Take(w.newSession(), []string{"a"})
	w.lose()
	for range 5 {
		w.tick()
	}
	w.hub.Obtained(w.newSession())
	for range len(listen.ForgetClient) + 2 { // then its encoding, and the LISTEN
		if w.clients[0].notices != 0 {
			t.Error("told before LISTEN is in force again")
		}
		w.hub.Ensure(listen.Request{Encoding: "UTF8", Channels: []string{fmt.Sprint(w.noted)}, Done: func(listen.Answer) {}})
		w.noted++
		w.shared.work()
	}
	if w.clients[0].notices != 1 {
		t.Errorf("told %d times", w.clients[0].notices)
	}
}

// TestTooSmall: where the pool has no server to spare any more when one has been given, the clients that listen are closed, and requests that
// wait are answered.
func TestTooSmall(t *testing.T) {
	w := newWorld(1)
	var answers []listen.Answer
	for _, offers := range []bool{true, false} {
		w.hub.Ensure(listen.Request{Encoding: "UTF8", Channels: []string{"a"}, Must: true, Offers: offers, Done: func(a listen.Answer) {
			answers = append(answers, a)
		}})
	}
	w.clients[0].subscriber.Commit("a", true)
	w.small = true
	s := w.newSession()
	w.hub.Take(s, []string{"a"})
	for len(w.posted[0]) > 0 {
		w.turn(0)
	}
	if w.clients[0].closed != 1 || !s.ended || !slices.Equal(answers, []listen.Answer{listen.Give, listen.TooSmall}) {
		t.Errorf("closed %d times, given back %v, answers %v", w.clients[0].closed, s.ended, answers)
	}
}

var channels = []string{"a", "b", "c"}

// world is a listen.Host, with loops that run when they are told to, and the sessions of a database.
type world struct {
	random   *rand.Rand
	hub      *listen.Hub
	now      time.Duration
	posted   [3][]func() // by loop
	among    [3]*listen.Subscribers
	queued   bool
	shared   *session
	sessions []*session
	clients  []*client
	notes    []string // the channels of all notifications, by number
	noted    int      // the number of the last
	quiet    int      // from this number on nothing may be missing; 0: no such number yet
	losses   int
	small    bool // the pool has no server to spare
	wrong    string
}

func newWorld(seed uint64) *world {
	w := &world{random: rand.New(rand.NewPCG(seed, 1)), notes: []string{""}}
	w.hub = listen.NewHub(w)
	for loop := range w.among {
		w.among[loop] = listen.NewSubscribers(func(channel string) {
			w.onHub(loop, func() { w.hub.Leave(channel, loop) })
		})
	}
	for i := range 5 {
		c := &client{world: w, loop: i % len(w.posted), since: make(map[string]int), last: make(map[string]int), got: make(map[int]bool)}
		c.subscriber = listen.NewSubscriber(c, w.among[c.loop])
		w.clients = append(w.clients, c)
	}
	return w
}

func (w *world) fault(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

// onHub runs f on the Hub's loop, for one that is on another or there.
func (w *world) onHub(loop int, f func()) {
	if loop == 0 {
		f()
	} else {
		w.Post(0, f)
	}
}

func (w *world) Loops() int                               { return len(w.posted) }
func (w *world) Now() time.Duration                       { return w.now }
func (w *world) Post(loop int, f func())                  { w.posted[loop] = append(w.posted[loop], f) }
func (w *world) Subscribers(loop int) *listen.Subscribers { return w.among[loop] }
func (w *world) Draining() bool                           { return false }
func (w *world) MayListen() bool                          { return !w.small }
func (w *world) MayGoOnListening() bool                   { return true }
func (w *world) JoinQueue()                               { w.queued = true }
func (w *world) LeaveQueue()                              { w.queued = false }
func (w *world) Adopt(c listen.Connection)                { w.shared = c.(*session) }
func (w *world) ReportLoss()                              {}
func (w *world) RetryMax() time.Duration                  { return time.Second }

// step lets one thing happen.
func (w *world) step() {
	switch w.random.IntN(12) {
	case 0, 1:
		w.notify(channels[w.random.IntN(len(channels))])
	case 2, 3, 4:
		w.turn(w.random.IntN(len(w.posted)))
	case 5:
		w.tick()
	case 6:
		w.grant()
	case 7, 8:
		if w.shared != nil {
			w.shared.work()
		}
	case 9:
		if w.random.IntN(4) == 0 {
			w.lose()
		}
	default:
		w.clients[w.random.IntN(len(w.clients))].step()
	}
}

// settle lets all that has begun come to its end.
func (w *world) settle() {
	for round := 0; round < 100; round++ {
		for _, c := range w.clients {
			c.finish()
		}
		for loop := range w.posted {
			for len(w.posted[loop]) > 0 {
				w.turn(loop)
			}
		}
		w.tick()
		w.grant()
		for range 6 {
			if w.shared != nil {
				w.shared.work()
			}
		}
	}
}

func (w *world) tick() {
	w.now += 100 * time.Millisecond
	w.hub.Tick(w.now)
}

// turn runs the first function that was posted to a loop.
func (w *world) turn(loop int) {
	if len(w.posted[loop]) > 0 {
		f := w.posted[loop][0]
		w.posted[loop] = w.posted[loop][1:]
		f()
	}
}

// grant lends the Hub a server if it waits for one.
func (w *world) grant() {
	switch {
	case !w.queued:
	case w.random.IntN(8) == 0:
		w.queued = false
		w.hub.LostOnTheWay()
	default:
		w.queued = false
		w.hub.Obtained(w.newSession())
	}
}

// lose ends the shared connection, with what it has not sent yet.
func (w *world) lose() {
	if s := w.shared; s != nil {
		w.losses++
		s.end()
		w.hub.Lost(s)
	}
}

// notify commits a notification.
func (w *world) notify(channel string) {
	w.noted++
	w.notes = append(w.notes, channel)
	for _, s := range w.sessions {
		if len(s.channels) > 0 {
			s.inbox = append(s.inbox, w.noted)
		}
	}
}

// check looks for notifications that a client should have got.
func (w *world) check() {
	for i, c := range w.clients {
		if c.closed > 0 {
			w.fault("client %d was closed: the pool is too small", i)
		}
		if c.again > c.excused {
			w.fault("client %d got a notification twice or out of order at %d; it was told of a loss at %d", i, c.again, c.excused)
		}
		for channel, since := range c.since {
			for number := since + 1; number <= w.noted; number++ {
				excused := number <= c.excused && (w.quiet == 0 || number <= w.quiet)
				if w.notes[number] == channel && !c.got[number] && !excused {
					w.fault("client %d listens to %s since %d and has not got %d; it was told of a loss at %d", i, channel, since, number, c.excused)
				}
			}
		}
	}
}

// session is a session of PostgreSQL, as far as LISTEN goes: it receives what is notified after its LISTEN was committed, and sends that when it
// is idle, or ahead of the ReadyForQuery.
type session struct {
	world    *world
	channels map[string]bool
	inbox    []int
	queries  []string
	ended    bool
}

func (w *world) newSession() *session {
	s := &session{world: w, channels: make(map[string]bool)}
	w.sessions = append(w.sessions, s)
	return s
}

func (s *session) end() {
	s.ended = true
	s.world.sessions = slices.DeleteFunc(s.world.sessions, func(other *session) bool { return other == s })
	if s.world.shared == s {
		s.world.shared = nil
	}
}

func (s *session) Query(sql string)               { s.queries = append(s.queries, sql) }
func (s *session) Rest()                          {}
func (s *session) Closing() bool                  { return s.ended }
func (s *session) Report([]byte)                  { s.world.fault("a report") }
func (s *session) Refused([]byte)                 { s.world.fault("a refusal") }
func (s *session) Distrusted(err *protocol.Error) { s.world.fault("distrust: %+v", err) }
func (s *session) Release()                       { s.end() }

// heard are the notifications in the inbox that are for the session.
func (s *session) heard() (frames []byte) {
	for _, number := range s.inbox {
		if channel := s.world.notes[number]; s.channels[channel] {
			frames, _ = (&pgproto3.NotificationResponse{PID: 1, Channel: channel, Payload: strconv.Itoa(number)}).Encode(frames)
		}
	}
	s.inbox = nil
	return frames
}

var listening = regexp.MustCompile(`(UN)?LISTEN "(\w+)"`)

// work sends what is in the inbox, and answers one query.
func (s *session) work() {
	out := s.heard()
	if len(s.queries) > 0 {
		for _, match := range listening.FindAllStringSubmatch(s.queries[0], -1) {
			if match[1] == "" {
				s.channels[match[2]] = true
			} else {
				delete(s.channels, match[2])
			}
			out, _ = (&pgproto3.CommandComplete{CommandTag: []byte(match[1] + "LISTEN")}).Encode(out)
		}
		s.queries = s.queries[1:]
		out, _ = (&pgproto3.ReadyForQuery{TxStatus: 'I'}).Encode(out)
	}
	for n := 0; len(out) > 0 && !s.ended; {
		n = min(len(out), n+1+s.world.random.IntN(64))
		consumed := s.world.hub.Read(out[:n])
		out, n = out[consumed:], n-consumed
	}
}
