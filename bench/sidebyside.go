package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"
	"github.com/hybridbouncer/hybridbouncer/bench/measure"
	"github.com/hybridbouncer/hybridbouncer/bench/wire"
)

// comparison measures several poolers in turn: A B A B, one round after the other within each load, so that a machine that
// gets slower or busier during the run does so for all of them.
type comparison struct {
	setup
	clients, modes, auths, parts string
	script                       string
	threads, rounds              int
	duration, warmUp             time.Duration
	sampling                     float64
	poolSize, maxClientConn      int
	idleFew, idleMany            int
	idleQuery                    string
	settle, loginDuration        time.Duration

	server *launch.Postgres
	signed *launch.Certificate
	list   []launch.Product
	report io.Writer
}

const aboutSideBySide = `Runs pgbench through each pooler in turn and prints, as Markdown, what a transaction costs the pooler's own process, with
throughput, latency, bytes per idle client and logins per second, as medians over the rounds and ratios to the first pooler
(PgBouncer when there is one). Progress goes to standard error.`

func runSideBySide(ctx context.Context, arguments []string, out io.Writer) error {
	c := &comparison{report: out}
	flags := newFlags("sidebyside", aboutSideBySide, out)
	c.addFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	loads, err := c.loads()
	if err != nil {
		return err
	}
	if err := requireDescriptors(max(c.idleMany, slices.MaxFunc(loads, func(a, b load) int { return a.clients - b.clients }).clients)); err != nil {
		return err
	}
	list, server, stop, err := c.begin(ctx, true)
	if err != nil {
		return err
	}
	defer stop()
	c.list, c.server = list, server
	if c.signed, err = c.certificate(); err != nil {
		return err
	}
	over := ""
	if c.tls {
		over = ", clients over TLS"
	}
	fmt.Fprintf(out, "# Side by side\n\n%s- %d servers a pooler, transaction mode%s, pgbench script %s, %d rounds of %s after %s of warm-up, in turn\n",
		machine(ctx, c.server, c.list), c.poolSize, over, c.script, c.rounds, c.duration, c.warmUp)
	return c.measure(ctx, loads)
}

func (c *comparison) addFlags(flags *flag.FlagSet) {
	c.setup.addFlags(flags)
	flags.StringVar(&c.parts, "parts", "memory,load,logins", "what to measure, in this order: a pooler that was given tells its memory only before anything else ran on it")
	flags.StringVar(&c.clients, "clients", "100,1000", "client counts, each a row")
	flags.StringVar(&c.modes, "modes", "simple", "of pgbench's simple, extended, prepared; each with each client count")
	flags.StringVar(&c.script, "script", "select-only", "pgbench's built-in script (select-only, simple-update, tpcb-like), or a file")
	flags.IntVar(&c.rounds, "rounds", 3, "rounds of each load")
	flags.DurationVar(&c.duration, "duration", 10*time.Second, "measured length of a run, whole seconds")
	flags.DurationVar(&c.warmUp, "warmup", 2*time.Second, "length before it that does not count, whole seconds")
	flags.IntVar(&c.threads, "threads", 2, "pgbench's threads")
	flags.Float64Var(&c.sampling, "sampling", 0.1, "share of transactions whose latency is logged")
	flags.IntVar(&c.poolSize, "pool-size", 25, "servers of each pooler that is started here")
	flags.IntVar(&c.maxClientConn, "max-clients", 2000, "max_client_conn of each pooler that is started here; more where -idle-many needs it")
	flags.IntVar(&c.idleFew, "idle-few", 1000, "memory: idle clients at the first look")
	flags.IntVar(&c.idleMany, "idle-many", 9000, "memory: idle clients at the second look; far from the first, for poolers take memory in large pieces")
	flags.StringVar(&c.idleQuery, "idle-query", "SELECT 1", "memory: what each client runs before it idles; empty: nothing")
	flags.DurationVar(&c.settle, "settle", 3*time.Second, "memory: wait before each look")
	flags.DurationVar(&c.loginDuration, "login-duration", 5*time.Second, "logins: length of a run")
	flags.StringVar(&c.auths, "login-auth", "trust,scram-sha-256", "logins: methods, each a row (of poolers started here)")
}

// loads is each mode with each client count.
func (c *comparison) loads() ([]load, error) {
	if c.duration < 2*time.Second || c.duration%time.Second != 0 || c.warmUp%time.Second != 0 || c.warmUp < 0 {
		return nil, errors.New("-duration (2s or more) and -warmup are whole seconds: they are counted by pgbench's progress lines")
	}
	if c.rounds < 1 || c.idleMany <= c.idleFew {
		return nil, errors.New("-rounds is 1 or more, and -idle-many above -idle-few")
	}
	var list []load
	for mode := range strings.SplitSeq(c.modes, ",") {
		for text := range strings.SplitSeq(c.clients, ",") {
			count, err := strconv.Atoi(text)
			if err != nil {
				return nil, fmt.Errorf("-clients: %w", err)
			}
			list = append(list, load{mode: mode, clients: count, script: c.script, threads: min(c.threads, count), warmUp: c.warmUp, duration: c.duration})
		}
	}
	return list, nil
}

func (c *comparison) measure(ctx context.Context, loads []load) error {
	for part := range strings.SplitSeq(c.parts, ",") {
		var err error
		switch part {
		case "load":
			err = c.measureLoads(ctx, loads)
		case "memory":
			err = c.measureMemory(ctx)
		case "logins":
			err = c.measureLogins(ctx)
		default:
			err = errors.New("a part is load, memory or logins")
		}
		if err != nil {
			return fmt.Errorf("part %q: %w", part, err)
		}
	}
	return nil
}

func (c *comparison) settings(authType string) launch.Settings {
	const others = 10
	return launch.Settings{Server: c.server, AuthType: authType, PoolSize: c.poolSize, MaxClientConn: max(c.maxClientConn, c.idleMany+others), Password: c.poolerPassword(), Loops: c.loops, Certificate: c.signed}
}

func (c *comparison) target(p *launch.Pooler) (*wire.Target, error) {
	to, err := p.Target(c.user, c.poolerPassword(), c.database)
	if err == nil {
		to.TLS = c.tls
	}
	return to, err
}

// measureLoads starts all poolers once and runs every load through each of them in turn.
func (c *comparison) measureLoads(ctx context.Context, loads []load) error {
	var running []*launch.Pooler
	defer func() {
		for _, p := range running {
			p.Stop()
		}
	}()
	for _, one := range c.list {
		p, err := one.Start(ctx, c.settings("trust"))
		if err != nil {
			return err
		}
		running = append(running, p)
	}
	rows := measure.NewTable("Load", "load", []measure.Column{
		{Title: "CPU us/tx", Format: "%.1f"}, {Title: "tx/s", Format: "%.0f"}, {Title: "p50 ms", Format: "%.2f"}, {Title: "p99 ms", Format: "%.2f"}, {Title: "RSS MiB", Format: "%.1f"},
	})
	for _, l := range loads {
		for round := range c.rounds {
			for _, p := range running {
				to, err := c.target(p)
				if err != nil {
					return err
				}
				r, err := runPgbench(ctx, p, l, to, c.sampling)
				if err != nil {
					return err
				}
				fmt.Fprintf(os.Stderr, "%s, round %d, %s: %.1f us/tx, %.0f tx/s, p50 %s, p99 %s, logins took %s %s\n",
					l, round+1, p.Name, r.microsecondsPerTransaction(), r.throughput(), r.p50, r.p99, r.initialLogins.Round(time.Millisecond), r.failed)
				rows.Add(l.String(), p.Name, r.microsecondsPerTransaction(), r.throughput(), milliseconds(r.p50), milliseconds(r.p99), mebibytes(r.rssBytes))
			}
		}
	}
	return rows.Write(c.report)
}

// measureMemory takes a fresh process for each round; one that was given can be measured once, before anything else ran on it.
func (c *comparison) measureMemory(ctx context.Context) error {
	rows := measure.NewTable("Idle memory", "clients", []measure.Column{{Title: "bytes per idle client", Format: "%.0f"}})
	row := fmt.Sprintf("%d to %d, each after %q", c.idleFew, c.idleMany, c.idleQuery)
	err := c.eachRound(ctx, "trust", func(p *launch.Pooler, to *wire.Target, round int) error {
		bytes, err := bytesPerIdleClient(ctx, p, to, c.idleFew, c.idleMany, c.idleQuery, c.settle)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "memory, round %d, %s: %.0f bytes per idle client\n", round+1, p.Name, bytes)
		rows.Add(row, p.Name, bytes)
		return nil
	})
	if err != nil {
		return err
	}
	return rows.Write(c.report)
}

func (c *comparison) measureLogins(ctx context.Context) error {
	rows := measure.NewTable("Logins", "method", []measure.Column{{Title: "logins/s", Format: "%.0f"}, {Title: "CPU us/login", Format: "%.0f"}})
	for method := range strings.SplitSeq(c.auths, ",") {
		err := c.eachRound(ctx, method, func(p *launch.Pooler, to *wire.Target, round int) error {
			figures, err := measureLogins(ctx, p, to, c.loginDuration)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "logins by %s, round %d, %s: %.0f/s, %.0f us each\n", method, round+1, p.Name, figures.perSecond, figures.microsecondsPerLogin)
			rows.Add(method, p.Name, figures.perSecond, figures.microsecondsPerLogin)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return rows.Write(c.report)
}

// eachRound starts each pooler afresh in turn, lets measure look at it and stops it again. Poolers that were given take part in
// the first round alone.
func (c *comparison) eachRound(ctx context.Context, authType string, measure func(p *launch.Pooler, to *wire.Target, round int) error) error {
	for round := range c.rounds {
		for _, one := range c.list {
			if round > 0 && !one.Fresh || one.LoadOnly {
				continue
			}
			p, err := one.Start(ctx, c.settings(authType))
			if err != nil {
				return err
			}
			to, err := c.target(p)
			if err == nil {
				err = measure(p, to, round)
			}
			p.Stop()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }
