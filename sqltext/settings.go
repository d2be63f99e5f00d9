package sqltext

import (
	"maps"
	"slices"
	"strings"
	"unique"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// Settings is an immutable set of parameter values by folded name. Equal sets are == : comparing two costs a pointer, and equal ones
// share their memory. The zero value is empty. Safe for several goroutines.
//
// Names are folded as PostgreSQL compares them: ASCII letters only (utils/misc/guc.c, guc_name_compare).
type Settings struct {
	set unique.Handle[string] // name NUL value NUL ..., sorted by name
}

// MakeSettings folds the names and interns the set. Of names that differ in case only, the one last in byte order counts. A name or
// value ends at a zero byte, as it would for PostgreSQL.
func MakeSettings(values map[string]string) Settings {
	folded := make(map[string]string, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		folded[foldName(name)] = cText(values[name])
	}
	return intern(folded)
}

// intern makes the set of names that are folded and values without zero bytes.
func intern(values map[string]string) Settings {
	if len(values) == 0 {
		return Settings{}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		b.WriteString(name)
		b.WriteByte(0)
		b.WriteString(values[name])
		b.WriteByte(0)
	}
	return Settings{set: unique.Make(b.String())}
}

// text is the set as it is stored.
func (s Settings) text() string {
	if s == (Settings{}) {
		return ""
	}
	return s.set.Value()
}

// cutPair takes the first name and value off the text of a set.
func cutPair(text string) (name, value, rest string) {
	name, text, _ = strings.Cut(text, "\x00")
	value, rest, _ = strings.Cut(text, "\x00")
	return name, value, rest
}

// Each calls f for every parameter, in the order of their names.
func (s Settings) Each(f func(name, value string)) {
	for rest := s.text(); rest != ""; {
		var name, value string
		name, value, rest = cutPair(rest)
		f(name, value)
	}
}

// Get is the value of a parameter.
func (s Settings) Get(name string) (value string, ok bool) {
	name = foldName(name)
	for rest := s.text(); rest != ""; {
		var n, v string
		n, v, rest = cutPair(rest)
		if n == name {
			return v, true
		}
	}
	return "", false
}

// With is the set with one value changed.
func (s Settings) With(name, value string) Settings {
	return s.WithAll(protocol.Param{Name: name, Value: value})
}

// WithAll is the set with values changed; of changes of the same name the last counts.
func (s Settings) WithAll(changes ...protocol.Param) Settings {
	var values map[string]string
	for _, c := range changes {
		name, value := foldName(c.Name), cText(c.Value)
		if values == nil {
			if old, ok := s.Get(name); ok && old == value {
				continue
			}
			values = make(map[string]string)
			s.Each(func(n, v string) { values[n] = v })
		}
		values[name] = value
	}
	if values == nil {
		return s
	}
	return intern(values)
}

// Without is the set with one name taken out.
func (s Settings) Without(name string) Settings {
	if _, ok := s.Get(name); !ok {
		return s
	}
	name = foldName(name)
	values := make(map[string]string)
	s.Each(func(n, v string) {
		if n != name {
			values[n] = v
		}
	})
	return intern(values)
}

// foldName is a parameter's name in lower case, up to a zero byte.
func foldName(name string) string {
	name = cText(name)
	for i := range len(name) {
		if c := name[i]; c >= 'A' && c <= 'Z' {
			b := []byte(name)
			for ; i < len(b); i++ {
				if b[i] >= 'A' && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return name
}

// cText is what a C program sees of s.
func cText(s string) string {
	if end := strings.IndexByte(s, 0); end >= 0 {
		return s[:end]
	}
	return s
}
