package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"
	"github.com/hybridbouncer/hybridbouncer/bench/wire"
)

// pace is how many queries a second all connections run together.
type pace int

// withoutPause lets each connection send its next query when the one before is answered.
const withoutPause pace = 0

func (p pace) String() string {
	if p == withoutPause {
		return "without pause"
	}
	return fmt.Sprintf("at %d a second", int(p))
}

// paced is pgbench that runs queries until it is stopped. At a fixed rate a query's latency counts from when it was due: none is left
// out because the one before it was late. Connections that ask without pause keep the machine busy, and wait for each other already.
type paced struct {
	process     *launch.Child
	folder      string
	connections int
}

// startPaced lets connections run queries at a rate.
func startPaced(ctx context.Context, to *wire.Target, connections int, rate pace) (_ *paced, err error) {
	p := &paced{connections: connections}
	if p.folder, err = launch.Scratch("bench-pgbench-*", nil); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(p.folder)
		}
	}()
	if err := launch.WriteFiles(p.folder, map[string]string{"query.sql": "select 1;\n"}); err != nil {
		return nil, err
	}
	const longest = 24 * time.Hour // pgbench wants an end; it is stopped long before
	command, err := pgbenchCommand(ctx, to, p.folder, "-f", filepath.Join(p.folder, "query.sql"), "-c", strconv.Itoa(connections),
		"-T", strconv.Itoa(int(longest.Seconds())))
	if err != nil {
		return nil, err
	}
	if rate != withoutPause {
		command.Args = append(command.Args, "-R", strconv.Itoa(int(rate)))
	}
	p.process, err = launch.StartCommand("pgbench", p.folder, nil, command)
	return p, err
}

func (p *paced) stop() {
	p.process.Stop(syscall.SIGTERM)
	_ = os.RemoveAll(p.folder)
}

// awaitAll returns when each connection has ended a query that was due after an instant, or one of them has failed.
func (p *paced) awaitAll(ctx context.Context, since time.Time) error {
	const patience, interval = 30 * time.Second, 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		all, err := readTransactions(p.folder)
		if err != nil {
			return err
		}
		moving := movedOn(all, since)
		if moving == p.connections || len(p.errors()) > 0 {
			return nil
		}
		if err := pause(ctx, interval); err != nil {
			return fmt.Errorf("%d of %d connections of pgbench go on: %w\n%s", moving, p.connections, err, p.process.LogTail())
		}
	}
}

// movedOn is how many connections have ended a query that was due after an instant.
func movedOn(all []transaction, since time.Time) int {
	clients := map[int]bool{}
	for _, one := range all {
		if one.due().After(since) {
			clients[one.client] = true
		}
	}
	return len(clients)
}

// errors lists the errors of pgbench, which gives a connection up at its first one.
func (p *paced) errors() []string {
	text, err := os.ReadFile(p.process.Log)
	if err != nil {
		return []string{err.Error()}
	}
	return complaints(string(text))
}

func complaints(said string) []string {
	var lines []string
	for line := range strings.Lines(said) {
		if strings.Contains(line, "error:") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// whole are the latencies of queries that were due and ended within a stretch of time.
func whole(all []transaction, from, to time.Time) []time.Duration {
	return latenciesOf(all, func(t transaction) bool { return !t.due().Before(from) && !t.ended.After(to) })
}

// touched are the latencies of queries that were under way, or due, at any moment of a stretch of time: one that it kept waiting
// until after its end counts.
func touched(all []transaction, from, to time.Time) []time.Duration {
	return latenciesOf(all, func(t transaction) bool { return !t.ended.Before(from) && !t.due().After(to) })
}

func latenciesOf(all []transaction, counts func(transaction) bool) []time.Duration {
	var latencies []time.Duration
	for _, one := range all {
		if counts(one) {
			latencies = append(latencies, one.latency)
		}
	}
	return latencies
}
