package stats

import (
	"math"
	"time"
)

// HistogramBounds are the upper bounds of the buckets of every Histogram; one more bucket holds the rest.
var HistogramBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second,
	10 * time.Second, 30 * time.Second, 60 * time.Second, 300 * time.Second,
}

// The fine buckets are those of Prometheus' native histograms: bucket i holds what is above 2^((i-1)/4) s and at most 2^(i/4) s, so that
// one is a fifth wider than the one before it.
const (
	// FineSchema is what Prometheus calls this division: 2^FineSchema buckets double the value.
	FineSchema = 2
	// FineFirst is the index of the first bucket. What is at most FineZero is in the bucket below it.
	FineFirst = -14*4 + 1
	// FineBuckets is how many there are: from 61 us to 512 s, and one for the rest.
	FineBuckets = 23*4 + 1
)

// FineZero is the upper bound of the shortest durations, which are not told apart: 2^-14 s.
const FineZero = time.Second >> 14

// fineSteps are the lower bounds of the buckets within the range from 1/2 to 1.
var fineSteps = [4]float64{0.5, math.Exp2(-0.75), math.Exp2(-0.5), math.Exp2(-0.25)}

// FineBounds are the upper bounds of Fine, but for its last count, which has none.
var FineBounds = func() (all [FineBuckets]time.Duration) {
	for i := range all {
		all[i] = time.Duration(math.Exp2(float64(FineFirst-1+i)/4) * float64(time.Second))
	}
	return all
}()

// Histogram counts durations by bucket. One loop writes it; copies are read.
type Histogram struct {
	Counts [len(HistogramBounds) + 1]uint64 // not cumulative
	Fine   [FineBuckets + 1]uint64          // the same durations by the fine buckets; the first count is that of FineZero
	Sum    time.Duration
}

// Observe adds one duration. It allocates nothing and takes no lock: only the histogram's owner may call it.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(HistogramBounds) && d > HistogramBounds[i] {
		i++
	}
	h.Counts[i]++
	h.Fine[fineIndex(d)]++
	h.Sum += d
}

// fineIndex finds the place of a duration in Fine.
func fineIndex(d time.Duration) int {
	if d <= FineZero {
		return 0
	}
	// As math.Frexp, for a number that is neither 0 nor tiny.
	bits := math.Float64bits(float64(d) / float64(time.Second))
	power := int(bits>>52) - 1022
	part := math.Float64frombits(bits&(1<<52-1) | 1022<<52) // from 1/2 to 1
	step := 0
	for step < len(fineSteps) && part > fineSteps[step] {
		step++
	}
	return min((power-1)*len(fineSteps)+step-FineFirst+1, FineBuckets)
}

// Add sums another histogram into h.
func (h *Histogram) Add(other *Histogram) {
	for i, n := range other.Counts {
		h.Counts[i] += n
	}
	for i, n := range other.Fine {
		h.Fine[i] += n
	}
	h.Sum += other.Sum
}
