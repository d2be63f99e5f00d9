package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"
	"github.com/hybridbouncer/hybridbouncer/bench/measure"
	"github.com/hybridbouncer/hybridbouncer/bench/wire"

	"github.com/hybridbouncer/hybridbouncer/auth"
)

// storm is many logins at once while others run queries: are they all answered, and what becomes of the queries?
type storm struct {
	setup
	logins, connections, rounds, nice, poolSize, backlog int
	calm                                                 time.Duration
	rates                                                string

	server *launch.Postgres
	signed *launch.Certificate
	secret string // what the poolers know of the password
	report io.Writer
}

const aboutStorm = `pgbench runs queries on a pooler, without pause or at a fixed rate; after some seconds of calm, thousands of SCRAM logins come at once from
another process. Prints what became of the logins, and how long the queries took in calm and in the storm. What the machine itself does to the queries is
shown beside it: the same storm at another process of the same pooler, and its connects alone, at a socket whose owner accepts nobody.
Ends with exit status 1 when a running query fails, or a login at our pooler is neither served nor refused in words.`

// stormPlace is where the logins go, as the report says it.
type stormPlace string

const (
	atPooler  stormPlace = "at the pooler of the queries"
	atAnother stormPlace = "at another process of it"
	atNobody  stormPlace = "connects alone, accepted by nobody"
)

// connectsMax is how many connects wait to be accepted at most: somewhat fewer than net.core.somaxconn, 4096 since Linux 5.4, or the
// rest would come again later, when the kernel's patience ends.
const connectsMax = 4000

func runStorm(ctx context.Context, arguments []string, out io.Writer) error {
	s := &storm{report: out}
	flags := newFlags("storm", aboutStorm, out)
	s.addFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	const niceMax = 19 // the lowest priority there is
	rates, err := s.parseRates()
	switch {
	case err != nil:
		return err
	case s.logins < 1 || s.connections < 1 || s.rounds < 1 || s.calm <= 0 || s.poolSize < 1 || s.backlog < 0:
		return errors.New("-logins, -connections, -rounds, -calm and -pool-size are above 0, -backlog not below")
	case s.nice < 0 || s.nice > niceMax:
		return fmt.Errorf("-nice is 0 to %d", niceMax)
	case len(s.given) > 0 || s.floor:
		return errors.New("storm starts its poolers, two of each, and has a floor of its own: without -pooler and -floor")
	}
	if err := requireDescriptors(s.logins + s.connections); err != nil {
		return err
	}
	list, server, stop, err := s.begin(ctx, false)
	if err != nil {
		return err
	}
	defer stop()
	s.server = server
	if s.signed, err = s.certificate(); err != nil {
		return err
	}
	// One iteration: the others are computed by clients alone, here on the processors that are measured. A pooler that has the secret
	// computes the same for any number.
	if s.secret, err = auth.BuildSCRAMSecret(s.poolerPassword(), 1); err != nil {
		return err
	}
	fmt.Fprintf(out, "# Login storm\n\n%s- %d SCRAM logins at once, from a process of nice %d, while pgbench runs queries over %d connections; %d servers a pooler, "+
		"transaction mode; %d rounds in turn, each after %s of calm; connects alone: %d, for as long as the storm before them took\n",
		machine(ctx, server, list), s.logins, s.nice, s.connections, s.poolSize, s.rounds, s.calm, min(s.logins, connectsMax))
	for _, rate := range rates {
		if err := s.measure(ctx, list, rate); err != nil {
			return err
		}
	}
	return nil
}

// parseRates reads -rates.
func (s *storm) parseRates() ([]pace, error) {
	var rates []pace
	for text := range strings.SplitSeq(s.rates, ",") {
		rate, err := strconv.Atoi(text)
		if err != nil || rate != int(withoutPause) && rate < s.connections {
			return nil, fmt.Errorf("-rates: %q is neither 0 nor at least one query a second for each of -connections", text)
		}
		rates = append(rates, pace(rate))
	}
	return rates, nil
}

func (s *storm) addFlags(flags *flag.FlagSet) {
	s.setup.addFlags(flags)
	flags.IntVar(&s.logins, "logins", 5000, "logins at once")
	flags.IntVar(&s.connections, "connections", 100, "connections of pgbench that run queries meanwhile")
	flags.StringVar(&s.rates, "rates", "0,2000", "queries a second of all of them, each a measurement; 0: each sends its next one when the one before is answered")
	flags.IntVar(&s.rounds, "rounds", 3, "rounds of each storm")
	flags.IntVar(&s.nice, "nice", 0, "run the clients of the storm at a lower priority, up to 19: about what the queries would see if they were on other machines")
	flags.DurationVar(&s.calm, "calm", 5*time.Second, "calm before a storm")
	flags.IntVar(&s.poolSize, "pool-size", 25, "servers of each pooler")
	flags.IntVar(&s.backlog, "backlog", 0, "listen_backlog of PgBouncer; 0: its default, 128, by which the kernel spreads a storm over seconds")
}

// measure lets storms of all kinds come over all poolers in turn.
func (s *storm) measure(ctx context.Context, list []launch.Product, rate pace) error {
	all := newStormResults(rate)
	for round := range s.rounds {
		for _, one := range list {
			var took time.Duration
			for _, at := range []stormPlace{atPooler, atAnother, atNobody} {
				within := time.Duration(0)
				if at == atNobody {
					within = took // nobody ends it otherwise
				}
				name := fmt.Sprintf("queries %s, round %d, %s, %s", rate, round+1, one.Name, at)
				r, err := s.once(ctx, one, rate, at, within)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				took = r.took()
				fmt.Fprintf(os.Stderr, "%s: %s\n", name, r)
				all.add(name, one.Name, at, r)
			}
		}
	}
	return all.write(s.report)
}

// leavingTime is how long the queries are looked at from the moment when all those leave that were let in.
const leavingTime = time.Second

// stormResults are those of all storms.
type stormResults struct {
	logins, queries *measure.Table
	notes           []string
	faults          []error
}

func newStormResults(rate pace) *stormResults {
	logins := measure.NewTable("Logins, while queries run "+rate.String(), "storm", []measure.Column{{Title: "served", Format: "%.0f"}, {Title: "refused", Format: "%.0f"}, {Title: "failed", Format: "%.0f"}, {Title: "seconds", Format: "%.2f"}})
	queries := measure.NewTable("Queries "+rate.String(), "storm", []measure.Column{
		{Title: "calm: p50 ms", Format: "%.2f"},
		{Title: "p90 ms", Format: "%.2f"},
		{Title: "p99 ms", Format: "%.2f"},
		{Title: "longest ms", Format: "%.2f"},
		{Title: "storm: p50 ms", Format: "%.2f"},
		{Title: "p90 ms", Format: "%.2f"},
		{Title: "p99 ms", Format: "%.2f"},
		{Title: "longest ms", Format: "%.2f"},
		{Title: "p99 storm / calm", Format: "%.1f"},
		{Title: "leaving: p99 ms", Format: "%.2f"},
		{Title: "longest ms", Format: "%.2f"},
		{Title: "errors", Format: "%.0f"},
	})
	logins.Plain, queries.Plain = true, true
	return &stormResults{logins: logins, queries: queries}
}

func (all *stormResults) add(name, pooler string, at stormPlace, r *stormRun) {
	if at != atNobody {
		all.logins.Add(string(at), pooler, float64(r.Served), float64(sum(r.Refused)), float64(sum(r.Failed)), r.took().Seconds())
	}
	all.queries.Add(string(at), pooler, r.figures()...)
	for _, line := range r.notes() {
		all.notes = append(all.notes, fmt.Sprintf("\n- %s: %s", name, line))
	}
	if err := r.judge(at, strings.HasPrefix(pooler, "hybridbouncer")); err != nil {
		all.faults = append(all.faults, fmt.Errorf("%s: %w", name, err))
	}
}

// write prints the tables and what there is to say of them; its error is also what must not have been.
func (all *stormResults) write(out io.Writer) error {
	err := errors.Join(all.logins.Write(out), all.queries.Write(out))
	fmt.Fprintln(out, strings.Join(all.notes, ""))
	return errors.Join(append(all.faults, err)...)
}

// stormRun holds the results of one storm.
type stormRun struct {
	*stormReport
	calm, storm, leaving measure.Quantiles // of the queries; leaving is empty where nobody is accepted
	errors               []string          // of theirs
}

func (r *stormRun) took() time.Duration { return r.Ended.Sub(r.Began) }

func (r *stormRun) String() string {
	return fmt.Sprintf("%d served, %d refused, %d failed in %s; queries: p99 %s in calm (%d), %s in the storm (%d), %s as they left (%d), %d errors",
		r.Served, sum(r.Refused), sum(r.Failed), r.took().Round(time.Millisecond), r.calm.P99, r.calm.Number, r.storm.P99, r.storm.Number, r.leaving.P99,
		r.leaving.Number, len(r.errors))
}

// figures are the columns of the queries' table.
func (r *stormRun) figures() []float64 {
	leaving := []float64{milliseconds(r.leaving.P99), milliseconds(r.leaving.Longest)}
	if r.leaving.Number == 0 {
		leaving = []float64{math.NaN(), math.NaN()}
	}
	var list []float64
	for _, q := range []measure.Quantiles{r.calm, r.storm} {
		list = append(list, milliseconds(q.P50), milliseconds(q.P90), milliseconds(q.P99), milliseconds(q.Longest))
	}
	list = append(list, float64(r.storm.P99)/float64(r.calm.P99))
	return append(append(list, leaving...), float64(len(r.errors)))
}

// notes are the errors of the logins that were not served.
func (r *stormRun) notes() []string {
	var lines []string
	for _, told := range []map[string]int{r.Refused, r.Failed} {
		for _, words := range slices.Sorted(maps.Keys(told)) {
			lines = append(lines, fmt.Sprintf("%d logins: %s", told[words], words))
		}
	}
	return append(lines, r.errors...)
}

// judge says what must not be. Logins that fail are our fault at our pooler alone: of others it is a figure.
func (r *stormRun) judge(at stormPlace, ours bool) error {
	var faults []error
	if len(r.errors) > 0 {
		faults = append(faults, fmt.Errorf("%d errors of running queries, the first: %s", len(r.errors), r.errors[0]))
	}
	if r.calm.Number == 0 || r.storm.Number == 0 {
		faults = append(faults, fmt.Errorf("%d queries in calm and %d in the storm say nothing", r.calm.Number, r.storm.Number))
	}
	if at != atNobody && r.Served == 0 {
		faults = append(faults, errors.New("no login was served"))
	}
	if ours && len(r.Failed) > 0 {
		faults = append(faults, fmt.Errorf("%d logins failed without a word", sum(r.Failed)))
	}
	return errors.Join(faults...)
}

// once lets one storm come over one pooler that runs queries; within, if not 0, is how long it lasts.
func (s *storm) once(ctx context.Context, one launch.Product, rate pace, at stormPlace, within time.Duration) (*stormRun, error) {
	p, to, err := s.start(ctx, one)
	if err != nil {
		return nil, err
	}
	defer p.Stop()
	aim, logins := to, s.logins
	switch at {
	case atPooler:
	case atAnother:
		another, toAnother, err := s.start(ctx, one)
		if err != nil {
			return nil, err
		}
		defer another.Stop()
		aim = toAnother
	case atNobody:
		listener, err := net.Listen("tcp", "127.0.0.1:0") // its backlog is net.core.somaxconn
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		nobody := *to
		nobody.Port = listener.Addr().(*net.TCPAddr).Port
		aim, logins = &nobody, min(logins, connectsMax)
	}
	work, err := startPaced(ctx, to, s.connections, rate)
	if err != nil {
		return nil, err
	}
	defer work.stop()
	if err := work.awaitAll(ctx, time.Time{}); err != nil {
		return nil, err
	}
	calmFrom := time.Now()
	if err := pause(ctx, s.calm); err != nil {
		return nil, err
	}
	calmTo := time.Now()
	told, err := stormAt(ctx, aim, logins, s.nice, within)
	if err != nil {
		return nil, err
	}
	left := told.Leaving.Add(leavingTime) // not in the storm that nobody is let in from: then it is long ago
	over := later(told.Ended, left)
	if err := pause(ctx, time.Until(over)); err != nil { // to look takes processor time
		return nil, err
	}
	if err := work.awaitAll(ctx, over); err != nil {
		return nil, err
	}
	all, err := readTransactions(work.folder)
	return &stormRun{
		stormReport: told, errors: work.errors(),
		calm: measure.QuantilesOf(whole(all, calmFrom, calmTo)), storm: measure.QuantilesOf(touched(all, told.Began, told.Ended)),
		leaving: measure.QuantilesOf(touched(all, told.Leaving, left)),
	}, err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// start is a fresh process of a pooler that has had a login.
func (s *storm) start(ctx context.Context, one launch.Product) (*launch.Pooler, *wire.Target, error) {
	const due, wait, others = 30 * time.Second, time.Minute, 100
	p, err := one.Start(ctx, launch.Settings{
		Server: s.server, AuthType: "scram-sha-256", PoolSize: s.poolSize, MaxClientConn: s.logins + s.connections + others, Password: s.secret,
		Loops: s.loops, Certificate: s.signed, QueryWait: wait, Backlog: s.backlog,
	})
	if err != nil {
		return nil, nil, err
	}
	to, err := p.Target(s.user, s.poolerPassword(), s.database)
	if err == nil {
		to.TLS = s.tls
		err = loginOnce(ctx, to, due)
	}
	if err != nil {
		p.Stop()
		return nil, nil, err
	}
	return p, to, nil
}
