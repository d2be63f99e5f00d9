package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"
	"github.com/hybridbouncer/hybridbouncer/bench/measure"
)

const aboutWrongPort = `The load test with its workers on the wrong port: long transactions on the transaction port, beside its quick clients. The workers set
their tenant inside the transaction, so that all poolers do the same work. Each pooler runs without the workers and with them; the report says what that does to the quick clients' latencies, and how many servers there were.
Ends with exit status 1 when the quick clients of our pooler have a p99 of more than -most times that without workers, or a pooler has more
servers than its pools allow.`

// wrongPortRun holds the results of one run.
type wrongPortRun struct {
	product string
	workers int
	*tally
}

func (r *wrongPortRun) p99() time.Duration { return measure.QuantilesOf(r.latencies).P99 }

func runWrongPort(ctx context.Context, arguments []string, out io.Writer) error {
	base := &scenario{}
	flags := newFlags("wrongport", aboutWrongPort, out)
	base.addFlags(flags)
	for _, name := range []string{"streams=980", "workers=20"} {
		setDefault(flags, name)
	}
	most := flags.Float64("most", 1.5, "by how much p99 may be longer with the workers")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	base.wrongPort, base.localTenant = true, true
	if base.streams < 1 || base.workers < 1 || base.transactionPort != 0 {
		return errors.New("-streams and -workers are above 0; poolers are started here")
	}
	if err := requireDescriptors(base.streams + base.workers); err != nil {
		return err
	}
	list, server, stop, err := base.begin(ctx, false)
	if err != nil {
		return err
	}
	defer stop()
	base.server = server
	fmt.Fprintf(out, "# Workers on the wrong port\n\n%s- %d quick clients and %d workers, all on the transaction port: %d servers (+%d), session port %d; transactions of %s to %s, %s long\n",
		machine(ctx, server, list), base.streams, base.workers, base.poolSize, base.reserveSize, base.sessionSize,
		base.scaled(base.shortest), base.scaled(base.longest), base.length)
	var runs []*wrongPortRun
	for _, one := range list {
		for _, workers := range []int{0, base.workers} {
			r, err := base.wrongPortOnce(ctx, one, workers)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%s, %d workers: p99 %s, %d errors\n", one.Name, workers, r.p99(), r.errors["stream"]+r.errors["worker"])
			runs = append(runs, r)
		}
	}
	return base.judgeWrongPort(out, runs, *most)
}

// setDefault changes what a flag is when it is not given: "name=value".
func setDefault(flags *flag.FlagSet, text string) {
	for i := range text {
		if text[i] == '=' {
			if f := flags.Lookup(text[:i]); f != nil && f.Value.Set(text[i+1:]) == nil {
				f.DefValue = text[i+1:]
				return
			}
		}
	}
	panic("bug: no flag for " + text)
}

// wrongPortOnce runs one pooler with so many workers.
func (s *scenario) wrongPortOnce(ctx context.Context, one launch.Product, workers int) (*wrongPortRun, error) {
	run := *s
	run.tally, run.workers = newTally(), workers
	set := run.settings()
	set.Listener = fmt.Sprintf("long_transaction = %q\n", s.scaled(time.Second)) // its default, scaled as all else
	p, err := one.Start(ctx, set)
	if err != nil {
		return nil, err
	}
	defer p.Stop()
	if err := run.load(ctx, p); err != nil {
		return nil, err
	}
	return &wrongPortRun{product: one.Name, workers: workers, tally: run.tally}, nil
}

// judgeWrongPort prints the runs, two of each pooler, and fails when ours is not as it should be.
func (s *scenario) judgeWrongPort(out io.Writer, runs []*wrongPortRun, most float64) error {
	fmt.Fprint(out, "\n| pooler | workers | queries | p50 ms | p99 ms | longest ms | p99 with / without | errors of quick clients | of workers | jobs done | "+
		"servers in pg_stat_activity, at most | by pool, at most |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n")
	var faults []error
	limit := s.serversAllowed()
	var without *wrongPortRun
	for _, r := range runs {
		ratio := "-"
		if r.workers == 0 {
			without = r
		} else {
			times := float64(r.p99()) / float64(without.p99())
			ratio = fmt.Sprintf("%.2f", times)
			if r.product == "hybridbouncer" && times > most {
				faults = append(faults, fmt.Errorf("p99 of the quick clients is %s times as long with the workers", ratio))
			}
		}
		if r.serversMax > limit || r.serversMax == 0 {
			faults = append(faults, fmt.Errorf("%s has %d servers, the pools allow %d", r.product, r.serversMax, limit))
		}
		if r.product == "hybridbouncer" && len(r.errors) > 0 {
			faults = append(faults, fmt.Errorf("errors: %v %q", r.errors, r.firstErrors))
		}
		quick := measure.QuantilesOf(r.latencies)
		fmt.Fprintf(out, "| %s | %d | %d | %.2f | %.2f | %.2f | %s | %d | %d | %d | %d of %d | %s |\n", r.product, r.workers, r.streamQueries,
			milliseconds(quick.P50), milliseconds(quick.P99), milliseconds(quick.Longest), ratio,
			r.errors["stream"], r.errors["worker"], r.jobs, r.serversMax, limit, s.byPool(r))
	}
	for _, r := range runs {
		for _, line := range r.firstErrors {
			fmt.Fprintf(out, "\n- %s, %d workers: %s", r.product, r.workers, line)
		}
	}
	fmt.Fprintln(out)
	return errors.Join(faults...)
}

// byPool is how many servers of each pool were checked out at most, as /health/db says.
func (s *scenario) byPool(r *wrongPortRun) string {
	transaction, session := r.health["transactional"], r.health["session"]
	if !transaction.seen {
		return "not told"
	}
	return fmt.Sprintf("transaction %d of %d (+%d), session %d of %d", transaction.checkedOut, s.poolSize, s.reserveSize, session.checkedOut, s.sessionSize)
}
