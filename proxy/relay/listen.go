package relay

import (
	"bytes"
	"slices"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// LISTEN where a shared connection listens for the clients of many servers: which channels a client listens to, PostgreSQL decides. The
// statements run on the client's server as they are; here their tags, and the end of their transactions, are watched. What was committed
// comes out of Resolve. A client that listens, or is about to, has its ReadyForQuery between transactions kept back as Ready: PostgreSQL
// sends notifications there and nowhere else (commands/async.c, ProcessNotifyInterrupt).

// Sharing is what a SessionState knows of its client's LISTEN. The caller sets what is exported.
type Sharing struct {
	// Shares: a shared connection listens for the client. Otherwise LISTEN is Promoted.
	Shares bool
	// Listening: it listens to something, or has reserved that.
	Listening bool
	// Reserved: the shared connection listens to what the client has not committed yet.
	Reserved bool
	// Cleared: the message that comes next, which was judged Share, may go.
	Cleared bool
	// Hears: the notifications of the client's own server are for it, because there is no shared connection yet.
	Hears bool
	// Withheld: a ReadyForQuery was judged Ready, and has not been sent.
	Withheld bool
	// UTF8: so are the client's texts, and the database.
	UTF8 bool

	listens bool // some prepared statement does
	wants   *wanted
}

// wanted is what the message judged Share begins to listen to.
type wanted struct {
	channels []string
	unnamed  bool // there are others, whose names are not known
}

// Wanted are the channels that the message judged Share begins to listen to. known is false when there are others.
func (n *Sharing) Wanted() (channels []string, known bool) { return n.wants.channels, !n.wants.unnamed }

// want notes what the text that the lexer has just read begins to listen to.
func (n *Sharing) want(listenings []Listening, unnamed bool) {
	n.wants = &wanted{unnamed: unnamed}
	for _, l := range listenings {
		if !l.Stops {
			n.wants.channels = append(n.wants.channels, l.Channel)
		}
	}
}

// Listening is a LISTEN or UNLISTEN.
type Listening struct {
	Channel string // empty: all of them
	Stops   bool
}

// Listened is what the transactions that have ended did to what the client listens to.
type Listened struct {
	// Listenings are the LISTEN and UNLISTEN that were committed, in their order. Doubtful are channels of LISTENs that may have been, if
	// the server listens to them.
	Listenings []Listening
	Doubtful   []string
	// Unnamed: some may have been, of channels that nobody here knows.
	Unnamed bool
	// Listens: the server may listen now.
	Listens bool
}

// listened tells it at the end.
func (n *SessionState) listened(p *pending) Listened {
	return Listened{
		Listenings: p.listenings.committed, Doubtful: p.listenings.doubtful,
		Unnamed: p.listenings.unnamed && (!p.undone || p.ends != 1 || p.unsure),
		Listens: n.Shares && p.effects&sqltext.Listens != 0,
	}
}

// leftovers are the effects for which a server has to be cleaned. To what it listens is seen to apart where that is shared.
func (n *SessionState) leftovers() sqltext.Effects {
	if n.Shares {
		return leftovers &^ sqltext.Listens
	}
	return leftovers
}

// listeningsOf copies what a Lexer has found. unnamed: a name could not be read.
func (n *SessionState) listeningsOf(l *sqltext.Lexer, e sqltext.Effects) (all []Listening, unnamed bool) {
	for i := range l.Listenings() {
		found := l.Listening(i)
		if unnamed = unnamed || !found.Exact || !found.ASCII && !n.UTF8; !unnamed {
			all = append(all, Listening{Channel: string(found.Channel), Stops: found.Stops})
		}
	}
	return all, unnamed || e&sqltext.Listens != 0 && e&sqltext.Unreadable != 0
}

// sharesText judges the text of a Query, or of a Parse, that the lexer has read: whether the shared connection has to hear of it first. A
// LISTEN in a Parse runs at its Execute, see sharesBind.
func (n *SessionState) sharesText(l *sqltext.Lexer, e sqltext.Effects, parse bool) bool {
	switch {
	case !n.Shares || n.Cleared:
		return false
	case e&sqltext.Listens != 0 && !parse:
		n.want(n.listeningsOf(l, e))
		return true
	case e&sqltext.Commits != 0 && n.Reserved:
		n.want(nil, false)
		return true
	}
	return false
}

// sharesBind judges a Bind likewise, by the text of its statement. Where no shared connection can listen for the client it is Promoted here: at the
// Parse it was not known that none can.
func (n *SessionState) sharesBind(b []byte, s *Server) (step Step, judged bool) {
	promotes := !n.Shares && n.Promotes && !s.Kept
	if (!n.Shares || n.Cleared) && !promotes || !n.listens {
		return Step{}, false
	}
	size, complete := protocol.Whole(b)
	switch {
	case size > judgedMax || size < headerBytes:
		return Step{}, false
	case !complete:
		return Step{Verdict: More}, true
	}
	_, rest, _ := bytes.Cut(b[headerBytes:size], zero)
	name, _, _ := bytes.Cut(rest, zero)
	e := n.means(name)
	switch {
	case e == nil || e.effects&sqltext.Listens == 0:
		return Step{}, false
	case promotes:
		return Step{Verdict: Promote, Kind: StateListen}, !s.refusesAll(e.effects)
	}
	n.want(e.listenings, e.unnamed)
	return s.share(), true
}

// share is the verdict about a message that the shared connection has to hear of: all before it is answered first.
func (s *Server) share() Step {
	if s.owesReady() || s.watched.Withheld {
		return Step{Verdict: Hold}
	}
	return Step{Verdict: Share}
}

// hears reports that the client listens, or may have begun to.
func (n *SessionState) hears() bool {
	return n.Listening || n.pending != nil && n.pending.listenings.some()
}

// minds are the effects that are noted: of a client that listens, some beyond those of everybody.
func (n *SessionState) minds() sqltext.Effects {
	switch {
	case n.Restores:
		return resetting
	case n.hears():
		return noted | sqltext.Unlistens
	}
	return noted
}

// listenings are the LISTEN and UNLISTEN that a client has sent since the last time its server was settled. Those that are open belong to
// one transaction: see serial.
type listenings struct {
	open      []openListening
	committed []Listening
	doubtful  []string // channels about which the server has to be asked
	unnamed   bool     // a text that was too long to be judged before it was sent listens to what is not among these
	failed    bool     // an error came since the last ReadyForQuery
	savepoint bool     // a transaction may have been rolled back to a savepoint
}

// openListening is one of which it is not known yet what has become of it.
type openListening struct {
	Listening
	ran    bool // its tag has come
	undone bool // a ROLLBACK ran behind it
}

func (l *listenings) some() bool {
	return len(l.open) > 0 || len(l.committed) > 0 || len(l.doubtful) > 0 || l.unnamed
}

// sendsListenings notes those of a message that has been sent.
func (n *SessionState) sendsListenings(e *effect, s *Server) {
	if e.effects&sqltext.Listens == 0 && !n.hears() {
		return
	}
	l := &n.pending.listenings
	l.unnamed = l.unnamed || n.Shares && e.unnamed && e.effects&sqltext.Listens != 0
	for _, one := range e.listenings {
		switch {
		case !s.owesEarlier():
			l.open = append(l.open, openListening{Listening: one})
		case !one.Stops: // the text was too long to be judged before it was sent
			l.doubtful = append(l.doubtful, one.Channel)
		}
	}
}

// doubts notes what a text says that makes it uncertain what holds in the end.
func (p *pending) doubts(e sqltext.Effects) {
	p.unsure = p.unsure || e&(sqltext.RollsBackTo|sqltext.Chains) != 0
	p.listenings.savepoint = p.listenings.savepoint || e&sqltext.RollsBackTo != 0
}

// tagged notes that a command has run.
func (l *listenings) tagged(tag []byte) {
	switch string(tag) {
	case "LISTEN", "UNLISTEN", "DISCARD ALL":
		if i := slices.IndexFunc(l.open, func(o openListening) bool { return !o.ran }); i >= 0 {
			l.open[i].ran = true
		}
	case "COMMIT":
		l.commit()
	case "ROLLBACK": // its tag is the same when it goes back to a savepoint only
		for i := range l.open {
			l.open[i].undone = l.open[i].undone || l.open[i].ran
		}
	}
}

// commit takes those that have run as committed.
func (l *listenings) commit() {
	l.open = slices.DeleteFunc(l.open, func(o openListening) bool {
		switch {
		case !o.ran:
			return false
		case !o.undone:
			l.committed = append(l.committed, o.Listening)
		case l.savepoint && !o.Stops:
			l.doubtful = append(l.doubtful, o.Channel)
		}
		return true
	})
}

// ready notes a ReadyForQuery.
func (l *listenings) ready(status byte) {
	failed := l.failed
	l.failed = false
	l.open = slices.DeleteFunc(l.open, func(o openListening) bool {
		return !o.ran || status == StatusIdle && o.undone && !l.savepoint
	})
	switch {
	case status != StatusIdle:
		// Where the transaction goes on behind a ROLLBACK, that was one to a savepoint.
		l.savepoint = l.savepoint || slices.ContainsFunc(l.open, func(o openListening) bool { return o.undone })
	case failed:
		l.open = slices.DeleteFunc(l.open, func(o openListening) bool { return o.ran })
	default:
		l.commit()
	}
}

// serial reports that a message has to wait until all before it is answered. The pipeline of a client that listens is sent piece by piece,
// from one ReadyForQuery to the next: what it notifies itself it hears in its place, neither before a reply that it follows nor after an
// UNLISTEN that was sent ahead of it.
func (n *SessionState) serial(messageType byte, s *Server) bool {
	if !n.hears() && !n.Withheld || s.passive() {
		return false
	}
	kind, _ := kindOf(messageType)
	return kind != nothingDue && (n.Withheld || s.owesReady())
}

// owesReady reports that a ReadyForQuery is owed to the client.
func (s *Server) owesReady() bool { return s.ledger.readyDue(0, s.ledger.len()) }

// owesEarlier reports that one is owed for what was sent before the message just sent.
func (s *Server) owesEarlier() bool { return s.ledger.readyDue(0, s.ledger.len()-1) }

// withholds reports that the ReadyForQuery at the start of rest has to wait for what its client has to hear. It is the last that its client is
// owed: who begins to listen by a statement that was not seen ahead, or on a server of its own, may have sent that behind others (serial).
func (s *Server) withholds(rest []byte) bool {
	return s.watched != nil && s.watched.hears() && len(rest) > headerBytes && rest[headerBytes] == StatusIdle && !s.hidden() && !s.owesMore()
}

// owesMore reports that something is owed to the client behind the oldest reply, or is going to be: its server is not settled then.
func (s *Server) owesMore() bool { return s.batchOpen || s.ledger.clientsFrom(1, s.ledger.len()) }

// readyAlone judges a ReadyForQuery that is kept back.
func (s *Server) readyAlone(rest []byte) Step {
	f, err := s.scanner.Next(rest)
	if err != nil {
		return s.distrust(err.Error())
	}
	s.midHidden = false
	if wrong := s.passed(f); wrong != "" {
		return s.distrust(wrong)
	}
	step := Step{Verdict: Ready, N: len(f.Data)}
	s.finished(&step)
	s.watched.Withheld = true
	return step
}

// overheard judges a notification of the server's own where its client does not simply hear it: it hears them from the shared connection, if
// there is one; or it has the server to itself, and this one has come in front of what answers the proxy.
func (s *Server) overheard(rest []byte) (step Step, alone bool) {
	shares := s.watched != nil && s.watched.Shares
	if !shares && !(s.hidden() && s.listensAlone()) {
		return Step{}, false
	}
	size, complete := protocol.Whole(rest)
	if !complete {
		if size <= wholeMax {
			return Step{Verdict: More}, true
		}
		return Step{}, false
	}
	if _, err := s.scanner.Next(rest); err != nil {
		return s.distrust(err.Error()), true
	}
	switch {
	case !shares:
		return Step{Verdict: Forward, N: size}, true
	case s.watched.Hears:
		return Step{Verdict: Overheard, N: size}, true
	}
	return Step{Verdict: Drop, N: size}, true
}

// listensAlone reports that the server is its client's own, and so is all that it listens to.
func (s *Server) listensAlone() bool {
	return !s.abandoned && (s.Kept || s.watched != nil && s.watched.Restores)
}

// Hearing judges what a shared connection says: a server without a client, which is sent nothing but the proxy's own queries.
type Hearing struct {
	// Owed is the number of ReadyForQuery outstanding.
	Owed int
}

// heardMax is the longest message it may send: a notification is of 8 KiB at most.
const heardMax = 48 << 10

// FromServer judges the first bytes of b. Forward is for whole notifications, Ready for the end of one query.
func (h *Hearing) FromServer(b []byte) Step {
	step := Step{Verdict: More}
	for step.N < len(b) {
		rest := b[step.N:]
		size, complete := protocol.Whole(rest)
		if size > heardMax || size > 0 && rest[1]|rest[2]|rest[3] == 0 && rest[4] < 4 {
			return distrusted("message of a length that cannot be")
		}
		if !complete {
			break
		}
		verdict, wrong := h.judge(rest[0])
		if wrong != "" {
			return distrusted(wrong)
		}
		if step.N > 0 && (verdict != step.Verdict || verdict == Ready || verdict == Report || verdict == Refused) {
			break // what came before goes first
		}
		if verdict == Ready {
			h.Owed--
		}
		step.Verdict = verdict
		step.N += size
	}
	return step
}

// judge says what a message is.
func (h *Hearing) judge(messageType byte) (v Verdict, wrong string) {
	switch messageType {
	case protocol.ServerNotificationResponse:
		return Forward, ""
	case protocol.ServerNoticeResponse:
		return Drop, ""
	case protocol.ServerParameterStatus:
		return Report, ""
	case protocol.ServerErrorResponse:
		return Refused, ""
	}
	if h.Owed == 0 {
		return Drop, "message type " + itoa(int(messageType)) + " that nobody asked for"
	}
	switch messageType {
	case protocol.ServerCommandComplete, protocol.ServerEmptyQueryResponse, protocol.ServerRowDescription, protocol.ServerDataRow:
		return Drop, ""
	case protocol.ServerReadyForQuery:
		return Ready, ""
	}
	return Drop, "unknown message type " + itoa(int(messageType))
}

func distrusted(wrong string) Step {
	return Step{Verdict: Distrust, Err: protocol.ErrServerLost().WithDetail("the server sent a " + wrong + "; its connection was closed.")}
}

// EachNotification calls f for each of the whole notifications in b (manual 54.7, NotificationResponse).
func EachNotification(b []byte, f func(frame, channel []byte)) {
	for len(b) > 0 {
		size, complete := protocol.Whole(b)
		if !complete || size < headerBytes {
			return
		}
		if body := b[headerBytes:size]; len(body) > 4 {
			channel, _, _ := bytes.Cut(body[4:], zero)
			f(b[:size:size], channel)
		}
		b = b[size:]
	}
}
