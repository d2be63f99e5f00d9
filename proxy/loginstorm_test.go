package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

var (
	stormLogins  = flag.Int("storm", 300, "how many logins at once in TestLoginStorm")
	stormQueries = flag.Int("storm-queries", 20, "how many clients run queries meanwhile")
	stormFactor  = flag.Float64("storm-factor", 0, "fail if their 99th percentile grows by more; 0: show it alone, as on a busy machine")
)

// TestLoginStorm: many SCRAM logins at once while others run queries. Every login is served, or refused in words, and the queries go on.
// `make storm` measures 5000, beside PgBouncer (bench). The storm comes from a process of its own, lest the queries wait behind its clients in the scheduler of Go.
// The secret has one iteration, since the clients would have to compute the others on the same processors; what the pooler computes is the
// same.
func TestLoginStorm(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users.txt")
	secret, err := auth.BuildSCRAMSecret("right", 1)
	if err != nil {
		t.Fatal(err)
	}
	write(t, users, fmt.Sprintf("\"postgres\" %q\n", secret))
	listener := fmt.Sprintf("max_client_conn = %d\nquery_wait_timeout = \"60s\"\n", *stormLogins+*stormQueries+100)
	p := start(t, pgtest.Shared(t), listener, fmt.Sprintf("[auth]\nuser_file = %q\n", users))
	host, port, _ := net.SplitHostPort(p.transaction)
	dsn := fmt.Sprintf("host=%s port=%s user=postgres password=right dbname=postgres sslmode=disable", host, port)

	work := newWork(t, dsn, *stormQueries)
	waitFor(t, "the queries", func() bool { return p.Snapshot().Logins >= uint64(*stormQueries) })
	calmFrom := time.Now()
	<-time.After(2 * time.Second)
	begin := time.Now()
	told := stormFrom(t, dsn)
	end := time.Now()
	took := end.Sub(begin)
	work.end(t)
	calm, storm := work.times(t, calmFrom, begin), work.times(t, begin, end)

	served := told[""]
	for word, n := range told {
		if word != "" && !strings.Contains(word, "53300") {
			t.Errorf("%d logins ended with %s", n, word)
		}
	}
	t.Logf("%d logins at once: %d served in %s (%.0f a second), %v; queries: p99 %s in calm (%d), %s in the storm (%d)", *stormLogins, served,
		took.Round(time.Millisecond), float64(served)/took.Seconds(), told, calm.p99, calm.n, storm.p99, storm.n)
	if served == 0 || storm.n == 0 {
		t.Error("nothing went on")
	}
	if f := *stormFactor; f > 0 && float64(storm.p99) > f*float64(calm.p99) {
		t.Errorf("the 99th percentile of running queries grew from %s to %s", calm.p99, storm.p99)
	}
}

// work is pgbench, whose clients run queries at the pace of an application, twenty a second each: clients that ask without pause would
// measure each other.
type work struct {
	pgbench *exec.Cmd
	logs    string // of its threads: the beginning of their names
	said    bytes.Buffer
}

// figures are how long queries took.
type figures struct {
	p99 time.Duration
	n   int
}

func newWork(t *testing.T, dsn string, n int) *work {
	t.Helper()
	program, err := pgtest.Program("pgbench")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "query.sql"), "select 1;\n")
	w := &work{logs: filepath.Join(dir, "log")}
	w.pgbench = exec.Command(program, "-n", "-f", filepath.Join(dir, "query.sql"), "-c", strconv.Itoa(n), "-R", strconv.Itoa(20*n), "-T", "600",
		"-l", "--log-prefix", w.logs, dsn)
	w.pgbench.Stdout, w.pgbench.Stderr = &w.said, &w.said
	if err := w.pgbench.Start(); err != nil {
		t.Fatal(err)
	}
	return w
}

// times are how long the queries took that ended between two instants.
func (w *work) times(t *testing.T, from, to time.Time) (f figures) {
	t.Helper()
	names, err := filepath.Glob(w.logs + "*")
	if err != nil || len(names) == 0 {
		t.Fatalf("pgbench has written no log: %v\n%s", err, w.said.String())
	}
	var times []time.Duration
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var client, number, took, script, second, micro int64
			if _, err := fmt.Sscan(line, &client, &number, &took, &script, &second, &micro); err != nil {
				continue // "failed", or the line that was being written at the end
			}
			if end := time.Unix(second, micro*1000); end.After(from) && end.Before(to) {
				times = append(times, time.Duration(took)*time.Microsecond)
			}
		}
	}
	if len(times) == 0 {
		return figures{}
	}
	slices.Sort(times)
	return figures{p99: times[len(times)*99/100], n: len(times)}
}

// end stops pgbench, which must not have ended by itself: it does at the first error.
func (w *work) end(t *testing.T) {
	t.Helper()
	_ = w.pgbench.Process.Signal(os.Interrupt)
	_ = w.pgbench.Wait()
	if strings.Contains(w.said.String(), "error") {
		t.Errorf("a running query failed:\n%s", w.said.String())
	}
}

// stormEnv makes this program, started once more, a storm: its value is where the logins go.
const stormEnv = "HYBRIDBOUNCER_TEST_STORM"

// storming is TestMain's: it is what the program does as a storm.
func storming() (is bool) {
	dsn := os.Getenv(stormEnv)
	if dsn == "" {
		return false
	}
	n, err := strconv.Atoi(os.Args[1])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(logInAtOnce(dsn, n))
	}
	if err != nil {
		panic(err)
	}
	return true
}

// stormFrom runs a storm in another process.
func stormFrom(t *testing.T, dsn string) (told map[string]int) {
	t.Helper()
	c := exec.Command(os.Args[0], strconv.Itoa(*stormLogins))
	c.Env = append(os.Environ(), stormEnv+"="+dsn)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err == nil {
		err = json.Unmarshal(out, &told)
	}
	if err != nil {
		t.Fatalf("the storm: %v\n%s", err, out)
	}
	return told
}

// logInAtOnce counts what logins are told; "" for those that are served.
func logInAtOnce(dsn string, n int) map[string]int {
	told := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	begin := make(chan struct{})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for range n {
		all.Go(func() {
			<-begin
			c, err := pgconn.Connect(ctx, dsn)
			word := ""
			var pe *pgconn.PgError
			switch {
			case err == nil:
				defer c.Close(ctx)
			case errors.As(err, &pe):
				word = pe.Code + " " + pe.Message
			default:
				word = err.Error()
			}
			mu.Lock()
			told[word]++
			mu.Unlock()
		})
	}
	close(begin)
	all.Wait()
	return told
}
