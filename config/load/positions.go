package load

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// positions maps the path of each key and table of a TOML file to its line. Elements of an array of tables are called "#0", "#1" and so
// on.
type positions struct {
	parser unstable.Parser
	text   []byte
	lines  map[string]int
	arrays map[string]int // the number of elements of each array of tables, so far

	line   int // of offset
	offset int
}

// locate returns the lines of a text that toml.Unmarshal accepts.
func locate(text []byte) map[string]int {
	p := &positions{text: text, lines: map[string]int{}, arrays: map[string]int{}, line: 1}
	p.parser.Reset(text)
	var table []string
	for p.parser.NextExpression() {
		if e := p.parser.Expression(); e.Kind == unstable.KeyValue {
			p.keyValue(table, e)
		} else if e.Kind == unstable.Table || e.Kind == unstable.ArrayTable {
			table = p.table(e)
		}
	}
	return p.lines
}

// joinPath makes one text of a path. Its separator cannot stand in a key unescaped, so names with dots do not collide.
func joinPath(path ...string) string { return strings.Join(path, "\x00") }

// table records the header [a.b] or [[a.b]] and returns the path of its table.
func (p *positions) table(e *unstable.Node) []string {
	var path []string
	for it := e.Key(); it.Next(); {
		path = append(path, string(it.Node().Data))
		elements, isArray := p.arrays[joinPath(path...)]
		switch {
		case it.IsLast() && e.Kind == unstable.ArrayTable:
			p.arrays[joinPath(path...)] = elements + 1
			path = append(path, "#"+strconv.Itoa(elements))
		case isArray: // [listener.x] belongs to the last [[listener]]
			path = append(path, "#"+strconv.Itoa(elements-1))
		}
		p.record(path, it.Node())
	}
	return path
}

// keyValue records a key, and the keys of inline tables in its value.
func (p *positions) keyValue(table []string, e *unstable.Node) {
	path := append([]string(nil), table...)
	for it := e.Key(); it.Next(); {
		path = append(path, string(it.Node().Data))
		p.record(path, it.Node())
	}
	p.value(path, e.Value())
}

func (p *positions) value(path []string, v *unstable.Node) {
	if v.Kind != unstable.Array && v.Kind != unstable.InlineTable {
		return
	}
	element := 0
	for it := v.Children(); it.Next(); {
		if child := it.Node(); child.Kind == unstable.KeyValue {
			p.keyValue(path, child)
		} else if child.Kind != unstable.Comment {
			p.value(append(append([]string(nil), path...), "#"+strconv.Itoa(element)), child)
			element++
		}
	}
}

// record keeps the line of a path's first key.
func (p *positions) record(path []string, key *unstable.Node) {
	if _, known := p.lines[joinPath(path...)]; known {
		return
	}
	offset := int(key.Raw.Offset)
	if offset < p.offset { // never: keys come in the order of the text
		p.offset, p.line = 0, 1
	}
	p.line += bytes.Count(p.text[p.offset:offset], []byte("\n"))
	p.offset = offset
	p.lines[joinPath(path...)] = p.line
}
