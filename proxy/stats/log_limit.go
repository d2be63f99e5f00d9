package stats

import "time"

// LogLimit keeps one cause from filling the log. The zero value allows a line at once.
type LogLimit struct {
	last       time.Duration
	told       bool
	suppressed uint64
}

// Allows reports whether a line may be written now, and how many lines were suppressed since the last.
func (l *LogLimit) Allows(now, every time.Duration) (suppressed uint64, ok bool) {
	if l.told && now-l.last < every {
		l.suppressed++
		return 0, false
	}
	suppressed = l.suppressed
	*l = LogLimit{last: now, told: true}
	return suppressed, true
}
