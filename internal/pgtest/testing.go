package pgtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// TB has the methods of *testing.T and *testing.B that this package needs. An interface, so that `hybridbouncer demo`, which starts its
// PostgreSQL here, does not link the testing package.
type TB interface {
	Helper()
	Cleanup(func())
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
}

// startLimit is how long a test waits for a cluster: a hundred times what it takes on an idle machine.
const startLimit = time.Minute

// New is Start for a test: the cluster stops with the test, and a test that failed shows the end of the server's log.
func New(t TB, o Options) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	c, err := Start(ctx, o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("PostgreSQL's log ends with:\n%s", tail(c.Log()))
		}
		if err := c.Stop(true); err != nil {
			t.Errorf("stop PostgreSQL: %v", err)
		}
	})
	return c
}

// shared is the cluster of Shared.
var shared struct {
	mu      sync.Mutex
	cluster *Cluster
}

// Shared is one cluster with default Options for all tests of a package, started at the first call and stopped by Main. For tests
// that neither stop it nor change its settings; a test makes tables and roles under names of its own.
func Shared(t TB) *Cluster {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.cluster == nil {
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		c, err := Start(ctx, Options{})
		if err != nil {
			t.Fatalf("%v", err)
		}
		shared.cluster = c
	}
	return shared.cluster
}

// WaitFor returns once condition is true, asking every few milliseconds; after limit it fails the test, saying what it was that did
// not come about. Tests call it instead of sleeping.
func WaitFor(t TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	if !poll(limit, condition) {
		t.Fatalf("after %v still not true: %s", limit, what)
	}
}

// poll asks until condition is true, and says whether it became so within limit.
func poll(limit time.Duration, condition func() bool) bool {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !condition(); {
		if (<-tick.C).After(deadline) {
			return condition()
		}
	}
	return true
}

// Main runs a package's tests and exits: TestMain of every package that opens sockets or starts goroutines is
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
// Tests that passed still fail as a whole when they left a goroutine, a file descriptor or a PostgreSQL behind.
func Main(m interface{ Run() int }) {
	os.Exit(runTests(m.Run))
}

// runTests is Main without the exit, so that it can be tested.
func runTests(run func() int) int {
	before := openFiles()
	code := run()
	shared.mu.Lock()
	if shared.cluster != nil {
		if err := shared.cluster.Stop(true); err != nil {
			fmt.Fprintln(os.Stderr, "stop the shared PostgreSQL:", err)
			code = max(code, 1)
		}
		shared.cluster = nil
	}
	shared.mu.Unlock()
	if err := stillRunning(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	if err := Cleanup(); err != nil {
		fmt.Fprintln(os.Stderr, "clean up after PostgreSQL:", err)
		code = max(code, 1)
	}
	if code != 0 {
		return code // a failed test's leftovers would only hide why it failed
	}
	if err := leaks(before); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
