package relay

import "github.com/hybridbouncer/hybridbouncer/sqltext"

// pending is what statements have done to the session since the last Resolve. Transactions and savepoints are a stack: what has been done
// since the newest of them stands at the end of the lists, so that a ROLLBACK cuts them and a COMMIT moves the mark.
type pending struct {
	sent    sqltext.Effects // of all that has been sent, whatever becomes of it
	effects sqltext.Effects // of all that has run, if only in part

	changes    []Change
	listens    []Listening
	committed  mark        // what is before it has been committed
	savepoints []savepoint // of the transaction in progress, oldest first
	told       int         // changes that NewChanges has told of

	failed bool // an error came since the last ReadyForQuery
	// unsure: which changes hold is not known. From then on none is cut, so that the list has all that may.
	unsure bool
	// lost: nor is it known which of the listens hold, from the one of this number on.
	lost bool
	from int
}

// mark is a place in the lists.
type mark struct{ changes, listens int }

// savepoint is one that was made while something was pending. Older ones are not known: to go back to one undoes all of the transaction.
type savepoint struct {
	name string // empty: not known
	mark
}

const (
	// changesMax bounds the parameters set in one transaction, and the LISTEN and UNLISTEN.
	changesMax = 256
	// savepointsMax bounds the savepoints of one transaction that are remembered.
	savepointsMax = 256

	tagRollback = "ROLLBACK"
)

// ran notes what statements of a text have done: those that due says.
func (p *pending) ran(e *effect, due func(statement int) bool) {
	p.effects |= e.effects
	if e.effects&sqltext.Opaque != 0 && p.open() {
		p.unsure = true // a procedure may have ended the transaction
	}
	for _, c := range e.changes {
		if due(c.statement) && (c.Name != "" || c.Reset) && !c.local {
			p.add(c.Change)
		}
	}
	for _, l := range e.listens {
		if !due(l.statement) {
			continue
		}
		if len(p.listens) >= changesMax {
			p.lose()
			p.effects |= sqltext.Unreadable
			return
		}
		p.listens = append(p.listens, l.Listening)
	}
}

// ranInPart notes a text of which a statement has failed. What stays with the server behind an error is not told apart.
func (p *pending) ranInPart(e *effect) {
	p.effects |= e.effects &^ sqltext.DiscardsAll
	if e.effects&sqltext.Opaque != 0 && p.open() {
		p.unsure = true
	}
}

// guess notes what a text may have changed.
func (p *pending) guess(e *effect) {
	p.unsure = true
	for _, c := range e.changes {
		if (c.Name != "" || c.Reset) && !c.local {
			p.add(c.Change)
		}
	}
}

// lose notes that nobody here knows any more how transactions and savepoints stand.
func (p *pending) lose() {
	p.unsure = true
	if !p.lost {
		p.lost, p.from = true, p.committed.listens
	}
}

func (p *pending) loseIf(so bool) {
	if so {
		p.lose()
	}
}

// open reports that something has been done that is not committed.
func (p *pending) open() bool { return p.committed != p.here() }

func (p *pending) here() mark { return mark{len(p.changes), len(p.listens)} }

// add notes a change. Who the session acts as is asked for: setting one sets the other.
func (p *pending) add(c Change) {
	if len(p.changes) >= changesMax {
		p.lose()
		p.effects |= sqltext.Unreadable
		return
	}
	if c.Name == "session_authorization" {
		c.Exact = false
		p.changes = append(p.changes, Change{Name: "role"})
	}
	p.changes = append(p.changes, c)
}

// tagged notes the tag of a statement that has run: the one of this number of a text with effects, or of one without any (nil).
func (p *pending) tagged(tag string, e *effect, statement int) {
	switch tag {
	case "COMMIT", "PREPARE TRANSACTION":
		p.commit()
	case "DISCARD ALL":
		p.effects = sqltext.DiscardsAll // nothing is left of all before
		p.commit()
	case tagRollback:
		if name, back := e.savepoint(sqltext.NameRolledBack, statement); back {
			p.rollBackTo(name)
		} else {
			p.cut(p.committed)
			p.savepoints = nil
		}
	case "SAVEPOINT":
		name, _ := e.savepoint(sqltext.NameSavepoint, statement)
		p.push(name)
	case "RELEASE":
		if name, known := e.savepoint(sqltext.NameReleased, statement); known {
			p.release(name)
		} else {
			p.push("")
		}
	}
}

// savepoint is the name that a statement of a text has of a kind.
func (e *effect) savepoint(kind sqltext.NameKind, statement int) (name string, ok bool) {
	if e == nil {
		return "", false
	}
	for _, a := range e.names {
		if a.kind == kind && (statement < 0 || a.statement == statement) {
			return a.name, true
		}
	}
	return "", e.effects&sqltext.Unreadable != 0
}

func (p *pending) push(name string) {
	if len(p.savepoints) == savepointsMax {
		p.lose()
		return
	}
	p.savepoints = append(p.savepoints, savepoint{name: name, mark: p.here()})
}

// find is the newest savepoint of a name. ok is false when it is older than those that are known; nothing is sure when one stands in between
// whose name is not known.
func (p *pending) find(name string) (at int, ok bool) {
	for at = len(p.savepoints) - 1; at >= 0; at-- {
		switch p.savepoints[at].name {
		case name:
			p.loseIf(name == "")
			return at, true
		case "":
			p.lose()
		}
	}
	p.loseIf(name == "")
	return 0, false
}

func (p *pending) rollBackTo(name string) {
	at, ok := p.find(name)
	if !ok {
		p.cut(p.committed)
		p.savepoints = nil
		return
	}
	p.cut(p.savepoints[at].mark)
	p.savepoints = p.savepoints[:at+1]
}

func (p *pending) release(name string) {
	if at, ok := p.find(name); ok {
		p.savepoints = p.savepoints[:at]
	} else {
		p.savepoints = nil
	}
}

// cut undoes what was done behind a mark.
func (p *pending) cut(to mark) {
	if !p.unsure {
		p.changes = p.changes[:to.changes]
		p.told = min(p.told, to.changes)
	}
	if !p.lost {
		p.listens = p.listens[:to.listens]
	}
}

func (p *pending) commit() { p.committed, p.savepoints = p.here(), nil }

// ready notes a ReadyForQuery: where no transaction is open any more, the last one has come to its end.
func (p *pending) ready(status byte) {
	switch {
	case status == StatusActive:
		p.loseIf(p.failed) // it goes on behind an error
	case status == StatusIdle && p.failed:
		p.cut(p.committed)
		p.savepoints = nil
	case status == StatusIdle:
		p.commit()
	}
	p.failed = false
}
