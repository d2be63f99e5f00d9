package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"
	"github.com/hybridbouncer/hybridbouncer/bench/measure"
	"github.com/hybridbouncer/hybridbouncer/bench/wire"
)

// load is one pgbench run.
type load struct {
	mode     string // simple, extended, prepared: pgbench's -M
	clients  int
	script   string // pgbench's built-in script, or a file
	threads  int
	warmUp   time.Duration // after the last login, before measuring
	duration time.Duration // measured
}

func (l load) String() string { return fmt.Sprintf("%s, %d clients", l.mode, l.clients) }

// result holds the figures of one pooler in one run. Logins and warm-up do not count.
type result struct {
	transactions  float64
	elapsed       time.Duration
	cpu           time.Duration // of the pooler's processes
	p50, p99      time.Duration
	rssBytes      int64         // at the end, with all clients still there
	initialLogins time.Duration // until all clients were logged in
	failed        string        // pgbench's own line when transactions failed
}

func (r result) microsecondsPerTransaction() float64 {
	return float64(r.cpu.Microseconds()) / r.transactions
}

func (r result) throughput() float64 { return r.transactions / r.elapsed.Seconds() }

// progress is one line that pgbench prints each second, with the pooler's CPU read when it came.
type progress struct {
	at           time.Time // by pgbench's clock
	perSecond    float64
	latencyMilli float64
	cpu          time.Duration
	rssBytes     int64
}

// runPgbench loads a pooler. Its CPU is read at pgbench's own progress lines, whose first comes a second after all clients are
// logged in, so that 1000 logins do not count as the cost of queries.
func runPgbench(ctx context.Context, p *launch.Pooler, l load, to *wire.Target, sampling float64) (result, error) {
	folder, err := os.MkdirTemp("", "bench-pgbench-*")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(folder)
	const edge = time.Second // pgbench prints no line for the second in which it ends
	command, err := pgbenchCommand(ctx, to, folder, "-M", l.mode, "-c", strconv.Itoa(l.clients), "-j", strconv.Itoa(l.threads),
		"-T", strconv.Itoa(int((l.warmUp + l.duration + edge).Seconds())), "-P", "1", "--progress-timestamp",
		"--sampling-rate="+strconv.FormatFloat(sampling, 'f', -1, 64))
	if err != nil {
		return result{}, err
	}
	command.Args = append(command.Args, scriptArguments(l.script)...)
	var stdout strings.Builder
	command.Stdout = &stdout
	stderr, err := command.StderrPipe()
	if err != nil {
		return result{}, err
	}
	if err := command.Start(); err != nil {
		return result{}, fmt.Errorf("start pgbench: %w", err)
	}
	lines, rest, readErr := readProgress(stderr, p.PIDs)
	if err := command.Wait(); err != nil {
		return result{}, fmt.Errorf("pgbench against %s, %s: %w\n%s", p.Name, l, err, rest)
	}
	if readErr != nil {
		return result{}, readErr
	}
	measured, err := summarise(lines, l)
	if err != nil {
		return result{}, fmt.Errorf("pgbench against %s, %s: %w\n%s", p.Name, l, err, rest)
	}
	measured.initialLogins, measured.failed = parseSummary(stdout.String())
	latencies, err := readLatencies(folder, lines[int(l.warmUp.Seconds())].at)
	if err != nil {
		return result{}, fmt.Errorf("pgbench's latency log, %s against %s: %w", l, p.Name, err)
	}
	measured.p50, measured.p99 = measure.Percentile(latencies, 50), measure.Percentile(latencies, 99)
	return measured, nil
}

// pgbenchCommand is pgbench against a target, which writes a log of its transactions into folder.
func pgbenchCommand(ctx context.Context, to *wire.Target, folder string, arguments ...string) (*exec.Cmd, error) {
	program, err := launch.PgbenchProgram()
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, program, "-n", "-l", "--log-prefix="+filepath.Join(folder, "latency"))
	command.Args = append(command.Args, arguments...)
	command.Env = to.Environment()
	return command, nil
}

func scriptArguments(script string) []string {
	switch script {
	case "select-only", "simple-update", "tpcb-like":
		return []string{"-b", script}
	}
	return []string{"-f", script}
}

// readProgress reads pgbench's standard error to its end and takes the pooler's CPU at each progress line; other lines come
// back as text for an error message.
func readProgress(stderr io.Reader, pids []int) (lines []progress, rest string, err error) {
	var others strings.Builder
	scanner := bufio.NewScanner(stderr)
	for scanner.Scan() {
		line, ok := parseProgress(scanner.Text())
		if !ok {
			fmt.Fprintln(&others, scanner.Text())
			continue
		}
		usage, errUsage := measure.ReadUsage(pids)
		if errUsage != nil && err == nil {
			err = errUsage
		}
		line.cpu, line.rssBytes = usage.CPU, usage.RSSBytes
		lines = append(lines, line)
	}
	if err == nil {
		err = scanner.Err()
	}
	return lines, others.String(), err
}

// parseProgress reads "progress: 1700000000.123 s, 9876.5 tps, lat 1.234 ms stddev 0.456, 0 failed".
func parseProgress(text string) (progress, bool) {
	text, ok := strings.CutPrefix(text, "progress: ")
	if !ok {
		return progress{}, false
	}
	fields := strings.Fields(text)
	if len(fields) < 6 || fields[1] != "s," || fields[3] != "tps," || fields[4] != "lat" {
		return progress{}, false
	}
	seconds, errSeconds := strconv.ParseFloat(fields[0], 64)
	perSecond, errPerSecond := strconv.ParseFloat(fields[2], 64)
	latency, errLatency := strconv.ParseFloat(fields[5], 64)
	if errSeconds != nil || errPerSecond != nil || errLatency != nil {
		return progress{}, false
	}
	return progress{at: time.UnixMilli(int64(seconds*1000 + 0.5)), perSecond: perSecond, latencyMilli: latency}, true
}

// summarise turns the progress lines after the warm-up into one result: transactions of each interval are its rate times its
// length by pgbench's clock.
func summarise(lines []progress, l load) (result, error) {
	first := int(l.warmUp.Seconds())
	if len(lines) < first+2 {
		return result{}, fmt.Errorf("%d progress lines came, too few for %s of warm-up and a measurement", len(lines), l.warmUp)
	}
	var r result
	for i := first + 1; i < len(lines); i++ {
		r.transactions += lines[i].perSecond * lines[i].at.Sub(lines[i-1].at).Seconds()
	}
	last := lines[len(lines)-1]
	r.elapsed = last.at.Sub(lines[first].at)
	r.cpu = last.cpu - lines[first].cpu
	r.rssBytes = last.rssBytes
	if r.transactions < 1 {
		return result{}, fmt.Errorf("not one transaction in %s", r.elapsed)
	}
	return r, nil
}

// parseSummary takes two facts out of pgbench's closing text.
func parseSummary(text string) (initialLogins time.Duration, failed string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if value, ok := strings.CutPrefix(line, "initial connection time = "); ok {
			milliseconds, err := strconv.ParseFloat(strings.TrimSuffix(value, " ms"), 64)
			if err == nil {
				initialLogins = time.Duration(milliseconds * float64(time.Millisecond))
			}
		}
		if value, ok := strings.CutPrefix(line, "number of failed transactions: "); ok && !strings.HasPrefix(value, "0 ") {
			failed = line
		}
	}
	return initialLogins, failed
}

// transaction is one line of pgbench's log.
type transaction struct {
	client  int
	latency time.Duration // since it was due, which without -R is when it was begun
	ended   time.Time
}

func (t transaction) due() time.Time { return t.ended.Add(-t.latency) }

// readLatencies reads pgbench's sampled logs. Transactions that ended before from belong to the warm-up.
func readLatencies(folder string, from time.Time) ([]time.Duration, error) {
	all, err := readTransactions(folder)
	if err != nil {
		return nil, err
	}
	var latencies []time.Duration
	for _, one := range all {
		if !one.ended.Before(from) {
			latencies = append(latencies, one.latency)
		}
	}
	if len(latencies) == 0 {
		return nil, fmt.Errorf("no transaction was sampled: raise -sampling")
	}
	return latencies, nil
}

// readTransactions reads pgbench's logs, a file a thread, also while it goes on to write them.
func readTransactions(folder string) ([]transaction, error) {
	files, err := filepath.Glob(filepath.Join(folder, "latency.*"))
	if err != nil {
		return nil, err
	}
	var all []transaction
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			if one, ok := parseTransaction(line); ok {
				all = append(all, one)
			}
		}
	}
	return all, nil
}

// parseTransaction reads "client number microseconds script epoch_s epoch_us", with -R followed by the lag. A line without its end is
// still being written: its last number may lack digits.
func parseTransaction(line string) (transaction, bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || !strings.HasSuffix(line, "\n") {
		return transaction{}, false
	}
	client, errClient := strconv.Atoi(fields[0])
	microseconds, errLatency := strconv.ParseInt(fields[2], 10, 64) // "failed" and "skipped" are no latencies
	seconds, errSeconds := strconv.ParseInt(fields[4], 10, 64)
	fraction, errFraction := strconv.ParseInt(fields[5], 10, 64)
	if errClient != nil || errLatency != nil || errSeconds != nil || errFraction != nil {
		return transaction{}, false
	}
	return transaction{client: client, latency: time.Duration(microseconds) * time.Microsecond, ended: time.Unix(seconds, fraction*1000)}, true
}
