package main

import (
	"bytes"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// logQueue stands between those who log and a log that may be slow: event loops log, and must not wait for a reader of standard error that
// stands still, nor die with it. Lines that find the queue full are lost, and counted. Write may be called from any goroutine.
type logQueue struct {
	to     io.Writer
	report func(lost uint64) // writes a line to `to`; called by the queue's goroutine
	lines  chan []byte
	lost   atomic.Uint64
	marks  chan chan struct{} // closed when all lines queued before have been written
	quit   chan struct{}
	done   chan struct{}
	once   sync.Once
}

const (
	// logLinesMax is how many lines may wait: a second of a storm of logins, about a megabyte.
	logLinesMax = 4096
	// logCloseMax is how long the end of the program waits for the last lines to be taken.
	logCloseMax = time.Second
)

func newLogQueue(to io.Writer) *logQueue {
	q := &logQueue{to: to, lines: make(chan []byte, logLinesMax), marks: make(chan chan struct{}), quit: make(chan struct{}), done: make(chan struct{})}
	return q
}

// start begins to write. report says how many lines were lost, once lines are taken again.
func (q *logQueue) start(report func(lost uint64)) {
	q.report = report
	go q.run()
}

// Write queues one line. It never waits and never fails.
func (q *logQueue) Write(line []byte) (int, error) {
	select {
	case q.lines <- bytes.Clone(line):
	default:
		q.lost.Add(1)
	}
	return len(line), nil
}

func (q *logQueue) run() {
	defer close(q.done)
	for {
		select {
		case line := <-q.lines:
			q.put(line)
		case mark := <-q.marks:
			q.empty()
			close(mark)
		case <-q.quit:
			q.empty()
			return
		}
	}
}

// empty writes all that is queued now.
func (q *logQueue) empty() {
	for len(q.lines) > 0 {
		q.put(<-q.lines)
	}
}

// put writes one line. A log that cannot be written to (its disk is full, its reader has gone) has nobody to be told.
func (q *logQueue) put(line []byte) {
	_, _ = q.to.Write(line)
	if lost := q.lost.Swap(0); lost > 0 {
		q.report(lost)
	}
}

// flush waits until the queued lines are written, at most logCloseMax. Call it before you print something that belongs behind them.
func (q *logQueue) flush() {
	limit := time.After(logCloseMax)
	mark := make(chan struct{})
	select {
	case q.marks <- mark:
	case <-q.done:
		return
	case <-limit:
		return
	}
	select {
	case <-mark:
	case <-limit:
	}
}

// close waits until the queued lines are written, at most logCloseMax. Idempotent.
func (q *logQueue) close() {
	q.once.Do(func() { close(q.quit) })
	select {
	case <-q.done:
	case <-time.After(logCloseMax):
	}
}

// surviveBrokenPipe lets writes to a standard error whose reader has gone fail, instead of ending the program. Asking for the signal does
// that, and unlike ignoring it is not inherited by the PostgreSQL of a demo.
func surviveBrokenPipe() (restore func()) {
	nobody := make(chan os.Signal, 1)
	signal.Notify(nobody, syscall.SIGPIPE)
	return func() { signal.Stop(nobody) }
}
