package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"
	"github.com/hybridbouncer/hybridbouncer/bench/measure"
	"github.com/hybridbouncer/hybridbouncer/bench/wire"
)

// memoryRun is what large messages and slow clients do to the memory of a pooler: a client that asks for a large result and does not read
// it, one that sends a single large query, and one with short queries that must not notice.
type memoryRun struct {
	setup
	resultBytes, queryBytes, limit int64
	due                            time.Duration
}

const aboutMemory = `One client asks for a large result and does not read it, another sends one large query meanwhile, a third one goes on with short
queries; then the first one reads it all. Prints the largest resident set each pooler's process has had (VmHWM).
Ends with exit status 1 when ours needs more than -limit, or an answer is wrong.`

// memoryRow is the size of one value of the large result, in bytes. PostgreSQL makes the values one by one.
const memoryRow = 1 << 20

func runMemory(ctx context.Context, arguments []string, out io.Writer) error {
	r := &memoryRun{}
	flags := newFlags("memory", aboutMemory, out)
	r.addFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	// PostgreSQL copies a query's text with two bytes more, and allocates at most 1 GiB at once (MaxAllocSize).
	if r.resultBytes < memoryRow || r.queryBytes < 100 || r.queryBytes > 1<<30-100 {
		return errors.New("-result is at least 1048576, -query between 100 and 1073741724")
	}
	list, server, stop, err := r.begin(ctx, false)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintf(out, "# A result of %d MiB that is not read, and a query of %d MiB\n\n%s", r.resultBytes>>20, r.queryBytes>>20, machine(ctx, server, list))
	rows := measure.NewTable("Memory", "clients", []measure.Column{{Title: "largest RSS MiB", Format: "%.1f"}, {Title: "longest short query ms", Format: "%.1f"}})
	var failed error
	for _, one := range list {
		most, longest, err := r.measure(ctx, one, server)
		if err != nil {
			return fmt.Errorf("%s: %w", one.Name, err)
		}
		rows.Add("3", one.Name, mebibytes(most), milliseconds(longest))
		if one.Name == "hybridbouncer" && most > r.limit<<20 {
			failed = fmt.Errorf("hybridbouncer had %.1f MiB resident, %d are allowed", mebibytes(most), r.limit)
		}
	}
	return errors.Join(rows.Write(out), failed)
}

func (r *memoryRun) addFlags(flags *flag.FlagSet) {
	r.setup.addFlags(flags)
	flags.Int64Var(&r.resultBytes, "result", 2<<30, "`bytes` of the result that is not read")
	flags.Int64Var(&r.queryBytes, "query", 1<<30-100, "`bytes` of the query; PostgreSQL takes no more than the default")
	flags.Int64Var(&r.limit, "limit", 64, "`MiB` that our pooler may have resident")
	flags.DurationVar(&r.due, "due", 5*time.Minute, "how long any one step may take")
}

// measure gives the largest resident set and the longest of the short queries.
func (r *memoryRun) measure(ctx context.Context, one launch.Product, server *launch.Postgres) (most int64, longest time.Duration, err error) {
	password := r.poolerPassword()
	p, err := one.Start(ctx, launch.Settings{Server: server, AuthType: "trust", PoolSize: 5, MaxClientConn: 10, Password: password, Loops: r.loops})
	if err != nil {
		return 0, 0, err
	}
	defer p.Stop()
	to, err := p.Target(r.user, password, r.database)
	if err != nil {
		return 0, 0, err
	}
	crowd := &wire.Crowd{Target: to, Due: r.due}
	defer crowd.Leave()
	if err := crowd.Grow(ctx, 3, "SELECT 1"); err != nil {
		return 0, 0, err
	}
	deaf, talker, quick := crowd.Clients[0], crowd.Clients[1], crowd.Clients[2]
	rows := r.resultBytes / memoryRow
	ask := fmt.Sprintf("SELECT repeat('x', %d) FROM generate_series(1, %d)", memoryRow, rows)
	if err := deaf.SendQuery(strings.NewReader(ask), int64(len(ask))); err != nil {
		return 0, 0, err
	}
	said := make(chan error, 1)
	go func() { said <- r.talk(talker) }()
	for talking := true; talking; {
		start := time.Now()
		if answer, err := quick.Query("SELECT 'quick'"); err != nil || answer != "quick" {
			return 0, 0, fmt.Errorf("short query: %q, %w", answer, err)
		}
		longest = max(longest, time.Since(start))
		select {
		case err = <-said:
			talking = false
		default:
			err = pause(ctx, 10*time.Millisecond)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	if err := deaf.ReadRows(rows, memoryRow); err != nil {
		return 0, 0, err
	}
	most, err = measure.LargestResident(p.PIDs)
	return most, longest, err
}

// talk sends one large query, most of it a comment, and wants its answer.
func (r *memoryRun) talk(c *wire.Client) error {
	const head, tail = "SELECT 'heard' /*", "*/"
	filler := io.LimitReader(endless{}, r.queryBytes-int64(len(head)+len(tail)))
	if err := c.SendQuery(io.MultiReader(strings.NewReader(head), filler, strings.NewReader(tail)), r.queryBytes); err != nil {
		return fmt.Errorf("large query: %w", err)
	}
	for heard := false; ; {
		kind, body, err := c.Receive()
		switch {
		case err != nil:
			return fmt.Errorf("large query: %w", err)
		case kind == 'E':
			return fmt.Errorf("large query: %w", wire.AsError(body))
		case kind == 'D':
			heard = strings.HasSuffix(string(body), "heard")
		case kind == 'Z' && !heard:
			return errors.New("large query: it was not heard")
		case kind == 'Z':
			return nil
		}
	}
}

// endless is a stream of x.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}
