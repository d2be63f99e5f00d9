package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"
	"github.com/hybridbouncer/hybridbouncer/bench/measure"
	"github.com/hybridbouncer/hybridbouncer/bench/wire"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestParseTransaction(t *testing.T) {
	for line, want := range map[string]transaction{
		"7 1 1500 0 100 250000\n":    {client: 7, latency: 1500 * time.Microsecond, ended: time.Unix(100, 250_000_000)},
		"8 2 900 0 101 5 450\n":      {client: 8, latency: 900 * time.Microsecond, ended: time.Unix(101, 5000)}, // with -R
		"7 1 1500 0 100 25":          {},                                                                        // still being written
		"7 1 failed 0 100 250000\n":  {},
		"7 1 skipped 0 100 250000\n": {},
		"x 1 1500 0 100 250000\n":    {},
		"\n":                         {},
	} {
		if got, ok := parseTransaction(line); got != want || ok != (want != transaction{}) {
			t.Errorf("%q: %+v, %v", line, got, ok)
		}
	}
}

func TestWhichQueriesAreOfTheStorm(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	query := func(client, due, ended int) transaction {
		return transaction{client: client, latency: at(ended).Sub(at(due)), ended: at(ended)}
	}
	all := []transaction{
		query(0, 0, 3),   // before the calm and in it
		query(0, 3, 4),   // in the calm
		query(1, 5, 12),  // from calm to storm
		query(2, 11, 13), // in the storm
		query(3, 14, 30), // waited until long after it
		query(4, 21, 22), // after it
	}
	seconds := func(list []time.Duration) (n []int) {
		for _, d := range list {
			n = append(n, int(d.Seconds()))
		}
		return n
	}
	if got := seconds(whole(all, at(2), at(9))); !slices.Equal(got, []int{1}) {
		t.Errorf("in calm: %v", got)
	}
	if got := seconds(touched(all, at(10), at(20))); !slices.Equal(got, []int{7, 2, 16}) {
		t.Errorf("in the storm: %v", got)
	}
	if got := movedOn(all, at(2)); got != 5 {
		t.Errorf("%d connections with a query due later than 2", got)
	}
	if got := movedOn(all, at(20)); got != 1 {
		t.Errorf("%d connections with a query due later than 20", got)
	}
}

func TestComplaints(t *testing.T) {
	const said = "pgbench (15.18)\npgbench: error: client 3 script 0 aborted in command 0 query 0: FATAL:  x\nserver closed the connection unexpectedly\n" +
		"pgbench: error: Run was aborted; the above results are incomplete.\n"
	if got := complaints(said); len(got) != 2 || !strings.Contains(got[0], "client 3") {
		t.Errorf("got %q", got)
	}
	if got := complaints("starting vacuum...\n"); got != nil {
		t.Errorf("got %q", got)
	}
}

func TestLoginsAreToldApart(t *testing.T) {
	reset := func(port int) error {
		return fmt.Errorf("connect: %w", &net.OpError{Op: "read", Source: &net.TCPAddr{Port: port}, Err: errors.New("reset")})
	}
	r := &stormReport{Refused: map[string]int{}, Failed: map[string]int{}}
	for _, err := range []error{nil, nil, fmt.Errorf("connect: %w", &pgconn.PgError{Code: "53300", Message: "full"}), reset(1), reset(2), io.ErrUnexpectedEOF} {
		r.add(err)
	}
	if r.Served != 2 || r.Refused["53300 full"] != 1 || r.Failed["read: reset"] != 2 || sum(r.Failed) != 3 {
		t.Errorf("got %+v", r)
	}
}

func TestWhatAStormMustNotDo(t *testing.T) {
	run := func(change func(*stormRun)) *stormRun {
		r := &stormRun{stormReport: &stormReport{Served: 1, Refused: map[string]int{"53300": 2}}, calm: measure.Quantiles{Number: 1}, storm: measure.Quantiles{Number: 1}}
		change(r)
		return r
	}
	for name, test := range map[string]struct {
		change     func(*stormRun)
		ours, bad  bool
		otherPlace stormPlace
	}{
		"refusals":                 {change: func(*stormRun) {}, ours: true},
		"a query's error":          {change: func(r *stormRun) { r.errors = []string{"x"} }, bad: true},
		"no query in calm":         {change: func(r *stormRun) { r.calm.Number = 0 }, bad: true},
		"no query in the storm":    {change: func(r *stormRun) { r.storm.Number = 0 }, bad: true},
		"nobody served":            {change: func(r *stormRun) { r.Served = 0 }, bad: true},
		"connects alone":           {change: func(r *stormRun) { r.Served = 0 }, otherPlace: atNobody},
		"a login that fails":       {change: func(r *stormRun) { r.Failed = map[string]int{"x": 1} }, ours: true, bad: true},
		"a login that fails there": {change: func(r *stormRun) { r.Failed = map[string]int{"x": 1} }},
	} {
		place := atPooler
		if test.otherPlace != "" {
			place = test.otherPlace
		}
		if err := run(test.change).judge(place, test.ours); (err != nil) != test.bad {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStorm is `bench storm` with a few logins.
func TestStorm(t *testing.T) {
	var out strings.Builder
	line := "storm -pgbouncer none -logins 50 -connections 4 -rates 0,2000 -rounds 1 -calm 1s -pool-size 3 -nice 5"
	if err := dispatch(t.Context(), strings.Fields(line), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		"## Queries without pause",
		"## Queries at 2000 a second",
		"| at the pooler of the queries | hybridbouncer | 50 | 0 | 0 |",
		"| at another process of it | hybridbouncer | 50 | 0 | 0 |",
		"| connects alone, accepted by nobody | hybridbouncer |",
		"connects alone: 50",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// TestStormClientsSayHowTheyAreToldNo lets the storm's process come to where nobody listens.
func TestStormClientsSayHowTheyAreToldNo(t *testing.T) {
	port, err := launch.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	to, err := wire.NewTarget("127.0.0.1", port, "postgres", "x", "postgres")
	if err != nil {
		t.Fatal(err)
	}
	report, err := stormAt(t.Context(), to, 3, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if sum(report.Failed) != 3 || report.Served != 0 || report.Ended.Before(report.Began) {
		t.Errorf("got %+v", report)
	}
	for words := range report.Failed {
		if !strings.Contains(words, "refused") {
			t.Errorf("told %q", words)
		}
	}
}
