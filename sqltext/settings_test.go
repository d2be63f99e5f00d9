package sqltext

import (
	"strconv"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// TestSettings: equal sets are equal values, whatever their history.
func TestSettings(t *testing.T) {
	a := MakeSettings(map[string]string{"TimeZone": "UTC", "application_name": "x"})
	b := MakeSettings(map[string]string{"timezone": "UTC"}).With("Application_Name", "x")
	if a != b {
		t.Error("equal sets differ")
	}
	if a == a.With("timezone", "Europe/Berlin") {
		t.Error("different sets are equal")
	}
	if v, ok := a.Get("TIMEZONE"); !ok || v != "UTC" {
		t.Error("names are not folded", v)
	}
	if (Settings{}) != MakeSettings(nil) {
		t.Error("the empty set is not the zero value")
	}
}

// TestSettingsDiff quotes whatever a client may send.
func TestSettingsDiff(t *testing.T) {
	have := MakeSettings(map[string]string{"timezone": "UTC", "application_name": "a", "other": "kept"})
	for _, c := range []struct{ name, value, want string }{
		{"timezone", "UTC", ""},
		{"application_name", "it's", `SET "application_name" = 'it''s';`},
		{"application_name", `\'; drop table t; --`, `SET "application_name" = E'\\''; drop table t; --';`},
		{"application_name", "\x83\\", `SET "application_name" = E'\x83\\';`}, // one character in SJIS
		{"app.tenant_id", "7", `SET "app"."tenant_id" = '7';`},
		{"Application_Name", "", `SET "application_name" = '';`},
		{`a"b`, "1", `SELECT pg_catalog.set_config('a"b', '1', false);`},
		{"a..b", "1", `SELECT pg_catalog.set_config('a..b', '1', false);`},
		{"", "1", `SELECT pg_catalog.set_config('', '1', false);`},
		{strings.Repeat("n", 64), "1", `SELECT pg_catalog.set_config('` + strings.Repeat("n", 64) + `', '1', false);`},
		{"search_path", `"$user", public`, `SELECT pg_catalog.set_config('search_path', '"$user", public', false);`},
		{"search_path", "a; drop table t", `SELECT pg_catalog.set_config('search_path', 'a; drop table t', false);`},
	} {
		want := MakeSettings(map[string]string{"timezone": "UTC", "application_name": "a"}).With(c.name, c.value)
		if got := string(AppendSettingsDiff(nil, want, have)); got != c.want {
			t.Errorf("%s = %q: %s", c.name, c.value, got)
		}
	}
}

// TestSettingsDiffOrder: who the session acts as comes last, and a new session_authorization takes the role along.
func TestSettingsDiffOrder(t *testing.T) {
	of := func(pairs ...string) Settings {
		var s Settings
		for i := 0; i < len(pairs); i += 2 {
			s = s.With(pairs[i], pairs[i+1])
		}
		return s
	}
	for _, c := range []struct {
		want, have Settings
		sql        string
	}{
		{of("a", "1", "z", "2"), Settings{}, `SET "a" = '1';SET "z" = '2';`},
		{of("role", "r", "session_authorization", "u", "z", "2"), Settings{}, `SET "z" = '2';SET "session_authorization" = 'u';SET "role" = 'r';`},
		{of("role", "r", "session_authorization", "u"), of("role", "r", "session_authorization", "v"), `SET "session_authorization" = 'u';SET "role" = 'r';`},
		{of("role", "r", "session_authorization", "u"), of("role", "q", "session_authorization", "u"), `SET "role" = 'r';`},
		{of("b", "1"), of("a", "1", "b", "2", "c", "3"), `SET "b" = '1';`},
		{Settings{}, of("a", "1"), ``},
	} {
		if have := string(AppendSettingsDiff([]byte("x"), c.want, c.have)); have != "x"+c.sql {
			t.Errorf("have %s\nwant %s", have, c.sql)
		}
	}
}

// TestSettingsAllocateNothing on the way of a query: at a checkout they are compared, nearly always equal where it matters.
func TestSettingsAllocateNothing(t *testing.T) {
	values := map[string]string{"timezone": "UTC", "application_name": "a", "search_path": `"$user", public`, "client_encoding": "UTF8"}
	want, same := MakeSettings(values), MakeSettings(values)
	more := want.With("a.custom", "1").With("z.custom", "2")
	dst := make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() {
		value, ok := want.Get("timezone")
		if !ok || value != "UTC" || want != same || len(AppendSettingsDiff(dst, want, same)) > 0 || len(AppendSettingsDiff(dst, want, more)) > 0 {
			t.Fatal("equal settings differ")
		}
		want.Each(func(name, value string) { ok = ok && name != value })
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSettingsOddNames: zero bytes end a text, and only ASCII is folded: other letters are bytes to PostgreSQL.
func TestSettingsOddNames(t *testing.T) {
	odd := map[string]string{"a\x00b": "1\x002", "\xc4": "3", "B": "4", "b": "5", "": "6", "Z": "7"}
	s := MakeSettings(odd)
	for range 20 { // a map's order changes
		if MakeSettings(odd) != s {
			t.Fatal("the same map makes different sets")
		}
	}
	if (Settings{}).With("a\x00b", "1\x002") != (Settings{}).With("a", "1") {
		t.Error("With does not end texts at a zero byte")
	}
	for name, want := range map[string]string{"a": "1", "\xc4": "3", "b": "5", "B\x00x": "5", "": "6", "z": "7"} {
		if have, ok := s.Get(name); !ok || have != want {
			t.Errorf("%q = %q %v", name, have, ok)
		}
	}
	if _, ok := s.Get("\xe4"); ok {
		t.Error("a byte above ASCII is folded")
	}
}

// FuzzSettings: whatever the values, a set gives them back, and the SQL that brings them to a server is one plain statement for each.
func FuzzSettings(f *testing.F) {
	f.Add("timezone", "UTC", "x", "y'\\")
	f.Add("search_path", "\"", "a\"b", "\\'")
	f.Add("role", "\xe4'", "Session_Authorization", "\x83\\")
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2 string) {
		if strings.Contains(n1+v1+n2+v2, "\x00") {
			return // no C string can hold it
		}
		s := Settings{}.With(n1, v1).With(n2, v2)
		if v, ok := s.Get(n2); !ok || v != v2 {
			t.Fatalf("%q = %q came back as %q", n2, v2, v)
		}
		if s != MakeSettings(map[string]string{n2: v2}).With(n1, v1).With(n2, v2) {
			t.Fatal("the order of making matters")
		}
		sql := string(AppendSettingsDiff(nil, s, Settings{}))
		set := make(map[string]string)
		for _, c := range statements(t, sql) {
			set[c.Name] = c.Value
		}
		if MakeSettings(set) != s {
			t.Fatalf("%q sets %q", sql, set)
		}
	})
}

// statements reads SQL of AppendSettingsDiff as PostgreSQL's lexer would, and fails for what does not look like it.
func statements(t *testing.T, sql string) (all []protocol.Param) {
	t.Helper()
	rest := sql
	take := func(text string) {
		t.Helper()
		if !strings.HasPrefix(rest, text) {
			t.Fatalf("%q: not %q at %q", sql, text, rest)
		}
		rest = rest[len(text):]
	}
	for rest != "" {
		var p protocol.Param
		if strings.HasPrefix(rest, "SET") {
			take(`SET "`)
			end := strings.Index(rest, `" = `)
			if end < 0 {
				t.Fatalf("%q: no name at %q", sql, rest)
			}
			p.Name = strings.ReplaceAll(rest[:end], `"."`, ".")
			rest = rest[end:]
			take(`" = `)
			p.Value, rest = literal(t, rest)
			take(";")
		} else {
			take("SELECT pg_catalog.set_config(")
			p.Name, rest = literal(t, rest)
			take(", ")
			p.Value, rest = literal(t, rest)
			take(", false);")
		}
		all = append(all, p)
	}
	return all
}

// literal reads a string constant, plain or E (PostgreSQL manual, 4.1.2.1 and 4.1.2.2), with either value of
// standard_conforming_strings.
func literal(t *testing.T, sql string) (value, rest string) {
	t.Helper()
	text, escapes := strings.CutPrefix(sql, "E")
	text, ok := strings.CutPrefix(text, "'")
	var b []byte
	for i := 0; ok && i < len(text); i++ {
		switch c := text[i]; {
		case c >= 0x80, c == '\\' && !escapes:
			t.Fatalf("%q: %q depends on the server's settings", sql, c)
		case c == '\'' && i+1 < len(text) && text[i+1] == '\'':
			b, i = append(b, c), i+1
		case c == '\'':
			return string(b), text[i+1:]
		case c == '\\' && text[i+1] == 'x':
			n, err := strconv.ParseUint(text[i+2:i+4], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			b, i = append(b, byte(n)), i+3
		case c == '\\':
			b, i = append(b, text[i+1]), i+1
		default:
			b = append(b, c)
		}
	}
	t.Fatalf("%q: no string", sql)
	return "", ""
}

// TestCanonicalEncoding knows what drivers send.
func TestCanonicalEncoding(t *testing.T) {
	for given, want := range map[string]string{"utf8": "UTF8", "'utf-8'": "UTF8", "UNICODE": "UTF8", "latin-1": "LATIN1", "x": "x"} {
		if got := CanonicalEncoding(given); got != want {
			t.Errorf("%s: %s", given, got)
		}
	}
}
