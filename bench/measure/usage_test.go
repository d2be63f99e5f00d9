package measure

import (
	"strings"
	"testing"
	"time"
)

func TestParseStatCountsFieldsAfterTheName(t *testing.T) {
	// proc(5): utime is field 14, stime 15, num_threads 20, rss 24 (pages). The name holds what could mislead a counter.
	line := "4711 (a) b (c) S 1 2 3 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 7 0 12345 1000000 512 18446744073709551615 1 1"
	usage, err := parseStat(line, 4096)
	if err != nil {
		t.Fatal(err)
	}
	want := processUsage{CPU: 3 * time.Second, RSSBytes: 512 * 4096, Threads: 7}
	if usage != want {
		t.Errorf("got %+v, want %+v", usage, want)
	}
	for _, bad := range []string{"", "4711 no parenthesis", "1 (x) S 1 2", strings.Replace(line, " 250 ", " x ", 1)} {
		if _, err := parseStat(bad, 4096); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
