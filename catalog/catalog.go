// Package catalog owns the knowledge of one database that no text shows: which functions, relations and types change the state of the session
// that uses them, because code of somebody's runs there. It must not know connections, clients or pools: its caller asks PostgreSQL the
// queries that a Loading names, and hands over the rows.
//
// A function's body is read with the Lexer of package sqltext; what it calls is followed from body to body. What runs without being named
// is followed as well: triggers (of partitions, of children, behind foreign keys), rules, views, policies, defaults, generated columns,
// expressions of indexes, checks, domains, operators, casts, aggregates, event triggers. Code that nobody can read does Anything.
//
// How a pooler uses it:
//
//	c, err := catalog.Load(ask, corrections)
//
//	lexer.Begin(dialect)
//	lexer.Watch(c.Names())   // costs nothing when nothing in the database does anything
//	lexer.Feed(text)
//	effects := lexer.End()
//	if c.Concerns(effects) { // once for a prepared text
//		deeds := c.Judge(text, dialect) // what the text does beyond its words; nil: nothing
//		effects = effects&^sqltext.Opaque | deeds.Effects()
//	}
//
// Of Deeds the caller makes what it makes of the same effects in a text: parameters with names are followed, channels are subscribed,
// temporary tables, cursors, prepared statements and locks promote, SetsAny and Anything ask the server, CannotUndo closes it.
// ChangeSQL tells whether to load again; what Judge has said then counts no more, and prepared texts are asked about anew. While there is no
// Catalogue, because it has not been loaded or could not be, a Lexer that is told to Trust sqltext.Builtins says which texts call
// anything else: behind those a server has to be cleaned.
//
// A Catalogue is immutable and may be used by several goroutines. A Loading belongs to one goroutine. Read deeds.go first, then body.go: how
// code is read; plpgsql.go takes bodies in PL/pgSQL apart. graph.go is which code runs which, loading.go and queries.go fill it.
package catalog

import (
	"bytes"
	"iter"
	"maps"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// Catalogue says what the functions, relations and types of one database do to a session.
type Catalogue struct {
	names     *sqltext.Names
	entries   map[string]entry  // by unqualified name, folded
	operators map[string]*Deeds // by sign
	oids      map[uint32]*Deeds // of functions, for the FunctionCall message
	anywhere  *Deeds            // what any text may do: casts between types of PostgreSQL's
	defines   *Deeds            // what event triggers do
	// everything is what a text may do that nobody can read.
	everything *Deeds
	found      []Found
	stats      Stats
}

// entry is what happens where a name is used. Several things may have one name, in several schemas or with several arguments: it is then
// what any of them does.
type entry struct {
	calls     *Deeds // with a parenthesis behind it
	attribute *Deeds // behind a dot: a function of a row
	reads     *Deeds // in a statement that reads
	writes    *Deeds // in a statement that writes, or defines
}

// Stats says how large a Catalogue is and what it was made of.
type Stats struct {
	// Functions is how many functions and procedures users and extensions have made; HarmlessFunctions, how many of them do nothing to
	// a session.
	Functions, HarmlessFunctions int
	// Relations is how many tables, views and foreign tables there are; HarmlessRelations, how many may be read and written harmlessly.
	Relations, HarmlessRelations int
	// Bytes is about how much memory the Catalogue takes.
	Bytes int
}

// Stats is how large it is.
func (c *Catalogue) Stats() Stats { return c.stats }

// Names are those for which a Lexer has to watch. A text that mentions none of them does nothing beyond its words, unless Concerns says
// otherwise.
func (c *Catalogue) Names() *sqltext.Names { return c.names }

// Concerns reports whether Judge may have something to say of a text with these effects, which a Lexer has found that watched for Names.
// What is Unreadable to the Lexer is unreadable here too, and not asked about.
func (c *Catalogue) Concerns(e sqltext.Effects) bool {
	return e&(sqltext.Mentions|sqltext.Opaque) != 0 || c.defines != nil && e&(sqltext.Defines|sqltext.Creates) != 0
}

// Unread is what a text may do that nobody has read: one that is too long, or Unreadable.
func (c *Catalogue) Unread() *Deeds { return c.everything }

// Function is what a function does that is called by its number, by a FunctionCall; nil: nothing.
func (c *Catalogue) Function(oid uint32) *Deeds { return c.oids[oid] }

// Judge says what a text does beyond what its words say, in functions that it calls, and in relations that it uses; DO is read like
// the body of a function. nil: nothing. It reads the whole text and allocates: a pooler calls it for texts that Concerns is true of, once
// for one that is prepared.
func (c *Catalogue) Judge(text []byte, d sqltext.Dialect) *Deeds {
	if d.Doubtful && bytes.IndexByte(text, '\\') >= 0 || d.TrailingQuotes && hasHigh(text) {
		return c.everything // nobody can tell where its strings end
	}
	v := verdict{catalogue: c, deeds: c.anywhere}
	r := reader{}
	r.begin(&v, true, d)
	r.sql(text, 0)
	r.finish()
	if c.defines != nil && v.defines {
		v.deeds = union(v.deeds, c.defines)
	}
	return v.deeds
}

// verdict is what has been found of a text.
type verdict struct {
	catalogue *Catalogue
	deeds     *Deeds
	defines   bool
}

func (v *verdict) does(d Deed, _ []byte) { v.deeds = union(v.deeds, &Deeds{What: d}) }

func (v *verdict) sets(name string, _ []byte) {
	v.deeds = union(v.deeds, &Deeds{What: SetsNamed, Settings: []string{name}})
}

func (v *verdict) listens(channel string, _ []byte) {
	v.deeds = union(v.deeds, &Deeds{What: ListensNamed, Channels: []string{channel}})
}

func (v *verdict) mentions(m mention) {
	e, ok := v.catalogue.entries[string(nameKey(m.name))]
	if !ok {
		return
	}
	v.deeds = union(v.deeds, e.reads)
	if m.calls {
		v.deeds = union(v.deeds, e.calls)
	}
	if m.dotted {
		v.deeds = union(v.deeds, e.attribute)
	}
	if m.writes {
		v.deeds = union(v.deeds, e.writes)
	}
}

func (v *verdict) operator(sign []byte) {
	v.deeds = union(v.deeds, v.catalogue.operators[string(sign)])
}

func (v *verdict) defined() { v.defines = true }

func (v *verdict) unnamed(writes bool) {
	for e := range maps.Values(v.catalogue.entries) {
		v.deeds = union(v.deeds, e.reads)
		if writes {
			v.deeds = union(v.deeds, e.writes)
		}
	}
}

// foreignName is the key of all names that are not ASCII: a text may be in another encoding than the names here.
const foreignName = "\x80"

// nameKey is under what key a name is kept.
func nameKey(name []byte) []byte {
	if hasHigh(name) {
		return []byte(foreignName)
	}
	return name
}

func hasHigh(text []byte) bool {
	for _, c := range text {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// Found is a function, relation, type or operator that does something.
type Found struct {
	// Kind is "function", "read", "write", "type", "operator", "cast" or "event trigger": what it is, or what use of a relation is meant.
	Kind string
	// Name is qualified with its schema, but for operators and event triggers.
	Name string
	// Does says what it does.
	Does *Deeds
	// Via is what it runs that does it, first to last; the last does it itself.
	Via []string
	// Why is the piece of code that does it; empty if a list says so.
	Why string
}

// Found goes through what does something, in the order of their names.
func (c *Catalogue) Found() iter.Seq[Found] {
	return func(yield func(Found) bool) {
		for _, f := range c.found {
			if !yield(f) {
				return
			}
		}
	}
}
