package proxy

import (
	"slices"
	"time"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// LISTEN on a transaction port. One server of a pool, the shared connection, listens to all channels that clients of the pool listen to,
// and what it hears goes to them. It is the only source of their notifications: PostgreSQL puts all of a database into one queue, so that
// one who listens hears them in order, and a query that it has answered shows that it has heard what was committed before (a round).
//
// The shared connection is a server like any other, lent by the pool for as long as somebody listens. The first client to listen gives
// the very server on which its LISTEN was committed, and takes another for what comes next: there is no moment at which nobody listens,
// nothing to wait for, and no server more than before. When it is lost, another is taken from the pool's queue.
//
// This file is the shared connection; audience.go is who hears it, on each loop; listen.go is a client that listens.

// notifier is the shared connection of one pool. All fields belong to the loop of worker, where the connection is too; others call it by
// worker.reach.
type notifier struct {
	worker   *worker
	pool     *serverPool
	server   *Server // nil: there is none now
	hearing  relay.Hearing
	encoding string // client_encoding of all who listen
	channels map[string]*channel
	wanted   []int // channels that each loop has listeners of

	changed []string     // channels whose LISTEN or UNLISTEN is due
	sent    []attendance // who waits for the round on its way
	next    []attendance // and for the one after it
	absent  []attendance // who waits until there is a shared connection
	pledged bool         // a client is giving its server
	waiter  *pool.Waiter // in the pool's queue; nil otherwise
	needed  bool         // a server is to be taken from the pool

	pause, retryAt time.Duration // between tries after a loss
	heardAt        time.Duration // when the last round came back
	emptyAt        time.Duration // since when nobody listens
	lossy          bool          // notifications may have been lost since the last round
}

// channel is what somebody listens to, or did a moment ago.
type channel struct {
	on      []bool // by loop: it has listeners
	heard   bool   // LISTEN has been sent, and no UNLISTEN since
	changed bool   // it is in changed
}

const (
	// listenLinger is how long the shared connection outlives its last listener.
	listenLinger = 5 * time.Second
	// listenCheckEvery is how often one that has nothing else to do shows that it is still there.
	listenCheckEvery = 30 * time.Second
	// listenPauseFirst is the pause after a first loss; it doubles up to server_login_retry.
	listenPauseFirst = 100 * time.Millisecond
)

// attendance is a wish that the shared connection listen, and have heard everything that was committed before.
type attendance struct {
	from     *worker
	encoding string
	channels []string
	must     bool // wait for a shared connection, if there is none
	offers   bool // the client has a server to give
	done     func(attended)
}

// attended is the answer.
type attended uint8

const (
	attendedHeard    attended = iota // it listens
	attendedAbsent                   // there is none; not with must
	attendedGive                     // there is none: give the server that the client offers, by take or keep
	attendedEncoding                 // it listens in another encoding
	attendedSize                     // the pool has no server to spare
	attendedTimeout                  // no server became free within query_wait_timeout
	attendedUnnamed                  // not the notifier's: the channel has a name that cannot be read
)

// reach runs f on the notifier of a pool: its home is the first loop, which is always open.
func (w *worker) reach(sp *serverPool, f func(n *notifier)) {
	home := w.proxy.workers[0]
	if home == w {
		f(home.notifierOf(sp))
		return
	}
	home.loop.Post(func() { f(home.notifierOf(sp)); home.act() })
}

// notifierOf finds or makes the notifier of a pool.
func (w *worker) notifierOf(sp *serverPool) *notifier {
	for _, n := range w.notifiers {
		if n.pool == sp {
			return n
		}
	}
	n := &notifier{worker: w, pool: sp, channels: make(map[string]*channel), wanted: make([]int, len(w.proxy.workers))}
	w.notifiers = append(w.notifiers, n)
	return n
}

// answer tells who has asked, on its own loop and never at once: behind the notifications that were spread before.
func (n *notifier) answer(a attendance, how attended) {
	if a.from == n.worker {
		n.worker.loop.Later(func() { a.done(how) })
		return
	}
	a.from.loop.Post(func() { a.done(how); a.from.act() })
}

// attend has the shared connection listen to channels, of which the asking loop has listeners from now on.
func (n *notifier) attend(a attendance) {
	if len(a.channels) > 0 && n.server == nil && !n.pledged && n.waiter == nil && len(n.channels) == 0 {
		n.encoding = a.encoding
	}
	if len(a.channels) > 0 && a.encoding != n.encoding && n.server != nil && len(n.channels) == 0 {
		n.speakIn(a.encoding)
	}
	switch {
	case len(a.channels) > 0 && a.encoding != n.encoding: // who gains nothing may have changed its own since
		n.answer(a, attendedEncoding)
		return
	case n.server == nil && !n.mayListen():
		n.answer(a, attendedSize)
		return
	}
	for _, name := range a.channels {
		n.want(name, a.from.index)
	}
	n.place(a)
}

// place finds out what becomes of a wish whose channels are wanted.
func (n *notifier) place(a attendance) {
	switch {
	case n.server != nil:
		n.next = append(n.next, a)
		n.speak()
	case !a.must:
		n.answer(a, attendedAbsent)
	case a.offers && !n.pledged:
		n.pledged = true
		n.answer(a, attendedGive)
	default:
		n.absent = append(n.absent, a)
		n.needed = n.needed || !n.pledged
		n.seek()
	}
}

func (n *notifier) mayListen() (may bool) {
	n.worker.pools(func() { may = n.pool.pool.MayListen() })
	return may
}

// want notes that a loop has listeners of a channel.
func (n *notifier) want(name string, loop int) {
	ch := n.channels[name]
	if ch == nil {
		ch = &channel{on: make([]bool, len(n.wanted))}
		n.channels[name] = ch
	}
	if !ch.on[loop] {
		ch.on[loop] = true
		n.wanted[loop]++
	}
	n.changes(name, ch)
}

// leave notes that a loop has none any more.
func (n *notifier) leave(name string, loop int) {
	ch := n.channels[name]
	if ch == nil || !ch.on[loop] {
		return
	}
	ch.on[loop] = false
	n.wanted[loop]--
	n.changes(name, ch)
	n.speak()
}

// changes puts a channel onto the list of those whose LISTEN or UNLISTEN may be due, and forgets one that nothing is due for.
func (n *notifier) changes(name string, ch *channel) {
	wanted := slices.Contains(ch.on, true)
	switch {
	case wanted != ch.heard && !ch.changed && n.server != nil:
		ch.changed = true
		n.changed = append(n.changed, name)
	case !wanted && !ch.heard && !ch.changed:
		delete(n.channels, name)
	}
	if len(n.channels) > 0 {
		n.emptyAt = 0
	} else {
		n.emptyAt = n.worker.loop.Now()
	}
}

// speak sends the next round, when the last one is back: what is to be heard and what no longer, or an empty query. PostgreSQL sends the
// notifications that it knows of ahead of the ReadyForQuery.
func (n *notifier) speak() {
	if n.server == nil || n.hearing.Owed > 0 || len(n.changed) == 0 && len(n.next) == 0 {
		return
	}
	sql := n.worker.sql[:0]
	for _, name := range n.changed {
		ch := n.channels[name]
		ch.changed = false
		wanted := slices.Contains(ch.on, true)
		switch {
		case wanted && !ch.heard:
			sql = sqltext.AppendListen(sql, name)
		case !wanted && ch.heard:
			sql = sqltext.AppendUnlisten(sql, name)
		}
		ch.heard = wanted
		n.changes(name, ch)
	}
	n.worker.sql = sql
	n.changed = n.changed[:0]
	n.sent, n.next = n.next, n.sent[:0]
	n.query(string(sql))
}

// query sends one. It has to be answered within checkMax.
func (n *notifier) query(sql string) {
	n.hearing.Owed++
	n.server.sendQuery(sql)
	n.server.deadline = n.worker.loop.Now() + checkMax
	n.worker.watch()
}

// read takes what the shared connection says.
func (n *notifier) read(b []byte) (consumed int) {
	total, s := len(b), n.server
	for len(b) > 0 && !s.closing && n.server == s {
		step := n.hearing.FromServer(b)
		switch step.Verdict {
		case relay.Forward:
			n.spread(b[:step.N])
		case relay.Report:
			s.report(b[:step.N], true)
		case relay.Ready:
			n.back()
		case relay.Refused:
			s.refused(b[:step.N])
		case relay.Distrust:
			s.distrusted(step.Err)
		case relay.Drop:
		default: // More
			return total - len(b)
		}
		b = b[step.N:]
	}
	n.worker.act()
	return total - len(b)
}

// spread hands notifications to the loops that have listeners.
func (n *notifier) spread(frames []byte) {
	for i, w := range n.worker.proxy.workers {
		switch {
		case n.wanted[i] == 0:
		case w == n.worker:
			w.audienceOf(n.pool).hear(frames)
		default:
			whole := slices.Clone(frames)
			w.loop.Post(func() { w.audienceOf(n.pool).hear(whole); w.act() })
		}
	}
}

// back: a round has come back.
func (n *notifier) back() {
	if n.hearing.Owed > 0 {
		return
	}
	n.server.deadline = 0
	n.heardAt, n.pause = n.worker.loop.Now(), 0
	if n.lossy {
		n.lossy = false
		n.everywhere(func(a *audience) { a.tellLoss() })
	}
	for _, a := range n.sent {
		n.answer(a, attendedHeard)
	}
	clear(n.sent)
	n.sent = n.sent[:0]
	n.speak()
}

// everywhere calls f on every loop.
func (n *notifier) everywhere(f func(a *audience)) {
	for _, w := range n.worker.proxy.workers {
		if w == n.worker {
			f(w.audienceOf(n.pool))
		} else {
			w.loop.Post(func() { f(w.audienceOf(n.pool)); w.act() })
		}
	}
}

// take makes a server the shared connection. It is lent, on this loop, has no client, and listens to the channels that it has.
func (n *notifier) take(s *Server, has []string) {
	w := n.worker
	n.pledged = false
	if n.server != nil || w.draining || !n.mayListen() {
		s.dirty = true
		w.checkin(s)
		n.again()
		return
	}
	n.leaveQueue()
	w.pools(func() { n.pool.pool.Listen(s.ps) })
	n.server, s.notifier, n.hearing, n.needed = s, n, relay.Hearing{}, false
	for name, ch := range n.channels {
		ch.heard = slices.Contains(has, name)
		n.changes(name, ch)
	}
	w.proxy.log.Info("a server of the pool listens for its clients", "listener", n.pool.key.Listener, "database", n.pool.key.Database,
		"user", n.pool.key.User, "pid", s.key.ProcessID)
	// What its last client has set must not end it, nor change how names and payloads are written.
	n.query("RESET ALL; SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN " +
		"('idle_session_timeout', 'statement_timeout', 'transaction_timeout', 'lock_timeout')")
	n.speakIn(n.encoding)
	n.speak()
	n.again()
}

// speakIn sets the encoding in which the shared connection hears.
func (n *notifier) speakIn(encoding string) {
	n.encoding = encoding
	n.query(string(sqltext.AppendSettingsDiff(nil, sqltext.Settings{}.With("client_encoding", encoding), sqltext.Settings{})))
}

// keep: the client that was to give its server could not.
func (n *notifier) keep() {
	n.pledged = false
	n.again()
}

// again asks anew for all who wait.
func (n *notifier) again() {
	waiting := n.absent
	n.absent = nil
	for _, a := range waiting {
		n.place(a)
	}
}

// lost: the shared connection is closed or being closed.
func (n *notifier) lost(s *Server) {
	if n.server != s {
		return
	}
	n.server, s.notifier = nil, nil
	n.hearing = relay.Hearing{}
	n.changed = n.changed[:0]
	heard := false
	for name, ch := range n.channels {
		heard = heard || ch.heard
		ch.heard, ch.changed = false, false
		n.changes(name, ch)
	}
	n.absent = slices.Concat(n.sent, n.next)
	n.sent, n.next = nil, nil
	if n.worker.draining {
		n.absent = nil
		return
	}
	if heard {
		n.lossy, n.needed = true, len(n.channels) > 0
		n.worker.countersOf(n.pool).ListenLosses++
		n.everywhere(func(a *audience) { a.markLoss() })
		n.worker.proxy.log.Warn("the server that listens for its pool's clients was lost; notifications may be lost until another listens",
			"listener", n.pool.key.Listener, "database", n.pool.key.Database, "user", n.pool.key.User)
	}
	n.backOff()
	n.again()
}

// backOff puts off the next try to get a server from the pool.
func (n *notifier) backOff() {
	most := max(listenPauseFirst, n.pool.limits.Load().pool.LoginRetry)
	n.pause = min(max(2*n.pause, listenPauseFirst), most)
	n.retryAt = n.worker.loop.Now() + n.pause
}

// seek stands in the pool's queue for a server, if one is needed.
func (n *notifier) seek() {
	w := n.worker
	if !n.needed || n.server != nil || n.pledged || n.waiter != nil || w.draining || w.loop.Now() < n.retryAt {
		return
	}
	wt := w.newWaiter(n)
	var ps *pool.Server
	w.pools(func() { ps = n.pool.pool.Checkout(wt, w.loop.Now()) })
	n.waiter = wt
	if ps != nil {
		w.lend(serverOf(ps), wt)
	}
	w.act()
}

func (n *notifier) leaveQueue() {
	wt := n.waiter
	n.waiter = nil
	if wt == nil {
		return
	}
	w := n.worker
	var left bool
	w.pools(func() { left = w.proxy.set.Leave(wt, w.loop.Now()) })
	if left {
		w.freeWaiter(wt)
	}
}

// obtained: the pool has lent a server.
func (n *notifier) obtained(s *Server, wt *pool.Waiter) {
	w := n.worker
	stale := n.waiter != wt
	w.freeWaiter(wt)
	if stale {
		w.checkin(s)
		return
	}
	n.waiter = nil
	n.take(s, nil)
}

// failed: the pool lends none.
func (n *notifier) failed(wt *pool.Waiter) {
	stale := n.waiter != wt
	n.worker.freeWaiter(wt)
	if stale {
		return
	}
	n.waiter = nil
	for _, a := range n.absent {
		n.answer(a, attendedTimeout)
	}
	n.absent = nil
	n.backOff()
}

// tick looks at the clocks, several times a second.
func (n *notifier) tick(now time.Duration) {
	w := n.worker
	if n.server == nil {
		n.needed = n.needed && (len(n.channels) > 0 || len(n.absent) > 0)
		n.seek()
		return
	}
	var may bool
	w.pools(func() { may = n.pool.pool.MayGoOnListening() })
	switch {
	case !may && len(n.channels) > 0:
		n.everywhere(func(a *audience) { a.disperse() })
	case n.hearing.Owed > 0:
	case !may:
		n.release()
	case len(n.channels) == 0 && len(n.next) == 0 && now-n.emptyAt >= listenLinger:
		n.release()
	case now-n.heardAt >= listenCheckEvery:
		n.query("")
	}
}

// release gives the shared connection back to the pool.
func (n *notifier) release() {
	s := n.server
	n.server, s.notifier = nil, nil
	s.dirty = true
	n.worker.checkin(s)
}

// tickNotifiers looks at the clocks of all shared connections.
func (w *worker) tickNotifiers(now time.Duration) {
	for _, n := range w.notifiers {
		n.tick(now)
	}
	w.act()
}
