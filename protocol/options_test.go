package protocol

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// TestOptions are split as PostgreSQL's pg_split_opts does.
func TestOptions(t *testing.T) {
	for options, want := range map[string][]Param{
		"":                              nil,
		"-c a=b":                        {{"a", "b"}},
		"-ca=b --statement-timeout=5":   {{"a", "b"}, {"statement_timeout", "5"}},
		`-c search_path=a,\ b  -c x=\\`: {{"search_path", "a, b"}, {"x", `\`}},
		"-c a=b=c\t-c\nd=":              {{"a", "b=c"}, {"d", ""}},
		"-c a-b=c-d \v\f\r -c A=B ":     {{"a_b", "c-d"}, {"A", "B"}},
		`-c a=\`:                        {{"a", ""}},
		`\-\c a=b`:                      {{"a", "b"}},
		`-c a=+b`:                       {{"a", "+b"}}, // no URL: a plus is a plus
	} {
		got, err := ParseOptions(options)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v %v", options, got, err)
		}
	}
	for options, want := range map[string]string{
		"-c=":    "invalid command-line argument for server process: -c =", // CVE-2026-107349: PgBouncer looped for ever
		"-c =b":  "invalid command-line argument for server process: -c =b",
		"--=b":   "invalid command-line argument for server process: --=b",
		"-c a":   "-c a requires a value",
		"--a":    "--a requires a value",
		"-c":     "invalid command-line argument for server process: -c",
		"x":      "invalid command-line argument for server process: x",
		"--":     "invalid command-line argument for server process: --",
		"-d 5":   "invalid command-line argument for server process: -d",
		"-c a=b": "",
	} {
		got, err := ParseOptions(options)
		var e *Error
		if want == "" && err == nil {
			continue
		}
		if got != nil || !errors.As(err, &e) || e.Message != want || e.Code != "42601" || !e.Fatal() {
			t.Errorf("%q: %v, %v", options, got, err)
		}
	}
}

// FuzzParseOptions must end and not panic; what it has read, written with every character escaped, is read the same.
func FuzzParseOptions(f *testing.F) {
	f.Add(`-c a=b --x=\ y`)
	f.Add("-c=")
	f.Fuzz(func(t *testing.T, s string) {
		params, err := ParseOptions(s)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, p := range params {
			if p.Name == "" {
				t.Fatal("a parameter without a name")
			}
			b.WriteString("-c ")
			for _, c := range []byte(p.Name + "=" + p.Value) {
				b.WriteString("\\" + string([]byte{c}))
			}
			b.WriteString(" ")
		}
		if again, err := ParseOptions(b.String()); err != nil || !reflect.DeepEqual(again, params) {
			t.Fatalf("%q gave %q; written anew as %q it gave %q, %v", s, params, b.String(), again, err)
		}
	})
}
