package sim

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// server is a PostgreSQL server process: a session that takes its time, on a socket.
type server struct {
	run    *run
	pool   pool.Key
	pid    uint32
	socket *socket

	session session
	in      []byte
	out     []byte // not flushed yet
	working bool   // a message is being executed
	cancel  bool   // a cancel request has hit what is being executed
	gone    bool
	heardOf bool // the other side has closed
	goodbye bool // Terminate is on its way
	inbox   []note

	owner string // whose transaction or batch is open
	batch bool   // an extended-protocol message came and its Sync did not
}

// name is what the trace calls it.
func (v *server) name() string { return fmt.Sprintf("server %d", v.pid) }

// sent watches what the pooler sends.
func (v *server) sent(b []byte) { v.goodbye = bytes.HasSuffix(b, []byte{'X', 0, 0, 0, 4}) }

// takesPlace reports whether it counts against its pool: until it has ended, or the pooler has closed it without a goodbye. That it may
// do, with half a message under way.
func (v *server) takesPlace() bool { return !v.gone && (v.goodbye || !v.socket.closed) }

// receive takes what the pooler has sent.
func (v *server) receive(b []byte) {
	if v.gone {
		return
	}
	v.in = append(v.in, b...)
	v.work()
}

// work deals with whole messages until one takes time.
func (v *server) work() {
	for !v.working && !v.gone {
		m, rest, ok := cut(v.in)
		if !ok {
			break
		}
		v.in = rest
		v.run.world.trace.messages(v.name(), "reads", false, m)
		v.witness(m)
		if v.session.busy(m) {
			v.working, v.cancel = true, false
			v.run.world.after(v.run.executionTime(), func() {
				if v.gone {
					return
				}
				v.working = false
				v.answer(m)
				v.work()
			})
			return
		}
		v.answer(m)
	}
	if v.heardOf && !v.working && !v.gone {
		v.exit()
	}
}

// flushBytes is from how many bytes on PostgreSQL sends of itself.
const flushBytes = 8 << 10

// replies steps the session. What has been notified comes ahead of the ReadyForQuery and of the parameters that have changed.
func (v *server) replies(m message) []message {
	replies := v.session.step(m, v.cancel)
	v.run.publish(v)
	if at := len(replies) - 1; at >= 0 && replies[at][0] == 'Z' && v.session.tx == 'I' {
		if at > 0 && replies[at-1][0] == 'S' {
			at--
		}
		replies = slices.Concat(replies[:at], v.heard(), replies[at:])
	}
	return replies
}

// answer steps the session and sends what PostgreSQL would send now.
func (v *server) answer(m message) {
	flush := m.kind() == 'H'
	replies := v.replies(m)
	for _, reply := range replies {
		v.out = append(v.out, reply...)
		switch reply[0] {
		case 'Z', 'E', 'G':
			flush = true
		}
	}
	v.run.world.trace.messages(v.name(), "says", true, replies...)
	v.cancel = false
	if flush || len(v.out) >= flushBytes {
		v.flush()
	}
	if m.kind() == 'S' || m.kind() == 'Q' && !v.session.skipping {
		v.batch = false
	}
	v.disown()
	if v.session.ended {
		v.exit()
	}
}

// disown: between transactions and batches it is nobody's.
func (v *server) disown() {
	if v.session.tx == 'I' && !v.batch && v.session.copying == copyNone {
		v.owner = ""
	}
}

func (v *server) flush() {
	v.socket.send(v.out)
	v.out = nil
}

// canceled is a cancel request that has arrived.
func (v *server) canceled() {
	v.run.world.trace.say(v.name(), "gets a cancel request")
	switch {
	case v.gone:
	case v.working:
		v.cancel = true
	case v.session.copying == copyQuery:
		replies := v.session.copyFails(canceledFailure())
		for _, reply := range replies {
			v.out = append(v.out, reply...)
		}
		v.run.world.trace.messages(v.name(), "says", true, replies...)
		v.disown()
		v.flush()
	}
}

// exit ends the process.
func (v *server) exit() {
	if v.gone {
		return
	}
	v.gone = true
	v.run.world.trace.say(v.name(), "ends")
	v.flush()
	v.socket.hangUp()
}

// crash ends it without a word.
func (v *server) crash() {
	if v.gone {
		return
	}
	v.gone = true
	v.run.world.trace.say(v.name(), "crashes")
	v.socket.abort()
}

// terminated ends it at any moment, with PostgreSQL's words for that.
func (v *server) terminated() {
	if v.gone {
		return
	}
	fatal := protocol.Error{Severity: "FATAL", Code: "57P01", Message: "terminating connection due to administrator command"}
	last := fatal.Append(nil)
	v.run.world.trace.messages(v.name(), "says", true, last)
	v.out = append(v.out, last...)
	v.exit()
}

// unasked is in what a server says of its own accord.
const unasked = "nobody has asked for this"

// remarks is PostgreSQL saying something that answers nothing.
func (v *server) remarks() {
	if v.gone {
		return
	}
	notice := protocol.Error{Severity: "NOTICE", Code: "00000", Message: unasked}
	said := notice.AppendNotice(nil)
	v.run.world.trace.messages(v.name(), "says", true, said)
	v.out = append(v.out, said...)
	v.flush()
}

// ended: the pooler has closed.
func (v *server) ended(bool) {
	v.heardOf = true
	v.work()
}

// witness checks that a statement belongs here: while a transaction or a batch is open, to the one whose it is.
func (v *server) witness(m message) {
	var sql string
	switch m.kind() {
	case 'Q':
		sql = m.text()
	case 'P':
		_, sql, _ = strings.Cut(string(m[5:]), "\x00")
		sql, _, _ = strings.Cut(sql, "\x00")
		v.batch = true
	case 'B', 'D', 'E', 'C':
		v.batch = true
		return
	default:
		return
	}
	token := tokenOf(sql)
	switch {
	case token == "": // the pooler's, or common to several
	case v.owner == "":
		v.owner = token
	case v.owner != token:
		v.run.world.fail("server %d, in a transaction or batch of client %q, got %q", v.pid, v.owner, sql)
	}
}

// tokenOf is the client's name in a statement; empty for the pooler's own.
func tokenOf(sql string) string {
	_, rest, ok := strings.Cut(sql, "/*")
	if !ok {
		return ""
	}
	token, _, _ := strings.Cut(rest, "*/")
	return token
}

// executionTime is mostly short.
func (r *run) executionTime() time.Duration {
	if r.world.chance(20) {
		return r.world.between(0, 200*time.Millisecond)
	}
	return r.world.between(0, 5*time.Millisecond)
}
