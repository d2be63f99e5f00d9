package sim

import (
	"bytes"
	"flag"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// go test ./internal/sim -args -seeds 10000, or -args -seed 17 for one, with a trace (and -v, should it not fail).
var (
	seedFlag  = flag.Uint64("seed", 0, "simulate this seed alone and show what happens")
	seedsFlag = flag.Uint64("seeds", 300, "simulate so many seeds")
	failFlag  = flag.Uint64("failures", 5, "give up after so many failures")
	fromFlag  = flag.Uint64("from", 1, "the first of them")
)

// stepsMax is far more than a run takes: one that needs them all goes in circles.
const stepsMax = 200_000

// TestSeeds runs the simulation, by default for a few seconds.
func TestSeeds(t *testing.T) {
	if *seedFlag != 0 {
		if err := Run(*seedFlag, stepsMax, t.Output()); err != nil {
			t.Fatal(err)
		}
		return
	}
	var next, failures atomic.Uint64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for failures.Load() < *failFlag {
				n := next.Add(1) - 1
				if n >= *seedsFlag {
					return
				}
				if err := Run(*fromFlag+n, stepsMax, nil); err != nil {
					failures.Add(1)
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
}

// TestSameSeed: the same seed does the same, to the byte; otherwise no failure could be looked into.
func TestSameSeed(t *testing.T) {
	for seed := range uint64(5) {
		if first, second := traced(t, seed+1), traced(t, seed+1); first != second {
			t.Errorf("seed %d did not do the same twice", seed+1)
		}
	}
}

func traced(t *testing.T, seed uint64) string {
	t.Helper()
	var out bytes.Buffer
	if err := Run(seed, stepsMax, &out); err != nil {
		t.Error(err)
	}
	return out.String()
}
