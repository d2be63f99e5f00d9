package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// stuck is a log whose reader stands still until it is let go.
type stuck struct {
	mu      sync.Mutex
	text    bytes.Buffer
	reached chan struct{}
	once    sync.Once
	release chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.reached) })
	<-s.release
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *stuck) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestLogNeverWaits: while the reader stands still nobody waits for it; then the lines come in their order, and lost lines are counted.
func TestLogNeverWaits(t *testing.T) {
	to := &stuck{reached: make(chan struct{}), release: make(chan struct{})}
	s := &service{logTo: to}
	s.openLog(config.Log{Level: "info"})
	s.log.Info("first")
	<-to.reached
	for i := range logLinesMax + 7 {
		s.log.Info("line", "number", i)
	}
	close(to.release)
	pgtest.WaitFor(t, stepLimit, "the lost lines to be counted", func() bool { return strings.Contains(to.String(), "lines=7") })
	s.log.Info("flushed")
	s.queue.flush()
	if !strings.Contains(to.String(), "flushed") {
		t.Error("a flush returned too early")
	}
	s.log.Info("last")
	s.closeLog()
	text := to.String()
	at := 0
	for _, want := range []string{"first", "number=0\n", fmt.Sprintf("number=%d\n", logLinesMax-1), "flushed", "last"} {
		i := strings.Index(text[at:], want)
		if i < 0 {
			t.Fatalf("no %q in its place", want)
		}
		at += i
	}
	if strings.Contains(text, fmt.Sprintf("number=%d\n", logLinesMax)) {
		t.Error("a line more than the queue holds")
	}
	s.closeLog()
}
