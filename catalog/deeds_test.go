package catalog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// TestParseDeeds: an operator's words are read, and what is printed can be read again.
func TestParseDeeds(t *testing.T) {
	for text, want := range map[string]string{
		"nothing":                        "nothing",
		"sets(app.b App.a, app.a)":       "sets(app.a app.b)",
		"sets( x ), listens(Jobs) seeds": "sets(x) listens(Jobs) seeds",
		"anything cannot_undo":           "anything cannot_undo",
		"sets(a) sets(b)":                "sets(a b)",
		"makes_temp holds_cursor prepares locks_advisory holds_other sets_any listens_any": "sets_any listens_any makes_temp holds_cursor prepares " +
			"locks_advisory holds_other",
		"":            "error: say what it does",
		"sets":        "error: sets needs names in parentheses",
		"sets()":      "error: sets needs names in parentheses",
		"sets(a":      "error: sets( has no end",
		"seeds(a)":    "error: seeds takes no names",
		"harmless":    `error: "harmless" is none of nothing, sets`,
		"nothing(x)":  `error: "nothing" is none of`,
		"seeds, nope": `error: "nope" is none of`,
	} {
		d, err := ParseDeeds(text)
		have := d.String()
		if err != nil {
			have = "error: " + err.Error()
		}
		if have != want && !(err != nil && strings.HasPrefix(have, want)) {
			t.Errorf("%q: have %s, want %s", text, have, want)
		}
		if err != nil {
			continue
		}
		if again, err := ParseDeeds(have); err != nil || again.String() != have {
			t.Errorf("%q is not read again: %s, %v", have, again, err)
		}
	}
}

// TestEffects: every deed is an effect that a pooler heeds.
func TestEffects(t *testing.T) {
	for i, name := range deedNames {
		d := &Deeds{What: 1 << i}
		if e := d.Effects(); e == 0 || e&^(sqltext.Assigns|sqltext.AssignsUnnamed|sqltext.Opaque|sqltext.Listens|sqltext.Unlistens|sqltext.MakesTemp|
			sqltext.HoldsCursor|sqltext.Prepares|sqltext.LocksAdvisory|sqltext.HoldsOther|sqltext.Seeds) != 0 {
			t.Errorf("%s: %s", name, e)
		}
	}
	if e := (*Deeds)(nil).Effects(); e != 0 {
		t.Errorf("nothing does %s", e)
	}
	if e := (&Deeds{What: SetsNamed | MakesTemp}).Effects(); e != sqltext.Assigns|sqltext.MakesTemp {
		t.Errorf("%s", e)
	}
}

// TestManyNames: functions that call each other in a circle and set more parameters than are kept come to rest.
func TestManyNames(t *testing.T) {
	g := graph{}
	const circle = 200
	for i := range circle {
		n := g.add()
		g.does(n, &Deeds{What: SetsNamed, Settings: []string{fmt.Sprintf("a.%d", i)}}, nil)
	}
	for i := range int32(circle) {
		g.runs(i, (i+1)%circle)
		g.runs(i, (i*7+3)%circle)
	}
	g.close()
	for i, n := range g.nodes {
		if n.deeds.What != SetsAny || n.deeds.Settings != nil {
			t.Fatalf("node %d: %s", i, n.deeds)
		}
	}
}

// TestUnion: what is added stays within its bounds, and adding what is there already allocates nothing.
func TestUnion(t *testing.T) {
	var d *Deeds
	for i := range namesMax {
		d = union(d, &Deeds{What: SetsNamed | ListensNamed, Settings: []string{fmt.Sprintf("a.%d", i)}, Channels: []string{fmt.Sprintf("c%d", i)}})
	}
	if d.What != SetsNamed|ListensNamed || len(d.Settings) != namesMax || len(d.Channels) != namesMax {
		t.Errorf("%s", d)
	}
	known := &Deeds{What: SetsNamed, Settings: []string{"a.7"}}
	if n := testing.AllocsPerRun(100, func() {
		if union(d, known) != d || union(nil, d) != d || union(d, nil) != d {
			t.Error("another")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if more := union(d, &Deeds{What: SetsNamed, Settings: []string{"b"}}); more.What != SetsAny|ListensNamed || more.Settings != nil {
		t.Errorf("%s", more)
	}
	full := union(d, &Deeds{What: SetsNamed, Settings: []string{"b"}})
	if again := union(full, d); again != full || union(d, full) != full || union(full, &Deeds{What: SetsNamed, Settings: []string{"c"}}) != full {
		t.Errorf("it shrinks and grows: %s", again) // a cycle of functions would never come to rest
	}
	if more := union(full, &Deeds{What: SetsNamed | MakesTemp, Settings: []string{"c"}}); more.What&^ListensNamed != SetsAny|MakesTemp || more.Settings != nil {
		t.Errorf("it begins to count anew: %s", more)
	}
	if more := union(d, &Deeds{What: ListensNamed, Channels: []string{"d"}}); more.What != SetsNamed|ListensAny || more.Channels != nil {
		t.Errorf("%s", more)
	}
}
