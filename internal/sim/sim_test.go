package sim

import (
	"flag"
	"testing"
)

var (
	seeds   = flag.Int("seeds", 300, "how many runs")
	oneSeed = flag.Uint64("seed", 0, "replay this one alone; -v shows what happens")
	from    = flag.Uint64("from", 1, "the first seed")
)

// stepsMax is far more than any run needs.
const stepsMax = 200_000

// TestSeeds runs the simulation over many seeds. A failure names its seed, and the command that replays it.
func TestSeeds(t *testing.T) {
	if *oneSeed != 0 {
		if err := Run(*oneSeed, stepsMax, t.Logf); err != nil {
			t.Fatal(err)
		}
		return
	}
	failed := 0
	for seed := *from; seed < *from+uint64(*seeds); seed++ {
		if err := Run(seed, stepsMax, nil); err != nil {
			t.Error(err)
			if failed++; failed == 5 {
				t.Fatal("and so on")
			}
		}
	}
}
