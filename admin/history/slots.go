package history

import (
	"cmp"
	"strings"
)

const (
	// scoreKept is the part of a score that a second leaves. Use of five minutes ago still counts for a third.
	scoreKept = 1 - 1.0/300
	// scoreMargin is how much busier a key must be than the least busy one that has a series, to take its place. Two that are much
	// alike would otherwise go on taking each other's past.
	scoreMargin = 1.5
)

// decayed adds the use of this second to a score.
func decayed(score, used float64) float64 { return score*scoreKept + used }

// slots are the series of a kind of which there may be more keys than series. The busiest keys have them; a key that takes the place
// of another begins with an empty past.
type slots struct {
	taken []slot
	at    map[Key]int
}

type slot struct {
	block *block
	score float64
	seen  bool // in this second
}

func newSlots(kind string, count int) slots {
	s := slots{taken: make([]slot, count), at: make(map[Key]int, count)}
	for i := range s.taken {
		s.taken[i].block = newBlock(Key{Kind: kind})
		s.taken[i].block.key = Key{}
	}
	return s
}

func (s *slots) blocks() []*block {
	all := make([]*block, len(s.taken))
	for i := range s.taken {
		all[i] = s.taken[i].block
	}
	return all
}

// find gives the series of a key, or makes it one of the busiest if it is; nil: it has none. A key that uses nothing now gets none.
func (s *slots) find(key Key, score float64, busy bool) *block {
	if i, ok := s.at[key]; ok {
		s.taken[i].score, s.taken[i].seen = score, true
		return s.taken[i].block
	}
	if !busy {
		return nil
	}
	least := 0
	for i := range s.taken {
		if s.taken[i].block.key.Kind == "" {
			least = i
			break
		}
		if s.taken[i].score < s.taken[least].score {
			least = i
		}
	}
	place := &s.taken[least]
	if place.block.key.Kind != "" {
		if score < scoreMargin*place.score {
			return nil
		}
		delete(s.at, place.block.key)
		place.block.clear()
	}
	place.block.key, place.score, place.seen = key, score, true
	s.at[key] = least
	return place.block
}

// decay lets the scores of keys sink that were not seen in this second: their pools are gone.
func (s *slots) decay() {
	for i := range s.taken {
		if !s.taken[i].seen {
			s.taken[i].score *= scoreKept
		}
		s.taken[i].seen = false
	}
}

// compareKeys is an order of keys.
func compareKeys(a, b Key) int {
	return cmp.Or(strings.Compare(a.Listener, b.Listener), strings.Compare(a.Database, b.Database), strings.Compare(a.User, b.User),
		strings.Compare(a.Name, b.Name))
}
