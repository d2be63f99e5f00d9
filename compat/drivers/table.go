package main

import (
	"fmt"
	"strings"
)

// cases are the parts of a day, in the order of the table.
var cases = []struct{ name, what string }{
	{"connect", "log in with SCRAM-SHA-256"},
	{"query", "DDL, parameters and results of several types"},
	{"transaction", "commit and rollback"},
	{"prepared", "three connections take turns with prepared statements, of the same name or text and of different ones, outside transactions"},
	{"ddl", "a prepared statement goes on working while another connection alters its table"},
	{"error", "constraint violations and syntax errors, and the connection goes on"},
	{"retry", "a serialization failure, rolled back and tried again"},
	{"copy", "COPY in and out, and a COPY that fails"},
	{"pipeline", "many statements at once (a pipeline or batch), and an error in the middle"},
	{"cursor", "a thousand rows, a hundred at a time"},
	{"settings", "three connections with different time zones take turns"},
	{"cancel", "a running query is canceled and the connection goes on"},
	{"listen", "LISTEN, and a NOTIFY of another connection is heard within three seconds"},
	{"reconnect", "the server process is terminated; the next use gets a new connection"},
	{"crowd", "twenty connections with twenty transactions each at once, each checking what it reads"},
}

func known(name string) bool {
	for _, c := range cases {
		if c.name == name {
			return true
		}
	}
	return false
}

// expectedFailures are cases that cannot pass on a port, or not yet; the driver "*" stands for all.
var expectedFailures = []struct{ driver, port, name, why string }{}

func expected(driver, port, name string) (why string) {
	for _, e := range expectedFailures {
		if (e.driver == "*" || e.driver == driver) && e.port == port && e.name == name {
			return e.why
		}
	}
	return ""
}

// row is a driver with its days.
type row struct {
	driver  driver
	missing error // it could not be installed
	days    map[string]day
}

// document is docs/DRIVERS.md.
func document(rows []row, version string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Drivers\n\nWritten by `make drivers`: an application's ordinary day (`compat/drivers`), one program for each driver, in front of "+
		"PostgreSQL %s: directly, through the session port and through the transaction port. There four servers are lent in turn, so "+
		"no transaction finds what the one before it left.\n\n", version)
	b.WriteString("A cell has the transaction port's result. **yes**: as on a direct connection, on both ports; *no*: see below; -: the driver has no " +
		"such thing, or fails without the pooler too.\n\n| driver | settings |")
	for _, c := range cases {
		b.WriteString(" " + c.name + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(cases)) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s %s | %s |", r.driver.name, r.driver.version, r.driver.how)
		for _, c := range cases {
			b.WriteString(" " + r.cell(c.name) + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n## The cases\n\n")
	for _, c := range cases {
		fmt.Fprintf(&b, "- **%s**: %s.\n", c.name, c.what)
	}
	b.WriteString("\n## What does not work\n\n")
	said := b.Len()
	for _, r := range rows {
		r.explain(&b)
	}
	if b.Len() == said {
		b.WriteString("Nothing that works on a direct connection.\n")
	}
	return b.String()
}

func (r row) cell(name string) string {
	if r.missing != nil {
		return "?"
	}
	if r.days["direct"][name].word != "ok" {
		return "-"
	}
	if r.days["session"][name].word == "ok" && r.days["transaction"][name].word == "ok" {
		return "**yes**"
	}
	return "*no*"
}

// explain says why a cell is not "yes".
func (r row) explain(b *strings.Builder) {
	if r.missing != nil {
		fmt.Fprintf(b, "- %s could not be installed: %.200s\n", r.driver.name, r.missing)
		return
	}
	for _, c := range cases {
		if direct := r.days["direct"][c.name]; direct.word != "ok" {
			fmt.Fprintf(b, "- %s, %s: not with PostgreSQL itself (%s).\n", r.driver.name, c.name, tableText(direct.text))
			continue
		}
		for _, port := range ports[1:] {
			if got := r.days[port][c.name]; got.word != "ok" {
				why := expected(r.driver.name, port, c.name)
				if why == "" {
					why = "a fault"
				}
				fmt.Fprintf(b, "- %s, %s, %s port: %s (%s).\n", r.driver.name, c.name, port, why, tableText(got.text))
			}
		}
	}
}

// tableText is a driver's own words, short enough and without what Markdown or an address would make of them.
func tableText(s string) string {
	s = strings.NewReplacer("|", "/", "`", "'", "\r", " ").Replace(s)
	if len(s) > 160 {
		s = s[:160] + "..."
	}
	return s
}
