package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"
	"github.com/hybridbouncer/hybridbouncer/bench/measure"
	"github.com/hybridbouncer/hybridbouncer/bench/wire"
)

// idleRun is thousands of clients that are logged in and do nothing: what does the process need for them, and are they all
// still served?
type idleRun struct {
	setup
	clients        int
	settle, length time.Duration
	asked          int
}

const aboutIdle = `Logs many clients in on each pooler, lets them be, and prints what the process needs for them: memory, CPU while nothing
happens, threads, descriptors. Then some of them, spread over all, run a query each: none may have been lost.`

func runIdle(ctx context.Context, arguments []string, out io.Writer) error {
	r := &idleRun{}
	flags := newFlags("idle", aboutIdle, out)
	r.addFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if r.clients < 1 || r.asked < 1 || r.asked > r.clients {
		return errors.New("-clients and -ask are above 0, -ask not above -clients")
	}
	if err := requireDescriptors(r.clients); err != nil {
		return err
	}
	list, server, stop, err := r.begin(ctx, false)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintf(out, "# %d idle clients on one process\n\n%s", r.clients, machine(ctx, server, list))
	rows := measure.NewTable("Idle clients", "clients", []measure.Column{
		{Title: "bytes a client", Format: "%.0f"}, {Title: "RSS MiB", Format: "%.1f"}, {Title: "idle CPU ms/s", Format: "%.2f"}, {Title: "logins took s", Format: "%.1f"}, {Title: "threads", Format: "%.0f"}, {Title: "descriptors", Format: "%.0f"},
	})
	for _, one := range list {
		if err := r.measure(ctx, one, server, rows); err != nil {
			return fmt.Errorf("%s: %w", one.Name, err)
		}
	}
	return rows.Write(out)
}

func (r *idleRun) addFlags(flags *flag.FlagSet) {
	r.setup.addFlags(flags)
	flags.IntVar(&r.clients, "clients", 10000, "idle clients")
	flags.DurationVar(&r.settle, "settle", 3*time.Second, "wait after the logins before measuring")
	flags.DurationVar(&r.length, "length", 10*time.Second, "how long to measure the CPU of doing nothing")
	flags.IntVar(&r.asked, "ask", 1000, "clients that run a query at the end")
}

func (r *idleRun) measure(ctx context.Context, one launch.Product, server *launch.Postgres, rows *measure.Table) error {
	password := r.poolerPassword()
	signed, err := r.certificate()
	if err != nil {
		return err
	}
	p, err := one.Start(ctx, launch.Settings{
		Server: server, AuthType: "trust", PoolSize: 25, MaxClientConn: r.clients + 10, Password: password, Loops: r.loops, Certificate: signed,
	})
	if err != nil {
		return err
	}
	defer p.Stop()
	to, err := p.Target(r.user, password, r.database)
	if err != nil {
		return err
	}
	to.TLS = r.tls
	empty, err := measure.ResidentBytes(p.PIDs)
	if err != nil {
		return err
	}
	idle := &wire.Crowd{Target: to, Due: time.Minute}
	defer idle.Leave()
	start := time.Now()
	if err := idle.Grow(ctx, r.clients, "SELECT 1"); err != nil {
		return err
	}
	logins := time.Since(start)
	if err := pause(ctx, r.settle); err != nil {
		return err
	}
	before, err := measure.ReadUsage(p.PIDs)
	if err != nil {
		return err
	}
	if err := pause(ctx, r.length); err != nil {
		return err
	}
	after, err := measure.ReadUsage(p.PIDs)
	if err != nil {
		return err
	}
	resident, err := measure.ResidentBytes(p.PIDs)
	if err != nil {
		return err
	}
	descriptors := measure.CountDescriptors(p.PIDs)
	if err := r.ask(idle); err != nil {
		return err
	}
	rows.Add(fmt.Sprint(r.clients), p.Name, float64(resident-empty)/float64(r.clients), mebibytes(resident),
		milliseconds(after.CPU-before.CPU)/r.length.Seconds(), logins.Seconds(), float64(after.Threads), float64(descriptors))
	return nil
}

// ask lets clients evenly spread over all of them run a query.
func (r *idleRun) ask(idle *wire.Crowd) error {
	for i := range r.asked {
		number := i * len(idle.Clients) / r.asked
		token := fmt.Sprintf("client %d", number)
		answer, err := idle.Clients[number].Query("SELECT '" + token + "'")
		if err != nil {
			return fmt.Errorf("idle client %d of %d can no longer work: %w", number, len(idle.Clients), err)
		}
		if answer != token {
			return fmt.Errorf("idle client %d of %d was answered %q", number, len(idle.Clients), answer)
		}
	}
	return nil
}

// bytesPerIdleClient is the slope of the resident set between few and many idle clients of one process, so that what the
// process needs with nobody there does not count. The process must be a fresh one: memory freed by earlier clients would be
// used again and the slope too small.
func bytesPerIdleClient(ctx context.Context, p *launch.Pooler, to *wire.Target, few, many int, first string, settle time.Duration) (float64, error) {
	idle := &wire.Crowd{Target: to, Due: 30 * time.Second}
	defer idle.Leave()
	var resident [2]int64
	for i, size := range []int{few, many} {
		if err := idle.Grow(ctx, size, first); err != nil {
			return 0, fmt.Errorf("%s: %w", p.Name, err)
		}
		if err := pause(ctx, settle); err != nil {
			return 0, err
		}
		bytes, err := measure.ResidentBytes(p.PIDs)
		if err != nil {
			return 0, err
		}
		resident[i] = bytes
	}
	return float64(resident[1]-resident[0]) / float64(many-few), nil
}
