// Command suites owns the drivers' own test suites in front of the pooler: it runs each one to PostgreSQL directly and through both ports,
// and writes to docs/SUITES.md how many tests pass, and why one that passes directly does not pass on a port. It must not know what
// a test does: a suite is a way to unpack it, a command, and a way to read what that prints.
//
// It is called by scripts/suites.sh (`make suites`), which is no part of the tests: some suites come from a registry. A test that fails on
// a port and is not in the list of reasons.go fails the run.
//
// Read suite.go first: it describes a suite. world.go starts the servers, reasons.go lists the tests that cannot pass.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ports are where a suite is run, in the order of the table.
var ports = []string{"direct", "session", "transaction"}

func main() {
	work := flag.String("work", filepath.Join(os.TempDir(), "hybridbouncer-suites"), "folder that the suites are unpacked into")
	out := flag.String("out", "docs/SUITES.md", "the document is written there")
	only := flag.String("only", "", "names of suites, parted by commas; of the others the results of the last run count")
	on := flag.String("ports", strings.Join(ports, ","), "where to run them; elsewhere the results of the last run count")
	tests := flag.String("tests", "", "regular expression of the tests to run; nothing is written then")
	flag.Parse()
	if err := run(*work, *out, *only, *on, *tests); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(work, out, only, on, tests string) (err error) {
	work, err = filepath.Abs(work)
	if err != nil {
		return err
	}
	w, err := newWorld(work)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	var rows []row
	for _, s := range suites {
		if only != "" && !slices.Contains(strings.Split(only, ","), s.name) {
			continue
		}
		fmt.Printf("== %s %s\n", s.name, s.version)
		r, err := w.play(s, strings.Split(on, ","), tests)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		rows = append(rows, r)
	}
	if tests == "" {
		if err := w.write(out); err != nil {
			return err
		}
	}
	return faults(rows, tests == "")
}

// write makes the document, if there are results of all suites.
func (w *world) write(out string) error {
	rows := make([]row, len(suites))
	for i, s := range suites {
		rows[i] = row{suite: s, results: map[string]results{}}
		for _, port := range ports {
			got, err := w.load(s, port)
			if errors.Is(err, os.ErrNotExist) {
				fmt.Printf("%s is not written: %s has not been run on the port %s\n", out, s.name, port)
				return nil
			} else if err != nil {
				return err
			}
			rows[i].results[port] = got
		}
	}
	return os.WriteFile(out, []byte(document(rows, w.version)), 0o644)
}

// play runs one suite on some ports.
func (w *world) play(s suite, on []string, tests string) (row, error) {
	r := row{suite: s, results: map[string]results{}}
	folder, err := s.unpack(w.work)
	if err != nil {
		return r, err
	}
	for _, port := range ports {
		if !slices.Contains(on, port) {
			if r.results[port], err = w.load(s, port); err != nil {
				return r, err
			}
			continue
		}
		if err := w.prepare(s); err != nil {
			return r, err
		}
		got, err := s.runTwice(folder, w.targets[port], tests)
		if err != nil {
			return r, fmt.Errorf("%s: %w", port, err)
		}
		if tests == "" {
			if err := w.store(s, port, got); err != nil {
				return r, err
			}
		}
		r.results[port] = got
		fmt.Printf("   %-12s %s\n", port, got.counts())
		for _, name := range got.failed() {
			fmt.Printf("      %s: %.600s\n", name, got[name].Text)
		}
	}
	return r, nil
}

// runTwice runs the tests, and what fails once more: a test that is in a hurry fails on a busy machine now and then.
func (s suite) runTwice(folder string, at target, tests string) (results, error) {
	got, err := s.run(folder, at, tests)
	if failed := got.failed(); err == nil && len(failed) > 0 && len(failed) < len(got)/2 {
		var again results
		if again, err = s.run(folder, at, s.tool.pattern(failed)); err == nil {
			got.replace(again)
		}
	}
	return got, err
}

// resultsFile keeps what the last run of a suite on a port showed.
func (w *world) resultsFile(s suite, port string) string {
	return filepath.Join(w.work, strings.ReplaceAll(s.name, "/", "-")+"-"+s.version+"."+port+"."+w.version+".json")
}

func (w *world) store(s suite, port string, got results) error {
	b, err := json.Marshal(got)
	if err != nil {
		return err
	}
	return os.WriteFile(w.resultsFile(s, port), b, 0o644)
}

func (w *world) load(s suite, port string) (got results, err error) {
	b, err := os.ReadFile(w.resultsFile(s, port))
	if err != nil {
		return nil, err
	}
	return got, json.Unmarshal(b, &got)
}

// faults is every test that fails on a port and not on PostgreSQL itself, but for those that are expected to; and every expectation that
// does not come true, if all tests were run.
func faults(rows []row, all bool) error {
	var out []error
	for _, r := range rows {
		used := map[int]bool{}
		for _, port := range ports[1:] {
			for _, name := range r.differences(port) {
				if i, ok := reasonOf(r.suite.name, port, name); ok {
					used[i] = true
				} else {
					out = append(out, fmt.Errorf("%s, %s port, %s: %.300s", r.suite.name, port, name, r.results[port][name].Text))
				}
			}
		}
		for i, why := range reasons {
			if all && why.suite == r.suite.name && !used[i] {
				out = append(out, fmt.Errorf("%s, %s port, %s passes now: take it off the list of reasons", why.suite, why.port, why.test))
			}
		}
	}
	return errors.Join(out...)
}
