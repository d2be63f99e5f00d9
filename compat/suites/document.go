package main

import (
	"fmt"
	"slices"
	"strings"
)

// row is a suite with its results.
type row struct {
	suite   suite
	results map[string]results // by port
}

// differences are the tests that fail on a port, or do not run there, and pass directly.
func (r row) differences(port string) []string {
	var names []string
	for name, x := range r.results["direct"] {
		if x.Word == passed && r.results[port][name].Word != passed {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// document is docs/SUITES.md.
func document(rows []row, version string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# The drivers' own tests\n\nWritten by `make suites`: the test suites of drivers (`compat/suites`), unchanged, in front of "+
		"PostgreSQL %s: directly, through the session port and through the transaction port. There six servers are lent in turn, so "+
		"no transaction finds what the one before it left. What fails is run a second time, because some tests measure time.\n\n"+
		"| suite | | passed | failed | skipped |\n|---|---|---|---|---|\n", version)
	for _, r := range rows {
		for _, port := range ports {
			x := r.results[port]
			where := port
			if port != "direct" {
				where += " port"
			}
			fmt.Fprintf(&b, "| %s %s | %s | %d | %d | %d |\n", r.suite.name, r.suite.version, where, x.count(passed), x.count(failed), x.count(skipped))
		}
	}
	b.WriteString("\nSkipped are tests that want what is not there: another version of PostgreSQL, another database, Kerberos, a certificate.\n")
	for _, r := range rows {
		r.explain(&b)
	}
	return b.String()
}

// explain says why tests fail.
func (r row) explain(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n", r.suite.name)
	if names := r.results["direct"].failed(); len(names) > 0 {
		fmt.Fprintf(b, "%d fail with PostgreSQL itself, here: %s.\n\n", len(names), list(names))
	}
	said := b.Len()
	for i, why := range reasons {
		var names []string
		where := ""
		for _, port := range ports[1:] {
			found := slices.DeleteFunc(r.differences(port), func(name string) bool {
				at, ok := reasonOf(r.suite.name, port, name)
				return !ok || at != i
			})
			if len(found) > 0 {
				names, where = append(names, found...), where+" and the "+port
			}
		}
		if len(names) > 0 {
			slices.Sort(names)
			fmt.Fprintf(b, "- Not through%s port: %s. %s\n", strings.TrimPrefix(where, " and"), list(slices.Compact(names)), why.why)
		}
	}
	for _, port := range ports[1:] {
		for _, name := range r.differences(port) {
			if _, ok := reasonOf(r.suite.name, port, name); !ok {
				fmt.Fprintf(b, "- Not through the %s port, a fault: `%s`.\n", port, name)
			}
		}
	}
	if b.Len() == said {
		b.WriteString("All that pass on a direct connection pass through both ports.\n")
	}
}

// list is some names; many tests within one are named together.
func list(names []string) string {
	const each = 12
	var tops []string
	for _, name := range names {
		if top, _, within := strings.Cut(name, "/"); within && len(names) > each {
			name = top
		}
		tops = append(tops, "`"+name+"`")
	}
	return strings.Join(slices.Compact(tops), ", ")
}
