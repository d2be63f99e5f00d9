package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == stormClients { // this program, started once more
		main()
		return
	}
	code := m.Run()
	if err := pgtest.Cleanup(); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

const healthBody = `{"transactional": {"size": 25, "checked_out": 18, "utilization": 72.0, "overflow": 0, "waiting": 0, "max_wait_seconds": 0, "level": "ok", "more": 1},
 "session": {"size": 10, "checked_out": 10, "utilization": 100, "overflow": 0, "waiting": 3, "max_wait_seconds": 1.5, "level": "critical"}}`

func TestHealthIsRead(t *testing.T) {
	answer, status := healthBody, http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	report, err := askHealth(t.Context(), server.Client(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	seen := newTally()
	seen.noteHealth(report)
	if session := seen.health["session"]; levels[session.worst] != "critical" || session.waiting != 3 || session.maxWait != 1.5 {
		t.Errorf("got %+v", session)
	}
	for _, bad := range []string{"", "[]", strings.Replace(healthBody, `"size": 25,`, "", 1), strings.Replace(healthBody, `"ok"`, `"fine"`, 1)} {
		answer = bad
		if _, err := askHealth(t.Context(), server.Client(), server.URL); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	answer, status = healthBody, http.StatusNotFound
	if _, err := askHealth(t.Context(), server.Client(), server.URL); err == nil {
		t.Error("404 was accepted")
	}
}

// good is a tally that meets every expectation.
func good(t *testing.T) *tally {
	t.Helper()
	seen := newTally()
	report, err := parseHealth([]byte(healthBody))
	if err != nil {
		t.Fatal(err)
	}
	seen.noteHealth(report)
	seen.streamQuery(time.Millisecond, true, true)
	seen.workerStatement(true)
	seen.job()
	seen.servers("35")
	return seen
}

func TestEachUnmetExpectationFailsTheScenario(t *testing.T) {
	run := func(seen *tally) error {
		s := &scenario{poolSize: 25, sessionSize: 10, workers: 1, tally: seen}
		return s.judge(io.Discard, &launch.Pooler{Health: "watched"})
	}
	if err := run(good(t)); err != nil {
		t.Fatal("nothing is wrong, yet:", err)
	}
	spoil := map[string]func(*tally){
		"a stream's error":          func(y *tally) { y.fail("stream", errors.New("x")) },
		"a worker's error":          func(y *tally) { y.fail("worker", errors.New("x")) },
		"an observer's error":       func(y *tally) { y.fail("observer", errors.New("x")) },
		"health unreachable":        func(y *tally) { y.fail("health", errors.New("x")) },
		"another client's answer":   func(y *tally) { y.streamQuery(0, false, false) },
		"a tenant at a stream":      func(y *tally) { y.streamQuery(0, true, false) },
		"a torn transaction":        func(y *tally) { y.streamTransaction(false) },
		"a worker's other tenant":   func(y *tally) { y.workerStatement(false) },
		"a server too many":         func(y *tally) { y.servers("36") },
		"an unreadable count":       func(y *tally) { y.servers("x") },
		"no server at all":          func(y *tally) { y.serversMax = 0 },
		"no query":                  func(y *tally) { y.streamQueries = 0 },
		"no job":                    func(y *tally) { y.jobs = 0 },
		"no poll":                   func(y *tally) { y.healthPolls = 0 },
		"session port not reported": func(y *tally) { delete(y.health, "session") },
		"exhaustion": func(y *tally) {
			y.health["transactional"] = healthSeen{seen: true, worst: levelEmergency}
		},
	}
	for name, change := range spoil {
		seen := good(t)
		change(seen)
		if run(seen) == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for _, line := range []string{
		"nonsense",
		"sidebyside -duration 1500ms",
		"sidebyside -clients many",
		"sidebyside -pgbouncer none -hybridbouncer none",
		"sidebyside -pgbouncer none -hybridbouncer none -server 127.0.0.1:1 -pooler x=y",
		"sidebyside -pgbouncer none -hybridbouncer none -pooler x=1:1",
		"scenario -streams 0",
		"idle -clients 5 -ask 6",
		"memory -query 2000000000",
		"storm -logins 0",
		"storm -connections 100 -rates 0,99",
		"storm -rates many",
		"storm -nice 20",
		"storm -pgbouncer none -hybridbouncer none",
		"storm-clients",
		"storm-clients many",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := dispatch(ctx, strings.Fields(line), io.Discard); err == nil {
			t.Errorf("bench %s: no error", line)
		}
		cancel()
	}
}
