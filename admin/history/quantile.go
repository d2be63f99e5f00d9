package history

import (
	"math"
	"time"
)

// quantile gives the value in seconds below which the part q of a histogram lies, or NaN when the histogram is empty. Within a bucket
// the values are taken to be spread evenly, as Prometheus does; beyond the last bound it is that bound.
func quantile(bounds []time.Duration, counts []uint64, q float64) float64 {
	all := total(counts)
	if all == 0 {
		return math.NaN()
	}
	rank, below := q*float64(all), 0.0
	for i, n := range counts {
		if below+float64(n) < rank || n == 0 {
			below += float64(n)
			continue
		}
		if i >= len(bounds) {
			break
		}
		lower := 0.0
		if i > 0 {
			lower = bounds[i-1].Seconds()
		}
		return lower + (bounds[i].Seconds()-lower)*(rank-below)/float64(n)
	}
	return bounds[len(bounds)-1].Seconds()
}
