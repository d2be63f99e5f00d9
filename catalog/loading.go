package catalog

import (
	"fmt"
	"strconv"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// The system catalogs, by their number in pg_depend.
const (
	classType       = 1247
	classFunction   = 1255
	classRelation   = 1259
	classDefault    = 2604
	classCast       = 2605
	classConstraint = 2606
	classOperator   = 2617
	classRule       = 2618
	classTrigger    = 2620
)

// object is a thing of the database, as pg_depend knows it.
type object struct{ class, oid uint32 }

// reference is a name's meaning.
type reference struct {
	node      int32
	function  bool
	attribute bool // a function that may be called as the attribute of a row
}

// relation has two nodes: what happens to whoever reads it, and what to whoever writes to it.
type relation struct{ read, write int32 }

// thing is what a node is, for people.
type thing struct{ kind, schema, name string }

// Loading makes a Catalogue of the rows of some queries. Its caller, which is Load in most cases, runs them one after the other in one transaction:
//
//	for loading.Next() {
//		for each row of loading.SQL() { err = loading.Row(columns) }
//	}
//
// It keeps no bodies. It belongs to one goroutine.
type Loading struct {
	graph       graph
	things      []thing // by node
	names       map[string][]reference
	operators   map[string][]int32
	functions   map[uint32]int32
	relations   map[uint32]relation
	types       map[uint32]int32
	owners      map[object][]int32 // the nodes that run what an object refers to
	bodies      map[uint32]body    // the functions whose bodies are read
	corrections map[string]*Deeds
	reader      reader
	anywhere    int32 // runs what any text may run
	defines     int32 // runs what event triggers run
	reads       int32 // reads any relation
	writes      int32 // writes to any relation
	step        int
}

// body is what has to be known before a body can be read.
type body struct {
	node  int32
	pl    bool
	leads bool // its own search_path leads to temporary objects
}

// NewLoading begins. corrections say what functions do whose names an operator has given, qualified with their schema or not; a function
// with Deeds of zero is harmless. They stand above all that is read.
func NewLoading(corrections map[string]*Deeds) *Loading {
	l := &Loading{
		names: map[string][]reference{}, operators: map[string][]int32{}, functions: map[uint32]int32{}, relations: map[uint32]relation{},
		types: map[uint32]int32{}, owners: map[object][]int32{}, bodies: map[uint32]body{}, corrections: corrections, step: -1,
	}
	l.anywhere = l.add("cast", "", "between types of PostgreSQL's")
	l.defines = l.add("event trigger", "", "any")
	l.reads = l.add("read", "", "any relation")
	l.writes = l.add("write", "", "any relation")
	return l
}

func (l *Loading) add(kind, schema, name string) int32 {
	l.things = append(l.things, thing{kind, schema, name})
	return l.graph.add()
}

// steps are the queries, each with what takes its rows.
var steps = [...]struct {
	name    string
	sql     string
	columns int
	row     func(l *Loading, row row)
}{
	{"types", typesSQL, 4, (*Loading).typeRow},
	{"relations", relationsSQL, 6, (*Loading).relationRow},
	{"functions", functionsSQL, 9, (*Loading).functionRow},
	{"owners", ownersSQL, 5, (*Loading).ownerRow},
	{"dependencies", dependenciesSQL, 4, (*Loading).dependencyRow},
	{"expressions", hitsSQL, 3, (*Loading).hitRow},
	{"bodies", bodiesSQL, 2, (*Loading).bodyRow},
}

// Next goes on to the next query. It reports false when there is none.
func (l *Loading) Next() bool {
	l.step++
	return l.step < len(steps)
}

// SQL is the query to be run.
func (l *Loading) SQL() string { return steps[l.step].sql }

// Step is the query's name, for errors.
func (l *Loading) Step() string { return steps[l.step].name }

// Row takes a row of the query, its columns in text format. It keeps none of them.
func (l *Loading) Row(columns [][]byte) error {
	s := steps[l.step]
	if len(columns) != s.columns {
		return fmt.Errorf("%d columns, not %d", len(columns), s.columns)
	}
	r := row{columns: columns}
	s.row(l, r)
	return nil
}

// Load makes a Catalogue by a caller's ask, which runs a query and hands over its rows, in text format, one after the other; it ends with the
// first error of row. The queries run in one transaction, which is ended in any case unless ask fails for that. corrections are those of
// NewLoading.
func Load(ask func(sql string, row func(columns [][]byte) error) error, corrections map[string]*Deeds) (*Catalogue, error) {
	nothing := func([][]byte) error { return nil }
	l := NewLoading(corrections)
	err := ask(BeginSQL, nothing)
	for err == nil && l.Next() {
		if err = ask(l.SQL(), l.Row); err != nil {
			err = fmt.Errorf("load the catalogue: %s: %w", l.Step(), err)
		}
	}
	if end := ask(EndSQL, nothing); err == nil {
		err = end
	}
	if err != nil {
		return nil, err
	}
	return l.Catalogue()
}

// row reads columns.
type row struct{ columns [][]byte }

func (r row) text(i int) string { return string(r.columns[i]) }

// oid is a number; 0 for what is none.
func (r row) oid(i int) uint32 {
	n, err := strconv.ParseUint(string(r.columns[i]), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

func (l *Loading) typeRow(r row) {
	n := l.add("type", r.text(1), r.text(2))
	l.types[r.oid(0)] = n
	l.owns(object{classType, r.oid(0)}, n)
	if composite := r.oid(3); composite != 0 {
		l.owns(object{classRelation, composite}, n)
	}
	l.name(r.columns[2], reference{node: n})
}

func (l *Loading) relationRow(r row) {
	rel := relation{read: l.add("read", r.text(1), r.text(2)), write: l.add("write", r.text(1), r.text(2))}
	l.relations[r.oid(0)] = rel
	l.graph.runs(rel.write, rel.read)
	l.graph.runs(l.reads, rel.read)
	l.graph.runs(l.writes, rel.write)
	l.owns(object{classRelation, r.oid(0)}, rel.read) // what its columns' types do
	l.name(r.columns[2], reference{node: rel.read})
	for _, rows := range []uint32{r.oid(4), r.oid(5)} { // whoever makes a row of it meets its domains
		l.types[rows] = rel.read
		l.owns(object{classType, rows}, rel.read)
	}
	if wrapper := r.text(3); !harmlessWrappers[wrapper] {
		l.graph.does(rel.read, &Deeds{What: Anything | CannotUndo}, []byte("foreign data wrapper "+wrapper))
	}
}

func (l *Loading) functionRow(r row) {
	oid, schema, name, language := r.oid(0), r.text(1), r.text(2), r.text(3)
	n := l.add("function", schema, name)
	l.functions[oid] = n
	l.name(r.columns[2], reference{node: n, function: true, attribute: r.text(7) == "t"})
	if d := l.corrected(schema, name); d != nil {
		if d.What != 0 {
			l.graph.does(n, d, []byte("a correction"))
		}
		return
	}
	l.owns(object{classFunction, oid}, n)
	extension := r.text(6)
	if d := extensionDeeds[extension+" "+name]; d != nil {
		l.graph.does(n, d, []byte("a function of the extension "+extension))
		return
	}
	stable := r.text(5) != "v"
	switch {
	case r.text(4) == "a": // of its functions
	case language == "sql", language == "plpgsql":
		l.bodies[oid] = body{node: n, pl: language == "plpgsql", leads: sqltext.PathLeadsToTemp(r.text(8))}
	case language == "c" && (stable || harmlessExtensions[extension]), language == "internal" && stable:
	case language == "c", language == "internal":
		l.graph.does(n, &Deeds{What: Anything | CannotUndo}, []byte("a volatile function in C"))
	default:
		l.graph.does(n, &Deeds{What: Anything | CannotUndo}, []byte("a function in "+language))
	}
}

// corrected is what an operator says of a function; nil: nothing.
func (l *Loading) corrected(schema, name string) *Deeds {
	if d := l.corrections[schema+"."+name]; d != nil {
		return d
	}
	return l.corrections[name]
}

// name notes what a name may mean.
func (l *Loading) name(name []byte, r reference) {
	key := nameKey(name)
	l.names[string(key)] = append(l.names[string(key)], r)
}

// owns notes that a node runs what an object refers to.
func (l *Loading) owns(o object, nodes ...int32) {
	for _, n := range nodes {
		if n != none {
			l.owners[o] = append(l.owners[o], n)
		}
	}
}

// relationOf is a relation's nodes; none for a system catalog.
func (l *Loading) relationOf(oid uint32) relation {
	if r, ok := l.relations[oid]; ok {
		return r
	}
	return relation{none, none}
}

func (l *Loading) functionOf(oid uint32) int32 {
	if n, ok := l.functions[oid]; ok {
		return n
	}
	return none
}

func (l *Loading) typeOf(oid uint32) int32 {
	if n, ok := l.types[oid]; ok {
		return n
	}
	return none
}

// ownerRow takes what stands between a relation or type and the code that runs with it.
func (l *Loading) ownerRow(r row) {
	oid, first, second, word := r.oid(1), r.oid(2), r.oid(3), r.text(4)
	rel := l.relationOf(first)
	switch r.text(0) {
	case "rule":
		if word == "1" { // of a view: for SELECT, and for what is written through it
			l.owns(object{classRule, oid}, rel.read)
		}
		l.owns(object{classRule, oid}, rel.write)
	case "default":
		if word == "v" {
			l.owns(object{classDefault, oid}, rel.read)
		}
		l.owns(object{classDefault, oid}, rel.write)
	case "check":
		l.owns(object{classConstraint, oid}, rel.write, l.typeOf(second))
	case "cascade":
		l.graph.runs(rel.write, l.relationOf(second).write)
	case "policy":
		l.owns(object{classPolicy, oid}, rel.read)
	case "trigger":
		l.owns(object{classTrigger, oid}, rel.write)
		l.graph.runs(rel.write, l.functionOf(second))
	case "index":
		l.owns(object{classRelation, oid}, rel.write)
	case "inherits":
		child := l.relationOf(second)
		l.graph.runs(rel.read, child.read)
		l.graph.runs(rel.write, child.write)
	case "operator":
		n := l.add("operator", "", word)
		l.owns(object{classOperator, oid}, n)
		l.operators[word] = append(l.operators[word], n)
		l.graph.runs(n, l.functionOf(first))
	case "support":
		l.graph.runs(l.typeOf(first), l.functionOf(second))
	case "sorting":
		l.refersTo(l.typeOf(first), object{classOperator, second})
	case "cast":
		source, target := l.typeOf(first), l.typeOf(second)
		if source == none && target == none {
			l.graph.runs(l.anywhere, l.functionOf(oid))
		}
		l.graph.runs(source, l.functionOf(oid))
		l.graph.runs(target, l.functionOf(oid))
	case "event":
		l.graph.runs(l.defines, l.functionOf(first))
	}
}

const classPolicy = 3256

// refersTo has a node run what an object stands for.
func (l *Loading) refersTo(from int32, to object) {
	if to.class == classRelation {
		l.graph.runs(from, l.relationOf(to.oid).read)
		return
	}
	for _, n := range l.owners[to] {
		l.graph.runs(from, n)
	}
}

func (l *Loading) dependencyRow(r row) {
	from, to := object{r.oid(0), r.oid(1)}, object{r.oid(2), r.oid(3)}
	for _, n := range l.owners[from] {
		l.refersTo(n, to)
		if to.class == classRelation && l.things[n].kind == "write" { // a rule, or a view through which it is written to
			l.graph.runs(n, l.relationOf(to.oid).write)
		}
	}
}

// hitRow reads an expression.
func (l *Loading) hitRow(r row) {
	at := object{r.oid(0), r.oid(1)}
	if at.class == classCast {
		l.owns(at, l.anywhere)
	}
	text := r.columns[2]
	if at.class == classRule {
		text = actionOfRule(text)
	} else {
		text = append([]byte("values "), text...) // an expression, and no definition
	}
	for _, n := range l.owners[at] {
		l.reader.begin(&code{l, n}, false, sqltext.Dialect{})
		l.reader.sql(text, 0)
		l.reader.finish()
		if l.things[n].kind == "write" && at.class == classRule {
			// A view of pg_settings, which an UPDATE sets, or a rule.
			l.graph.does(n, &Deeds{What: SetsAny}, r.columns[2])
		}
	}
}

// actionOfRule makes statements of a rule's condition and of what it does: CREATE RULE ... [WHERE condition] DO [ALSO | INSTEAD] {statement |
// (statement; ...)}.
func actionOfRule(text []byte) []byte {
	tokens := sqltext.AppendTokens(nil, text, sqltext.Dialect{})
	where, do, depth := -1, -1, 0
	for i, t := range tokens {
		switch depth += nesting(t); {
		case depth > 0:
		case t.Is("where") && where < 0:
			where = i
		case t.Is("do") && do < 0:
			do = i
		}
	}
	if do < 0 {
		return text
	}
	var out []byte
	if where >= 0 && where < do {
		out = append(append(append(out, "values ("...), text[tokens[where].To:tokens[do].From]...), ");"...)
	}
	for do++; do < len(tokens) && (tokens[do].Is("also") || tokens[do].Is("instead")); do++ {
	}
	if do == len(tokens) {
		return out
	}
	if tokens[do].IsSign("(") {
		if inside, _, ok := cutParens(tokens[do:]); ok && len(inside) > 0 {
			return append(out, text[inside[0].From:inside[len(inside)-1].To]...)
		}
	}
	return append(out, text[tokens[do].From:]...)
}

func (l *Loading) bodyRow(r row) {
	b, ok := l.bodies[r.oid(0)]
	if !ok {
		return
	}
	l.reader.begin(&code{l, b.node}, false, sqltext.Dialect{})
	l.reader.leads = b.leads
	if b.pl {
		l.reader.plpgsql(r.columns[1], 0)
	} else {
		l.reader.sqlBody(r.columns[1])
	}
	l.reader.finish()
}

// code takes what is found in the code that a node runs.
type code struct {
	*Loading
	node int32
}

func (c *code) does(d Deed, why []byte) { c.graph.does(c.node, &Deeds{What: d}, why) }

func (c *code) sets(name string, why []byte) {
	c.graph.does(c.node, &Deeds{What: SetsNamed, Settings: []string{name}}, why)
}

func (c *code) listens(channel string, why []byte) {
	c.graph.does(c.node, &Deeds{What: ListensNamed, Channels: []string{channel}}, why)
}

func (c *code) mentions(m mention) {
	for _, r := range c.names[string(nameKey(m.name))] {
		switch {
		case r.function && (m.calls || m.dotted && r.attribute), !r.function:
			c.graph.runs(c.node, r.node)
		}
		if m.writes && !r.function && c.things[r.node].kind == "read" {
			c.graph.runs(c.node, r.node+1) // see relationRow
		}
	}
}

func (c *code) operator(sign []byte) {
	for _, n := range c.operators[string(sign)] {
		c.graph.runs(c.node, n)
	}
}

func (c *code) defined() { c.graph.runs(c.node, c.defines) }

func (c *code) unnamed(writes bool) {
	c.graph.runs(c.node, c.reads)
	if writes {
		c.graph.runs(c.node, c.writes)
	}
}
