package pgtest

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv("PGTEST_CHILD") != "" {
		childWithCluster()
		return
	}
	Main(m)
}

// childWithCluster is what this program does as a child of TestNothingSurvivesSIGKILL: it starts a cluster, says where, and waits
// to be killed.
func childWithCluster() {
	c, err := Start(testContext(), Options{})
	if err != nil {
		fmt.Fprintln(os.Stdout, "error", err)
		return
	}
	fmt.Fprintln(os.Stdout, "ready", c.PID(), c.Port, c.folder)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// recorder is a TB that notes what a helper would have told a test.
type recorder struct {
	mu       sync.Mutex
	messages []string
	cleanups []func()
}

func (r *recorder) Helper()                   { /* nothing to mark: it has no lines of its own */ }
func (r *recorder) Logf(string, ...any)       { /* logs are no failures */ }
func (r *recorder) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Failed() bool              { return r.text() != "" }
func (r *recorder) Fatalf(f string, a ...any) { r.Errorf(f, a...); runtime.Goexit() }

func (r *recorder) Errorf(f string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, fmt.Sprintf(f, a...))
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.messages, "\n")
}

// failure runs a helper in a test of its own and returns what it complained of; empty if it was content.
func failure(use func(TB)) string {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		use(r)
	}()
	<-done
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
	return r.text()
}

func wantFailure(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("expected a failure that says %q, got %q", part, text)
	}
}

func TestWaitForGivesUp(t *testing.T) {
	asked := 0
	text := failure(func(tb TB) {
		WaitFor(tb, 20*time.Millisecond, "pigs fly", func() bool { asked++; return false })
	})
	wantFailure(t, text, "pigs fly")
	if asked < 2 {
		t.Errorf("asked %d times", asked)
	}
}
