package config

import (
	"strconv"
	"strings"
)

// The TOML library reads values but does not tell on which line a key stands, which every fault must say. A locator walks the
// text a second time, after the library has found it correct, and notes the line of each table and key; so it may trust the
// syntax and needs no errors.

// locate gives the line of each key and table by its path; elements of an array of tables are "#0", "#1", ...
func locate(text string) map[string]int {
	l := &locator{text: text, line: 1, lines: map[string]int{}, arrays: map[string]int{}}
	for l.skipBlank(true); l.at < len(l.text); l.skipBlank(true) {
		if l.text[l.at] == '[' {
			l.header()
		} else {
			l.pair(l.table)
		}
	}
	return l.lines
}

// join makes the path locate uses. The separator cannot stand in a key unescaped, so that names with dots do not collide.
func join(path ...string) string { return strings.Join(path, "\x00") }

type locator struct {
	text   string
	at     int
	line   int
	table  []string // the table of the last header
	lines  map[string]int
	arrays map[string]int // elements seen of each array of tables
}

// skipBlank passes spaces and comments, and line ends if lines is set.
func (l *locator) skipBlank(lines bool) {
	for l.at < len(l.text) {
		switch c := l.text[l.at]; {
		case c == ' ' || c == '\t' || c == '\r':
			l.at++
		case c == '#':
			for l.at < len(l.text) && l.text[l.at] != '\n' {
				l.at++
			}
		case c == '\n' && lines:
			l.line++
			l.at++
		default:
			return
		}
	}
}

// header reads [a.b] or [[a.b]].
func (l *locator) header() {
	line := l.line
	array := strings.HasPrefix(l.text[l.at:], "[[")
	l.at++
	if array {
		l.at++
	}
	path := l.key()
	for l.at < len(l.text) && l.text[l.at] == ']' {
		l.at++
	}
	// A header below an array of tables ([listener.x]) belongs to the array's last element.
	var table []string
	for i, part := range path {
		table = append(table, part)
		seen, isArray := l.arrays[join(table...)]
		if i == len(path)-1 && array {
			l.arrays[join(table...)] = seen + 1
			table = append(table, "#"+strconv.Itoa(seen))
		} else if isArray {
			table = append(table, "#"+strconv.Itoa(seen-1))
		}
	}
	l.table = table
	l.note(line, table)
}

// pair reads key = value below a table.
func (l *locator) pair(table []string) {
	line := l.line
	path := append(append([]string(nil), table...), l.key()...)
	l.note(line, path)
	l.skipBlank(false)
	l.at++ // the =
	l.value(path)
}

func (l *locator) note(line int, path []string) {
	if _, known := l.lines[join(path...)]; !known {
		l.lines[join(path...)] = line
	}
}

// key reads a bare, quoted or dotted key and leaves the place behind it.
func (l *locator) key() []string {
	var path []string
	for l.at < len(l.text) {
		l.skipBlank(false)
		if c := l.text[l.at]; c == '"' || c == '\'' {
			path = append(path, l.quoted())
		} else {
			start := l.at
			for l.at < len(l.text) && !strings.ContainsRune(" \t.=]\r\n", rune(l.text[l.at])) {
				l.at++
			}
			path = append(path, l.text[start:l.at])
		}
		l.skipBlank(false)
		if l.at >= len(l.text) || l.text[l.at] != '.' {
			break
		}
		l.at++
	}
	return path
}

// quoted reads a string of any of the four kinds and gives its text, with simple escapes resolved.
func (l *locator) quoted() string {
	quote := l.text[l.at : l.at+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(l.text[l.at:], triple) {
		quote = triple
	}
	start := l.at
	l.at += len(quote)
	for l.at < len(l.text) && !strings.HasPrefix(l.text[l.at:], quote) {
		if l.text[l.at] == '\\' && quote[0] == '"' {
			l.at++
		}
		if l.at < len(l.text) && l.text[l.at] == '\n' {
			l.line++
		}
		l.at++
	}
	l.at = min(l.at+len(quote), len(l.text))
	// """a"""" ends with a quote that belongs to the text.
	for len(quote) == 3 && l.at < len(l.text) && l.text[l.at] == quote[0] {
		l.at++
	}
	token := l.text[start:l.at]
	if text, err := strconv.Unquote(token); err == nil && quote == `"` {
		return text
	}
	return strings.Trim(token, quote)
}

// value passes a value; the keys of inline tables in it are noted too.
func (l *locator) value(path []string) {
	l.skipBlank(true)
	if l.at >= len(l.text) {
		return
	}
	switch l.text[l.at] {
	case '"', '\'':
		l.quoted()
	case '[':
		l.at++
		for i := 0; ; i++ {
			if l.closes(']') {
				return
			}
			l.value(append(append([]string(nil), path...), "#"+strconv.Itoa(i)))
		}
	case '{':
		l.at++
		for !l.closes('}') {
			l.pair(path)
		}
	default:
		for l.at < len(l.text) && !strings.ContainsRune(",]}#\n", rune(l.text[l.at])) {
			l.at++
		}
	}
}

// closes passes blanks and commas and tells whether the array or inline table ends here.
func (l *locator) closes(bracket byte) bool {
	l.skipBlank(true)
	for l.at < len(l.text) && l.text[l.at] == ',' {
		l.at++
		l.skipBlank(true)
	}
	if l.at >= len(l.text) || l.text[l.at] == bracket {
		l.at++
		return true
	}
	return false
}
