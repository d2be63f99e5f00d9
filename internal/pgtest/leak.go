package pgtest

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"go.uber.org/goleak"
)

// settleLimit is how long goroutines and descriptors may take to go after the last test: closing is asynchronous in places.
const settleLimit = 3 * time.Second

// openFiles lists the open files of this process: the file or socket behind each descriptor, by its number ("socket:[1234]", a path); nil where the
// system does not tell.
func openFiles() map[string]string {
	// The runtime opens its epoll or kqueue descriptors with the first pipe, and keeps them: they must not count as leaked.
	if r, w, err := os.Pipe(); err == nil {
		_ = r.Close()
		_ = w.Close()
	}
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		files := make(map[string]string, len(entries))
		for _, e := range entries {
			target, err := os.Readlink(dir + "/" + e.Name())
			if err != nil && dir == "/proc/self/fd" {
				continue // the descriptor by which the folder itself was read
			}
			files[e.Name()] = target
		}
		return files
	}
	return nil
}

// leaks compares with the descriptors open before, and looks for goroutines that are neither the runtime's nor the tests'.
func leaks(before map[string]string) error {
	goroutines := goleak.Find()
	if goroutines != nil {
		goroutines = fmt.Errorf("the tests left goroutines behind: %w", goroutines)
	}
	return errors.Join(goroutines, settledFiles(before))
}

// settledFiles is leakedFiles once closing had its time.
func settledFiles(before map[string]string) error {
	var err error
	poll(settleLimit, func() bool {
		err = leakedFiles(before, openFiles())
		return err == nil
	})
	return err
}

// leakedFiles names the descriptors of after that before did not have; nil if there are none.
func leakedFiles(before, after map[string]string) error {
	var left []string
	for fd, target := range after {
		if before[fd] != target {
			left = append(left, fd+" -> "+target)
		}
	}
	if len(left) == 0 {
		return nil
	}
	sort.Strings(left)
	return fmt.Errorf("the tests left %d file descriptors open: %s", len(left), strings.Join(left, ", "))
}

// CheckLeaks fails the test if, at its end, goroutines or descriptors are left that were not there at the call. Call it first, so
// that its check runs after the test's other cleanups. Not for parallel tests: it would see theirs.
func CheckLeaks(t TB) {
	t.Helper()
	before, goroutines := openFiles(), goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		if err := goleak.Find(goroutines); err != nil {
			t.Errorf("the test left goroutines behind: %v", err)
		}
		if err := settledFiles(before); err != nil {
			t.Errorf("%v", err)
		}
	})
}
