package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/admin/history"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// quietSnapshot needs no attention.
func quietSnapshot() stats.Snapshot {
	s := busySnapshot()
	s.Applications, s.Panics = nil, 0
	s.Listeners[0].Clients = 40
	s.Pools[1].ServersActive, s.Pools[1].ClientsWaiting, s.Pools[1].MaxWait = 1, 0, 0
	s.Pools[1].ServersOpening = 0
	return s
}

// Each trouble has its sentence, with the numbers, and makes the verdict; without trouble there is none.
func TestAttention(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(i int, snap *stats.Snapshot) // in each of 600 seconds
		level  string
		want   string // part of a sentence; empty: nothing needs attention
	}{
		{"quiet", func(int, *stats.Snapshot) {}, "ok", ""},
		{"busy for long, and waits", func(i int, snap *stats.Snapshot) {
			p := &snap.Pools[0]
			p.ServersActive, p.ServersTested, p.ServersBeingCanceled, p.ServersIdle, p.ClientsWaiting = 23, 0, 0, 2, 0
			for range 100 {
				p.WaitTime.Observe(time.Millisecond)
			}
			if i%10 == 0 {
				p.ServersActive, p.ServersIdle, p.ClientsWaiting = 25, 0, 1
				for range 20 {
					p.WaitTime.Observe(400 * time.Millisecond)
				}
			}
		}, "critical", "transactional had 23 of 25 servers lent on average over 10 min, and all of them for 10 % of the time; 99 of 100 clients waited at most 386ms. 26 would have sufficed for 99 of 100 seconds"},
		{"full all the time", func(_ int, snap *stats.Snapshot) {
			p := &snap.Pools[0]
			p.ServersActive, p.ServersTested, p.ServersBeingCanceled, p.ClientsWaiting = 25, 0, 0, 15
			p.WaitTime.Observe(2 * time.Second)
		}, "critical", "At its peak 40 clients wanted a server at once"},
		{"nearly full, nobody waits", func(_ int, snap *stats.Snapshot) {
			p := &snap.Pools[0]
			p.ServersActive, p.ServersTested, p.ServersBeingCanceled = 23, 0, 0
		}, "critical", "25 suffice so far, with nothing to spare."},
		{"waits for servers that are being opened", func(_ int, snap *stats.Snapshot) {
			snap.Pools[0].ServersActive = 4
			snap.Pools[0].WaitTime.Observe(300 * time.Millisecond)
		}, "ok", ""},
		{"a rush that no pool is made for", func(i int, snap *stats.Snapshot) {
			p := &snap.Pools[0]
			p.ServersActive, p.ServersTested, p.ServersBeingCanceled, p.ClientsWaiting = 10, 0, 0, 0
			if i%10 == 9 {
				p.ServersActive, p.ClientsWaiting = 25, 900
				p.WaitTime.Observe(time.Second)
			}
		}, "critical", "At its peak 925 clients wanted a server at once"},
		{"just now", func(i int, snap *stats.Snapshot) {
			snap.Pools[0].ServersActive = 16
			if i == 599 {
				snap.Pools[0].ServersActive = 19
			}
		}, "warning", "transactional has 21 of 25 servers lent; nobody waits."},
		{"unreachable", func(_ int, snap *stats.Snapshot) {
			snap.ServerReachable, snap.ServerError = false, "connection refused"
		}, "emergency", "PostgreSQL cannot be reached: connection refused."},
		{"draining", func(_ int, snap *stats.Snapshot) { snap.Draining = true }, "warning", "about to end"},
		{"panics", func(_ int, snap *stats.Snapshot) { snap.Panics = 2 }, "warning", "2 panics contained"},
		{"reserve", func(_ int, snap *stats.Snapshot) { snap.Pools[0].ServersIdle = 11 }, "warning", "transactional uses its reserve: 4 servers open above"},
		{"clients", func(_ int, snap *stats.Snapshot) { snap.Listeners[0].Clients = 901 }, "warning", "901 of at most 1000 clients"},
		{"long transaction", func(_ int, snap *stats.Snapshot) { snap.Pools[0].OldestTransaction = 12 * time.Minute }, "warning", "A transaction of pool app/web of transactional has been open for 12m0s"},
		{"dials fail", func(_ int, snap *stats.Snapshot) { snap.Pools[0].ServerFailures++ }, "warning", "60 attempts failed in the last minute"},
		{"loop", func(i int, snap *stats.Snapshot) {
			snap.Loops = []stats.LoopSnapshot{{BusyTotal: time.Duration(i) * 950 * time.Millisecond}}
		}, "warning", "95 % of a CPU core"},
		{"advice", func(_ int, snap *stats.Snapshot) { snap.Applications = busyApplications() }, "ok", "Move \"embedder\" to the session listener"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, quietSnapshot())
			last := quietSnapshot()
			s.remember(func(i int, snap *stats.Snapshot) {
				snap.Listeners = append([]stats.ListenerSnapshot{}, snap.Listeners...)
				c.change(i, snap)
				last = *snap
			})
			var list []attention
			s.sampler.read(func(h *history.History) { list = attentionOf(&last, h) })
			said := verdictOf(&last, list)
			if said.Level != c.level {
				t.Errorf("level %s, want %s: %s %q", said.Level, c.level, said.Sentence, list)
			}
			if well := strings.HasPrefix(said.Sentence, "All is well. "); well != (c.level == "ok") {
				t.Errorf("the sentence is %q", said.Sentence)
			}
			if c.want == "" {
				if len(list) > 0 {
					t.Errorf("needs attention: %q", list)
				}
				return
			}
			for _, a := range list {
				if strings.Contains(a.Text, c.want) {
					return
				}
			}
			t.Errorf("nothing says %q: %q", c.want, list)
		})
	}
}
