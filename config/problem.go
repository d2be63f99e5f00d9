package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one fault of a configuration. Its texts hold no secrets.
type Problem struct {
	File    string // the configuration file, or "environment"
	Line    int    // in File; 0 when the key stands nowhere (a default, or the environment)
	Key     string // path such as server.port, or the environment name
	Text    string // what is wrong and what is wanted
	Nearest string // the right name, when the key itself is unknown and one is close
}

// String gives file:line: key: text, as editors and people expect it.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	if p.Nearest != "" {
		b.WriteString("; did you mean " + p.Nearest + "?")
	}
	return b.String()
}

// Problems is every fault found at once, as an error with one line per fault.
type Problems []Problem

// Error joins the faults by line ends.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// sorted puts faults in the order of the file, those of other places last, and drops repetitions.
func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Compare(a.Line, b.Line)
	})
	return slices.Compact(p)
}

// origin is where a value was read.
type origin struct {
	file string // or "environment"
	line int
	name string // the environment name, if it came from there
}

// problem makes a fault about a key, placed where its value was read.
func (c *Config) problem(key, format string, args ...any) Problem {
	p := Problem{File: c.File, Key: key, Text: fmt.Sprintf(format, args...)}
	o, known := c.origins[key]
	switch {
	case known && o.name != "":
		p.File, p.Key = "environment", o.name
	case known:
		p.File, p.Line = o.file, o.line
	default:
		// Not written anywhere: the line of its table is the next best place.
		p.Line = c.origins[parent(key)].line
	}
	return p
}

// parent cuts the last part off a path.
func parent(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i]
	}
	return ""
}

// String gives file:line or the environment name.
func (o origin) String() string {
	if o.name != "" {
		return o.name
	}
	return fmt.Sprintf("%s:%d", o.file, o.line)
}
