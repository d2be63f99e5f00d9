package catalog

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Catalogue is what the rows have come to. The Loading is spent then.
func (l *Loading) Catalogue() (*Catalogue, error) {
	if l.step < len(steps) {
		return nil, errors.New("load the catalogue: not all queries have been run")
	}
	for _, rel := range l.relations { // what a relation's columns do, whoever writes meets too
		l.graph.runs(rel.write, rel.read)
	}
	l.graph.close()
	c := &Catalogue{entries: map[string]entry{}, operators: map[string]*Deeds{}, oids: map[uint32]*Deeds{}}
	c.anywhere, c.defines = l.deeds(l.anywhere), l.deeds(l.defines)
	for name, references := range l.names {
		var e entry
		for _, r := range references {
			l.addTo(&e, r)
		}
		if e != (entry{}) {
			c.entries[name] = e
			c.stats.Bytes += len(name) + 16 + 4*8
		}
	}
	for sign, nodes := range l.operators {
		var d *Deeds
		for _, n := range nodes {
			d = union(d, l.deeds(n))
		}
		if d != nil {
			c.operators[sign] = d
		}
	}
	for oid, n := range l.functions {
		if d := l.deeds(n); d != nil {
			c.oids[oid] = d
		}
	}
	c.everything = &Deeds{What: Anything}
	for _, n := range l.graph.nodes {
		c.everything = union(c.everything, n.deeds)
	}
	c.found = l.found()
	l.count(c)
	c.names = sqltext.NewNames(maps.Keys(c.entries))
	if len(c.operators) > 0 || c.anywhere != nil {
		c.names = sqltext.EveryName() // no identifier tells
	}
	c.stats.Bytes += c.names.Bytes() + 8*len(c.oids)
	for _, f := range c.found {
		c.stats.Bytes += len(f.Name) + len(f.Why) + 96
		for _, via := range f.Via {
			c.stats.Bytes += len(via) + 16
		}
	}
	return c, nil
}

// deeds is what a node does; nil: nothing.
func (l *Loading) deeds(n int32) *Deeds { return l.graph.nodes[n].deeds }

func (l *Loading) addTo(e *entry, r reference) {
	d := l.deeds(r.node)
	switch {
	case r.function:
		e.calls = union(e.calls, d)
		if r.attribute {
			e.attribute = union(e.attribute, d)
		}
	case l.things[r.node].kind == "read":
		e.reads = union(e.reads, d)
		e.writes = union(e.writes, l.deeds(r.node+1))
	default: // a type
		e.reads = union(e.reads, d)
	}
}

// count fills in the Stats.
func (l *Loading) count(c *Catalogue) {
	c.stats.Functions, c.stats.Relations = len(l.functions), len(l.relations)
	for _, n := range l.functions {
		if l.deeds(n) == nil {
			c.stats.HarmlessFunctions++
		}
	}
	for _, r := range l.relations {
		if l.deeds(r.read) == nil && l.deeds(r.write) == nil {
			c.stats.HarmlessRelations++
		}
	}
}

// foundMax bounds the list for people.
const foundMax = 10000

// found is the list of what does something, for people.
func (l *Loading) found() []Found {
	var all []Found
	for i, n := range l.graph.nodes {
		t := l.things[i]
		if n.deeds == nil || t.name == "any relation" && t.schema == "" {
			continue
		}
		if t.kind == "write" && l.deeds(int32(i)-1) == n.deeds {
			continue // reading it does as much
		}
		f := Found{Kind: t.kind, Name: t.qualified(), Does: n.deeds}
		last := int32(i)
		for steps := 0; l.graph.nodes[last].why == "" && l.graph.nodes[last].via != none && steps < len(l.graph.nodes); steps++ {
			last = l.graph.nodes[last].via
			f.Via = append(f.Via, l.things[last].qualified())
		}
		f.Why = l.graph.nodes[last].why
		all = append(all, f)
		if len(all) == foundMax {
			break
		}
	}
	slices.SortStableFunc(all, func(a, b Found) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind)) })
	return all
}

// qualified is a name for people.
func (t thing) qualified() string {
	if t.schema == "" {
		return t.name
	}
	return t.schema + "." + t.name
}
