package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
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
	rows := newTable("Idle clients", "clients", []column{
		{"bytes a client", "%.0f"}, {"RSS MiB", "%.1f"}, {"idle CPU ms/s", "%.2f"}, {"logins took s", "%.1f"}, {"threads", "%.0f"}, {"descriptors", "%.0f"},
	})
	for _, one := range list {
		if err := r.measure(ctx, one, server, rows); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return rows.write(out)
}

func (r *idleRun) addFlags(flags *flag.FlagSet) {
	r.setup.addFlags(flags)
	flags.IntVar(&r.clients, "clients", 10000, "idle clients")
	flags.DurationVar(&r.settle, "settle", 3*time.Second, "wait after the logins before measuring")
	flags.DurationVar(&r.length, "length", 10*time.Second, "how long to measure the CPU of doing nothing")
	flags.IntVar(&r.asked, "ask", 1000, "clients that run a query at the end")
}

func (r *idleRun) measure(ctx context.Context, one product, server *postgres, rows *table) error {
	password := r.poolerPassword()
	signed, err := r.certificate()
	if err != nil {
		return err
	}
	p, err := one.start(ctx, settings{
		server: server, authType: "trust", poolSize: 25, maxClientConn: r.clients + 10, password: password, loops: r.loops, certificate: signed,
	})
	if err != nil {
		return err
	}
	defer p.stop()
	to, err := p.target(r.user, password, r.database)
	if err != nil {
		return err
	}
	to.tls = r.tls
	empty, err := residentBytes(p.pids)
	if err != nil {
		return err
	}
	idle := &crowd{target: to, due: time.Minute}
	defer idle.leave()
	start := time.Now()
	if err := idle.grow(ctx, r.clients, "SELECT 1"); err != nil {
		return err
	}
	logins := time.Since(start)
	if err := pause(ctx, r.settle); err != nil {
		return err
	}
	before, err := readUsage(p.pids)
	if err != nil {
		return err
	}
	if err := pause(ctx, r.length); err != nil {
		return err
	}
	after, err := readUsage(p.pids)
	if err != nil {
		return err
	}
	resident, err := residentBytes(p.pids)
	if err != nil {
		return err
	}
	descriptors := countDescriptors(p.pids)
	if err := r.ask(idle); err != nil {
		return err
	}
	rows.add(fmt.Sprint(r.clients), p.name, float64(resident-empty)/float64(r.clients), mebibytes(resident),
		milliseconds(after.cpu-before.cpu)/r.length.Seconds(), logins.Seconds(), float64(after.threads), float64(descriptors))
	return nil
}

// ask lets clients evenly spread over all of them run a query.
func (r *idleRun) ask(idle *crowd) error {
	for i := range r.asked {
		number := i * len(idle.clients) / r.asked
		token := fmt.Sprintf("client %d", number)
		answer, err := idle.clients[number].query("SELECT '" + token + "'")
		if err != nil {
			return fmt.Errorf("idle client %d of %d can no longer work: %w", number, len(idle.clients), err)
		}
		if answer != token {
			return fmt.Errorf("idle client %d of %d was answered %q", number, len(idle.clients), answer)
		}
	}
	return nil
}
