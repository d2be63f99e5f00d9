package admin

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

var rewrite = flag.Bool("rewrite", false, "write docs/metrics.md and the golden files from what the code gives")

// golden compares with a file, or writes it.
func golden(t *testing.T, path, have string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(path, []byte(have), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if have != string(want) {
		t.Errorf("%s is not what the code gives (go test ./admin -rewrite, then read the diff):\n%s", path, have)
	}
}

// busySnapshot is the example of DESIGN section 9: 18 of 25 on the transactional listener; and a session listener with two pools, one
// of which is in need.
func busySnapshot() stats.Snapshot {
	s := stats.Snapshot{
		ServerReachable: true, Logins: 1100, Cancels: 5, CancelsForwarded: 4, Panics: 1,
		Refusals: map[string]uint64{"28P01": 3, "gone": 2},
		Loops:    []stats.LoopSnapshot{{Index: 0, Connections: 1078, BusyTotal: 90 * time.Second}, {Index: 1}},
		Listeners: []stats.ListenerSnapshot{
			{Name: "transactional", PoolMode: "transaction", Addresses: []string{"127.0.0.1:6432"}, MaxClientConn: 1000, Clients: 1000, Size: 25, SessionListener: "session", Refusals: map[string]uint64{"28P01": 3, "gone": 1}},
			{Name: "session", PoolMode: "session", Addresses: []string{"127.0.0.1:6433"}, MaxClientConn: 100, Clients: 27, Size: 10, Refusals: map[string]uint64{"gone": 1}},
		},
		Pools: []stats.PoolSnapshot{
			{
				Listener: "transactional", Database: "app", User: "web", PoolMode: "transaction", Size: 25, ReserveSize: 5,
				ClientsIdle: 982, ClientsActive: 18, ServersIdle: 7, ServersActive: 16, ServersTested: 1, ServersBeingCanceled: 1,
				OldestTransaction: 41 * time.Second, Transactions: 123456, Queries: 234567, ReceivedBytes: 1 << 30, SentBytes: 1 << 33,
				ErrorsByClass: map[string]uint64{"23": 9}, ServerConnects: 30, ServerFailures: 2,
				ServerCloses: map[string]uint64{"lifetime": 5}, Promotions: map[string]uint64{"long_transaction": 2}, ClientCloses: map[string]uint64{"left": 70, "gone": 3},
			},
			{
				Listener: "session", Database: "app", User: "jobs", PoolMode: "session", Size: 10, ReserveSize: 2,
				ClientsActive: 11, ClientsWaiting: 6, ServersActive: 11, ServersOpening: 1, MaxWait: 5001 * time.Millisecond,
			},
			{Listener: "session", Database: "app", User: "reports", PoolMode: "session", Size: 10, ReserveSize: 2, ServersIdle: 3},
		},
		Applications: busyApplications(),
	}
	for _, d := range []time.Duration{0, 100 * time.Microsecond, 100*time.Microsecond + 1, 41 * time.Millisecond, time.Hour} {
		s.Pools[0].WaitTime.Observe(d)
		s.Pools[0].TransactTime.Observe(d)
		s.Pools[0].QueryTime.Observe(d)
	}
	return s
}

func TestHealthGolden(t *testing.T) {
	s := start(t, busySnapshot())
	status, _, body := s.get("/health/db")
	if status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	golden(t, filepath.Join("testdata", "health.json"), body)
}

// The shape of DESIGN section 9, as someone who wrote a client against it reads it.
func TestHealthShape(t *testing.T) {
	snap := busySnapshot()
	body, err := appendHealth(&snap)
	if err != nil {
		t.Fatal(err)
	}
	var have map[string]map[string]any
	if err := json.Unmarshal(body, &have); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"size": 25.0, "checked_out": 18.0, "utilization": 72.0, "overflow": 0.0, "waiting": 0.0, "max_wait_seconds": 0.0, "level": "ok",
	}
	for key, value := range want {
		if !reflect.DeepEqual(have["transactional"][key], value) {
			t.Errorf("transactional.%s is %v, want %v", key, have["transactional"][key], value)
		}
	}
	text := string(body)
	if at := strings.Index(text, `"transactional"`); at < 0 || at > strings.Index(text, `"session"`) {
		t.Error("the listeners are not in their order")
	}
	const example = `"transactional": {"size":25,"checked_out":18,"utilization":72.0,"overflow":0,"waiting":0,"max_wait_seconds":0,"level":"ok"`
	if !strings.Contains(text, example) {
		t.Errorf("not as DESIGN section 9 writes it: %s", text)
	}
}

// one is a Snapshot with one listener and one pool.
func one(p stats.PoolSnapshot) stats.Snapshot {
	p.Listener = "l"
	return stats.Snapshot{
		ServerReachable: true, Listeners: []stats.ListenerSnapshot{{Name: "l", Size: 25}}, Pools: []stats.PoolSnapshot{p},
	}
}

func TestLevels(t *testing.T) {
	const wait = emergencyWait
	away := func(s *stats.Snapshot) { s.ServerReachable = false }
	for _, c := range []struct {
		name   string
		pool   stats.PoolSnapshot
		change func(*stats.Snapshot)
		want   level
	}{
		{"nothing", stats.PoolSnapshot{Size: 100}, nil, levelOK},
		{"75 %", stats.PoolSnapshot{Size: 100, ServersActive: 75}, nil, levelOK},
		{"75 % of 4", stats.PoolSnapshot{Size: 4, ServersActive: 3}, nil, levelOK},
		{"76 %", stats.PoolSnapshot{Size: 100, ServersActive: 76}, nil, levelWarning},
		{"75.1 %", stats.PoolSnapshot{Size: 1000, ServersActive: 751}, nil, levelWarning},
		{"90 %", stats.PoolSnapshot{Size: 100, ServersActive: 90}, nil, levelWarning},
		{"90 % of 10", stats.PoolSnapshot{Size: 10, ServersActive: 9}, nil, levelWarning},
		{"91 %", stats.PoolSnapshot{Size: 100, ServersActive: 91}, nil, levelCritical},
		{"90.1 %", stats.PoolSnapshot{Size: 1000, ServersActive: 901}, nil, levelCritical},
		{"all", stats.PoolSnapshot{Size: 25, ServersActive: 25}, nil, levelCritical},
		{"tested and being cancelled count", stats.PoolSnapshot{Size: 4, ServersActive: 2, ServersTested: 1, ServersBeingCanceled: 1}, nil, levelCritical},
		{"idle, opening and closing do not", stats.PoolSnapshot{Size: 4, ServersIdle: 2, ServersOpening: 1, ServersClosing: 1}, nil, levelOK},

		{"reserve used up, wait of 5 s", stats.PoolSnapshot{Size: 10, ReserveSize: 2, ServersActive: 12, MaxWait: wait}, nil, levelCritical},
		{"reserve used up, longer wait", stats.PoolSnapshot{Size: 10, ReserveSize: 2, ServersActive: 12, MaxWait: wait + 1}, nil, levelEmergency},
		{"one of the reserve left", stats.PoolSnapshot{Size: 10, ReserveSize: 2, ServersActive: 11, MaxWait: wait + 1}, nil, levelCritical},
		{"the last one is being opened", stats.PoolSnapshot{Size: 10, ReserveSize: 2, ServersActive: 11, ServersOpening: 1, MaxWait: wait + 1}, nil, levelEmergency},
		{"no reserve configured", stats.PoolSnapshot{Size: 10, ServersActive: 10, MaxWait: wait + 1}, nil, levelEmergency},
		{"no reserve configured, one left", stats.PoolSnapshot{Size: 10, ServersActive: 9, MaxWait: wait + 1}, nil, levelWarning},

		{"PostgreSQL away, nobody waits", stats.PoolSnapshot{Size: 10}, away, levelCritical},
		{"PostgreSQL away, wait of 5 s", stats.PoolSnapshot{Size: 10, MaxWait: wait}, away, levelCritical},
		{"PostgreSQL away, no pool", stats.PoolSnapshot{Listener: "m"}, away, levelCritical},
		{"away for one pool", stats.PoolSnapshot{Size: 10, ServerConnects: 1, Unreachable: true}, nil, levelCritical},
		{"away for one pool, long wait", stats.PoolSnapshot{Size: 10, ServerConnects: 1, Unreachable: true, MaxWait: wait + 1}, nil, levelEmergency},
		{"full pool beside a large idle one", stats.PoolSnapshot{Size: 100, ServerConnects: 1}, func(s *stats.Snapshot) {
			s.Pools = append(s.Pools, stats.PoolSnapshot{Listener: "l", Size: 5, ServerConnects: 5, ServersActive: 5})
		}, levelCritical},
		{"PostgreSQL away, longer wait", stats.PoolSnapshot{Size: 10, MaxWait: wait + 1}, away, levelEmergency},

		{"need in one pool is not hidden by another", stats.PoolSnapshot{Size: 10, ServersActive: 10, MaxWait: wait + 1}, func(s *stats.Snapshot) {
			s.Pools = append(s.Pools, stats.PoolSnapshot{Listener: "l", Size: 90, ReserveSize: 9})
		}, levelEmergency},
		{"wait in one pool, full reserve in another", stats.PoolSnapshot{Size: 10, ReserveSize: 1, MaxWait: wait + 1, ServersIdle: 1}, func(s *stats.Snapshot) {
			s.Pools = append(s.Pools, stats.PoolSnapshot{Listener: "l", Size: 1, ReserveSize: 1, ServersActive: 2})
		}, levelCritical},
		{"databases that somebody made up add no size", stats.PoolSnapshot{Size: 10, ServersActive: 10}, func(s *stats.Snapshot) {
			for range 20 {
				s.Pools = append(s.Pools, stats.PoolSnapshot{Listener: "l", Size: 10, ServersOpening: 1, ClientsWaiting: 1})
			}
		}, levelCritical},
		{"the pools of other listeners do not count", stats.PoolSnapshot{Size: 10}, func(s *stats.Snapshot) {
			s.Pools = append(s.Pools, stats.PoolSnapshot{Listener: "m", Size: 1, ServersActive: 9, MaxWait: time.Hour})
		}, levelOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			snap := one(c.pool)
			if c.change != nil {
				c.change(&snap)
			}
			if h := healthOf(&snap)[0]; h.Level != c.want {
				t.Errorf("%s, want %s: %+v", h.Level, c.want, h.usage)
			}
		})
	}
}

func TestUtilization(t *testing.T) {
	for _, c := range []struct {
		pool     stats.PoolSnapshot
		percent  float64
		overflow int
	}{
		{stats.PoolSnapshot{Size: 25, ServersActive: 18, ServersIdle: 7}, 72, 0},
		{stats.PoolSnapshot{Size: 25, ServersActive: 25, ServersIdle: 1}, 100, 1},
		{stats.PoolSnapshot{Size: 25, ServersActive: 30}, 120, 5},
		{stats.PoolSnapshot{Size: 1, ServersActive: 10}, 1000, 9},
		{stats.PoolSnapshot{Size: 1, ServersActive: 25}, 1000, 24},
		{stats.PoolSnapshot{}, 0, 0},
		{stats.PoolSnapshot{ServersActive: 1}, 1000, 1},
	} {
		if u := usageOf(&c.pool); u.percent() != c.percent || u.overflow != c.overflow {
			t.Errorf("%+v: %v %%, overflow %d; want %v %%, %d", u, u.percent(), u.overflow, c.percent, c.overflow)
		}
	}
}

// Size is the configured one until the first pool exists; then the pools' own, summed. Overflow of one pool is not set off against
// what another has left.
func TestSizeOfListener(t *testing.T) {
	snap := one(stats.PoolSnapshot{})
	snap.Pools = nil
	if h := healthOf(&snap)[0]; h.size != 25 || h.percent() != 0 {
		t.Errorf("no pool yet: %+v, want size 25", h.usage)
	}
	snap = one(stats.PoolSnapshot{Size: 3, ReserveSize: 5, ServersActive: 5, ClientsWaiting: 2, MaxWait: time.Second})
	snap.Pools = append(snap.Pools, stats.PoolSnapshot{Listener: "l", Size: 7, ServersIdle: 1, ClientsWaiting: 1, MaxWait: 2 * time.Second})
	want := usage{size: 10, checkedOut: 5, overflow: 2, waiting: 3, maxWait: 2 * time.Second}
	if h := healthOf(&snap)[0]; h.usage != want {
		t.Errorf("%+v, want %+v", h.usage, want)
	}
}

func TestProbes(t *testing.T) {
	for _, c := range []struct {
		name          string
		change        func(*stats.Snapshot)
		alive, ready  int
		readyText     string
		metricsStatus int
	}{
		{"well", func(*stats.Snapshot) {}, 200, 200, "ready\n", 200},
		{"draining", func(s *stats.Snapshot) { s.Draining = true }, 200, 503, "not ready: draining: the process is about to end and accepts no new clients\n", 200},
		{"PostgreSQL away", func(s *stats.Snapshot) {
			s.ServerReachable, s.ServerError = false, "dial tcp 10.0.0.5:5432: connect: connection refused"
		}, 200, 503, "not ready: PostgreSQL is unreachable: dial tcp 10.0.0.5:5432: connect: connection refused\n", 200},
		{"PostgreSQL away, no text", func(s *stats.Snapshot) { s.ServerReachable = false }, 200, 503, "not ready: PostgreSQL is unreachable\n", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			snap := busySnapshot()
			c.change(&snap)
			s := start(t, snap)
			if status, _, body := s.get("/healthz"); status != c.alive || body != "ok\n" {
				t.Errorf("/healthz: %d %q", status, body)
			}
			if status, _, body := s.get("/readyz"); status != c.ready || body != c.readyText {
				t.Errorf("/readyz: %d %q, want %d %q", status, body, c.ready, c.readyText)
			}
			if status, _, _ := s.get("/metrics"); status != c.metricsStatus {
				t.Errorf("/metrics: %d, want %d: it stays up while the process drains", status, c.metricsStatus)
			}
		})
	}
}

// TestAliveWithoutLoops: /healthz needs no answer of the loops. It fails when one has not come round for longer than any load explains.
func TestAliveWithoutLoops(t *testing.T) {
	s := start(t, busySnapshot())
	s.source.set(func() stats.Snapshot { t.Error("a Snapshot was taken"); return stats.Snapshot{} })
	for stuck, want := range map[time.Duration]int{0: 200, stuckMax: 200, stuckMax + time.Second: 503} {
		s.source.stuck.Store(int64(stuck))
		if status, _, body := s.get("/healthz"); status != want {
			t.Errorf("stuck for %s: %d %s", stuck, status, body)
		}
	}
}

// A listener's name may be anything that TOML can write.
func TestHealthNamesAreQuoted(t *testing.T) {
	names := []string{`a"b\`, "</script>", "ü", "zeile\n"}
	var snap stats.Snapshot
	for _, name := range names {
		snap.Listeners = append(snap.Listeners, stats.ListenerSnapshot{Name: name})
	}
	body, err := appendHealth(&snap)
	if err != nil {
		t.Fatal(err)
	}
	var have map[string]healthJSON
	if err := json.Unmarshal(body, &have); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, name := range names {
		if _, ok := have[name]; !ok {
			t.Errorf("no key %q", name)
		}
	}
	empty, err := appendHealth(&stats.Snapshot{})
	if err != nil || !json.Valid(empty) || !slices.Equal([]byte("{\n}\n"), empty) {
		t.Errorf("without listeners: %q, %v", empty, err)
	}
}
