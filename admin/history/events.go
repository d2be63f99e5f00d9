package history

import (
	"slices"
	"time"
)

// Event is something that happened at one moment and that a plot should show: a reload, a failover, a burst of promotions.
type Event struct {
	At   time.Time
	Kind string // a word: reload, pause, unreachable, ...
	Text string // a sentence for the operator; no secrets
}

// Mark remembers an event. Only the last EventsMax are kept.
func (h *History) Mark(e Event) {
	if len(h.events) == EventsMax {
		h.events = slices.Delete(h.events, 0, 1)
	}
	h.events = append(h.events, e)
}

// Events gives the events from a moment on, oldest first. The slice is the caller's.
func (h *History) Events(from time.Time) []Event {
	i := 0
	for i < len(h.events) && h.events[i].At.Before(from) {
		i++
	}
	return slices.Clone(h.events[i:])
}
