// Package measure owns the figures of a benchmark: processor time and memory of processes, medians and percentiles, and the tables that a
// report consists of. It must not know poolers or PostgreSQL: a process is a number, a figure a column.
//
// It keeps no state of its own; a Table belongs to one goroutine. Read this file for reports and usage.go for processes.
package measure

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// Column is one figure of a table and how it is printed.
type Column struct {
	Title, Format string
}

// Table collects figures of poolers, round by round, and prints their medians with ratios to the first pooler.
type Table struct {
	title, rowTitle string
	columns         []Column
	Plain           bool        // no ratios: the figures are no costs, or are ratios themselves
	rows            []*tableRow // in the order they were first added
}

// tableRow is one pooler under one load.
type tableRow struct {
	label, pooler string
	rounds        [][]float64 // a slice of figures, in the columns' order, for each round
}

// NewTable makes an empty table. Each row will have rowTitle's label, the pooler, and a figure for each column.
func NewTable(title, rowTitle string, columns []Column) *Table {
	return &Table{title: title, rowTitle: rowTitle, columns: columns}
}

// Add notes one round's figures, as many as there are columns.
func (t *Table) Add(label, pooler string, figures ...float64) {
	for _, row := range t.rows {
		if row.label == label && row.pooler == pooler {
			row.rounds = append(row.rounds, figures)
			return
		}
	}
	t.rows = append(t.rows, &tableRow{label: label, pooler: pooler, rounds: [][]float64{figures}})
}

// reference is the row that ratios of label are taken against: the pooler added first.
func (t *Table) reference(label string) *tableRow {
	for _, row := range t.rows {
		if row.label == label {
			return row
		}
	}
	return nil
}

// figures of one column over the rounds.
func (r *tableRow) figures(column int) []float64 {
	list := make([]float64, len(r.rounds))
	for i, round := range r.rounds {
		list[i] = round[column]
	}
	return list
}

// ratio is the median of the ratios round by round, neighbours in time: what slows the machine for a while slows both. Where
// one of the two has fewer rounds, only the common ones count.
func (r *tableRow) ratio(to *tableRow, column int) float64 {
	mine, theirs := r.figures(column), to.figures(column)
	var ratios []float64
	for i := range min(len(mine), len(theirs)) {
		ratios = append(ratios, mine[i]/theirs[i])
	}
	return median(ratios)
}

// Write prints the table as Markdown: of each figure the median over the rounds, its ratio to the first pooler where there are
// several, and the lowest and highest round where there are several.
func (t *Table) Write(out io.Writer) error {
	poolers, rounds := t.extent()
	ratios := poolers > 1 && !t.Plain
	var text strings.Builder
	fmt.Fprintf(&text, "\n## %s\n\n| %s | pooler |", t.title, t.rowTitle)
	rule := "\n|---|---|"
	for _, c := range t.columns {
		fmt.Fprintf(&text, " %s |", c.Title)
		rule += "---:|"
		if ratios {
			text.WriteString(" ratio |")
			rule += "---:|"
		}
		if rounds > 1 {
			text.WriteString(" rounds |")
			rule += "---|"
		}
	}
	text.WriteString(rule + "\n")
	for _, row := range t.rows {
		fmt.Fprintf(&text, "| %s | %s |", row.label, row.pooler)
		for i, c := range t.columns {
			figures := row.figures(i)
			fmt.Fprintf(&text, " %s |", number(c.Format, median(figures)))
			if ratios {
				fmt.Fprintf(&text, " %s |", number("%.2f", row.ratio(t.reference(row.label), i)))
			}
			if rounds > 1 {
				lowest, highest := spread(figures)
				fmt.Fprintf(&text, " %s-%s |", number(c.Format, lowest), number(c.Format, highest))
			}
		}
		text.WriteString("\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// extent is how many poolers the table compares and how many rounds its fullest row has.
func (t *Table) extent() (poolers, rounds int) {
	names := map[string]bool{}
	for _, row := range t.rows {
		names[row.pooler] = true
		rounds = max(rounds, len(row.rounds))
	}
	return len(names), rounds
}

// number prints a figure, "-" for one that does not exist (a ratio to zero).
func number(format string, value float64) string {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return "-"
	}
	return fmt.Sprintf(format, value)
}
