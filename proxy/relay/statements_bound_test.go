package relay

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/prepared"
)

// TestStatementsOfOneClientAreBounded: a client that prepares without end is refused before the others are, by the bytes of its own
// statements. What it closes makes room for it again.
func TestStatementsOfOneClientAreBounded(t *testing.T) {
	table := prepared.NewTable(4 << 20)
	text := strings.Repeat("x", 100<<10)
	prepare := func(own *statements, i int) bool {
		s, ok := table.Intern("", []byte(fmt.Sprintf("select %d /*%s*/\x00\x00\x00", i, text)), prepared.Words{})
		if !ok {
			t.Fatal("the table is full")
		}
		if !own.remember(fmt.Sprint(i), s, table) {
			table.Release(s)
			return false
		}
		return true
	}
	greedy, other := &statements{}, &statements{}
	n := 0
	for prepare(greedy, n) {
		n++
	}
	if n < 5 || n > 10 {
		t.Errorf("one client has %d statements of 100 kB in a table of 4 MiB", n)
	}
	if !prepare(other, n) || !prepare(other, 0) {
		t.Error("another client cannot prepare")
	}
	table.Release(greedy.remove("0", table).statement)
	if !prepare(greedy, n+1) {
		t.Error("a closed statement makes no room")
	}
	greedy.forgetNames(table)
	other.forgetNames(table)
	if statements, bytes := table.Numbers(); statements != 0 || bytes != 0 || greedy.texts != 0 || other.texts != 0 {
		t.Errorf("left: %d statements, %d bytes, %d and %d of texts", statements, bytes, greedy.texts, other.texts)
	}
}
