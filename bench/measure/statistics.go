package measure

import (
	"math"
	"slices"
	"time"
)

// median of the values; the mean of the two middle ones when their number is even, NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// spread is the lowest and the highest value.
func spread(values []float64) (lowest, highest float64) {
	if len(values) == 0 {
		return math.NaN(), math.NaN()
	}
	return slices.Min(values), slices.Max(values)
}

// Quantiles say how latencies are spread.
type Quantiles struct {
	P50, P90, P99, Longest time.Duration
	Number                 int
}

// QuantilesOf sorts the latencies.
func QuantilesOf(latencies []time.Duration) Quantiles {
	of := func(percent float64) time.Duration { return Percentile(latencies, percent) }
	return Quantiles{P50: of(50), P90: of(90), P99: of(99), Longest: of(100), Number: len(latencies)}
}

// Percentile is the smallest value that at least percent of all values do not exceed (nearest rank). It sorts values.
func Percentile(values []time.Duration, percent float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	rank := int(math.Ceil(percent / 100 * float64(len(values))))
	return values[max(rank, 1)-1]
}
