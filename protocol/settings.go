package protocol

import (
	"maps"
	"slices"
	"strings"
	"unique"
)

// Settings is an immutable set of parameter values by folded name. Equal sets are == : comparing two costs a pointer, and equal ones
// share their memory. The zero value is empty.
type Settings struct {
	set unique.Handle[string] // name NUL value NUL ..., sorted by name
}

// MakeSettings folds the names and interns the set.
func MakeSettings(values map[string]string) Settings {
	folded := make(map[string]string, len(values))
	for name, value := range values {
		folded[strings.ToLower(name)] = value
	}
	return intern(folded)
}

func intern(values map[string]string) Settings {
	if len(values) == 0 {
		return Settings{}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		b.WriteString(name + "\x00" + values[name] + "\x00")
	}
	return Settings{set: unique.Make(b.String())}
}

// Each calls f for every parameter, by name.
func (s Settings) Each(f func(name, value string)) {
	if s == (Settings{}) {
		return
	}
	for rest := s.set.Value(); rest != ""; {
		var name, value string
		name, rest, _ = strings.Cut(rest, "\x00")
		value, rest, _ = strings.Cut(rest, "\x00")
		f(name, value)
	}
}

// Get is the value of a parameter.
func (s Settings) Get(name string) (value string, ok bool) {
	name = strings.ToLower(name)
	s.Each(func(n, v string) {
		if n == name {
			value, ok = v, true
		}
	})
	return value, ok
}

// With is the set with one value changed.
func (s Settings) With(name, value string) Settings {
	if old, ok := s.Get(name); ok && old == value {
		return s
	}
	values := make(map[string]string)
	s.Each(func(n, v string) { values[n] = v })
	values[strings.ToLower(name)] = value
	return intern(values)
}

// AppendSettingsDiff builds the SQL that takes a server from have to want: a SET for every parameter of want whose value differs. It is
// empty when nothing differs. Parameters that only have knows are left alone.
func AppendSettingsDiff(dst []byte, want, have Settings) []byte {
	if want == have {
		return dst
	}
	values := make(map[string]string)
	have.Each(func(n, v string) { values[n] = v })
	want.Each(func(name, value string) {
		if old, ok := values[name]; ok && old == value {
			return
		}
		dst = append(dst, "SET "...)
		for i, part := range strings.Split(name, ".") {
			if i > 0 {
				dst = append(dst, '.')
			}
			dst = append(dst, `"`+strings.ReplaceAll(part, `"`, `""`)+`"`...)
		}
		dst = append(dst, " = "...)
		dst = appendLiteral(dst, name, value)
		dst = append(dst, "; "...)
	})
	return dst
}

// listParameters take a list of identifiers: one quoted string would be one name.
var listParameters = map[string]bool{
	"search_path": true, "temp_tablespaces": true, "session_preload_libraries": true, "local_preload_libraries": true,
	"datestyle": true,
}

func appendLiteral(dst []byte, name, value string) []byte {
	if listParameters[name] && value != "" && !strings.ContainsAny(value, `'\;-/`) {
		return append(dst, value...)
	}
	value = strings.ReplaceAll(value, "'", "''")
	if strings.Contains(value, `\`) {
		// An E string reads the same whatever standard_conforming_strings says.
		return append(dst, `E'`+strings.ReplaceAll(value, `\`, `\\`)+`'`...)
	}
	return append(dst, `'`+value+`'`...)
}

// ParseParameterStatus reads a whole ParameterStatus.
func ParseParameterStatus(frame []byte) (name, value string, ok bool) {
	if len(frame) < HeaderBytes {
		return "", "", false
	}
	name, rest, ok := cString(frame[HeaderBytes:])
	if !ok {
		return "", "", false
	}
	value, _, ok = cString(rest)
	return name, value, ok
}

// encodings are PostgreSQL's names by how clients spell them, without punctuation and case (pg_char_to_encoding does the same).
var encodings = map[string]string{
	"utf8": "UTF8", "unicode": "UTF8", "latin1": "LATIN1", "iso88591": "LATIN1", "latin9": "LATIN9", "iso885915": "LATIN9",
	"sqlascii": "SQL_ASCII", "win1252": "WIN1252", "windows1252": "WIN1252", "win1251": "WIN1251", "windows1251": "WIN1251",
	"eucjp": "EUC_JP", "sjis": "SJIS", "shiftjis": "SJIS", "big5": "BIG5", "gbk": "GBK", "gb18030": "GB18030", "koi8r": "KOI8R",
}

// CanonicalEncoding is client_encoding as the server will report it, where that is known; otherwise the value as it is. asyncpg sends
// 'utf-8' with the quotes inside the value.
func CanonicalEncoding(value string) string {
	var plain strings.Builder
	for _, c := range strings.ToLower(value) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			plain.WriteRune(c)
		}
	}
	if name, ok := encodings[plain.String()]; ok {
		return name
	}
	return value
}
