package measure

import (
	"strings"
	"testing"
)

func TestTableRatiosAreTakenRoundByRound(t *testing.T) {
	rows := NewTable("Load", "load", []Column{{"us", "%.0f"}})
	// The machine slowed down for a while: the ratio of the medians (20 and 12) would be 0.60, but it was 0.50 in two of three rounds.
	for _, round := range [][2]float64{{10, 5}, {30, 15}, {20, 12}} {
		rows.Add("x", "reference", round[0])
		rows.Add("x", "ours", round[1])
	}
	rows.Add("y", "ours", 7) // the first of its own row
	var text strings.Builder
	if err := rows.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| x | reference | 20 | 1.00 | 10-30 |", "| x | ours | 12 | 0.50 | 5-15 |", "| y | ours | 7 | 1.00 | 7-7 |"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no line %q in\n%s", want, text.String())
		}
	}
}

func TestPlainTableHasNoRatios(t *testing.T) {
	rows := NewTable("Logins", "storm", []Column{{"served", "%.0f"}})
	rows.Plain = true
	rows.Add("x", "reference", 10)
	rows.Add("x", "ours", 20)
	rows.Add("x", "ours", 30)
	var text strings.Builder
	if err := rows.Write(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "| x | ours | 25 | 20-30 |\n") {
		t.Errorf("got\n%s", text.String())
	}
}

func TestTableWithoutNumbers(t *testing.T) {
	rows := NewTable("Idle", "clients", []Column{{"CPU", "%.1f"}})
	rows.Add("x", "reference", 0)
	rows.Add("x", "ours", 1)
	var text strings.Builder
	if err := rows.Write(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "| x | ours | 1.0 | - |") {
		t.Errorf("a ratio to nothing in\n%s", text.String())
	}
}
