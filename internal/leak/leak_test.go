package leak

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// TestLivesFollowFromTheirSeed: a failure can be lived again.
func TestLivesFollowFromTheirSeed(t *testing.T) {
	o := Options{Seed: 4, Steps: 30, Hidden: true, Keepers: 1}
	kinds := map[string]bool{}
	for client := range 2 {
		for number := range 40 {
			life := NewLife(o, client, number)
			if !reflect.DeepEqual(life, NewLife(o, client, number)) {
				t.Fatalf("client %d, life %d differs from itself", client, number)
			}
			for _, s := range life.Steps {
				kinds[s.Kind] = true
				if mentionsAnother(s.Text, client) {
					t.Errorf("client %d speaks of another: %s", client, s.Text)
				}
			}
		}
	}
	for _, kind := range []string{"query", "several statements", "pipeline", "named", "cancelled", "stray cancel", "large", "hidden", "keeps", "copy"} {
		if !kinds[kind] {
			t.Errorf("there is no %q", kind)
		}
	}
}

// TestNoDifferenceFromItself: two direct connections answer the same, whatever is done on them.
func TestNoDifferenceFromItself(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{Settings: map[string]string{"max_prepared_transactions": "20"}})
	o := Options{Clients: 6, Seed: 2, Lives: 4, Steps: 20, Hidden: true, Keepers: 6, Pooled: c.Address(), Direct: c.Address(), DirectMax: 4}
	if err := Prepare(t.Context(), o.Clients, func(database string) string { return c.DSN(c.Superuser, database) }); err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), o)
	if err != nil || report.Failure != nil || report.Lives != 24 {
		t.Errorf("%d lives: %v %v", report.Lives, err, report.Failure)
	}
}

func TestCompare(t *testing.T) {
	life := Life{Client: 1, Steps: make([]Step, 2)}
	for _, c := range []struct {
		pooled, direct string
		differ         bool
	}{
		{"row \"tenant-1-\"\n", "row \"tenant-1-\"\n", false},
		{"row \"tenant-1-\"\n", "row NULL\n", true},
		{"row \"tenant-11-\"\n", "row \"tenant-11-\"\n", true}, // another's, even if a third one says so
		{"ERROR 25P02 ERROR x\nready E\n", "ERROR 26000 ERROR y\nready E\n", false},
		{"ERROR 25P02 ERROR x\nready E\n", "ERROR 26000 ERROR y\nready I\n", true},
		{"ERROR 42601 ERROR y\nready E\n", "ERROR 25P02 ERROR x\nready E\n", false},
		{"ERROR 42601 ERROR y\nready E\n", "ERROR 26000 ERROR x\nready E\n", true},
	} {
		if f := compare(life, []string{"", c.pooled}, []string{"", c.direct}); (f != nil) != c.differ || f != nil && f.Step != 1 {
			t.Errorf("%q and %q: %v", c.pooled, c.direct, f)
		}
	}
	if compare(life, []string{""}, []string{"", ""}) != nil || compare(life, []string{""}, []string{"", "x"}) == nil {
		t.Error("an answer that is missing")
	}
}

// TestShortest: of a script that fails because of two of its steps, these and the first are left.
func TestShortest(t *testing.T) {
	var life Life
	for _, text := range strings.Split("first a b c bad d e f worse g", " ") {
		life.Steps = append(life.Steps, Step{Text: text})
	}
	again := func(steps []Step) *Failure {
		bad := slices.IndexFunc(steps, func(s Step) bool { return s.Text == "bad" })
		worse := slices.IndexFunc(steps, func(s Step) bool { return s.Text == "worse" })
		if bad < 0 || worse < 0 {
			return nil
		}
		return &Failure{Life: Life{Steps: steps}, Step: worse}
	}
	f := shortest(context.Background(), again(life.Steps), again)
	var left []string
	for _, s := range f.Life.Steps {
		left = append(left, s.Text)
	}
	if strings.Join(left, " ") != "first bad worse" {
		t.Errorf("left is %q", left)
	}
}
