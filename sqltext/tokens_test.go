package sqltext

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// described are the tokens of a text, to be compared.
func described(text string, d Dialect) string {
	var b strings.Builder
	for i, t := range AppendTokens(nil, []byte(text), d) {
		if i > 0 {
			b.WriteByte(' ')
		}
		format := map[TokenKind]string{Word: "%s", Quoted: `"%s"`, String: "'%s'", Number: "#%s", Param: "$%s", Sign: "%s"}[t.Kind]
		fmt.Fprintf(&b, format, t.Text)
		if t.Inexact {
			b.WriteByte('?')
		}
	}
	return b.String()
}

func TestTokens(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{" -- c\n/* a /* b */ c */ ; -- d", ";"},
		{"Select A.b, 1.5+$12 FROM \"C d\"\"e\"", `select a . b , #1.5 + $12 from "C d"e"`},
		{"'a''b' 'c'\n 'd' -- x\n 'e'", "'a'b' 'cde'"},
		{"e'a\\'b' E'c' b'1' x'f' n'y' u&'a' U&'\\0061'", "'a\\'b'? 'c' '1'? 'f'? n 'y' 'a' '\\0061'?"},
		{"$$a$b$$ $x$ $$ ' $x$ $ $a", "'a$b' ' $$ ' ' $ $ a"},
		{`U&"\0061" u&"!0062" uescape '!' U&"c" uescapes U&"\00"`, `"a" "b" "c" uescapes ""?`},
		{"a := b||c::text<>-1--x\n@>/*y*/1..10", "a := b || c :: text <>- #1 @> #1 . #.10"},
		{"a[1](b);c", "a [ #1 ] ( b ) ; c"},
		{"'a", ""},
		{"a /* b", "a"},
		{"a\x00b", "a"},
		{strings.Repeat("X", 70) + " \"" + strings.Repeat("\u00e4", 40) + "\"", strings.Repeat("x", 63) + " \"" + strings.Repeat("\u00e4", 31) + "\""},
	} {
		if have := described(c.text, Dialect{}); have != c.want {
			t.Errorf("%q\nhave %s\nwant %s", c.text, have, c.want)
		}
	}
	if have := described(`'a\'b' 'c'`, Dialect{BackslashEscapes: true}); have != `'a\'b'? 'c'` {
		t.Error(have)
	}
}

// TestTokensAgreeWithLexer: both find the same identifiers in texts that nobody thought of.
func TestTokensAgreeWithLexer(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var l Lexer
	found := 0
	for range 4000 {
		text := randomText(r)
		d := Dialect{BackslashEscapes: r.IntN(4) == 0}
		found += compareNames(t, &l, text, d)
	}
	if found < 4000 {
		t.Errorf("only %d identifiers", found)
	}
}

// compareNames has the Lexer look for each identifier that AppendTokens finds, and for all that it does not find.
func compareNames(t *testing.T, l *Lexer, text string, d Dialect) (found int) {
	t.Helper()
	names := map[string]bool{}
	for _, token := range AppendTokens(nil, []byte(text), d) {
		if token.IsName() && len(token.Text) > 0 && isASCII(string(token.Text)) {
			names[string(token.Text)] = true
		}
	}
	for _, name := range append(slices.Clone(fragments), "\u00e4", "tenant", "x") {
		if len(name) == 0 || len(name) > identifierMax || !isASCII(name) {
			continue
		}
		l.Begin(d)
		l.Watch(NewNames(slices.Values([]string{name})))
		l.Feed([]byte(text))
		e := l.End()
		if e&Unreadable != 0 {
			return found // a tag too long, or an escape that PostgreSQL refuses
		}
		if names[name] {
			found++
		}
		if names[name] != (e&Mentions != 0) {
			t.Errorf("%+v %q: %q: a token: %v, mentioned: %v", d, text, name, names[name], e&Mentions != 0)
		}
	}
	return found
}

func FuzzTokens(f *testing.F) {
	for _, c := range nasties {
		f.Add(c.sql, false)
	}
	f.Fuzz(func(t *testing.T, text string, escapes bool) {
		last := 0
		for _, token := range AppendTokens(nil, []byte(text), Dialect{BackslashEscapes: escapes}) {
			if token.From < last || token.To <= token.From || token.To > len(text) {
				t.Fatalf("%q: token %+v behind %d", text, token, last)
			}
			last = token.To
		}
	})
}
