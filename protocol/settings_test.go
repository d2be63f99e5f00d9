package protocol

import (
	"strings"
	"testing"
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

// FuzzSettings: whatever the values, a set gives them back.
func FuzzSettings(f *testing.F) {
	f.Add("timezone", "UTC", "x", "y'\\")
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2 string) {
		for _, s := range []string{n1, v1, n2, v2} {
			for _, c := range s {
				if c == 0 {
					return // no C string can hold it
				}
			}
		}
		s := Settings{}.With(n1, v1).With(n2, v2)
		if v, ok := s.Get(n2); !ok || v != v2 {
			t.Fatalf("%q = %q came back as %q", n2, v2, v)
		}
	})
}

// TestCanonicalEncoding knows what drivers send.
func TestCanonicalEncoding(t *testing.T) {
	for given, want := range map[string]string{"utf8": "UTF8", "'utf-8'": "UTF8", "UNICODE": "UTF8", "latin-1": "LATIN1", "x": "x"} {
		if got := CanonicalEncoding(given); got != want {
			t.Errorf("%s: %s", given, got)
		}
	}
}
