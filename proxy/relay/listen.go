package relay

import (
	"bytes"

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

	wants *wanted
}

// wanted is what the message judged Share begins to listen to.
type wanted struct {
	channels []string
	unnamed  bool // there are others, whose names are not known
}

// Wanted are the channels that the message judged Share begins to listen to. known is false when there are others.
func (n *Sharing) Wanted() (channels []string, known bool) { return n.wants.channels, !n.wants.unnamed }

// want notes what a message begins to listen to.
func (n *Sharing) want(listens []listenAct, unnamed bool) {
	n.wants = &wanted{unnamed: unnamed}
	for _, l := range listens {
		switch {
		case l.Stops:
		case l.Channel == "":
			n.wants.unnamed = true
		default:
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

// listened tells it at the end. Where it is not sure what was committed, the server is asked about each LISTEN.
func (n *SessionState) listened(p *pending) Listened {
	out := Listened{Listens: n.Shares && p.sent&sqltext.Listens != 0}
	for i, l := range p.listens {
		switch {
		case l == Listening{}:
			out.Unnamed = out.Unnamed || n.Shares
		case !p.lost, i < p.from:
			out.Listenings = append(out.Listenings, l)
		case !l.Stops:
			out.Doubtful = append(out.Doubtful, l.Channel)
		}
	}
	return out
}

// leftovers are the effects for which a server has to be cleaned. To what it listens is seen to apart where that is shared.
func (n *SessionState) leftovers() sqltext.Effects {
	if n.Shares {
		return leftovers &^ sqltext.Listens
	}
	return leftovers
}

// sharesText judges the text of a Query, or of a Parse, that the lexer has read: whether the shared connection has to hear of it first. A
// LISTEN in a Parse runs at its Execute, see sharesBind.
func (n *SessionState) sharesText(l *sqltext.Lexer, e sqltext.Effects, parse bool) bool {
	switch {
	case !n.Shares || n.Cleared:
		return false
	case e&sqltext.Listens != 0 && !parse:
		n.want(n.effectOf(l, e).listens, e&sqltext.Unreadable != 0)
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
	if (!n.Shares || n.Cleared) && !promotes || len(n.prepared) == 0 && !s.deedsOutstanding() {
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
	e := n.means(name, s)
	switch {
	case e == nil || e.effects&sqltext.Listens == 0:
		return Step{}, false
	case promotes:
		return Step{Verdict: Promote, Kind: StateListen}, !s.refusesAll(e.effects)
	}
	n.want(e.listens, e.effects&sqltext.Unreadable != 0)
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
	return n.Listening || n.pending != nil && n.pending.sent&sqltext.Listens != 0
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

// withholds reports that the ReadyForQuery at the start of rest has to wait for what its client has to hear. It is the last that its client is
// owed: who begins to listen by a statement that was not seen ahead, or on a server of its own, may have sent that behind others (serial).
func (s *Server) withholds(rest []byte) bool {
	return s.watched != nil && s.watched.hears() && len(rest) > headerBytes && rest[headerBytes] == StatusIdle && !s.internalReply() && !s.owesMore()
}

// owesMore reports that something is owed to the client behind the oldest reply, or is going to be: its server is not settled then.
func (s *Server) owesMore() bool { return s.batchOpen || s.ledger.clientsFrom(1, s.ledger.len()) }

// readyAlone judges a ReadyForQuery that is kept back.
func (s *Server) readyAlone(rest []byte) Step {
	f, err := s.scanner.Next(rest)
	if err != nil {
		return s.distrust(err.Error())
	}
	s.midInternal = false
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
	if !shares && !(s.internalReply() && s.listensAlone()) {
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
