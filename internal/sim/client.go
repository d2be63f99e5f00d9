package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/proxy"
)

// client runs a random script and checks what it is told.
type client struct {
	run    *run
	name   string
	key    pool.Key
	proxy  *proxy.Client
	socket *socket
	oracle *oracle

	batches int       // still to be sent
	later   []message // the rest of a batch, that it thinks about
	serial  int
	app     string
	ready   int  // ReadyForQuery that will have come when everything is answered
	tx      bool // as the script sees it
	left    bool // it has said goodbye, or gone without
	stayed  bool // half-closed: it listens on
	done    bool
	acting  bool
	feeding bool // a COPY waits for its data

	since   time.Duration // it has waited for a server; see invariants.go
	waiting bool
}

// plan makes the client act again after a while.
func (c *client) plan(low, high time.Duration) {
	if c.acting || c.left {
		return
	}
	c.acting = true
	c.run.world.after(c.run.world.between(low, high), func() {
		c.acting = false
		c.act()
	})
}

func (c *client) act() {
	w := c.run.world
	switch {
	case c.left || c.done:
	case c.feeding:
		if c.oracle.ready >= c.ready || c.oracle.copying {
			c.feed()
		}
	case c.later != nil && w.chance(60):
		c.leave()
	case c.later != nil:
		if !w.chance(3) {
			c.send(c.later...)
			c.later = nil
		}
	case c.oracle.ready < c.ready && !w.chance(6):
		if w.chance(12) && c.run.cancels {
			c.cancel()
		}
		if w.chance(40) {
			c.leave()
		}
	case c.batches == 0:
		c.leave()
	case w.chance(60):
		c.leave()
	default:
		c.batches--
		c.batch()
	}
	c.plan(0, 4*time.Millisecond)
}

func frame(m pgproto3.FrontendMessage) message {
	b, err := m.Encode(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// send gives messages to the socket and to the oracle; sometimes in two parts, the client thinking in between.
func (c *client) send(messages ...message) {
	var all []byte
	c.run.world.trace.messages(c.name, "sends", false, messages...)
	for _, m := range messages {
		c.oracle.sends(m)
		all = append(all, m...)
	}
	c.socket.send(all)
}

// statement is a random one, with the client's token.
func (c *client) statement() string {
	c.serial++
	w := c.run.world
	token := fmt.Sprintf("/*%s*/", c.name)
	if c.run.listens && w.chance(4) {
		return token + c.notifying()
	}
	switch w.rnd.IntN(17) {
	case 0:
		return token + "select 1/0"
	case 1:
		return token + "selec"
	case 2:
		return fmt.Sprintf("%sset application_name = '%s-%d'", token, c.name, c.serial)
	case 3, 4:
		return token + "show application_name"
	case 5:
		return fmt.Sprintf("%scopy (select '%s-%d') to stdout", token, c.name, c.serial)
	case 6:
		return token
	case 7:
		if c.run.tracks {
			return fmt.Sprintf("%sset lock_timeout = '%ds'", token, 1+w.rnd.IntN(59))
		}
	case 8, 9:
		if c.run.tracks {
			return token + "show lock_timeout"
		}
	case 11, 12, 13:
		return token + []string{"savepoint ", "savepoint ", "release ", "rollback to ", "rollback to "}[w.rnd.IntN(5)] + []string{"a", "b"}[w.rnd.IntN(2)]
	case 10:
		if c.run.refuses {
			return token + "load 'x'"
		}
	}
	return fmt.Sprintf("%sselect '%s-%d'", token, c.name, c.serial)
}

// notifying is one about notifications.
func (c *client) notifying() string {
	channel := fmt.Sprintf("n%d", c.run.world.rnd.IntN(3))
	switch c.run.world.rnd.IntN(9) {
	case 0, 1, 2:
		return "listen " + channel
	case 3:
		return "unlisten " + channel
	case 4:
		return "unlisten *"
	}
	return fmt.Sprintf("notify %s, '%s-%d'", channel, c.name, c.serial)
}

// common is a statement that other clients prepare too.
func (c *client) common() string {
	if c.run.tracks && c.run.world.chance(4) {
		return "show lock_timeout"
	}
	n := c.run.world.rnd.IntN(4)
	return fmt.Sprintf("select 'common-%d'%s", n, []string{"", " where $1 is null"}[n%2])
}

// batch sends something that ends with one or more ReadyForQuery.
func (c *client) batch() {
	w := c.run.world
	token := fmt.Sprintf("/*%s*/", c.name)
	bounds := token // of a transaction
	if c.run.defers {
		bounds = ""
	}
	if c.tx && w.chance(3) {
		c.tx = false
		c.query(bounds + []string{"commit", "rollback"}[w.rnd.IntN(2)])
		return
	}
	if !c.tx && !c.run.statements && w.chance(5) {
		c.tx = true
		c.query(bounds + "begin")
		return
	}
	switch w.rnd.IntN(10) {
	case 0:
		c.query(token + "copy sim from stdin")
		if w.chance(2) {
			c.finishCopy()
		} else {
			c.feeding = true
		}
	case 1:
		first, second := c.statement(), c.statement()
		if strings.Contains(first+second, "load") && (bare(first) == "selec" || bare(second) == "selec") {
			second = first // which of its two faults is told depends on what has been answered by then
		}
		c.query(first + ";" + second)
	case 2, 3, 4, 5:
		c.extendeds()
	case 6:
		if c.clears() {
			return
		}
		c.send(frame(&pgproto3.Sync{}))
		c.ready++
	default:
		for range 1 + w.rnd.IntN(2) {
			c.query(c.statement())
		}
	}
}

// clears now and then takes back what the session has. No comment hides DEALLOCATE from the relay.
func (c *client) clears() bool {
	texts := []string{"deallocate all", "discard all", "reset all", "reset lock_timeout", "reset application_name"}
	i := c.run.world.rnd.IntN(2 * len(texts))
	if !c.run.tracks || !c.run.prepares || i >= len(texts) || c.tx && i < 2 {
		return false
	}
	c.query(texts[i])
	return true
}

func (c *client) query(sql string) {
	c.send(frame(&pgproto3.Query{String: sql}))
	c.ready++
}

// extended is a batch of the extended protocol without its Sync.
func (c *client) extended() (all []message) {
	w := c.run.world
	for range 1 + w.rnd.IntN(3) {
		name := c.statementName()
		switch {
		case name == "" && (!c.run.prepares || c.run.cancels || c.oracle.ready < c.ready || !w.chance(4)):
			all = append(all, frame(&pgproto3.Parse{Query: c.statement()}))
		case name != "" && w.chance(3):
			all = append(all, frame(&pgproto3.Close{ObjectType: 'S', Name: name}), frame(&pgproto3.Parse{Name: name, Query: c.common()}))
		case name != "" && w.chance(3):
			all = append(all, frame(&pgproto3.Parse{Name: name, Query: c.statement()}))
		}
		if w.chance(4) {
			all = append(all, frame(&pgproto3.Describe{ObjectType: 'S', Name: name}))
		}
		all = append(all, frame(&pgproto3.Bind{PreparedStatement: name}))
		if w.chance(2) {
			all = append(all, frame(&pgproto3.Describe{ObjectType: 'P'}))
		}
		all = append(all, frame(&pgproto3.Execute{}))
		if w.chance(5) {
			all = append(all, frame(&pgproto3.Flush{}))
		}
		if w.chance(8) {
			all = append(all, frame(&pgproto3.Close{ObjectType: 'P'}))
		}
	}
	return all
}

// statementName is that of a statement, often none.
func (c *client) statementName() string {
	if !c.run.prepares {
		return ""
	}
	return []string{"", "", "s1", "s2", "s3"}[c.run.world.rnd.IntN(5)]
}

// extendeds sends batches one behind the other. Now and then it goes away in the last one, or stops to think in it, having asked for the
// replies so far or not: asyncpg prepares like that.
func (c *client) extendeds() {
	w := c.run.world
	sync := frame(&pgproto3.Sync{})
	for range w.rnd.IntN(3) {
		c.ready++
		c.send(append(c.extended(), sync)...)
	}
	last := c.extended()
	part := 1 + w.rnd.IntN(len(last))
	switch {
	case w.chance(40):
		c.send(last[:part]...)
		c.leave()
	case w.chance(3):
		c.ready++
		c.send(last[:part]...)
		if w.chance(2) {
			c.send(frame(&pgproto3.Flush{}))
		}
		c.later = append(last[part:], sync)
	default:
		c.ready++
		c.send(append(last, sync)...)
	}
}

// feed sends the data of a COPY, or nothing if it has failed.
func (c *client) feed() {
	c.feeding = false
	if c.oracle.copying {
		c.finishCopy()
	}
}

func (c *client) finishCopy() {
	w := c.run.world
	for range w.rnd.IntN(4) {
		c.send(frame(&pgproto3.CopyData{Data: []byte(c.name + "\n")}))
	}
	switch {
	case w.chance(20):
		c.leave()
	case w.chance(4):
		c.send(frame(&pgproto3.CopyFail{Message: c.name}))
	default:
		c.send(frame(&pgproto3.CopyDone{}))
	}
}

// cancel sends a cancel request on a way of its own.
func (c *client) cancel() {
	c.oracle.cancels++
	c.run.world.trace.say(c.name, "asks for a cancel")
	c.run.world.after(c.run.world.between(0, 3*time.Millisecond), func() { c.run.sim.Cancel(c.proxy, func() {}) })
}

// leave says goodbye, or does not.
func (c *client) leave() {
	if c.left {
		return
	}
	c.left = true
	w := c.run.world
	w.trace.say(c.name, "leaves")
	switch w.rnd.IntN(8) {
	case 0:
		c.socket.abort()
		c.done = true
	case 1:
		c.socket.hangUp()
		c.done = true
	case 2:
		c.stayed = true
		c.socket.finish()
	case 3:
		// Half a message.
		m := frame(&pgproto3.Query{String: "/*" + c.name + "*/select 'never'"})
		c.socket.send(m[:1+w.rnd.IntN(len(m)-1)])
		c.socket.hangUp()
		c.done = true
	default:
		c.socket.send(frame(&pgproto3.Terminate{}))
		c.stayed = true
		c.socket.finish()
	}
}

// receive judges what the pooler has sent.
func (c *client) receive(b []byte) {
	c.run.world.trace.messages(c.name, "hears", true, whole(c.oracle.partial, b)...)
	if err := c.oracle.hears(b, c.run.faults); err != nil {
		c.run.world.fail("client %s: %w", c.name, err)
	}
}

// ended: the pooler has closed.
func (c *client) ended(reset bool) {
	c.run.world.trace.say(c.name, "is closed, by RST: %v", reset)
	torn := len(c.oracle.partial) > 0 && c.run.faults // half a message has come: the pooler cannot say why
	if !c.left && !c.oracle.fatal && !reset && !torn {
		c.run.world.fail("client %s was closed without a word (replies so far %q)", c.name, c.oracle.seen)
	}
	if reset && !c.left && !c.oracle.fatal && c.oracle.cancels == 0 && !c.oracle.refused && !c.run.faults {
		c.run.world.fail("client %s was reset", c.name)
	}
	if c.stayed && !reset && !c.oracle.fatal && !c.run.faults && len(c.oracle.partial) > 0 {
		c.run.world.fail("client %s, half-closed, was closed in the middle of a message: %q", c.name, c.oracle.partial)
	}
	c.left, c.done = true, true
	c.socket.hangUp()
}
