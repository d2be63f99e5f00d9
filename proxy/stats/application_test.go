package stats

import (
	"strings"
	"testing"
)

// TestShownName: whatever bytes a client calls itself by, what is shown is short and printable ASCII, and a name that is so anyway stays.
func TestShownName(t *testing.T) {
	for name, want := range map[string]string{
		"":                           "",
		"psql":                       "psql",
		`a"b\c<script>&amp;`:         `a"b\c<script>&amp;`,
		"a\x00b\x1b[31m\x7f\n":       "a?b?[31m??",
		"\xff\xfe":                   "??",
		"caf\u00e9":                  "caf??",
		strings.Repeat("x", 63):      strings.Repeat("x", 63),
		strings.Repeat("x", 9000):    strings.Repeat("x", 63),
		strings.Repeat("\u00e9", 63): strings.Repeat("?", 63),
	} {
		if got := shownName(name); got != want {
			t.Errorf("%q is shown as %q, want %q", name, got, want)
		}
	}
}
