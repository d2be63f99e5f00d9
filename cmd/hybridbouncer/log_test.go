package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// TestDurationsHaveUnits: in both formats a duration carries its unit, within groups too.
func TestDurationsHaveUnits(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		var b bytes.Buffer
		log := newLogger(&b, config.Log{Format: format, Level: "info"}, new(slog.LevelVar))
		log.With("took", 3*time.Second).Info("x", "age", 112*time.Millisecond, slog.Group("g", "wait", 90*time.Second))
		for _, want := range []string{"3s", "112ms", "1m30s"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: no %s in %s", format, want, b.String())
			}
		}
	}
}
