package admin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

func TestSnapshotIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := 0
		s := snapshots{take: func() stats.Snapshot {
			taken++
			<-time.After(answerMax / 2) // by the clock of the bubble
			return stats.Snapshot{Logins: 7}
		}}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if snap, err := s.get(context.Background()); err != nil || snap.Logins != 7 {
					t.Errorf("%v, %v", snap, err)
				}
			})
		}
		all.Wait()
		if taken != 1 {
			t.Errorf("20 askers at once took %d snapshots, want 1", taken)
		}
		if _, err := s.get(context.Background()); err != nil || taken != 2 {
			t.Errorf("an asker afterwards: %v, %d snapshots in all, want a new one", err, taken)
		}
	})
}

// A Snapshot that took too long may have a loop missing: nobody gets it, however late he came.
func TestLateSnapshotIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := snapshots{take: func() stats.Snapshot { <-release; return stats.Snapshot{} }}
		begun := time.Now()
		if _, err := s.get(context.Background()); !errors.Is(err, errLoops) || time.Since(begun) != answerMax {
			t.Errorf("first asker: %v after %s, want %v after %s", err, time.Since(begun), errLoops, answerMax)
		}
		begun = time.Now()
		if _, err := s.get(context.Background()); !errors.Is(err, errLoops) || time.Since(begun) != 0 {
			t.Errorf("second asker: %v after %s, want %v at once", err, time.Since(begun), errLoops)
		}
		if s.wait(time.Second) {
			t.Error("wait says that nothing is under way")
		}
		late := s.current
		close(release)
		synctest.Wait()
		if !s.wait(0) {
			t.Error("wait says that a snapshot is still under way")
		}
		if s.current != nil {
			t.Error("the flight that ended is still the current one")
		}
		if late.snap != nil || !errors.Is(late.err, errLoops) {
			t.Errorf("whoever still waited got %v, %v; want %v", late.snap, late.err, errLoops)
		}
	})
}

func TestAskerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := snapshots{take: func() stats.Snapshot { <-release; return stats.Snapshot{} }}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := s.get(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want %v", err, context.Canceled)
		}
		close(release)
	})
}

// The event loops hang: every view says so, and none hangs with them.
func TestLoopsDoNotAnswer(t *testing.T) {
	s := start(t, busySnapshot())
	release := make(chan struct{})
	s.source.set(func() stats.Snapshot { <-release; return busySnapshot() })
	for _, path := range []string{"/readyz", "/health/db", "/metrics", "/api/v1/overview", "/api/v1/stream"} {
		status, _, body := s.get(path)
		if status != http.StatusServiceUnavailable || body != errLoops.Error()+"\n" {
			t.Errorf("%s: %d %q, want 503 %q", path, status, body, errLoops)
		}
	}
	if n := s.source.count(); n != 1 {
		t.Errorf("%d snapshots under way, want 1", n)
	}
	close(release)
}

// A panic in the Source ends neither the process nor the endpoint, and its text is for the log alone.
func TestSourcePanics(t *testing.T) {
	s := start(t, busySnapshot())
	s.source.set(func() stats.Snapshot { panic("hunter2") })
	for _, path := range []string{"/readyz", "/metrics", "/api/v1/overview"} {
		status, _, body := s.get(path)
		if status != http.StatusServiceUnavailable || strings.Contains(body, "hunter2") || !strings.Contains(body, "see the log") {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	if log := s.logged.String(); !strings.Contains(log, "hunter2") || !strings.Contains(log, "path=/metrics") {
		t.Errorf("the log does not tell of the panic: %s", log)
	}
	s.source.set(busySnapshot)
	if status, _, _ := s.get("/readyz"); status != http.StatusOK {
		t.Errorf("afterwards: %d", status)
	}
}
