package history

import (
	"math"
	"slices"
	"time"
)

// Series is the past of one field.
type Series struct {
	Key
	Field  Field
	Values []float32 // oldest first, one for each step; NaN: none
}

// Past is an excerpt of the memory.
type Past struct {
	Start  time.Time     // of the first step
	Step   time.Duration // every value stands for this long
	Series []Series
}

// Read gives the last span of the memory in at most points steps. Up to SecondsKept seconds come from the ring of seconds, more from
// the ring of minutes. Steps begin at multiples of their length, so that a value does not change when it is read again later; the last step may not be over yet.
func (h *History) Read(span time.Duration, points int) Past {
	unit := int64(1)
	length := int64(math.Ceil(span.Seconds()))
	if length > SecondsKept {
		unit = 60
	}
	kept := int64(SecondsKept)
	if unit == 60 {
		kept = MinutesKept
	}
	units := max(1, min((length+unit-1)/unit, kept))
	per := (units + int64(max(1, points)) - 1) / int64(max(1, points))
	end := h.last / unit // the minute that is not over has no value yet
	if unit == 60 {
		end--
	}
	start := end - units + 1
	start += (per - start%per) % per // the first whole step
	past := Past{Start: time.Unix(start*unit, 0).UTC(), Step: time.Duration(per*unit) * time.Second}
	if h.last == 0 {
		return past
	}
	for _, b := range h.blocks {
		for i, f := range fields[b.key.Kind] {
			past.Series = append(past.Series, Series{b.key, f, b.columns[i].read(unit, start, end, per)})
		}
	}
	return past
}

// read merges per values into one, from the units start to end.
func (c *column) read(unit, start, end, per int64) []float32 {
	ring := c.seconds
	if unit == 60 {
		ring = c.minutes
	}
	values := make([]float32, 0, (end-start)/per+1)
	for ; start <= end; start += per {
		sum, n, largest := 0.0, 0, float32(math.Inf(-1))
		for at := start; at < start+per && at <= end; at++ {
			if v := ring[at%int64(len(ring))]; !isNone(v) {
				sum, n, largest = sum+float64(v), n+1, max(largest, v)
			}
		}
		switch {
		case n == 0:
			values = append(values, none)
		case c.rule == peak:
			values = append(values, largest)
		default:
			values = append(values, float32(sum/float64(n)))
		}
	}
	return values
}

// Window is the recent use of a listener's servers, from which advice is computed.
type Window struct {
	Seconds   int           // that have samples
	Size      int           // servers, at the last sample
	Busy      float64       // servers lent on average
	FullPart  float64       // part of the seconds in which all servers were lent
	Demand    int           // servers that would have served everybody at once in 99 of 100 seconds
	Checkouts uint64        // times that a client asked for a server, in the whole minutes of the window
	WaitP99   time.Duration // how long 99 of 100 of these waited at most
}

// Window gives the last span of a listener, of at most 15 minutes. ok is false when the listener has no series.
func (h *History) Window(listener string, span time.Duration) (w Window, ok bool) {
	l := h.listener(listener)
	if l == nil || h.last == 0 {
		return w, false
	}
	span = min(span, waitMinutesKept*time.Minute)
	var demand []int
	full := 0
	for at := max(0, h.last-int64(span.Seconds())+1); at <= h.last; at++ {
		i := at % SecondsKept
		busy, size := l.block.columns[listenerBusy].seconds[i], l.block.columns[listenerSize].seconds[i]
		if isNone(busy) {
			continue
		}
		w.Busy += float64(busy)
		if busy >= size {
			full++
		}
		demand = append(demand, int(busy+l.block.columns[listenerWaiting].seconds[i]))
	}
	w.Seconds = len(demand)
	if w.Seconds > 0 {
		slices.Sort(demand)
		w.Busy /= float64(w.Seconds)
		w.FullPart = float64(full) / float64(w.Seconds)
		w.Demand = demand[(len(demand)*99-1)/100]
		w.Size = int(l.block.columns[listenerSize].seconds[h.last%SecondsKept])
	}
	waits := slices.Clone(l.minute[Wait])
	for _, m := range l.minutes {
		if m.minute > (h.last-int64(span.Seconds()))/60 && m.minute < h.last/60 {
			for i, n := range m.counts {
				waits[i] += n
			}
		}
	}
	if w.Checkouts = total(waits); w.Checkouts > 0 {
		w.WaitP99 = time.Duration(quantile(h.bounds, waits, 0.99) * float64(time.Second))
	}
	return w, true
}

// Mean gives the mean of a field over the last span, and false where it has no value. A span of a second is the last sample.
func (h *History) Mean(key Key, field string, span time.Duration) (float64, bool) {
	for _, b := range h.blocks {
		if b.key != key {
			continue
		}
		at := slices.IndexFunc(fields[key.Kind], func(f Field) bool { return f.Name == field })
		if at < 0 {
			return 0, false
		}
		sum, n := 0.0, 0
		for s := max(0, h.last-int64(span.Seconds())+1); s <= h.last; s++ {
			if v := b.columns[at].seconds[s%SecondsKept]; !isNone(v) {
				sum, n = sum+float64(v), n+1
			}
		}
		return sum / float64(max(1, n)), n > 0
	}
	return 0, false
}
