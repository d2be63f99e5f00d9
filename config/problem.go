package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one fault of a configuration. Its texts contain no secrets.
type Problem struct {
	File    string // the configuration file, or "environment"
	Line    int    // in File; 0 for a default and for the environment
	Key     string // path such as server.port, or the environment name
	Text    string // what is wrong, and what the key needs
	Nearest string // the right name, if the key is unknown and a known one is close
}

// String returns "file:line: key: text", the form that editors understand.
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

// Problems is an error that contains every fault of a configuration, one per line.
type Problems []Problem

// Error joins the faults by line ends.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// Sorted puts the faults in the order of the file, faults of other places last, and drops repetitions. It reuses p.
func (p Problems) Sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Compare(a.Line, b.Line)
	})
	return slices.Compact(p)
}

// Origin is the place that a value was read from.
type Origin struct {
	File string // "" for the environment
	Line int    // in File
	Name string // the environment name; "" for a file
}

// String returns file:line or the environment name.
func (o Origin) String() string {
	if o.Name != "" {
		return o.Name
	}
	return fmt.Sprintf("%s:%d", o.File, o.Line)
}

// SetOrigin records the place of a key's value, or of a section's header. Only the goroutine that builds the configuration may call
// it.
func (c *Config) SetOrigin(path string, o Origin) {
	if c.origins == nil {
		c.origins = map[string]Origin{}
	}
	c.origins[path] = o
}

// Origin returns the place of a key's value; known is false for a default.
func (c *Config) Origin(path string) (o Origin, known bool) {
	o, known = c.origins[path]
	return o, known
}

// problem makes a fault about a key, with the place of the key's value.
func (c *Config) problem(key, format string, args ...any) Problem {
	p := Problem{File: c.File, Key: key, Text: fmt.Sprintf(format, args...)}
	o, known := c.origins[key]
	switch {
	case known && o.Name != "":
		p.File, p.Key = "environment", o.Name
	case known:
		p.File, p.Line = o.File, o.Line
	default:
		// The value is a default: the line of its table is the next best place.
		if table, known := c.origins[parentPath(key)]; known && table.Name == "" {
			p.File, p.Line = table.File, table.Line
		}
	}
	return p
}

// parentPath cuts the last part off a path.
func parentPath(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i]
	}
	return ""
}
