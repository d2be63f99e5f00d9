package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"

	"github.com/hybridbouncer/hybridbouncer/internal/leak"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// leakRun is the proof that nothing leaks, at full size.
type leakRun struct {
	leak.Options
	hybridbouncer, isolations string
	poolSize, sessionSize     int
	length                    time.Duration
	loops                     int
	product                   launch.Product
	cluster                   *pgtest.Cluster
}

const aboutLeak = `Clients, each a tenant under row-level security, live random scripts on the transaction port: SET in all its forms, set_config, RESET,
DISCARD ALL, SET ROLE, transactions, savepoints, errors, pipelines, prepared statements, cancels, disconnects at any point. Each script is
lived again on a direct connection, and every answer must be the same; with isolation "strict" they also hide state in functions, and
nothing of it may cross. Ends with exit status 1 at the first difference, and prints the script, shortened where it fails alone too.`

func runLeak(ctx context.Context, arguments []string, out io.Writer) error {
	l := &leakRun{}
	flags := newFlags("leak", aboutLeak, out)
	flags.StringVar(&l.hybridbouncer, "hybridbouncer", "", "`path` of our pooler to start; default: built from this repository")
	flags.StringVar(&l.isolations, "isolation", "tracked,strict", "isolation of the transaction port; each in turn")
	flags.IntVar(&l.Clients, "clients", 1000, "clients, each a tenant")
	flags.IntVar(&l.poolSize, "pool-size", 25, "servers of the transaction port")
	flags.IntVar(&l.sessionSize, "session-size", 10, "servers of the session port, to which transactions that last are promoted")
	flags.IntVar(&l.Keepers, "keepers", 5, "clients that make temporary tables and the like; fewer than -session-size")
	flags.Uint64Var(&l.Seed, "seed", uint64(time.Now().UnixNano()), "what the scripts are made from")
	flags.IntVar(&l.Lives, "lives", 0, "scripts a client; 0: as many as it lives in -length")
	flags.IntVar(&l.Steps, "steps", 25, "about how long a script is")
	flags.IntVar(&l.DirectMax, "direct", 16, "direct connections at a time")
	flags.DurationVar(&l.length, "length", 3*time.Minute, "how long to run, with each isolation")
	flags.IntVar(&l.loops, "loops", 0, "event loops of the pooler; 0: as it decides")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if l.Clients < 1 || l.Keepers >= l.sessionSize || l.poolSize < 1 || l.Steps < 1 {
		return errors.New("-clients, -pool-size and -steps are above 0, -keepers below -session-size")
	}
	if err := requireDescriptors(2*l.Clients + 2*l.DirectMax); err != nil {
		return err
	}
	var cleanUp func()
	var err error
	if l.product, cleanUp, err = launch.HybridbouncerProduct(ctx, l.hybridbouncer); err != nil {
		return err
	}
	defer cleanUp()
	return l.run(ctx, out)
}

func (l *leakRun) run(ctx context.Context, out io.Writer) error {
	var err error
	l.cluster, err = pgtest.Start(ctx, pgtest.Options{
		MaxConnections: 2*(l.poolSize+l.sessionSize+l.DirectMax) + 20,
		Settings:       map[string]string{"max_prepared_transactions": fmt.Sprint(2*l.Clients + 10), "shared_buffers": "256MB"},
	})
	if err != nil {
		return err
	}
	defer func() { _ = l.cluster.Stop(true) }()
	l.Direct = l.cluster.Address()
	if err := leak.Prepare(ctx, l.Clients, func(database string) string { return l.cluster.DSN(l.cluster.Superuser, database) }); err != nil {
		return err
	}
	fmt.Fprintf(out, "# No leak\n\n- %s, commit %s; seed %d\n- %d clients over %d servers (and %d of the session port), %d of them with state that only a connection holds\n\n"+
		"| isolation | length | scripts | steps compared | other than directly |\n|---|---|---:|---:|---:|\n",
		time.Now().UTC().Format("2006-01-02 15:04 MST"), launch.Commit(), l.Seed, l.Clients, l.poolSize, l.sessionSize, l.Keepers)
	for isolation := range strings.SplitSeq(l.isolations, ",") {
		if err := l.one(ctx, isolation, out); err != nil {
			return err
		}
	}
	return nil
}

// one runs with one isolation.
func (l *leakRun) one(ctx context.Context, isolation string, out io.Writer) error {
	o := l.Options
	o.Hidden = isolation == "strict"
	report, err := l.with(ctx, isolation, l.poolSize, func(port int) (leak.Report, error) {
		o.Pooled = launch.Address(port)
		limited := ctx
		if l.Lives == 0 {
			var cancel context.CancelFunc
			limited, cancel = context.WithTimeout(ctx, l.length)
			defer cancel()
		}
		return leak.Run(limited, o)
	})
	if err != nil {
		return err
	}
	differ := 0
	if report.Failure != nil {
		differ = 1
	}
	fmt.Fprintf(out, "| %s | %s | %d | %d | %d |\n", isolation, l.length, report.Lives, report.Steps, differ)
	for _, kind := range slices.Sorted(maps.Keys(report.Kinds)) {
		fmt.Fprintf(os.Stderr, "%s: %7d %s\n", isolation, report.Kinds[kind], kind)
	}
	if report.Failure == nil {
		return ctx.Err()
	}
	fmt.Fprintf(out, "\n%s\nagain: go run ./bench leak -isolation %s -seed %d -clients %d -pool-size %d -steps %d\n",
		report.Failure, isolation, l.Seed, l.Clients, l.poolSize, l.Steps)
	return l.shorten(ctx, isolation, o, report.Failure, out)
}

// shorten looks for a shorter script, in front of one server.
func (l *leakRun) shorten(ctx context.Context, isolation string, o leak.Options, f *leak.Failure, out io.Writer) error {
	const limit = 2 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := l.with(ctx, isolation, 1, func(port int) (leak.Report, error) {
		o.Pooled = launch.Address(port)
		if shorter := leak.Shorten(ctx, o, f); shorter != nil {
			fmt.Fprintf(out, "\nshortened, among %s:\n%s", "two others on one server", shorter)
		} else {
			fmt.Fprintln(out, "\nit does not fail on one server with two others")
		}
		return leak.Report{}, nil
	})
	return errors.Join(errors.New("an answer through the pooler is not that of a direct connection"), err)
}

// with starts a pooler for the time of f.
func (l *leakRun) with(ctx context.Context, isolation string, poolSize int, f func(port int) (leak.Report, error)) (leak.Report, error) {
	const wait = 10 * time.Minute // a client may stand behind a thousand others
	p, err := l.product.Start(ctx, launch.Settings{
		Server:   &launch.Postgres{Host: l.cluster.Host, Port: l.cluster.Port},
		AuthType: "trust", PoolSize: poolSize, SessionSize: l.sessionSize, MaxClientConn: 2*l.Clients + 100, Loops: l.loops, QueryWait: wait,
		Listener: fmt.Sprintf("isolation = %q\nlong_transaction = \"50ms\"\nquery_wait_notify = \"0s\"\n", isolation),
	})
	if err != nil {
		return leak.Report{}, err
	}
	defer p.Stop()
	return f(p.TransactionPort)
}
