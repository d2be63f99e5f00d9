package pgbouncer

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// includesMax is the depth of %include from which PgBouncer stops (MAX_INCLUDE of its parser).
const includesMax = 10

// entry is one key = value of an ini file.
type entry struct {
	Place
	key, value string
}

// iniFile is an ini file as PgBouncer sees it once it has read all of it.
type iniFile struct {
	path     string
	settings map[string]entry // of [pgbouncer]
	// databases, users and peers are in the order in which their names first came. A repeated name has its last value.
	databases, users, peers []entry
	notes                   []Note
}

// iniReader reads one ini file and its includes.
type iniReader struct {
	file    *iniFile
	section string // "" before the first header
	main    bool   // there was a [pgbouncer]
}

// readIni reads a file. The error is Faults.
func readIni(path string) (*iniFile, error) {
	r := &iniReader{file: &iniFile{path: path, settings: map[string]entry{}}}
	if err := r.read(path, 0); err != nil {
		return nil, err
	}
	if !r.main {
		return nil, Faults{{Place: Place{File: path}, Text: "there is no section [pgbouncer]; PgBouncer would not start with this file"}}
	}
	return r.file, nil
}

// iniText is the unread rest of one file.
type iniText struct {
	path string
	text string
	line int // of text's first byte
}

func (t *iniText) fault(format string, args ...any) error {
	return Faults{{Place: Place{t.path, t.line}, Text: fmt.Sprintf(format, args...)}}
}

// take cuts the first n bytes off.
func (t *iniText) take(n int) string {
	taken := t.text[:n]
	t.text = t.text[n:]
	t.line += strings.Count(taken, "\n")
	return taken
}

// skip drops bytes of a set from the start.
func (t *iniText) skip(set string) { t.take(len(t.text) - len(strings.TrimLeft(t.text, set))) }

// restOfLine cuts off all before the next line end, without the blanks at its end.
func (t *iniText) restOfLine() string {
	line, _, _ := strings.Cut(t.text, "\n")
	t.take(len(line))
	return strings.TrimRight(line, space)
}

const (
	blank = " \t"
	space = blank + "\n\v\f\r" // of isspace in the C locale
)

// read reads a file as PgBouncer's parser does. An item may follow a section's header on the same line, and only an item's start can
// begin a comment.
func (r *iniReader) read(path string, depth int) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return Faults{{Place: Place{File: path}, Text: fmt.Sprintf("cannot be read: %v", err)}}
	}
	text, _, _ := strings.Cut(string(content), "\x00") // PgBouncer reads a C string
	t := &iniText{path: path, text: text, line: 1}
	for {
		t.skip(space)
		switch {
		case t.text == "":
			return nil
		case strings.HasPrefix(t.text, "%include ") || strings.HasPrefix(t.text, "%include\t"):
			t.take(len("%include"))
			t.skip(blank)
			if depth >= includesMax {
				return t.fault("%%include goes deeper than %d files", includesMax)
			}
			if err := r.read(t.restOfLine(), depth+1); err != nil {
				return err
			}
		case t.text[0] == '#' || t.text[0] == ';':
			t.restOfLine()
		case t.text[0] == '[':
			if err := r.header(t); err != nil {
				return err
			}
		default:
			if err := r.item(t); err != nil {
				return err
			}
		}
	}
}

// header reads [section].
func (r *iniReader) header(t *iniText) error {
	end := strings.IndexAny(t.text, "]\n")
	if end < 0 || t.text[end] != ']' {
		return t.fault("the section header has no ]")
	}
	r.section = t.take(end + 1)[1:end]
	switch r.section {
	case "pgbouncer":
		if r.main {
			r.reset(Place{t.path, t.line})
		}
		r.main = true
	case "databases", "users", "peers":
	default:
		return t.fault("PgBouncer has no section [%s]", r.section)
	}
	return nil
}

// reset does what PgBouncer does at a repeated [pgbouncer]: each setting returns to its default. Settings without a default stay.
func (r *iniReader) reset(at Place) {
	for i := range settingRows {
		row := &settingRows[i]
		if e, set := r.file.settings[row.key]; set && !row.unset {
			delete(r.file.settings, row.key)
			r.file.notes = append(r.file.notes, Note{e.Place, e.key, fmt.Sprintf("has no effect: PgBouncer goes back to its defaults at the "+
				"repeated [pgbouncer] of %s", at)})
		}
	}
}

// item reads key = value.
func (r *iniReader) item(t *iniText) error {
	at := Place{t.path, t.line}
	key := ""
	if t.text[0] == '\'' {
		end := strings.IndexByte(t.text[1:], '\'')
		if end < 1 {
			return t.fault("the quoted name has no end, or is empty")
		}
		key = t.take(end + 2)[1 : end+1]
	} else {
		key = t.take(len(t.text) - len(strings.TrimLeftFunc(t.text, nameRune)))
	}
	t.skip(blank)
	if !strings.HasPrefix(t.text, "=") {
		return t.fault("expected name = value")
	}
	t.take(1)
	t.skip(blank)
	e := entry{at, key, t.restOfLine()}
	switch r.section {
	case "":
		return t.fault("%s stands above all sections", key)
	case "pgbouncer":
		r.file.settings[key] = e
	case "databases":
		r.file.databases = replaceEntry(r.file.databases, e)
	case "users":
		r.file.users = replaceEntry(r.file.users, e)
	case "peers":
		r.file.peers = replaceEntry(r.file.peers, e)
	}
	return nil
}

// nameRune reports whether an unquoted name may contain c.
func nameRune(c rune) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.ContainsRune("_.-*", c)
}

// replaceEntry adds an entry, in the place of an earlier one of its name.
func replaceEntry(entries []entry, e entry) []entry {
	if i := slices.IndexFunc(entries, func(other entry) bool { return other.key == e.key }); i >= 0 {
		entries[i] = e
		return entries
	}
	return append(entries, e)
}
