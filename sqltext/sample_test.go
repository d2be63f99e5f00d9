package sqltext

import (
	"bytes"
	"strings"
	"testing"
)

// anyHolding are the effects that samples are asked for.
const anyHolding = Prepares | HoldsCursor | MakesTemp | LocksAdvisory | HoldsOther | Listens | Loads

func TestSample(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"create temp table mine (i int)", "create temp table mine(i int)"},
		{"CREATE TEMPORARY TABLE Tmp_4711 AS\n\tSELECT * FROM orders WHERE customer = 'Jane Doe' AND total > 99.50", "create temporary table tmp_? as select * from orders where customer = ? and ? > ?"},
		{"declare c cursor with hold for select id, name from t where a <> 5 -- of customer 7", "declare c cursor with hold for select id, name from t where a <> ?"},
		{"prepare p (int) as /* password: hunter */ select $1::int", "prepare p(int) as select ?::int"},
		{"select pg_advisory_lock(4711)", "select pg_advisory_lock(?)"},
		{"select pg_advisory_lock(hashtext('acme corp'))", "select pg_advisory_lock(hashtext(?))"},
		{"listen tenant_42", "listen tenant_?"},
		{`listen "acme corp"`, `listen "?"`},
		{"load '/secret/path'", "load ?"},
		{"select 1; create temp table t (i int); select 'x'", "create temp table t(i int)"},
		{"alter user u password 'x'; create temp table t as select acme", "create temp table ? as select ?"},
		{";; listen a", "listen a"},
		// Wrong quotes: what was meant as a string must not come out as words.
		{"create temp table t as select 'O'Brien', 'it''s', 'x'secret'y'", "create temp table t as select ? ? ? ? ? ? ? ? ? ?"},
		{"create temp table t as select $$ a $$ b $x$ c $$ d $x$", "create temp table t as select ? ? ?"},
		{`create temp table t as select E'\'' secret, "a" secret`, `create temp table t as select ? ?, "?" ?`},
		{"select 1", ""},
		{"create temp table t (" + strings.Repeat("a int, ", 30) + "b int)", "create temp table t(a int, a int, a int, a int, a int, ..."},
		{"listen " + strings.Repeat("a", 300), "listen " + strings.Repeat("a", identifierMax)},
		{"create temp table \xc3\xa4pfel\x01 (i int)", "create temp table ?pfel ? (i int)"},
		{"create function pg_temp.f() returns int begin atomic select 1; select 2; end", "create function pg_temp.f() returns int begin atomic select ?; select ?; end"},
	} {
		if got := string(AppendSample(nil, []byte(c.text), Dialect{}, anyHolding)); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

// TestSampleOfWhatIsUnreadable: where nobody knows how strings end, there is no sample.
func TestSampleOfWhatIsUnreadable(t *testing.T) {
	text := []byte(`create temp table t as select '\' secret '`)
	if got := AppendSample(nil, text, Dialect{Doubtful: true}, anyHolding); len(got) > 0 {
		t.Errorf("%s", got)
	}
	if got := string(AppendSample(nil, text, Dialect{BackslashEscapes: true}, anyHolding)); strings.Contains(got, "secret") {
		t.Errorf("%s", got)
	}
}

// FuzzSample: whatever the text is, and wherever its quotes stand, no digit and nothing from behind its first quote but words of SQL comes
// into a sample, and it is short and printable.
func FuzzSample(f *testing.F) {
	for _, text := range []string{
		"create temp table t as select 'a', \"b\", $$c$$, $x$ d $x$, E'\\'e', U&'f', 12, 0x1F, x'ab', :g, /* h */ i -- j",
		"declare c cursor with hold for select '", "listen a; listen \"b\"", "prepare p as select $1 from 'x' y",
	} {
		f.Add(text, false)
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, backslashes bool) {
		for _, prefix := range []string{"", "listen a;", "create temp table t as select "} {
			whole := []byte(prefix + text)
			got := AppendSample(nil, whole, Dialect{BackslashEscapes: backslashes}, anyHolding)
			if len(got) > sampleMax {
				t.Fatalf("%d bytes: %s", len(got), got)
			}
			for _, c := range got {
				if c < ' ' || c >= 0x7f || c >= '0' && c <= '9' || c == '\'' {
					t.Fatalf("%q in %q", c, got)
				}
			}
			if bytes.Contains(whole, []byte("--")) || bytes.Contains(whole, []byte("/*")) {
				continue // a quote in a comment is none
			}
			shown := bytes.Clone(whole)
			for i, c := range shown {
				if c >= 'A' && c <= 'Z' {
					shown[i] = c + 'a' - 'A'
				}
			}
			for i, c := range whole {
				dollar := c == '$' && (i == 0 || !wordBytes[whole[i-1]]) && hasQuote(whole[i:min(i+2, len(whole))])
				if c == '\'' || c == '"' || dollar {
					shown = shown[:i]
					break
				}
			}
			for _, word := range bytes.FieldsFunc(got, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') }) {
				if !vocabulary[string(word)] && !bytes.Contains(shown, word) {
					t.Fatalf("%q of %q in %q", word, whole, got)
				}
			}
		}
	})
}
