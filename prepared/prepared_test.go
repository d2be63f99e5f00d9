package prepared

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// body is what follows the name in a Parse of text without types.
func body(text string) []byte { return append([]byte(text), 0, 0, 0) }

// Equal texts are one statement as long as anybody uses it; afterwards nothing is left of it, and its name is never used again.
func TestTable(t *testing.T) {
	table := NewTable(1 << 20)
	a, _ := table.Intern("", body("select 1"), Words{})
	b, _ := table.Intern("", body("select 1"), Words{})
	if a != b || a.Name() != "hb_1" || a.ParseMessage() != "P\x00\x00\x00\x14hb_1\x00select 1\x00\x00\x00" {
		t.Fatalf("%q %q", a.ParseMessage(), b.ParseMessage())
	}
	if other, _ := table.Intern("latin1", body("select 1"), Words{}); other == a {
		t.Fatal("the same text means something else in another scope")
	}
	table.Release(a)
	if again, _ := table.Intern("", body("select 1"), Words{}); again != a {
		t.Fatal("forgotten too early")
	}
	table.Release(a)
	table.Release(a)
	if again, _ := table.Intern("", body("select 1"), Words{}); again == a || again.Name() == "hb_1" {
		t.Fatal("not forgotten")
	}
}

func TestTableIsBounded(t *testing.T) {
	table := NewTable(3 * (statementBytes + 30))
	var all []*Statement
	for i := range 100 {
		s, ok := table.Intern("", body("select "+string(rune('a'+i%26))+string(rune('a'+i/26))), Words{})
		if ok {
			all = append(all, s)
		}
	}
	if len(all) < 3 || len(all) > 5 || table.Reserve(1000) {
		t.Fatalf("%d statements", len(all))
	}
	for _, s := range all {
		table.Release(s)
	}
	if statements, bytes := table.Numbers(); statements != 0 || bytes != 0 || !table.Reserve(300) {
		t.Fatal(statements, bytes)
	}
}

// TestTableForgetsIdle: statements that servers alone hold make room, the least recently used first, and give up their texts. Those that a
// client has a name for stay. No order of uses confuses the counts.
func TestTableForgetsIdle(t *testing.T) {
	const size = statementBytes + 30
	table := NewTable(10 * size)
	var all []*Statement
	for i := range 8 {
		s, ok := table.Intern("", body(fmt.Sprintf("select %d", i)), Words{})
		if !ok {
			t.Fatal("no room for", i)
		}
		table.RetainForServer(s)
		all = append(all, s)
	}
	for _, i := range []int{3, 1, 2, 5} { // become idle in this order
		table.Release(all[i])
	}
	if again, _ := table.Intern("", body("select 1"), Words{}); again != all[1] { // in use again
		t.Fatal("an idle statement is prepared as another")
	}
	table.Release(all[1]) // idle again, and the last now
	fresh := []*Statement{}
	for i := range 4 {
		s, ok := table.Intern("", body(fmt.Sprintf("select 'x%d'", i)), Words{})
		if !ok {
			t.Fatalf("a statement that nobody uses keeps client %d out", i)
		}
		fresh = append(fresh, s)
	}
	if all[3].parse != "" || all[1].parse == "" || all[0].parse == "" || all[3].Name() != "hb_4" {
		t.Errorf("forgotten: 3 %v, 1 %v, 0 %v; the name of 3 is %q", all[3].parse == "", all[1].parse == "", all[0].parse == "", all[3].Name())
	}
	if again, ok := table.Intern("", body("select 3"), Words{}); !ok || again == all[3] {
		t.Error("a statement without its text is handed out")
	} else {
		table.Release(again)
	}
	for i, s := range all {
		table.ReleaseForServer(s)
		if i != 1 && i != 2 && i != 3 && i != 5 {
			table.Release(s)
		}
	}
	for _, s := range fresh {
		table.Release(s)
	}
	if statements, bytes := table.Numbers(); statements != 0 || bytes != 0 || table.oldest != nil || table.newest != nil {
		t.Errorf("left: %d statements, %d bytes, idle %v %v", statements, bytes, table.oldest, table.newest)
	}
}

// TestCache compares with a list that is kept in the plainest way.
func TestCache(t *testing.T) {
	table := NewTable(1 << 20)
	var all []*Statement
	for i := range 20 {
		s, _ := table.Intern("", body(string(rune('a'+i))), Words{})
		all = append(all, s)
	}
	var c Cache
	var list []*Statement // newest first
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		s := all[rnd.IntN(len(all))]
		at := slices.Index(list, s)
		if held := c.Use(s).State() != Absent; held != (at >= 0) {
			t.Fatal("use", held)
		}
		if at >= 0 {
			list = slices.Delete(list, at, at+1)
		}
		switch {
		case at >= 0 && rnd.IntN(3) == 0:
			if !c.Remove(s) || c.Remove(s) {
				t.Fatal("remove")
			}
			continue
		case at < 0:
			c.Add(s)
		}
		list = slices.Insert(list, 0, s)
		if c.Len() != len(list) || c.Oldest() != list[len(list)-1] {
			t.Fatal("order")
		}
	}
}

func TestStale(t *testing.T) {
	table := NewTable(1 << 20)
	s, _ := table.Intern("", body("select 1"), Words{})
	var c Cache
	c.MarkStale(s)
	c.Add(s)
	c.MarkStale(s)
	if c.Use(s).State() != Stale {
		t.Error("not stale")
	}
	c.Remove(s)
	c.Add(s)
	if c.Use(s).State() != Held {
		t.Error("still stale")
	}
}

// The way of a query looks things up and allocates nothing.
func TestUseAllocatesNothing(t *testing.T) {
	table := NewTable(1 << 20)
	var c Cache
	var all [3]*Statement
	for i := range all {
		all[i], _ = table.Intern("", body(string(rune('a'+i))), Words{})
		c.Add(all[i])
	}
	i := 0
	if n := testing.AllocsPerRun(1000, func() { c.Use(all[i%3]); i++ }); n != 0 {
		t.Error(n)
	}
}
