package history

// previous are the counters of the last sample. A key that a sample does not have is dropped: its pool is gone, and begins at 0 when
// it comes back.
type previous struct {
	samples int // that were taken
	pools   map[poolKey]*poolBefore
	counts  map[counterKey]*countBefore
	scores  map[Key]*scoreBefore
}

type poolKey struct{ listener, database, user string }

// counterKey is the key of a counter that is no pool's.
type counterKey struct {
	kind, listener, database, user, name string
	index                                int
}

// poolBefore is a pool in the last sample.
type poolBefore struct {
	counters   Counters
	histograms [Histograms][]uint64
	errors     map[string]uint64
	score      float64
	sample     int
}

type countBefore struct {
	total  uint64
	sample int
}

type scoreBefore struct {
	score  float64
	sample int
}

func newPrevious() previous {
	return previous{
		pools: make(map[poolKey]*poolBefore), counts: make(map[counterKey]*countBefore), scores: make(map[Key]*scoreBefore),
	}
}

// pool finds a pool in the last sample; it is new, with all counters 0, where known is false.
func (p *previous) pool(of *Pool) (before *poolBefore, known bool) {
	key := poolKey{of.Listener, of.Database, of.User}
	before = p.pools[key]
	if known = before != nil; !known {
		before = &poolBefore{}
		p.pools[key] = before
	}
	before.sample = p.samples
	return before, known
}

// count gives by how much a counter has grown since the last sample, and remembers it. In the first sample nothing has grown.
func (p *previous) count(key counterKey, total uint64) uint64 {
	before := p.counts[key]
	if before == nil {
		before = &countBefore{}
		p.counts[key] = before
	}
	grown := growth(total, before.total)
	before.total, before.sample = total, p.samples
	if p.samples == 0 {
		return 0
	}
	return grown
}

// score adds the use of this second to the score of a key.
func (p *previous) score(key Key, used float64) float64 {
	before := p.scores[key]
	if before == nil {
		before = &scoreBefore{}
		p.scores[key] = before
	}
	before.score, before.sample = decayed(before.score, used), p.samples
	return before.score
}

// sweep ends a sample: it drops the keys that the sample did not have.
func (p *previous) sweep() {
	for key, b := range p.pools {
		if b.sample != p.samples {
			delete(p.pools, key)
		}
	}
	for key, b := range p.counts {
		if b.sample != p.samples {
			delete(p.counts, key)
		}
	}
	for key, b := range p.scores {
		if b.sample != p.samples {
			delete(p.scores, key)
		}
	}
	p.samples++
}

// growth is by how much a counter has grown. One that is smaller than before has begun anew, at 0.
func growth(now, before uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

// difference is by how much the counters of a pool have grown within a second.
type difference struct {
	counters   Counters
	histograms [Histograms][]uint64
}

// differences returns the counts of a pool since the last sample, and adds its errors to byClass. Where counts is false nothing was
// counted: the pool is older than the memory. A pool whose number of transactions has shrunk began anew as a whole.
func differences(p *Pool, before *poolBefore, counts bool, byClass map[string]uint64) difference {
	var d difference
	for i := range d.histograms {
		d.histograms[i] = make([]uint64, len(p.Histograms[i]))
	}
	if !counts {
		return d
	}
	for i := range d.counters {
		d.counters[i] = growth(p.Counters[i], before.counters[i])
	}
	for i := range d.histograms {
		for j, n := range p.Histograms[i] {
			was := uint64(0)
			if j < len(before.histograms[i]) {
				was = before.histograms[i][j]
			}
			d.histograms[i][j] = growth(n, was)
		}
	}
	for class, n := range p.Errors {
		if grown := growth(n, before.errors[class]); grown > 0 {
			byClass[class] += grown
		}
	}
	return d
}

// remember keeps the counters of a pool for the next sample.
func (b *poolBefore) remember(p *Pool) {
	b.counters, b.errors = p.Counters, p.Errors
	for i := range b.histograms {
		b.histograms[i] = append(b.histograms[i][:0], p.Histograms[i]...)
	}
}

// total is the sum of a histogram's buckets.
func total(counts []uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}
