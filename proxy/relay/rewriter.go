package relay

import "github.com/hybridbouncer/hybridbouncer/prepared"

// Desk is what the relays of one event loop share: the table of statements, and the buffers that Rewrite speaks of, which are good until
// the next call of a relay.
type Desk struct {
	Table    *prepared.Table
	ToServer []byte
	ToClient []byte
}

const (
	// wovenMax is when a step ends although more could be woven into it: one short message can call for a Parse of a megabyte.
	wovenMax = 128 << 10
	// deskKeep is the longest buffer that is kept for the next step.
	deskKeep = 256 << 10
)

// clear begins a step.
func (d *Desk) clear() {
	if cap(d.ToServer) > deskKeep {
		d.ToServer = nil
	}
	if cap(d.ToClient) > deskKeep {
		d.ToClient = nil
	}
	d.ToServer, d.ToClient = d.ToServer[:0], d.ToClient[:0]
}

// rewriter is a client's bytes on their way to becoming a step: as long as all of them pass they are not touched; from the first that must
// change they are copied to the desk.
type rewriter struct {
	b    []byte
	from int   // what is before it has been copied or left out
	desk *Desk // nil while nothing has changed
}

// cut copies what comes before at, and leaves out n bytes from there. What is put in their place is appended to desk.ToServer.
func (w *rewriter) cut(at, n int, desk *Desk) {
	if w.desk == nil {
		desk.clear()
		w.desk = desk
	}
	desk.ToServer = append(desk.ToServer, w.b[w.from:at]...)
	w.from = at + n
}

// full reports that the step should end.
func (w *rewriter) full() bool { return w.desk != nil && len(w.desk.ToServer) > wovenMax }

// step is the verdict over the first n bytes.
func (w *rewriter) step(n int) Step {
	if n == 0 && w.desk == nil {
		return Step{Verdict: More}
	}
	if w.desk == nil {
		return Step{Verdict: Forward, N: n}
	}
	w.desk.ToServer = append(w.desk.ToServer, w.b[w.from:n]...)
	return Step{Verdict: Rewrite, N: n}
}
