package main

import (
	"os"
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
