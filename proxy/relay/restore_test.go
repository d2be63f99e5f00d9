package relay

import (
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// TestMayReset: no text resets anything that is not read.
func TestMayReset(t *testing.T) {
	for i := range 4 {
		if blanks := strings.Repeat(" ", i); !mayReset([]byte(blanks+"reset all")) || !mayReset([]byte(blanks+"discard all")) {
			t.Errorf("behind %d blanks", i)
		}
	}
	for _, c := range []struct {
		sql   string
		reads bool
	}{
		{"select abalance from pgbench_accounts where aid = $1", false},
		{"insert into t values ('dis', 'card', 're', 's et')", false},
		{"BEGIN", false},
		{"", false},
		{"select 1;rEsEt all", true},
		{"reset search_path", true},
		{"dIsCaRd all", true},
		{"set search_path to default", true},
		{"/* behind a comment */ SET TIME ZONE LOCAL", true},
		{"SET NAMES", true},
		{"set\nsession authorization default", true},
	} {
		for _, sql := range []string{c.sql, strings.ToUpper(c.sql)} {
			if got := mayReset([]byte(sql)); got != c.reads {
				t.Errorf("%q: %v", sql, got)
			}
			var l sqltext.Lexer
			l.Begin(sqltext.Dialect{})
			l.Feed([]byte(sql))
			if (&SessionState{Restores: true}).resets(&l, l.End()) != c.reads {
				t.Errorf("%q is not judged like that", sql)
			}
		}
	}
}

func BenchmarkMayReset(b *testing.B) {
	text := []byte("SELECT abalance FROM pgbench_accounts WHERE aid = 12345;")
	for b.Loop() {
		if mayReset(text) {
			b.Fatal("read")
		}
	}
}
