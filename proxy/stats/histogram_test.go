package stats

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A duration lies in the fine bucket whose bounds enclose it, as Prometheus defines them, and in one bucket of each division.
func TestObserve(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "d"))
		if rapid.Bool().Draw(t, "short") {
			d >>= uint(rapid.IntRange(0, 40).Draw(t, "shift"))
		}
		var h Histogram
		h.Observe(d)
		at := -1
		for i, n := range h.Fine {
			if n == 1 && at < 0 {
				at = i
			} else if n != 0 {
				t.Fatalf("%v is counted in bucket %d and in %d", d, at, i)
			}
		}
		lower, upper := 0.0, math.Inf(1)
		if at > 0 {
			lower = math.Exp2(float64(FineFirst+at-2) / 4)
		}
		if at < FineBuckets {
			upper = math.Exp2(float64(FineFirst+at-1) / 4)
		}
		if s := d.Seconds(); at < 0 || s > upper+1e-9 || s < lower-1e-9 {
			t.Fatalf("%v is in bucket %d, from %v to %v", d, at, lower, upper)
		}
	})
}

func TestFineBounds(t *testing.T) {
	for i, want := range map[int]time.Duration{0: FineZero, 14 * 4: time.Second, 15 * 4: 2 * time.Second, FineBuckets - 1: 512 * time.Second} {
		if have := FineBounds[i]; have.Round(time.Microsecond) != want.Round(time.Microsecond) {
			t.Errorf("bound %d is %v, want %v", i, have, want)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for i := 0; b.Loop(); i++ {
		h.Observe(time.Duration(i%1000) * 17 * time.Microsecond)
	}
}
