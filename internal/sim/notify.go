package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/pool"
)

// note is a notification that was committed.
type note struct {
	number           int // in the order of the commits, of all databases
	pid              uint32
	channel, payload string
}

// notifying is what a session has of LISTEN and NOTIFY. Like all of a session it is a value: its slices and maps are replaced, not changed.
type notifying struct {
	channels  map[string]bool
	doing     []string // LISTEN and UNLISTEN of the open transaction
	said      []note   // by it
	committed []note   // not handed on yet
}

// statement runs LISTEN, UNLISTEN or NOTIFY; ok is false for all others.
func (n *notifying) statement(plain, sql string) (replies []message, ok bool) {
	verb, rest, _ := strings.Cut(plain, " ")
	switch verb {
	case "listen", "unlisten":
		n.doing = append(slices.Clone(n.doing), plain)
	case "notify":
		channel, _, _ := strings.Cut(rest, ",")
		if said := (note{channel: channel, payload: literal(sql)}); !slices.Contains(n.said, said) { // the same twice is once
			n.said = append(slices.Clone(n.said), said)
		}
	default:
		return nil, false
	}
	return []message{complete(strings.ToUpper(verb))}, true
}

// commit is the end of a transaction, rollback the other.
func (n *notifying) commit() {
	for _, plain := range n.doing {
		verb, channel, _ := strings.Cut(plain, " ")
		channels := maps.Clone(n.channels)
		if channels == nil {
			channels = make(map[string]bool)
		}
		switch {
		case verb == "listen":
			channels[channel] = true
		case channel == "*":
			clear(channels)
		default:
			delete(channels, channel)
		}
		n.channels = channels
	}
	n.committed = slices.Concat(n.committed, n.said)
	n.doing, n.said = nil, nil
}

func (n *notifying) rollback() { n.doing, n.said = nil, nil }

// listensTo answers the pooler's question for channels.
func (n *notifying) listensTo(sql string) []message {
	var row pgproto3.DataRow
	for _, rest := range strings.Split(sql, "c WHERE c = ")[1:] {
		var value []byte
		if n.channels[literal(rest)] {
			value = []byte("1")
		}
		row.Values = append(row.Values, value)
	}
	return []message{encode(&row), complete("SELECT 1")}
}

// publish gives what a server has committed to all servers of its database that listen to anything.
func (r *run) publish(v *server) {
	committed := v.session.committed
	v.session.committed = nil
	for _, n := range committed {
		r.noted++
		n.number, n.pid = r.noted, v.pid
		n.payload = fmt.Sprintf("%s#%d", n.payload, n.number) // a prepared one may be sent several times: each is known by its number
		r.notes[v.pool] = append(r.notes[v.pool], n)
		for _, w := range r.servers {
			if w.pool == v.pool && !w.gone && len(w.session.channels) > 0 {
				w.inbox = append(w.inbox, n)
			}
		}
	}
	if len(committed) == 0 {
		return
	}
	for _, w := range r.servers {
		if w != v {
			w.idleNotes()
		}
	}
}

// heard are the messages for what is in a server's inbox.
func (v *server) heard() (messages []message) {
	for _, n := range v.inbox {
		if v.session.channels[n.channel] {
			messages = append(messages, encode(&pgproto3.NotificationResponse{PID: n.pid, Channel: n.channel, Payload: n.payload}))
		}
	}
	v.inbox = nil
	return messages
}

// idleNotes sends them when the server is idle.
func (v *server) idleNotes() {
	if v.gone || v.working || v.session.tx != 'I' || v.session.begun || v.session.skipping || v.session.copying != copyNone {
		return
	}
	messages := v.heard()
	if len(messages) == 0 {
		return
	}
	for _, m := range messages {
		v.out = append(v.out, m...)
	}
	v.run.world.trace.messages(v.name(), "says", true, messages...)
	v.flush()
}

// hearing is what an oracle knows of its client's notifications.
type hearing struct {
	run   *run
	key   pool.Key
	last  int            // the number of the last one
	got   map[int]bool   // the numbers of all
	from  map[string]int // by channel: what comes behind this number must be heard
	floor map[string]int // by channel: what came before it must not
	sent  []int          // by message: the last note that had been committed when it was sent
	due   int            // all up to this number have been looked at
}

// listens notes what the client is about to say.
func (o *oracle) listens(m message) {
	if o.run == nil {
		return
	}
	o.hearing.sent = append(o.hearing.sent, o.run.noted)
	if m.kind() != 'Q' && m.kind() != 'P' {
		return
	}
	_, sql, _ := strings.Cut(string(m[5:]), "listen ")
	channel, _, _ := strings.Cut(sql, "\x00")
	channel, _, _ = strings.Cut(channel, ";")
	if _, floored := o.floor[channel]; channel != "" && !floored && !o.session.channels[channel] {
		o.floor[channel] = o.run.noted
		if len(o.session.channels) > 0 || len(o.floor) > 1 {
			o.floor[channel] = o.due // PostgreSQL sends, too, what was committed since it last looked for others
		}
	}
}

// hearsNote judges a notification: it was committed, is the client's, comes in its order and in a place where PostgreSQL would send it.
func (o *oracle) hearsNote(actual []byte) error {
	var m pgproto3.NotificationResponse
	if err := m.Decode(actual[5:]); err != nil {
		return err
	}
	i := slices.IndexFunc(o.run.notes[o.key], func(n note) bool {
		return n.payload == m.Payload && n.channel == m.Channel && n.pid == m.PID && n.number > o.last
	})
	if i < 0 {
		return fmt.Errorf("notification %q of process %d, which nobody sent, or out of order, or twice", m.Payload, m.PID)
	}
	n := o.run.notes[o.key][i]
	now := o.session
	if o.at == 0 && len(o.out) > 0 {
		now = o.before // nothing has been heard of that message
	}
	rests := (o.at == 0 || o.at == len(o.out)) && now.tx == 'I' && !now.begun && !now.skipping && now.copying == copyNone
	if !rests && !(o.advance() && (o.out[o.at][0] == 'Z' || o.out[o.at][0] == 'S') && o.session.tx == 'I') {
		return fmt.Errorf("notification %q in the middle of something (replies so far %q)", m.Payload, o.seen)
	}
	switch {
	case !o.session.channels[m.Channel] && !(rests && now.channels[m.Channel]):
		return fmt.Errorf("notification %q on %s, to which the client does not listen", m.Payload, m.Channel)
	case n.number <= o.floor[m.Channel]:
		return fmt.Errorf("notification %q was committed before the client said LISTEN", m.Payload)
	}
	o.last = n.number
	o.got[n.number] = true
	return nil
}

// hearsAll checks, at a ReadyForQuery between transactions, that everything has been heard that was committed before the client sent what
// it answers: from the reply to its LISTEN on.
func (o *oracle) hearsAll(faults bool) error {
	alone := o.next == 1 && o.sent[0].kind() == 'S'
	if o.run == nil || o.session.tx != 'I' || alone || o.vain || o.begun {
		return nil // the pooler answers a Sync alone, what it refuses, and the end of a transaction of which no server has heard
	}
	sent := o.due
	if o.next > 0 && o.next <= len(o.hearing.sent) {
		sent = o.hearing.sent[o.next-1]
	}
	for _, n := range o.run.notes[o.key] {
		from, listens := o.from[n.channel]
		if n.number > o.due && n.number <= sent && listens && n.number > from && o.session.channels[n.channel] && !o.got[n.number] && !faults && !o.refused {
			return fmt.Errorf("notification %q of process %d was not heard (replies so far %q)", n.payload, n.pid, o.seen)
		}
	}
	o.due = max(o.due, sent)
	for channel := range o.session.channels {
		if _, listens := o.from[channel]; !listens {
			o.from[channel] = o.run.noted
		}
	}
	for channel := range o.from {
		if !o.session.channels[channel] {
			delete(o.from, channel)
			delete(o.floor, channel)
		}
	}
	return nil
}
