package catalog

import "slices"

// node is a piece of code, or something that runs code when it is used: a function, reading a relation, writing to it, a type, an
// operator. Nodes are known by their number.
type node struct {
	deeds *Deeds // nil: nothing
	via   int32  // the node whose deeds came first; -1: its own
	why   string // the code that does it, if it is its own
}

// graph is which code runs which. It belongs to one goroutine.
type graph struct {
	nodes []node
	edges []edge
	size  int // of what is kept in why, in bytes
}

// edge says that from runs to.
type edge struct{ from, to int32 }

const none int32 = -1

// add makes a node.
func (g *graph) add() int32 {
	g.nodes = append(g.nodes, node{via: none})
	return int32(len(g.nodes) - 1)
}

// runs notes that one node runs another.
func (g *graph) runs(from, to int32) {
	if from == none || to == none || from == to {
		return
	}
	if n := len(g.edges); n > 0 && g.edges[n-1] == (edge{from, to}) {
		return
	}
	g.edges = append(g.edges, edge{from, to})
}

// whyMax bounds what is kept of the code that does something, in bytes; whyTotal what is kept of all.
const (
	whyMax   = 120
	whyTotal = 4 << 20
)

// does notes what a node does itself.
func (g *graph) does(n int32, d *Deeds, why []byte) {
	if n == none {
		return
	}
	at := &g.nodes[n]
	at.deeds = union(at.deeds, d)
	if at.why == "" && g.size < whyTotal {
		at.why = oneLine(why)
		g.size += len(at.why)
	}
}

// oneLine is the beginning of a piece of code, its white space made blanks.
func oneLine(code []byte) string {
	line := make([]byte, 0, whyMax)
	for _, c := range code {
		if c < ' ' {
			c = ' '
		}
		if c == ' ' && (len(line) == 0 || line[len(line)-1] == ' ') {
			continue
		}
		if line = append(line, c); len(line) == whyMax {
			return string(line) + " ..."
		}
	}
	return string(line)
}

// close gives each node the deeds of all that it runs, at however many removes.
func (g *graph) close() {
	slices.SortFunc(g.edges, func(a, b edge) int {
		if a.to != b.to {
			return int(a.to) - int(b.to)
		}
		return int(a.from) - int(b.from)
	})
	g.edges = slices.Compact(g.edges)
	first := make([]int32, len(g.nodes)+1) // where the edges to a node begin
	for _, e := range g.edges {
		first[e.to+1]++
	}
	for i := range g.nodes {
		first[i+1] += first[i]
	}
	var changed []int32
	waits := make([]bool, len(g.nodes))
	for i, n := range g.nodes {
		if n.deeds != nil {
			changed, waits[i] = append(changed, int32(i)), true
		}
	}
	for len(changed) > 0 {
		n := changed[0]
		changed, waits[n] = changed[1:], false
		for _, e := range g.edges[first[n]:first[n+1]] {
			at := &g.nodes[e.from]
			before := at.deeds
			at.deeds = union(before, g.nodes[n].deeds)
			if at.deeds == before {
				continue
			}
			if before == nil {
				at.via = n
			}
			if !waits[e.from] {
				changed, waits[e.from] = append(changed, e.from), true
			}
		}
	}
}
