// Command bench loads poolers as applications do and measures what that costs them. It owns the scenarios: what clients do, and what a run
// has to show. It must not know how any pooler works inside: a pooler here is a port and process ids, so that ours is measured exactly as
// the others are. The packages below it start the processes (launch), speak for the clients (wire) and make the figures (measure).
//
// It is a program for people at a terminal (make bench) and nothing imports it. Read sidebyside.go for the comparison,
// scenarios.go for the load test of the two ports, README.md for how to repeat a figure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// command is one thing the program can do. run gets the arguments after the command's name and reports to out.
type command struct {
	name, summary string
	run           func(ctx context.Context, arguments []string, out io.Writer) error
}

func commands() []command {
	return []command{
		{"sidebyside", "pgbench, idle memory and logins against several poolers in turn", runSideBySide},
		{"scenario", "the load test of both ports: streaming clients, embedding workers, /health/db", runScenario},
		{"wrongport", "what workers with long transactions cost the quick clients of the transaction port", runWrongPort},
		{"storm", "5000 logins at once, and what they do to the queries that run meanwhile", runStorm},
		{"leak", "a thousand tenants whose scripts through the pooler must answer as on direct connections", runLeak},
		{"idle", "10,000 idle clients on one process", runIdle},
		{"memory", "a result of 2 GiB that is not read and a query of 1 GiB: what that needs", runMemory},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := dispatch(ctx, os.Args[1:], os.Stdout)
	stop()
	err = errors.Join(err, pgtest.Cleanup())
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// dispatch runs the command named by the first argument; all of them, with their defaults, when there is none.
func dispatch(ctx context.Context, arguments []string, out io.Writer) error {
	if err := raiseDescriptorLimit(); err != nil {
		return err
	}
	if len(arguments) == 0 {
		for _, c := range commands() {
			if err := c.run(ctx, nil, out); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		return nil
	}
	if arguments[0] == stormClients {
		return runStormClients(ctx, arguments[1:], out)
	}
	for _, c := range commands() {
		if c.name == arguments[0] {
			if err := c.run(ctx, arguments[1:], out); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			return nil
		}
	}
	usage(out)
	switch arguments[0] {
	case "-h", "-help", "--help", "help":
		return nil
	}
	return fmt.Errorf("no command %q", arguments[0])
}

func usage(out io.Writer) {
	fmt.Fprint(out, "usage: go run ./bench [command [flags]]   (no command: all of them with their defaults)\n\n")
	for _, c := range commands() {
		fmt.Fprintf(out, "  %-12s %s\n", c.name, c.summary)
	}
	fmt.Fprint(out, "\n  go run ./bench COMMAND -h lists the flags of a command.\n")
}

// newFlags is a flag set that prints its help to out and returns flag.ErrHelp for -h instead of ending the process, so that
// the caller can stop the processes it has started.
func newFlags(name, about string, out io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() {
		fmt.Fprintf(out, "usage: go run ./bench %s [flags]\n\n%s\n\n", name, about)
		flags.PrintDefaults()
	}
	return flags
}

// raiseDescriptorLimit lifts the soft limit of open files to the hard one. Go does so for itself but gives children the old
// limit back unless the program asks for it: pgbench and the poolers need it too.
func raiseDescriptorLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files to %d: %w", limit.Max, err)
	}
	return nil
}

// requireDescriptors fails early, with what to do, when this process may not open as many sockets as a run needs.
func requireDescriptors(sockets int) error {
	const others = 200 // standard files, /proc, the Go runtime, a pooler's servers and log
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if uint64(limit.Cur) < uint64(sockets+others) { //nolint:unconvert // Cur is an int64 on FreeBSD
		return fmt.Errorf("%d clients need %d open files, the limit is %d: run `ulimit -Hn %d` as root first, or ask for fewer clients",
			sockets, sockets+others, limit.Cur, sockets+others)
	}
	return nil
}
