package relay

import (
	"bytes"
	"encoding/binary"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// partial is a Query, Parse, Bind or Execute that is cut.
type partial struct {
	kind  byte
	lexer sqltext.Lexer
	head  []byte // of a Parse, up to the end of its name; of a Bind or Execute, up to partialBindMax
	named bool   // the name is whole; the text is being read
	tail  []byte // of a Parse, from the end of its text, up to partialBindMax
}

// partialBindMax is how much is kept of a Bind that is cut: names, and the parameters of a set_config.
const partialBindMax = 8 << 10

// watch looks at a message that has been sent to the server.
func (c *Client) watch(f protocol.Frame, s *Server) {
	n := &c.Session
	switch f.Type {
	case protocol.ClientQuery, protocol.ClientParse:
		if !n.Tracked && !c.wantsText(f) {
			return
		}
	case protocol.ClientBind, protocol.ClientExecute, protocol.ClientClose:
		if len(n.prepared) == 0 && !s.deedsOutstanding() && len(s.portals) == 0 && !c.wantsNames(f.Type, s) {
			return
		}
	case protocol.ClientSync:
		if n.here != nil {
			clear(n.here)
		}
		return
	case protocol.ClientFunctionCall:
		if f.First && (n.Tracked || n.Observed) && !s.passive() {
			n.called(f.Data)
		}
		return
	default:
		return
	}
	switch {
	case s.passive(): // the server will not carry it out
	case f.Last:
		n.watchWhole(f, s)
	case f.Type != protocol.ClientClose:
		n.watchPart(f, s)
	}
}

// wantsText reports that a text is looked at for something else than what Tracked is for.
func (c *Client) wantsText(f protocol.Frame) bool {
	n := &c.Session
	return n.Observed || n.Restores && n.readsResets(f) || c.own != nil && mayName(f.Data)
}

// wantsNames reports that a message with a statement's name is looked at although no name has an effect.
func (c *Client) wantsNames(messageType byte, s *Server) bool {
	n := &c.Session
	return messageType == protocol.ClientBind && (n.outdated || n.Unread || n.forgotten || n.leavesStatements(s) || n.Restores && n.pending != nil)
}

func (n *SessionState) watchWhole(f protocol.Frame, s *Server) {
	switch f.Type {
	case protocol.ClientQuery:
		n.readText(f.Data[headerBytes:], s)
		n.queried(s.Lexer, s)
	case protocol.ClientParse:
		if name, rest, ok := bytes.Cut(f.Data[headerBytes:], zero); ok { // else the server refuses it
			n.readText(rest, s)
			n.parsed(s.Lexer, name, rest, s)
		}
	case protocol.ClientBind:
		n.bound(f.Data, true, s)
	case protocol.ClientExecute:
		n.executed(f.Data, s)
	case protocol.ClientClose:
		n.closed(f.Data, s)
	}
}

// readText has the lexer read a text, unless it has done so already.
func (n *SessionState) readText(text []byte, s *Server) {
	if !n.read {
		n.begins(s.Lexer)
		s.Lexer.Feed(text)
		n.judge(s.Lexer, textOf(text), true)
		n.read = true
	}
}

// textOf returns a text without the zero byte behind it.
func textOf(b []byte) []byte {
	text, _, _ := bytes.Cut(b, zero)
	return text
}

// called notes a FunctionCall.
func (n *SessionState) called(frame []byte) {
	n.observed(sqltext.Unreadable) // of a function by its number
	if n.Tracked && !ofLargeObjects(frame) {
		p := n.note()
		p.sent, p.effects = p.sent|sqltext.Opaque, p.effects|sqltext.Opaque
	}
}

// ofLargeObjects reports that a FunctionCall is of one of the functions for large objects (include/catalog/pg_proc.dat), which is what drivers
// use it for; any other may be set_config.
func ofLargeObjects(frame []byte) bool {
	if len(frame) < headerBytes+4 {
		return false
	}
	switch binary.BigEndian.Uint32(frame[headerBytes:]) {
	case 715, 764, 767, 765, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172, 3457, 3458, 3459, 3460:
		return true
	}
	return false
}

var zero = []byte{0}

// dialect is how the server reads the text that comes next, which may come behind one that changes that and has not been answered.
func (n *SessionState) dialect() sqltext.Dialect {
	d := n.Dialect
	d.Doubtful, d.TrailingQuotes = d.Doubtful || n.rereads, d.TrailingQuotes || n.rereads
	return d
}

// watchPart goes on with a message that is cut.
func (n *SessionState) watchPart(f protocol.Frame, s *Server) {
	p := n.partial
	data := f.Data
	if f.First {
		p = &partial{kind: f.Type}
		n.partial = p
		data = data[headerBytes:]
		n.begins(&p.lexer)
		p.named = f.Type == protocol.ClientQuery
		if f.Type == protocol.ClientBind || f.Type == protocol.ClientExecute {
			p.head = append(p.head, f.Data[:headerBytes]...)
		}
	}
	switch {
	case p.kind == protocol.ClientBind, p.kind == protocol.ClientExecute:
		p.head = append(p.head, data[:min(len(data), max(0, partialBindMax-len(p.head)))]...)
	case p.named:
		p.readText(data)
	default:
		name, rest, ok := bytes.Cut(data, zero)
		p.head = append(p.head, name[:min(len(name), max(0, partialBindMax-len(p.head)))]...)
		if ok {
			p.named = true
			p.readText(rest)
		}
	}
	if !f.Last {
		return
	}
	n.partial = nil
	if p.kind == protocol.ClientQuery || p.kind == protocol.ClientParse {
		n.judge(&p.lexer, nil, false)
	}
	switch p.kind {
	case protocol.ClientQuery:
		n.queried(&p.lexer, s)
	case protocol.ClientParse:
		n.parsed(&p.lexer, p.head, p.tail, s)
	case protocol.ClientBind:
		n.bound(p.head, len(p.head) < partialBindMax, s)
	case protocol.ClientExecute:
		n.executed(p.head, s)
	}
}

// readText reads a text and, in a Parse, the types behind it.
func (p *partial) readText(b []byte) {
	if p.tail == nil {
		end := bytes.IndexByte(b, 0)
		if end < 0 {
			end = len(b)
		} else {
			p.tail = make([]byte, 0, 8)
		}
		p.lexer.Feed(b[:end])
		b = b[end:]
	}
	p.tail = append(p.tail, b[:min(len(b), max(0, partialBindMax-len(p.tail)))]...)
}

// ended is what a text does. What EXECUTE runs, it does not say: a statement that the client has prepared by the protocol, which knows it by
// another name, or one of another client's.
func (n *SessionState) ended(l *sqltext.Lexer) sqltext.Effects {
	e := n.effects(l)
	n.observed(e)
	if e&sqltext.Executes != 0 {
		e |= sqltext.Opaque
	}
	return e
}

// queried notes the text of a Query.
func (n *SessionState) queried(l *sqltext.Lexer, s *Server) {
	clear(n.here) // the server may be parted behind it
	e := n.ended(l)
	if n.local != nil && e&ends != 0 {
		n.local.doubt()
	}
	minds := n.minds()
	if n.Restores && !n.resets(l, e) {
		minds = 0
	}
	if s.own() != nil {
		minds |= sqltext.Deallocates
	}
	if e&(minds|sqltext.AssignsLocally) == 0 {
		return
	}
	does := n.effectOf(l, e)
	if e&minds != 0 {
		s.does(deed{kind: deedRuns, effect: does})
	}
	n.sends(does, s)
}

// minds are the effects that are noted.
func (n *SessionState) minds() sqltext.Effects {
	minds := noted
	switch {
	case n.Restores:
		minds = resetting
	case !n.Tracked:
		return 0
	case n.hears():
		minds |= sqltext.Unlistens
	}
	if n.pending != nil {
		minds |= saving
	}
	return minds
}

// mindsPrepared are those for which a prepared statement is remembered: it may run later than what makes them matter.
func (n *SessionState) mindsPrepared(s *Server) (minds sqltext.Effects) {
	if s.own() != nil {
		minds = sqltext.Deallocates
	}
	if n.Tracked || n.Restores {
		minds |= n.minds() | sqltext.AssignsLocally | sqltext.RollsBackTo
	}
	if n.Shares {
		minds |= sqltext.Unlistens
	}
	return minds
}
