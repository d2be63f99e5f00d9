package load

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// Each key and each table has the line of its first mention; an array of tables counts its elements.
func TestLocate(t *testing.T) {
	lines := locate([]byte(`a = 1
"b.c" = """
x
"""
[t]
d.e = {f = 1, g = [
  {h = 1}, # a comment
  {i = 2}]}
[[l]]
n = 1
[l.sub]
o = 1
[[l]]

n = 2
[l.sub]
o = 2
[t.u]
`))
	want := map[string]int{
		"a": 1, "b.c": 2, "t": 5, "t/d": 6, "t/d/e": 6, "t/d/e/f": 6, "t/d/e/g": 6, "t/d/e/g/#0/h": 7, "t/d/e/g/#1/i": 8,
		"l/#0": 9, "l/#0/n": 10, "l/#0/sub": 11, "l/#0/sub/o": 12, "l/#1": 13, "l/#1/n": 15, "l/#1/sub": 16, "l/#1/sub/o": 17, "t/u": 18,
	}
	have := map[string]int{}
	for path, line := range lines {
		have[strings.ReplaceAll(path, "\x00", "/")] = line
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if have[path] != want[path] {
			t.Errorf("%s is on line %d, want %d", path, have[path], want[path])
		}
		delete(have, path)
	}
	for path, line := range have {
		if path != "l" { // the name in front of an element's path
			t.Errorf("%s is on line %d, want no such path", path, line)
		}
	}
}
