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

// WithAll is the set with values changed; of changes of the same name the last counts. It takes one pass over the set, however many changes
// there are.
func (s Settings) WithAll(changes ...protocol.Param) Settings {
	var room [4]change
	merged := room[:0]
	for _, c := range changes {
		merged = append(merged, change{name: foldName(c.Name), value: cText(c.Value)})
	}
	return s.merge(merged)
}

// Without is the set with one name taken out.
func (s Settings) Without(name string) Settings {
	return s.merge([]change{{name: foldName(name), removed: true}})
}

// change is a change of one value. The name is folded.
type change struct {
	name, value string
	removed     bool
}

// merge carries out changes, of which the last of each name counts. It sorts them.
func (s Settings) merge(changes []change) Settings {
	slices.SortStableFunc(changes, func(a, b change) int { return strings.Compare(a.name, b.name) })
	if s.has(changes) {
		return s
	}
	old := s.text()
	size := len(old)
	for _, c := range changes {
		size += len(c.name) + len(c.value) + 2
	}
	b := make([]byte, 0, size)
	for i, c := range changes {
		if i+1 < len(changes) && changes[i+1].name == c.name {
			continue
		}
		rest := skipTo(old, c.name)
		b = append(b, old[:len(old)-len(rest)]...)
		if old = rest; old != "" {
			if name, _, behind := cutPair(old); name == c.name {
				old = behind
			}
		}
		if !c.removed {
			b = append(append(append(append(b, c.name...), 0), c.value...), 0)
		}
	}
	if b = append(b, old...); len(b) == 0 {
		return Settings{}
	}
	return Settings{set: unique.Make(string(b))}
}

// has reports whether the changes change nothing. They are sorted.
func (s Settings) has(changes []change) bool {
	rest := s.text()
	for i, c := range changes {
		if i+1 < len(changes) && changes[i+1].name == c.name {
			continue
		}
		rest = skipTo(rest, c.name)
		name, value, _ := cutPair(rest)
		if there := rest != "" && name == c.name; there == c.removed || there && value != c.value {
			return false
		}
	}
	return true
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
