// Package pgbouncer owns the translation of PgBouncer's ini files: how PgBouncer reads them, our setting for each of its settings, and the
// reasons where there is none. It must not know how a setting works here: package config's key table says which values are right.
//
// One ini file becomes one listener, because one PgBouncer has one port. Any goroutine may call Import; it reads the named files and
// their includes, and nothing else.
//
// Read ini.go for the file format, settings_table.go for the keys of [pgbouncer], then import.go for the way from there to a Config.
package pgbouncer

import (
	"fmt"
	"strings"
)

// Place is a line of an ini file.
type Place struct {
	File string
	Line int // 0: the setting stands nowhere, PgBouncer's default holds
}

// String returns file:line.
func (p Place) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Note is one thing that an operator should know about a translated setting. Its text contains no secrets.
type Note struct {
	Place
	Key  string // as the ini file names it; "" for the file itself
	Text string
}

// String returns "file:line: key: text".
func (n Note) String() string {
	text := n.Text
	if n.Key != "" {
		text = n.Key + ": " + text
	}
	if n.File == "" {
		return text
	}
	return n.Place.String() + ": " + text
}

// Faults is an error: the settings that cannot be translated, because the behaviour would differ without a word. Nothing was written.
type Faults []Note

// Error joins the faults by line ends.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}
