package stats

import "time"

// HistogramBounds are the upper bounds of the buckets of every Histogram; one more bucket holds the rest.
var HistogramBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second,
	10 * time.Second, 30 * time.Second, 60 * time.Second, 300 * time.Second,
}

// Histogram counts durations by bucket. One loop writes it; copies are read.
type Histogram struct {
	Counts [len(HistogramBounds) + 1]uint64 // not cumulative
	Sum    time.Duration
}

// Observe adds one duration. It allocates nothing and takes no lock: only the histogram's owner may call it.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(HistogramBounds) && d > HistogramBounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += d
}

// Add sums another histogram into h.
func (h *Histogram) Add(other *Histogram) {
	for i, n := range other.Counts {
		h.Counts[i] += n
	}
	h.Sum += other.Sum
}
