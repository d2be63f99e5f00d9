package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"
	"github.com/hybridbouncer/hybridbouncer/bench/measure"
)

func TestParseProgress(t *testing.T) {
	line, ok := parseProgress("progress: 1700000000.250 s, 9876.5 tps, lat 1.234 ms stddev 0.456, 0 failed")
	if !ok || !line.at.Equal(time.UnixMilli(1700000000250)) || line.perSecond != 9876.5 {
		t.Errorf("got %+v, %v", line, ok)
	}
	for _, other := range []string{"pgbench: error: client 3 aborted", "progress: soon", "starting vacuum...", "progress: x s, 1 tps, lat 1 ms"} {
		if _, ok := parseProgress(other); ok {
			t.Errorf("%q is no progress line", other)
		}
	}
}

func TestSummariseLeavesTheWarmUpOut(t *testing.T) {
	at := func(seconds float64) time.Time { return time.UnixMilli(int64(1000 * seconds)) }
	lines := []progress{
		{at: at(1), perSecond: 1, cpu: time.Second},
		{at: at(2), perSecond: 1, cpu: 2 * time.Second}, // here the warm-up of one second after the first line ends
		{at: at(3), perSecond: 1000, cpu: 2*time.Second + 20*time.Millisecond},
		{at: at(5), perSecond: 500, cpu: 2*time.Second + 40*time.Millisecond, rssBytes: 77},
	}
	r, err := summarise(lines, load{warmUp: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if r.transactions != 2000 || r.elapsed != 3*time.Second || r.cpu != 40*time.Millisecond || r.rssBytes != 77 {
		t.Errorf("got %+v", r)
	}
	if got := r.microsecondsPerTransaction(); got != 20 {
		t.Errorf("%g us per transaction, want 20", got)
	}
	if _, err := summarise(lines[:2], load{warmUp: time.Second}); err == nil {
		t.Error("a result without one measured second")
	}
	if _, err := summarise([]progress{{at: at(1)}, {at: at(2)}}, load{}); err == nil {
		t.Error("a result without one transaction")
	}
}

func TestReadLatenciesFromTheWarmUpsEnd(t *testing.T) {
	folder := t.TempDir()
	first := "0 1 900 0 100 500000\n0 2 1000 0 101 0\nshort line\n"
	second := "1 1 2000 0 101 999999\n1 2 failed 0 102 0\n"
	if err := launch.WriteFiles(folder, map[string]string{"latency.1": first, "latency.1.1": second, "other": first}); err != nil {
		t.Fatal(err)
	}
	latencies, err := readLatencies(folder, time.Unix(101, 0))
	if err != nil {
		t.Fatal(err)
	}
	if len(latencies) != 2 || measure.Percentile(latencies, 50) != time.Millisecond || measure.Percentile(latencies, 99) != 2*time.Millisecond {
		t.Errorf("got %v", latencies)
	}
	if _, err := readLatencies(filepath.Join(folder, "nothing"), time.Unix(0, 0)); err == nil {
		t.Error("no error for a run without samples")
	}
}

func TestParseSummary(t *testing.T) {
	const text = "transaction type: x\nnumber of failed transactions: %s\ninitial connection time = 12.500 ms\n"
	logins, failed := parseSummary(strings.Replace(text, "%s", "0 (0.000%)", 1))
	if logins != 12500*time.Microsecond || failed != "" {
		t.Errorf("got %s, %q", logins, failed)
	}
	if _, failed := parseSummary(strings.Replace(text, "%s", "3 (0.1%)", 1)); !strings.Contains(failed, "3 (0.1%)") {
		t.Errorf("three failed transactions are told as %q", failed)
	}
}
