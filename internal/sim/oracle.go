package sim

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// oracle is the session a client would have if it were connected directly: it is given what the client sends, and says whether what
// comes back is right. It moves only as replies arrive, so that a cancel request may have hit any of the messages under way.
type oracle struct {
	session session
	base    session   // at the last ReadyForQuery
	sent    []message // since base
	next    int       // into sent
	out     []message // replies to sent[next-1]
	at      int       // into out
	before  session   // ahead of sent[next-1]
	heard   int       // replies since base
	cancels int       // requests made, ever
	refused bool      // the pooler has refused a batch
	defers  bool      // a BEGIN alone may reach no server
	begun   bool      // at base a transaction has begun, and nothing in it has reached a server
	vain    bool      // since base something was refused
	partial []byte
	seen    []byte // types of all replies, for the reader of a failure
	ready   int    // ReadyForQuery seen
	copying bool   // CopyInResponse was the last reply
	fatal   bool   // the last word has come
	hearing
}

func newOracle(app string) *oracle {
	s := newSession(app)
	return &oracle{session: s, base: s}
}

// sends notes what the client sends.
func (o *oracle) sends(m message) {
	o.sent = append(o.sent, m)
	o.listens(m)
}

// hears judges bytes that have arrived. faults: servers may be lost.
func (o *oracle) hears(b []byte, faults bool) error {
	o.partial = append(o.partial, b...)
	for {
		m, rest, ok := cut(o.partial)
		if !ok {
			return nil
		}
		o.partial = rest
		o.seen = append(o.seen, m.kind())
		if o.fatal {
			return fmt.Errorf("%q after the last word", m)
		}
		if err := o.judge(m, faults); err != nil {
			return err
		}
	}
}

// advance steps until there is a reply to expect.
func (o *oracle) advance() bool {
	for o.at == len(o.out) {
		if o.next == len(o.sent) {
			return false
		}
		o.before = o.session
		o.out, o.at = o.session.step(o.sent[o.next], false), 0
		o.next++
	}
	return true
}

func (o *oracle) judge(actual []byte, faults bool) error {
	if actual[0] == 'E' && o.pooler(actual, faults) {
		return nil
	}
	if actual[0] == 'N' && bytes.Contains(actual, []byte(unasked)) {
		return nil
	}
	if actual[0] == 'A' && o.run != nil {
		return o.hearsNote(actual)
	}
	expected := o.advance()
	if expected && bytes.Equal(o.out[o.at], actual) {
		if actual[0] == 'Z' {
			if err := o.hearsAll(faults); err != nil {
				return err
			}
		}
		o.pass(actual)
		return nil
	}
	if actual[0] == 'N' && bytes.Contains(actual, []byte("query_wait_notify")) {
		return nil // the pooler's own
	}
	if actual[0] == 'N' && faults && bytes.Contains(actual, []byte("notifications may have been lost")) {
		return nil
	}
	if actual[0] == 'E' && (o.canceled(actual) || o.refuse(actual) || o.aborted(actual)) {
		return nil
	}
	if !expected {
		return fmt.Errorf("got %q and expected nothing (replies so far %q)", actual, o.seen)
	}
	return fmt.Errorf("got %q and expected %q (replies so far %q)", actual, o.out[o.at], o.seen)
}

// pass takes a reply as right.
func (o *oracle) pass(actual []byte) {
	o.at++
	o.heard++
	o.copying = actual[0] == 'G'
	if actual[0] == 'Z' {
		o.ready++
		o.begun, o.vain = o.unserved(), false
		o.base, o.sent, o.heard = o.session, slices.Clone(o.sent[o.next:]), 0
		if o.run != nil {
			o.hearing.sent = slices.Clone(o.hearing.sent[o.next:])
		}
		o.next, o.out, o.at = 0, nil, 0
	}
}

// unserved: the transaction of the client, if it is in one, may be unknown to any server.
func (o *oracle) unserved() bool {
	if !o.defers || o.session.tx == 'I' {
		return false
	}
	if o.base.tx == 'I' {
		for _, m := range o.sent[:o.next-1] { // the rest of a COPY that was refused reaches nobody
			if !strings.ContainsRune("SHdcf", rune(m.kind())) {
				return false
			}
		}
		m := o.sent[o.next-1]
		if m.kind() != 'Q' {
			return false
		}
		_, _, begins := sqltext.ParseBegin([]byte(m.text()))
		return begins
	}
	for _, m := range o.sent[:o.next] {
		if m.kind() != 'S' && m.kind() != 'H' && !o.vain && o.cancels == 0 {
			return false
		}
	}
	return o.begun
}

// pooler knows the last words that are the pooler's own.
func (o *oracle) pooler(actual []byte, faults bool) bool {
	e := protocol.ParseError(actual[5:])
	if !e.Fatal() {
		return false
	}
	switch e.Code {
	case "08P01":
		o.fatal = o.refused || o.cancels > 0
	case canceledCode:
		o.fatal = o.cancels > 0
	case "53300":
		o.fatal = o.heard == 0 && (o.base.tx == 'I' || o.begun)
	case "08006", "57P01":
		o.fatal = faults && e.Detail == ""
	}
	return o.fatal
}

// canceled tries whether a cancel request explains an error.
func (o *oracle) canceled(actual []byte) bool {
	if o.cancels == 0 || !bytes.Equal(actual, canceledFailure()) {
		return false
	}
	if o.next > 0 && o.before.copying != copyNone || o.next == len(o.sent) && o.session.copying != copyNone {
		if o.before.copying != copyNone && o.session.copying == copyNone {
			o.session = o.before
			o.next-- // what ended the COPY came too late
		}
		o.out, o.at = o.session.copyFails(canceledFailure()), 0
		o.pass(actual)
		return true
	}
	if o.next == 0 || !o.before.busy(o.sent[o.next-1]) {
		return false
	}
	session := o.before
	out := session.step(o.sent[o.next-1], true)
	if o.at >= len(out) || !bytes.Equal(out[o.at], actual) {
		return false
	}
	o.session, o.out = session, out
	o.vain = o.vain || o.heard == 0 // it may have hit while no server had heard of it
	o.pass(actual)
	return true
}

// aborted knows an error that PostgreSQL would not make: in a failed transaction a statement can still be described that returns nothing,
// but the pooler may have to parse it anew for that.
func (o *oracle) aborted(actual []byte) bool {
	if o.next == 0 || o.before.tx != 'E' || !bytes.Equal(actual, abortedFailure()) {
		return false
	}
	if m := o.sent[o.next-1]; m.kind() != 'D' || m[5] != 'S' || o.at != 0 {
		return false
	}
	o.session = o.before
	o.session.skipping = true
	o.out = []message{actual}
	o.pass(actual)
	return true
}

// refuse tries whether an error is the pooler's refusal of a batch that no server has seen.
func (o *oracle) refuse(actual []byte) bool {
	e := protocol.ParseError(actual[5:])
	waited := e.Code == "53300" || o.cancels > 0 && bytes.Equal(actual, canceledFailure())
	if !waited || o.heard != 0 || o.base.tx != 'I' && !o.begun {
		return false
	}
	for i, m := range o.sent {
		switch m.kind() {
		case 'Q', 'P', 'B', 'D', 'E', 'C':
			o.session, o.next, o.at = o.base, i+1, 0
			o.out, o.vain = []message{actual}, true
			o.session.abort(actual)
			if m.kind() == 'Q' {
				o.out = o.session.ready(o.out)
			} else {
				o.session.skipping = true
			}
			o.refused = true
			o.pass(actual)
			return true
		}
	}
	return false
}
