package main

import (
	"math"
	"path/filepath"
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
	want := processUsage{cpu: 3 * time.Second, rssBytes: 512 * 4096, threads: 7}
	if usage != want {
		t.Errorf("got %+v, want %+v", usage, want)
	}
	for _, bad := range []string{"", "4711 no parenthesis", "1 (x) S 1 2", strings.Replace(line, " 250 ", " x ", 1)} {
		if _, err := parseStat(bad, 4096); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

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
	if err := writeFiles(folder, map[string]string{"latency.1": first, "latency.1.1": second, "other": first}); err != nil {
		t.Fatal(err)
	}
	latencies, err := readLatencies(folder, time.Unix(101, 0))
	if err != nil {
		t.Fatal(err)
	}
	if len(latencies) != 2 || percentile(latencies, 50) != time.Millisecond || percentile(latencies, 99) != 2*time.Millisecond {
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

func TestMedianAndPercentile(t *testing.T) {
	if got := median([]float64{9, 1, 5}); got != 5 {
		t.Errorf("median of 9 1 5 is %g", got)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median of 4 1 2 3 is %g", got)
	}
	if !math.IsNaN(median(nil)) {
		t.Error("median of nothing")
	}
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i)
	}
	if p50, p99, p100 := percentile(hundred, 50), percentile(hundred, 99), percentile(hundred, 100); p50 != 50 || p99 != 99 || p100 != 100 {
		t.Errorf("percentiles of 1 to 100: %d %d %d", p50, p99, p100)
	}
}

func TestTableRatiosAreTakenRoundByRound(t *testing.T) {
	rows := newTable("Load", "load", []column{{"us", "%.0f"}})
	// The machine slowed down for a while: the ratio of the medians (20 and 12) would be 0.60, but it was 0.50 in two of three rounds.
	for _, round := range [][2]float64{{10, 5}, {30, 15}, {20, 12}} {
		rows.add("x", "reference", round[0])
		rows.add("x", "ours", round[1])
	}
	rows.add("y", "ours", 7) // the first of its own row
	var text strings.Builder
	if err := rows.write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| x | reference | 20 | 1.00 | 10-30 |", "| x | ours | 12 | 0.50 | 5-15 |", "| y | ours | 7 | 1.00 | 7-7 |"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no line %q in\n%s", want, text.String())
		}
	}
}

func TestPlainTableHasNoRatios(t *testing.T) {
	rows := newTable("Logins", "storm", []column{{"served", "%.0f"}})
	rows.plain = true
	rows.add("x", "reference", 10)
	rows.add("x", "ours", 20)
	rows.add("x", "ours", 30)
	var text strings.Builder
	if err := rows.write(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "| x | ours | 25 | 20-30 |\n") {
		t.Errorf("got\n%s", text.String())
	}
}

func TestTableWithoutNumbers(t *testing.T) {
	rows := newTable("Idle", "clients", []column{{"CPU", "%.1f"}})
	rows.add("x", "reference", 0)
	rows.add("x", "ours", 1)
	var text strings.Builder
	if err := rows.write(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "| x | ours | 1.0 | - |") {
		t.Errorf("a ratio to nothing in\n%s", text.String())
	}
}
