package sqltext

import (
	"fmt"
	"strings"
	"testing"
)

// TestStatementNames: names of prepared statements and savepoints are read wherever they stand in a text, however it is cut.
func TestStatementNames(t *testing.T) {
	kinds := [...]string{"execute", "prepare", "deallocate", "savepoint", "release", "rollback to"}
	for text, want := range map[string]string{
		"execute n":                               "0 execute n",
		" EXECUTE\tAb_1$(1, 'x');":                "0 execute ab_1$",
		`execute "A""b"(2)`:                       `0 execute A"b`,
		`execute"x"`:                              "0 execute x",
		"/* x */ execute /* y */ n":               "0 execute n",
		"select 1; -- \n execute n; deallocate m": "1 execute n, 2 deallocate m",
		"prepare n(int) as select 1":              "0 prepare n",
		"prepare transaction 'x'":                 "",
		"deallocate n":                            "0 deallocate n",
		"deallocate prepare n;":                   "0 deallocate n",
		"deallocate prepare":                      "0 deallocate prepare",
		"deallocate all":                          "",
		"deallocate prepare all":                  "",
		`deallocate "all"`:                        "0 deallocate all",
		"explain execute n":                       "0 execute n",
		"EXPLAIN (analyze, buffers) EXECUTE n(1)": "0 execute n",
		"explain analyze verbose execute \"n\"":   "0 execute n",
		"create table t as execute n":             "0 execute n",
		"executed n":                              "",
		"execute":                                 "0 execute ?",
		`execute ""`:                              "0 execute ?",
		"execute \xc3\xa4":                        "0 execute ?",
		"explain select execute":                  "",
		"select execute(n)":                       "",
		"savepoint s; release savepoint s; rollback to savepoint s; rollback to s; release s": "0 savepoint s, 1 release s, 2 rollback to s, 3 rollback to s, 4 release s",
		"rollback work to savepoint":         "0 rollback to savepoint",
		"rollback; rollback and chain":       "",
		"execute " + strings.Repeat("n", 70): "0 execute " + strings.Repeat("n", 63),
	} {
		for _, piece := range []int{1, 3, len(text)} {
			var l Lexer
			l.Begin(Dialect{})
			for rest := text; rest != ""; rest = rest[min(piece, len(rest)):] {
				l.Feed([]byte(rest[:min(piece, len(rest))]))
			}
			l.End()
			var got []string
			for i := range l.Names() {
				n := l.Name(i)
				name := "?"
				if n.Exact {
					name = string(n.Text)
				}
				got = append(got, fmt.Sprint(n.Statement, " ", kinds[n.Kind], " ", name))
			}
			if strings.Join(got, ", ") != want {
				t.Errorf("%q in pieces of %d: %q, want %q", text, piece, strings.Join(got, ", "), want)
			}
		}
	}
}
