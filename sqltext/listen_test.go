package sqltext

import (
	"fmt"
	"strings"
	"testing"
)

// TestListenings: the channels of a text, as PostgreSQL names them.
func TestListenings(t *testing.T) {
	sixty := strings.Repeat("a", 60)
	for text, want := range map[string]string{
		"select 1; notify x":                        "",
		"listen x; unlisten y; unlisten *":          "x -y -*",
		"LISTEN News":                               "news",
		`listen "News" ; LISTEN /* c */ other -- d`: "News other",
		`listen "a""b"`:                             `a"b`,
		"discard all; listen x; discard temp":       "-* x",
		"listen Größe":                              "größe?",
		`listen "GRÖSSE"`:                           "GRÖSSE?",
		`listen U&"d\0061t"`:                        "dat",
		`listen U&"d!0061t" uescape '!'`:            "dat",
		`listen U&"d!0061t" /**/ uescape '!'`:       "d!0061t unreadable", // and so not believed
		"listen " + sixty + "123456":                sixty + "123",
		`listen "` + sixty + `ää"`:                  sixty + "ä?", // cut between characters
		`listen "` + sixty + `1ä2"`:                 sixty + "1ä?",
		`listen "` + sixty + `12ä"`:                 sixty + "12?",
		"listen 'x'":                                "",
		"listen":                                    "",
		"explain listen x":                          "",
		"create rule r as on insert to t do notify": "",
		"listen " + strings.Repeat("é", 40):         strings.Repeat("é", 31) + "?",
	} {
		for _, size := range []int{len(text), 1, 3} {
			var l Lexer
			l.Begin(Dialect{})
			for rest := text; rest != ""; rest = rest[min(size, len(rest)):] {
				l.Feed([]byte(rest[:min(size, len(rest))]))
			}
			effects := l.End()
			var got []string
			for i := range l.Listenings() {
				one := l.Listening(i)
				word := string(one.Channel)
				if word == "" && one.Exact {
					word = "*"
				}
				if one.Stops {
					word = "-" + word
				}
				if !one.ASCII {
					word += "?"
				}
				if !one.Exact {
					word += " inexact"
				}
				got = append(got, word)
			}
			if effects&Unreadable != 0 {
				got = append(got, "unreadable")
			}
			if fmt.Sprint(got) != "["+want+"]" {
				t.Errorf("%s, in pieces of %d: %v, not %s", text, size, got, want)
			}
		}
	}
}

// TestListeningsBound: what does not fit is not forgotten in silence.
func TestListeningsBound(t *testing.T) {
	var l Lexer
	l.Begin(Dialect{})
	l.Feed([]byte(strings.Repeat("listen x;", listeningsMax+1)))
	if e := l.End(); e&Unreadable == 0 || l.Listenings() != listeningsMax {
		t.Errorf("%v, %d channels", e, l.Listenings())
	}
	l.Begin(Dialect{})
	l.Feed([]byte(strings.Repeat(`listen "`+strings.Repeat("x", 63)+`";`, listeningsMax-1) + "set a = b"))
	if e := l.End(); e&Unreadable == 0 {
		t.Errorf("%v, %d channels", e, l.Listenings())
	}
}

// TestAppendListen: names go out as they are.
func TestAppendListen(t *testing.T) {
	if got := string(AppendUnlisten(AppendListen(nil, `a"b; c`), "x")); got != `LISTEN "a""b; c";UNLISTEN "x";` {
		t.Error(got)
	}
	if got := string(AppendListensQuestion(nil, []string{"a'b", `c\d`})); strings.Count(got, "SELECT '1'") != 2 || !strings.Contains(got, `'a''b'`) {
		t.Error(got)
	}
}
