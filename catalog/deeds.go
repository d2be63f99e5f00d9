package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
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

	// manySettings and manyChannels: there were more than namesMax, and none is kept. SetsAny or ListensAny stands for them.
	manySettings, manyChannels bool
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

// Effects are what a text would be said to do that does this in its own words, but for what it says of parameters and channels: SetsNamed is
// Assigns, whose names are in Settings and whose values the server has to be asked for; what nobody can read is Opaque. nil: none.
func (d *Deeds) Effects() sqltext.Effects {
	var e sqltext.Effects
	if d == nil {
		return 0
	}
	for _, p := range effectsOfDeeds {
		if d.What&p.deed != 0 {
			e |= p.effects
		}
	}
	return e
}

var effectsOfDeeds = [...]struct {
	deed    Deed
	effects sqltext.Effects
}{
	{SetsNamed, sqltext.Assigns},
	{SetsAny, sqltext.Opaque | sqltext.AssignsUnnamed},
	{ListensNamed, sqltext.Listens},
	{ListensAny, sqltext.Listens | sqltext.Unlistens | sqltext.Opaque},
	{MakesTemp, sqltext.MakesTemp},
	{HoldsCursor, sqltext.HoldsCursor},
	{Prepares, sqltext.Prepares},
	{LocksAdvisory, sqltext.LocksAdvisory},
	{HoldsOther, sqltext.HoldsOther},
	{Seeds, sqltext.Seeds},
	{Anything | CannotUndo, sqltext.Opaque},
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
	out := &Deeds{What: a.What | b.What, manySettings: a.manySettings || b.manySettings, manyChannels: a.manyChannels || b.manyChannels}
	if !out.manySettings {
		out.Settings = merge(a.Settings, b.Settings)
		out.manySettings = len(out.Settings) > namesMax
	}
	if !out.manyChannels {
		out.Channels = merge(a.Channels, b.Channels)
		out.manyChannels = len(out.Channels) > namesMax
	}
	if out.manySettings {
		out.Settings, out.What = nil, out.What&^SetsNamed|SetsAny
	}
	if out.manyChannels {
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
	what := b.What
	if d.manySettings {
		what &^= SetsNamed
	}
	if d.manyChannels {
		what &^= ListensNamed
	}
	return what&^d.What == 0 && (d.manySettings || !b.manySettings && containsAll(d.Settings, b.Settings)) &&
		(d.manyChannels || !b.manyChannels && containsAll(d.Channels, b.Channels))
}

func containsAll(all, some []string) bool {
	for _, s := range some {
		if _, ok := slices.BinarySearch(all, s); !ok {
			return false
		}
	}
	return true
}

// ParseDeeds reads what String writes: "nothing", or words such as "sets(app.tenant_id role) makes_temp". An operator says so what a function
// does. The error names the word that is none.
func ParseDeeds(text string) (*Deeds, error) {
	d := &Deeds{}
	rest := strings.TrimSpace(text)
	if rest == "" {
		return nil, errors.New("say what it does: nothing, or " + strings.Join(deedNames[:], ", "))
	}
	for rest != "" {
		end := strings.IndexAny(rest, " (,")
		if end < 0 {
			end = len(rest)
		}
		word, names := rest[:end], []string(nil)
		if rest = rest[end:]; strings.HasPrefix(rest, "(") {
			inside, behind, closed := strings.Cut(rest[1:], ")")
			if !closed {
				return nil, fmt.Errorf("%s( has no end", word)
			}
			names, rest = strings.Fields(strings.ReplaceAll(inside, ",", " ")), behind
		}
		rest = strings.TrimLeft(rest, " ,")
		if err := d.parse(word, names); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// parse adds one word.
func (d *Deeds) parse(word string, names []string) error {
	at := slices.Index(deedNames[:], word)
	takes := word == "sets" || word == "listens"
	switch {
	case word == "nothing" && names == nil:
		return nil
	case at < 0:
		return fmt.Errorf("%q is none of nothing, %s", word, strings.Join(deedNames[:], ", "))
	case takes && len(names) == 0:
		return fmt.Errorf("%s needs names in parentheses, as in %s(app.tenant_id)", word, word)
	case !takes && names != nil:
		return fmt.Errorf("%s takes no names", word)
	}
	if word == "sets" {
		for i := range names {
			names[i] = strings.ToLower(names[i])
		}
	}
	slices.Sort(names)
	switch names = slices.Compact(names); word {
	case "sets":
		d.Settings = merge(d.Settings, names)
	case "listens":
		d.Channels = merge(d.Channels, names)
	}
	d.What |= 1 << at
	return nil
}
