package catalog

import (
	"slices"
	"strings"
)

// Deed is a set of things that code may do to a session beyond its transaction.
type Deed uint16

// The deeds.
const (
	// SetsNamed: parameters are set or reset whose names are known: Deeds.Settings.
	SetsNamed Deed = 1 << iota
	// SetsAny: parameters are set or reset whose names nobody could read.
	SetsAny
	// ListensNamed: LISTEN to channels whose names are known: Deeds.Channels.
	ListensNamed
	// ListensAny: LISTEN to a channel whose name nobody could read, or UNLISTEN.
	ListensAny
	// MakesTemp: temporary objects are made that outlive the transaction.
	MakesTemp
	// HoldsCursor: a cursor WITH HOLD is opened.
	HoldsCursor
	// Prepares: a statement is prepared in SQL.
	Prepares
	// LocksAdvisory: session-level advisory locks are taken.
	LocksAdvisory
	// HoldsOther: a replication origin or a replication slot is held.
	HoldsOther
	// Seeds: the seed of random() is chosen.
	Seeds
	// Anything: nobody could read what the code does.
	Anything
	// CannotUndo: it may leave what no SQL takes back. The server has to be closed before another client gets it.
	CannotUndo
)

var deedNames = [...]string{
	"sets", "sets_any", "listens", "listens_any", "makes_temp", "holds_cursor", "prepares", "locks_advisory", "holds_other", "seeds",
	"anything", "cannot_undo",
}

// String is the set as words.
func (d Deed) String() string {
	var words []string
	for i, name := range deedNames {
		if d&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return strings.Join(words, " ")
}

// Deeds says what code may do to a session. It is immutable and may be read by several goroutines.
type Deeds struct {
	What Deed
	// Settings are the folded names of the parameters of SetsNamed, sorted.
	Settings []string
	// Channels are those of ListensNamed, sorted, as PostgreSQL folds them.
	Channels []string
}

// String is what it does, in words: "sets(app.tenant_id role) makes_temp".
func (d *Deeds) String() string {
	if d == nil || d.What == 0 {
		return "nothing"
	}
	said := d.What.String()
	if d.What&SetsNamed != 0 {
		said = strings.Replace(said, "sets", "sets("+strings.Join(d.Settings, " ")+")", 1)
	}
	if d.What&ListensNamed != 0 {
		said = strings.Replace(said, "listens", "listens("+strings.Join(d.Channels, " ")+")", 1)
	}
	return said
}

// namesMax bounds the parameters, and the channels, of one Deeds. What does more does SetsAny or ListensAny.
const namesMax = 64

// union is what both do. It allocates only when neither does all that the other does.
func union(a, b *Deeds) *Deeds {
	switch {
	case b == nil || a == b:
		return a
	case a == nil:
		return b
	case a.includes(b):
		return a
	case b.includes(a):
		return b
	}
	out := &Deeds{What: a.What | b.What, Settings: merge(a.Settings, b.Settings), Channels: merge(a.Channels, b.Channels)}
	if len(out.Settings) > namesMax {
		out.Settings, out.What = nil, out.What&^SetsNamed|SetsAny
	}
	if len(out.Channels) > namesMax {
		out.Channels, out.What = nil, out.What&^ListensNamed|ListensAny
	}
	return out
}

func merge(a, b []string) []string {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// includes reports whether a does all that b does.
func (d *Deeds) includes(b *Deeds) bool {
	if b.What&^d.What != 0 {
		return false
	}
	return containsAll(d.Settings, b.Settings) && containsAll(d.Channels, b.Channels)
}

func containsAll(all, some []string) bool {
	for _, s := range some {
		if _, ok := slices.BinarySearch(all, s); !ok {
			return false
		}
	}
	return true
}
