package sqltext

import (
	"strings"
	"testing"
)

// TestParseBegin compares what is said of each text with what PostgreSQL does, and each Begin with the text it came from.
func TestParseBegin(t *testing.T) {
	for text, want := range map[string]string{
		"BEGIN": "BEGIN", "begin;": "BEGIN", " Begin\tWork ; ": "BEGIN", "START TRANSACTION": "BEGIN", "begin transaction": "BEGIN",
		"BEGIN READ ONLY": "BEGIN READ ONLY", "begin isolation level repeatable read, read only, deferrable": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY DEFERRABLE",
		"START TRANSACTION READ ONLY ISOLATION LEVEL READ COMMITTED": "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
		"begin not deferrable ,isolation level read uncommitted;":    "BEGIN ISOLATION LEVEL READ UNCOMMITTED NOT DEFERRABLE",
		"": "", ";": "", "beginn": "", "begin x": "", "begin; select 1": "", "begin;;": "", "START": "", "START WORK": "", "begin isolation level serializable": "BEGIN ISOLATION LEVEL SERIALIZABLE",
		"begin read write": "BEGIN READ WRITE", "begin read": "", "begin , read only": "", "begin read only,": "", "begin read only read only": "", "begin not": "",
		"begin /* x */": "BEGIN", "begin -- x": "BEGIN", "/* a /* b */ c */begin/**/;--\n": "BEGIN", "begin--x\nread only": "BEGIN READ ONLY",
		"begin /* x": "", "begin /* /* */": "", "begin - x": "", "begin -- x\nx": "", "begin/": "", "--begin": "", "begin; -- x\r;": "", "\"begin\"": "", "begin isolation": "", "BEG\x00IN": "", "begin\u00a0": "", "b\u00e9gin": "", "@EGIN": "",
		"begin work transaction": "", "begin deferrable not deferrable": "", "begin isolation level read only": "", "[egin": "", "begin\x00": "BEGIN",
	} {
		begin, starts, ok := ParseBegin([]byte(text))
		if ok && starts != strings.HasPrefix(text, "START") {
			t.Errorf("%q: START %t", text, starts)
		}
		got := ""
		if ok {
			got = begin.Text()
		}
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// TestBeginsOnPostgres: none of them fails, and each sets what it says.
func TestBeginsOnPostgres(t *testing.T) {
	pc, ctx := login(t)
	for i, text := range beginTexts {
		begin, _, ok := ParseBegin([]byte(text))
		if !ok || int(begin) != i+1 {
			t.Errorf("%q is read as %d, not %d", text, begin, i+1)
		}
		if _, err := pc.Exec(ctx, text).ReadAll(); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		level, readOnly, deferrable := show(ctx, t, pc, "transaction_isolation"), show(ctx, t, pc, "transaction_read_only"), show(ctx, t, pc, "transaction_deferrable")
		if strings.Contains(text, "LEVEL") && !strings.Contains(text, strings.ToUpper(level)) || strings.Contains(text, "ONLY") != (readOnly == "on") ||
			begin.MayFail() != (strings.Contains(text, "SERIALIZABLE") || strings.Contains(text, "WRITE")) ||
			(strings.Contains(text, " DEFERRABLE") && !strings.Contains(text, "NOT")) != (deferrable == "on") {
			t.Errorf("%s: %s, read only %s, deferrable %s", text, level, readOnly, deferrable)
		}
		if _, err := pc.Exec(ctx, "rollback").ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestParseEnd(t *testing.T) {
	for text, want := range map[string]string{
		"commit": "commit", "COMMIT WORK;": "commit", "end transaction": "commit", "END": "commit", "rollback ": "rollback", "Abort work": "rollback",
		"commit and chain": "", "rollback to x": "", "commit prepared 'x'": "", "": "", "committ": "", "end;end": "", "rollback /**/": "rollback",
	} {
		commits, ok := ParseEnd([]byte(text))
		got := map[bool]string{true: "rollback"}[ok]
		if commits && ok {
			got = "commit"
		}
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
