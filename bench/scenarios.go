package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"
	"github.com/hybridbouncer/hybridbouncer/bench/measure"
	"github.com/hybridbouncer/hybridbouncer/bench/wire"
)

// scenario is the load test of the two ports: many streaming clients with short queries on the transaction port, a few embedding
// workers with long transactions and a tenant each on the session port, both at once.
type scenario struct {
	setup
	product                            string
	transactionPort, sessionPort       int
	health                             string
	streams, workers                   int
	poolSize, reserveSize, sessionSize int
	timeScale                          float64
	length, streamPause                time.Duration
	shortest, longest                  time.Duration // of a worker's transaction
	rest                               float64
	queryDue                           time.Duration
	wrongPort                          bool // the workers come to the transaction port
	localTenant                        bool // they set their tenant in the transaction: that works behind any pooler
	server                             *launch.Postgres
	tally                              *tally
	transactionTarget, sessionTarget   *wire.Target
	direct                             *wire.Target // past the pooler
}

const aboutScenario = `1000 streaming clients with short queries on the transaction port and 20 embedding workers on the session port, whose
transactions last 10 to 30 s (times -time-scale) and who SET app.tenant_id under row-level security. /health/db is watched.
Expected: no error, no time-out, no exhaustion, each statement answered to its own client, each worker in its own tenant.
Ends with exit status 1 when an expectation fails. -transaction-port, -session-port and -server test a pooler that runs.`

func runScenario(ctx context.Context, arguments []string, out io.Writer) error {
	s := &scenario{tally: newTally()}
	flags := newFlags("scenario", aboutScenario, out)
	s.addFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if s.streams < 1 || s.workers < 0 || s.timeScale <= 0 || s.longest < s.shortest {
		return errors.New("-streams and -time-scale are above 0, -workers not below 0, -longest not below -shortest")
	}
	if err := requireDescriptors(s.streams + s.workers); err != nil {
		return err
	}
	server, err := s.postgres(ctx, false)
	if err != nil {
		return err
	}
	defer server.Stop()
	s.server = server
	p, version, stop, err := s.pooler(ctx)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintf(out, "# Load test of both ports\n\n%s- %d streaming clients over %d servers (+%d), %d workers over %d, transactions of %s to %s, %s long, time scale %g\n\n",
		machine(ctx, server, []launch.Product{version}), s.streams, s.poolSize, s.reserveSize, s.workers, s.sessionSize,
		s.scaled(s.shortest), s.scaled(s.longest), s.length, s.timeScale)
	if err := s.load(ctx, p); err != nil {
		return err
	}
	return s.judge(out, p)
}

func (s *scenario) addFlags(flags *flag.FlagSet) {
	s.setup.addFlags(flags)
	flags.StringVar(&s.product, "product", "hybridbouncer", "what to start: hybridbouncer, or pgbouncer (two processes, as people run it today)")
	flags.IntVar(&s.transactionPort, "transaction-port", 0, "transaction `port` of a pooler that runs already on 127.0.0.1; 0: one is started")
	flags.IntVar(&s.sessionPort, "session-port", 0, "session `port` of that pooler")
	flags.StringVar(&s.health, "health", "", "`URL` of its /health/db; empty: not watched")
	flags.IntVar(&s.streams, "streams", 1000, "streaming clients on the transaction port")
	flags.IntVar(&s.workers, "workers", 20, "embedding workers on the session port")
	flags.BoolVar(&s.wrongPort, "wrong-port", false, "the workers come to the transaction port, as in real life; compare with -workers 0")
	flags.IntVar(&s.poolSize, "pool-size", 25, "servers of the transaction port")
	flags.IntVar(&s.reserveSize, "reserve-size", 5, "its reserve")
	flags.IntVar(&s.sessionSize, "session-size", 10, "servers of the session port")
	flags.Float64Var(&s.timeScale, "time-scale", 0.1, "factor on all pauses and transaction lengths: 1 is the real thing")
	flags.DurationVar(&s.length, "length", 30*time.Second, "how long to run; not scaled")
	flags.DurationVar(&s.streamPause, "stream-pause", 5*time.Second, "mean pause of a streaming client between two queries; scaled")
	flags.DurationVar(&s.shortest, "shortest", 10*time.Second, "shortest transaction of a worker; scaled")
	flags.DurationVar(&s.longest, "longest", 30*time.Second, "longest transaction of a worker; scaled")
	flags.Float64Var(&s.rest, "rest", 1, "a worker's pause after a transaction, as a multiple of it")
	flags.DurationVar(&s.queryDue, "query-due", 10*time.Second, "a query of a streaming client that takes longer has timed out; not scaled")
}

func (s *scenario) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * s.timeScale).Round(time.Millisecond)
}

// pooler starts the product that is asked for, or describes the one whose ports are given.
func (s *scenario) pooler(ctx context.Context) (p *launch.Pooler, version launch.Product, stop func(), err error) {
	if s.transactionPort != 0 {
		if s.sessionPort == 0 || s.serverAddress == "" {
			return nil, launch.Product{}, nil, errors.New("-transaction-port needs -session-port and -server too")
		}
		given := &launch.Pooler{Name: "given", TransactionPort: s.transactionPort, SessionPort: s.sessionPort, Health: s.health}
		return given, launch.Product{Name: "given", Version: fmt.Sprintf("ports %d and %d", s.transactionPort, s.sessionPort)}, func() {}, nil
	}
	only := s.setup
	only.given = nil
	switch s.product {
	case "hybridbouncer":
		only.pgbouncer = none
	case "pgbouncer":
		only.hybridbouncer = none
	default:
		return nil, launch.Product{}, nil, fmt.Errorf("-product is hybridbouncer or pgbouncer, not %q", s.product)
	}
	list, cleanUp, err := only.products(ctx)
	if err != nil {
		return nil, launch.Product{}, nil, err
	}
	p, err = list[0].Start(ctx, s.settings())
	if err != nil {
		cleanUp()
		return nil, launch.Product{}, nil, err
	}
	return p, list[0], func() { p.Stop(); cleanUp() }, nil
}

// settings are those of the poolers that are started for the load test.
func (s *scenario) settings() launch.Settings {
	return launch.Settings{
		Server: s.server, AuthType: "scram-sha-256", PoolSize: s.poolSize, ReserveSize: s.reserveSize, SessionSize: s.sessionSize,
		MaxClientConn: s.streams + s.workers, Password: applicationPassword, Admin: true, Loops: s.loops,
	}
}

// serversAllowed is how many servers the pools of both ports may have together.
func (s *scenario) serversAllowed() int { return s.poolSize + s.reserveSize + s.sessionSize }

// load runs the load test through a pooler, from making its tables to removing them.
func (s *scenario) load(ctx context.Context, p *launch.Pooler) error {
	if err := s.prepare(ctx, p); err != nil {
		return err
	}
	defer s.cleanUp(context.WithoutCancel(ctx))
	return s.run(ctx, p)
}

// run lets everything happen at once for the length of the scenario. Clients that are in the middle of something when it ends
// finish it: a cut transaction would look like an error.
func (s *scenario) run(ctx context.Context, p *launch.Pooler) error {
	streams := &wire.Crowd{Target: s.transactionTarget, Due: s.queryDue}
	defer streams.Leave()
	if err := streams.Grow(ctx, s.streams, ""); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d streaming clients are logged in; running for %s\n", s.streams, s.length)
	length, cancel := context.WithTimeout(ctx, s.length)
	defer cancel()
	watching, stopWatching := context.WithCancel(ctx)
	var watchers, clients sync.WaitGroup
	watchers.Go(func() { s.watchServers(watching) })
	if p.Health != "" {
		watchers.Go(func() { s.tally.watchHealth(watching, p.Health) })
	}
	for number, one := range streams.Clients {
		clients.Go(func() { s.stream(length, number, one) })
	}
	for number := range s.workers {
		clients.Go(func() { s.worker(length, number) })
	}
	clients.Wait()
	stopWatching()
	watchers.Wait()
	return ctx.Err()
}

// watchServers counts, past the pooler, how many servers it holds.
func (s *scenario) watchServers(ctx context.Context) {
	const interval, due = 100 * time.Millisecond, 10 * time.Second
	observer, err := wire.Login(ctx, s.direct, due)
	if err != nil {
		s.tally.fail("observer", err)
		return
	}
	defer observer.Close()
	for pause(ctx, interval) == nil {
		count, err := observer.Query("SELECT count(*) FROM pg_stat_activity WHERE usename = '" + launch.ApplicationUser + "'")
		if err != nil {
			s.tally.fail("observer", err)
			return
		}
		s.tally.servers(count)
	}
}

// applicationPassword is that of launch.ApplicationUser.
const applicationPassword = "bench"

const prepareSQL = `
DROP SCHEMA IF EXISTS hybridbouncer_bench CASCADE;
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bench_app') THEN CREATE ROLE bench_app LOGIN PASSWORD 'bench'; END IF;
END $$;
CREATE SCHEMA hybridbouncer_bench;
CREATE TABLE hybridbouncer_bench.events (stream int, number int, at timestamptz DEFAULT now());
CREATE TABLE hybridbouncer_bench.documents (tenant text NOT NULL, embedding real[] NOT NULL);
ALTER TABLE hybridbouncer_bench.documents ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON hybridbouncer_bench.documents
  USING (tenant = current_setting('app.tenant_id')) WITH CHECK (tenant = current_setting('app.tenant_id'));
GRANT USAGE ON SCHEMA hybridbouncer_bench TO bench_app;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA hybridbouncer_bench TO bench_app;`

// prepare makes the tables and the role that streams and workers use.
func (s *scenario) prepare(ctx context.Context, p *launch.Pooler) error {
	var err error
	if s.direct, err = s.server.Target(); err != nil {
		return err
	}
	if s.transactionTarget, err = wire.NewTarget("127.0.0.1", p.TransactionPort, launch.ApplicationUser, applicationPassword, s.database); err != nil {
		return err
	}
	if s.sessionTarget, err = wire.NewTarget("127.0.0.1", p.SessionPort, launch.ApplicationUser, applicationPassword, s.database); err != nil {
		return err
	}
	if err := s.execute(ctx, prepareSQL); err != nil {
		return fmt.Errorf("make the tables of the load test: %w", err)
	}
	return nil
}

// cleanUp removes the tables from a PostgreSQL that was given; our own goes away whole. The role stays: servers of the pooler
// may still be logged in as it.
func (s *scenario) cleanUp(ctx context.Context) {
	if s.server.Own != nil {
		return
	}
	if err := s.execute(ctx, "DROP SCHEMA IF EXISTS hybridbouncer_bench CASCADE"); err != nil {
		fmt.Fprintln(os.Stderr, "bench: the schema hybridbouncer_bench is left behind:", err)
	}
}

func (s *scenario) execute(ctx context.Context, sql string) error {
	const due = time.Minute
	administrator, err := wire.Login(ctx, s.direct, due)
	if err != nil {
		return err
	}
	defer administrator.Close()
	_, err = administrator.Query(sql)
	return err
}

// judge prints each figure beside the expected one, and fails when they differ.
func (s *scenario) judge(out io.Writer, p *launch.Pooler) error {
	t := s.tally
	var text strings.Builder
	failures := 0
	expect := func(ok bool, what, format string, seen ...any) {
		mark := "yes"
		if !ok {
			mark = "**NO**"
			failures++
		}
		fmt.Fprintf(&text, "| %s | %s | %s |\n", what, fmt.Sprintf(format, seen...), mark)
	}
	text.WriteString("| expected | seen | met |\n|---|---|---|\n")
	expect(t.streamQueries > 0 && t.errors["stream"] == 0, "streaming clients: no error, no time-out",
		"%d queries, %d transactions, %d errors", t.streamQueries, t.streamTransactions, t.errors["stream"])
	expect(t.strayed == 0, "each answer for its own client", "%d strayed", t.strayed)
	expect((s.workers == 0 || t.jobs > 0) && t.errors["worker"] == 0, "workers: no error, no time-out",
		"%d transactions, %d statements, %d errors", t.jobs, t.workerStatements, t.errors["worker"])
	expect(t.leaked == 0, "each statement of a worker in its own tenant, none anywhere else", "%d in another", t.leaked)
	limit := s.serversAllowed()
	expect(t.errors["observer"] == 0 && t.serversMax > 0 && t.serversMax <= limit, fmt.Sprintf("never more than %d servers in pg_stat_activity", limit), "%d", t.serversMax)
	if p.Health != "" {
		quick := t.health["transactional"]
		expect(t.healthPolls > 0 && t.errors["health"] == 0, "/health/db answers", "%d polls, %d errors", t.healthPolls, t.errors["health"])
		expect(quick.seen && quick.worst < levelEmergency, "transaction port never exhausted (level emergency)", "%s", quick)
		session := t.health["session"]
		expect(session.seen, "session port is reported; workers may queue there", "%s", session)
	} else {
		text.WriteString("| /health/db | not watched | - |\n")
	}
	quick := measure.QuantilesOf(t.latencies)
	fmt.Fprintf(&text, "\nQuery of a streaming client: p50 %s, p99 %s, longest %s. Workers waited for a server at most %s.\n",
		quick.P50, quick.P99, quick.Longest, t.workerWaitMax.Round(time.Millisecond))
	for _, line := range t.firstErrors {
		fmt.Fprintf(&text, "\n- %s", line)
	}
	text.WriteString("\n")
	if _, err := io.WriteString(out, text.String()); err != nil {
		return err
	}
	if failures > 0 {
		return fmt.Errorf("%d expectations were not met", failures)
	}
	return nil
}
