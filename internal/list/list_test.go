package list

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// card is an element that can be in two lists at once.
type card struct{ one, two Node[card] }

// walk returns the elements, and fails unless the list reads the same from both ends.
func walk(t *rapid.T, l *List[card], node func(*card) *Node[card]) (cards []*card) {
	for c := l.First(); c != nil; c = node(c).Next() {
		cards = append(cards, c)
	}
	var back []*card
	for c := l.Last(); c != nil; c = node(c).Prev() {
		back = append(back, c)
	}
	slices.Reverse(back)
	if !slices.Equal(cards, back) || len(cards) != l.Len() {
		t.Fatalf("%d elements from the front, %d from the end, %d counted", len(cards), len(back), l.Len())
	}
	return cards
}

// TestAgainstSlices compares two lists of the same elements with slices, through any sequence of operations.
func TestAgainstSlices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cards := make([]card, 5)
		var lists [2]List[card]
		var models [2][]*card
		nodes := [2]func(*card) *Node[card]{
			func(c *card) *Node[card] { return &c.one }, func(c *card) *Node[card] { return &c.two },
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				for i := range lists {
					if got := walk(t, &lists[i], nodes[i]); !slices.Equal(got, models[i]) {
						t.Fatalf("list %d has other elements than it should have", i)
					}
				}
			},
			"add or remove": func(t *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(t, "list")
				c := &cards[rapid.IntRange(0, len(cards)-1).Draw(t, "card")]
				n, at := nodes[i](c), slices.Index(models[i], c)
				if n.Linked() != (at >= 0) {
					t.Fatal("an element does not know whether it is in the list")
				}
				if at >= 0 {
					lists[i].Remove(n)
					models[i] = slices.Delete(models[i], at, at+1)
					return
				}
				switch where := rapid.IntRange(-1, len(models[i])-1).Draw(t, "behind"); {
				case where == -1 && rapid.Bool().Draw(t, "front"):
					lists[i].PushFront(n, c)
					models[i] = slices.Insert(models[i], 0, c)
				case where == -1:
					lists[i].PushBack(n, c)
					models[i] = append(models[i], c)
				default:
					lists[i].InsertAfter(n, c, nodes[i](models[i][where]))
					models[i] = slices.Insert(models[i], where+1, c)
				}
			},
		})
	})
}

// TestMisuse: a node that is in a list is not put into another, and one that is in none is not taken out.
func TestMisuse(t *testing.T) {
	var l List[card]
	var in, out card
	l.PushBack(&in.one, &in)
	for name, call := range map[string]func(){
		"pushed twice":          func() { l.PushFront(&in.one, &in) },
		"removed from nowhere":  func() { l.Remove(&out.one) },
		"behind one of no list": func() { l.InsertAfter(&out.two, &out, &out.one) },
		"no element":            func() { l.PushBack(&out.one, nil) },
	} {
		if !panics(call) {
			t.Errorf("%s: no panic", name)
		}
	}
}

func panics(call func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	call()
	return false
}

// TestNoAllocation: adding and removing allocate nothing.
func TestNoAllocation(t *testing.T) {
	var l List[card]
	var c card
	if n := testing.AllocsPerRun(100, func() { l.PushBack(&c.one, &c); l.Remove(&c.one) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
