package measure

import (
	"math"
	"testing"
	"time"
)

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
	if p50, p99, p100 := Percentile(hundred, 50), Percentile(hundred, 99), Percentile(hundred, 100); p50 != 50 || p99 != 99 || p100 != 100 {
		t.Errorf("percentiles of 1 to 100: %d %d %d", p50, p99, p100)
	}
}

func TestQuantiles(t *testing.T) {
	thousand := make([]time.Duration, 1000)
	for i := range thousand {
		thousand[i] = time.Duration(1000 - i)
	}
	if got, want := QuantilesOf(thousand), (Quantiles{P50: 500, P90: 900, P99: 990, Longest: 1000, Number: 1000}); got != want {
		t.Errorf("of 1 to 1000: %+v", got)
	}
	if got := QuantilesOf(nil); got != (Quantiles{}) {
		t.Errorf("of nothing: %+v", got)
	}
}
