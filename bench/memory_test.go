package main

import (
	"strings"
	"testing"
)

// TestMemory is `bench memory` with sizes for every day: still far more than the process may have. The limit is seen to bite.
func TestMemory(t *testing.T) {
	run := func(limit string) (string, error) {
		var out strings.Builder
		err := dispatch(t.Context(), strings.Fields("memory -pgbouncer none -result 200000000 -query 100000000 -limit "+limit), &out)
		return out.String(), err
	}
	if out, err := run("64"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := run("5"); err == nil || !strings.Contains(err.Error(), "resident") {
		t.Errorf("with a limit that nothing can meet: %v", err)
	}
}
