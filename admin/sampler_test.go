package admin

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hybridbouncer/hybridbouncer/admin/history"
	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// The sampler takes one sample in each second, whatever the moment at which it starts; one that cannot be had leaves a gap.
func TestSamplerEverySecond(t *testing.T) {
	for _, begin := range []time.Duration{0, 1, 499 * time.Millisecond, 500 * time.Millisecond, 999 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			<-time.After(begin)
			taken := 0
			snaps := &snapshots{take: func() stats.Snapshot {
				if taken++; taken == 50 {
					panic("a gap")
				}
				return busySnapshot()
			}}
			told := 0
			s := &sampler{snapshots: snaps, marks: map[string]time.Time{}, after: func() { told++ }}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { defer close(ended); s.run(ctx) }()
			<-time.After(100*time.Second + time.Second/2)
			synctest.Wait()
			cancel()
			<-ended
			seen := 0
			s.read(func(h *history.History) {
				past := h.Read(time.Hour, history.SecondsKept)
				for _, v := range past.Series[0].Values {
					if v == v {
						seen++
					}
				}
			})
			if seen < 99 || seen > 100 || told != seen || taken != seen+1 {
				t.Errorf("begun at %v: %d seconds have a sample, %d were told, %d taken; want 100 less one", begin, seen, told, taken)
			}
		})
	}
}

// A started endpoint samples by itself, and Close ends that.
func TestEndpointSamples(t *testing.T) {
	e := New(config.Admin{Listen: "127.0.0.1:0"}, &fakeSource{snapshot: busySnapshot}, slog.New(slog.DiscardHandler))
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a sample", func() bool {
		known := false
		e.sampler.read(func(h *history.History) { known = h != nil })
		return known
	})
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// A database that somebody made up adds no servers to its listener, as in /health/db.
func TestSampleOfMadeUpDatabase(t *testing.T) {
	snap := busySnapshot()
	snap.Pools = append(snap.Pools, stats.PoolSnapshot{Listener: "session", Database: "made_up", Size: 10, ServersOpening: 1, ClientsWaiting: 1})
	made := sampleOf(&snap).Pools[3]
	if made.Size != 0 || made.Waiting != 1 || sampleOf(&snap).Pools[0].Size != 25 {
		t.Errorf("%+v", made.Gauges)
	}
}
