package measure

import (
	"os"
	"testing"
)

func TestUsageOfThisProcess(t *testing.T) {
	pids := []int{os.Getpid()}
	usage, err := ReadUsage(pids)
	if err != nil {
		t.Fatal(err)
	}
	resident, err := ResidentBytes(pids)
	if err != nil {
		t.Fatal(err)
	}
	if usage.Threads < 2 || usage.RSSBytes < 1<<20 || resident < 1<<20 {
		t.Errorf("a Go test with %d threads, %d and %d bytes resident?", usage.Threads, usage.RSSBytes, resident)
	}
	if both, err := ResidentBytes([]int{pids[0], pids[0]}); err != nil || both < resident*3/2 {
		t.Errorf("two processes of %d bytes sum up to %d (%v)", resident, both, err)
	}
	if n := CountDescriptors(pids); n < 3 {
		t.Errorf("%d descriptors", n)
	}
}
