package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestUsageOfThisProcess(t *testing.T) {
	pids := []int{os.Getpid()}
	usage, err := readUsage(pids)
	if err != nil {
		t.Fatal(err)
	}
	resident, err := residentBytes(pids)
	if err != nil {
		t.Fatal(err)
	}
	if usage.threads < 2 || usage.rssBytes < 1<<20 || resident < 1<<20 {
		t.Errorf("a Go test with %d threads, %d and %d bytes resident?", usage.threads, usage.rssBytes, resident)
	}
	if both, err := residentBytes([]int{pids[0], pids[0]}); err != nil || both < resident*3/2 {
		t.Errorf("two processes of %d bytes sum up to %d (%v)", resident, both, err)
	}
	if n := countDescriptors(pids); n < 3 {
		t.Errorf("%d descriptors", n)
	}
}

func TestGivenPooler(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	one, err := givenProduct("odyssey=7432:" + own + "," + own)
	if err != nil {
		t.Fatal(err)
	}
	running, err := one.start(t.Context(), settings{})
	if err != nil {
		t.Fatal(err)
	}
	if one.fresh || running.name != "odyssey" || running.transactionPort != 7432 || len(running.pids) != 2 {
		t.Errorf("got %+v, %+v", one, running)
	}
	for _, bad := range []string{"", "x", "x=7432", "=7432:" + own, "x=y:" + own, "x=7432:y", "x=7432:999999999"} {
		if _, err := givenProduct(bad); err == nil || (!strings.Contains(err.Error(), "name=port:pid") && !strings.Contains(err.Error(), "999999999")) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
