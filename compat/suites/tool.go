package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// tool runs a suite.
type tool interface {
	command(pattern string) []string
	read(out []byte) results
	// pattern is one that all these tests match.
	pattern(names []string) string
}

// result is the outcome of a test.
type result struct {
	Word string // passed, failed or skipped
	Text string `json:",omitempty"` // what it said when it failed
}

// results are those of the tests of a run that have no tests within themselves, by name.
type results map[string]result

const (
	passed  = "passed"
	failed  = "failed"
	skipped = "skipped"
)

// failed are the names of those that failed, in order.
func (r results) failed() []string {
	var names []string
	for name, x := range r {
		if x.Word == failed {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (r results) count(word string) int {
	n := 0
	for _, x := range r {
		if x.Word == word {
			n++
		}
	}
	return n
}

func (r results) counts() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", r.count(passed), r.count(failed), r.count(skipped))
}

// replace takes over what another run of some of the tests showed.
func (r results) replace(again results) {
	for name, x := range again {
		if _, known := r[name]; known {
			r[name] = x
		}
	}
}

// goTest runs the tests of a Go module, one package after the other.
type goTest struct{ skip string }

func (g goTest) command(pattern string) []string {
	line := []string{"go", "test", "-json", "-count=1", "-p=1", "-parallel=4", "-timeout=15m"}
	if g.skip != "" {
		line = append(line, "-skip", g.skip)
	}
	if pattern != "" {
		line = append(line, "-run", pattern)
	}
	return append(line, "./...")
}

func (goTest) pattern(names []string) string {
	var tests []string
	for _, name := range names {
		_, test, _ := strings.Cut(name, ".")
		top, _, _ := strings.Cut(test, "/")
		tests = append(tests, regexp.QuoteMeta(top))
	}
	slices.Sort(tests)
	return "^(" + strings.Join(slices.Compact(tests), "|") + ")$"
}

// temporary is a folder of t.TempDir in the name of a test: another one in each run.
var temporary = regexp.MustCompile(`/[^' ]*/Test\w+/\d{3}\b`)

func (goTest) read(out []byte) results {
	got := results{}
	said := map[string]string{}
	for line := range bytes.Lines(out) {
		var event struct{ Action, Package, Test, Output string }
		if json.Unmarshal(line, &event) != nil || event.Test == "" {
			continue
		}
		name := event.Package[strings.LastIndexByte(event.Package, '/')+1:] + "." + temporary.ReplaceAllString(event.Test, "TMP")
		switch event.Action {
		case "run":
			got[name] = result{Word: failed, Text: "it did not end"}
		case "output":
			said[name] += outputText(event.Output)
		case "pass":
			got[name] = result{Word: passed}
		case "fail":
			got[name] = result{Word: failed, Text: strings.TrimSpace(said[name])}
		case "skip":
			got[name] = result{Word: skipped}
		}
	}
	for name := range got { // one that has others within is the sum of them
		for up := name; strings.Contains(up, "/"); {
			up = up[:strings.LastIndexByte(up, '/')]
			if x := got[up]; x.Word != failed || x.Text == "" {
				delete(got, up)
			}
		}
	}
	return got
}

// outputText leaves out what says nothing about a failure.
func outputText(line string) string {
	text := strings.TrimSpace(line)
	for _, dull := range []string{"=== ", "--- ", "Error Trace:", "Test:"} {
		if strings.HasPrefix(text, dull) {
			return ""
		}
	}
	return strings.Join(strings.Fields(text), " ") + " "
}

// pytest runs Python's.
type pytest struct{ arguments string }

func (p pytest) command(pattern string) []string {
	line := []string{"env/bin/python", "-m", "pytest", "-v", "-rfE", "--tb=no", "--color=no", "-p", "no:cacheprovider"}
	if pattern != "" {
		return append(line, strings.Fields(pattern)...)
	}
	return append(line, strings.Fields(p.arguments)...)
}

func (pytest) pattern(names []string) string { return strings.Join(names, " ") }

// pytestLine is "tests/test_a.py::A::test_b PASSED [ 1%]", or in the summary "FAILED tests/test_a.py::A::test_b - why".
var (
	pytestLine    = regexp.MustCompile(`^(\S+::\S.*?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b`)
	pytestSummary = regexp.MustCompile(`^(?:FAILED|ERROR) (\S+::\S.*?) - (.*)`)
)

func (pytest) read(out []byte) results {
	got := results{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m := pytestLine.FindStringSubmatch(lines.Text()); m != nil {
			word := map[string]string{"PASSED": passed, "XPASS": passed, "XFAIL": skipped, "SKIPPED": skipped}[m[2]]
			if word == "" {
				word = failed
			}
			if got[m[1]].Word != failed { // a test whose end fails has two lines
				got[m[1]] = result{Word: word}
			}
		} else if m := pytestSummary.FindStringSubmatch(lines.Text()); m != nil {
			got[m[1]] = result{Word: failed, Text: m[2]}
		}
	}
	return got
}
