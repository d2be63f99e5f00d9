package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
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

// memoryRow is what one value of the large result holds: PostgreSQL makes them one by one.
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
	rows := newTable("Memory", "clients", []column{{"largest RSS MiB", "%.1f"}, {"longest short query ms", "%.1f"}})
	var failed error
	for _, one := range list {
		most, longest, err := r.measure(ctx, one, server)
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		rows.add("3", one.name, mebibytes(most), milliseconds(longest))
		if one.name == "hybridbouncer" && most > r.limit<<20 {
			failed = fmt.Errorf("hybridbouncer had %.1f MiB resident, %d are allowed", mebibytes(most), r.limit)
		}
	}
	return errors.Join(rows.write(out), failed)
}

func (r *memoryRun) addFlags(flags *flag.FlagSet) {
	r.setup.addFlags(flags)
	flags.Int64Var(&r.resultBytes, "result", 2<<30, "`bytes` of the result that is not read")
	flags.Int64Var(&r.queryBytes, "query", 1<<30-100, "`bytes` of the query; PostgreSQL takes no more than the default")
	flags.Int64Var(&r.limit, "limit", 64, "`MiB` that our pooler may have resident")
	flags.DurationVar(&r.due, "due", 5*time.Minute, "how long any one step may take")
}

// measure gives the largest resident set and the longest of the short queries.
func (r *memoryRun) measure(ctx context.Context, one product, server *postgres) (most int64, longest time.Duration, err error) {
	password := r.poolerPassword()
	p, err := one.start(ctx, settings{server: server, authType: "trust", poolSize: 5, maxClientConn: 10, password: password, loops: r.loops})
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	to, err := p.target(r.user, password, r.database)
	if err != nil {
		return 0, 0, err
	}
	crowd := &crowd{target: to, due: r.due}
	defer crowd.leave()
	if err := crowd.grow(ctx, 3, "SELECT 1"); err != nil {
		return 0, 0, err
	}
	deaf, talker, quick := crowd.clients[0], crowd.clients[1], crowd.clients[2]
	rows := r.resultBytes / memoryRow
	ask := fmt.Sprintf("SELECT repeat('x', %d) FROM generate_series(1, %d)", memoryRow, rows)
	if err := deaf.sendQuery(strings.NewReader(ask), int64(len(ask))); err != nil {
		return 0, 0, err
	}
	said := make(chan error, 1)
	go func() { said <- r.talk(talker) }()
	for talking := true; talking; {
		start := time.Now()
		if answer, err := quick.query("SELECT 'quick'"); err != nil || answer != "quick" {
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
	if err := deaf.readRows(rows); err != nil {
		return 0, 0, err
	}
	most, err = largestResident(p.pids)
	return most, longest, err
}

// talk sends one large query, most of it a comment, and wants its answer.
func (r *memoryRun) talk(c *client) error {
	const head, tail = "SELECT 'heard' /*", "*/"
	filler := io.LimitReader(endless{}, r.queryBytes-int64(len(head)+len(tail)))
	if err := c.sendQuery(io.MultiReader(strings.NewReader(head), filler, strings.NewReader(tail)), r.queryBytes); err != nil {
		return fmt.Errorf("large query: %w", err)
	}
	for heard := false; ; {
		kind, body, err := c.receive()
		switch {
		case err != nil:
			return fmt.Errorf("large query: %w", err)
		case kind == 'E':
			return fmt.Errorf("large query: %w", asError(body))
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

// sendQuery sends a query whose text is never whole in memory here either.
func (c *client) sendQuery(text io.Reader, size int64) error {
	header := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+size+1))
	out := bufio.NewWriterSize(c.socket, 64<<10)
	if err := c.socket.SetDeadline(time.Now().Add(c.due)); err != nil {
		return err
	}
	if _, err := out.Write(header); err != nil {
		return err
	}
	if _, err := io.Copy(out, text); err != nil {
		return err
	}
	if err := out.WriteByte(0); err != nil {
		return err
	}
	return out.Flush()
}

// readRows reads a result of so many rows of memoryRow each to its end.
func (c *client) readRows(want int64) error {
	if err := c.socket.SetDeadline(time.Now().Add(c.due)); err != nil {
		return err
	}
	in := bufio.NewReaderSize(c.socket, 256<<10)
	for rows := int64(0); ; {
		var header [5]byte
		if _, err := io.ReadFull(in, header[:]); err != nil {
			return fmt.Errorf("after %d of %d rows: %w", rows, want, err)
		}
		size := int64(binary.BigEndian.Uint32(header[1:])) - 4
		if _, err := io.CopyN(io.Discard, in, size); err != nil {
			return fmt.Errorf("after %d of %d rows: %w", rows, want, err)
		}
		switch header[0] {
		case 'D':
			if rows++; size < memoryRow {
				return fmt.Errorf("row %d has %d bytes", rows, size)
			}
		case 'E':
			return fmt.Errorf("an error after %d of %d rows", rows, want)
		case 'Z':
			if rows != want {
				return fmt.Errorf("%d of %d rows arrived", rows, want)
			}
			return nil
		}
	}
}

// largestResident is the most that the processes have had in memory, each at its own time.
func largestResident(pids []int) (int64, error) {
	sum := int64(0)
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, fmt.Errorf("measure process %d: %w", pid, err)
		}
		_, line, found := strings.Cut(string(text), "VmHWM:")
		fields := strings.Fields(line)
		if !found || len(fields) == 0 {
			return 0, fmt.Errorf("measure process %d: no VmHWM", pid)
		}
		kibibytes, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("measure process %d: %w", pid, err)
		}
		sum += kibibytes << 10
	}
	return sum, nil
}
