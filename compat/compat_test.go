package compat

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/config/load"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/proxy"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// ports are the pooler's, as the table of expected differences calls them; deferring is a transaction port with defer_begin, of which the
// same is expected.
var ports = []string{"transaction", "session", deferring}

// pools makes every transaction of a client run on another server than the one before: what needs the same one must fail, or be made
// to work. The session port has room for all clients of a script, and for the promoted ones of the other.
var pools = map[string]string{
	"transaction": "default_pool_size = 3\nmin_pool_size = 3\nserver_round_robin = true\n",
	"session":     "default_pool_size = 6\nserver_round_robin = true\n",
}

// lanes is how many scripts are played at once, each in databases of its own: a script waits more than it computes.
const lanes = 2

// newLanes starts a pooler in front of PostgreSQL and makes databases for the targets of each lane: "direct" and the ports. version is
// PostgreSQL's major one.
func newLanes(t *testing.T, n int) (free chan map[string]Target, version int) {
	t.Helper()
	c := pgtest.Shared(t)
	rows, err := c.Query("select current_setting('server_version_num')::int / 10000")
	noError(t, err)
	version, err = strconv.Atoi(rows[0][0])
	noError(t, err)
	text := fmt.Sprintf("[server]\nhost = %q\nport = %d\napplication_name = \"\"\n[auth]\ntype = \"trust\"\n", c.Host, c.Port)
	for _, port := range ports {
		mode := strings.Replace(port, deferring, "transaction", 1)
		text += fmt.Sprintf("[[listener]]\nname = %q\nlisten = [\"127.0.0.1:0\"]\npool_mode = %q\n%s", port, mode, pools[mode])
	}
	text = strings.Replace(text, "name = \""+deferring+"\"\n", "name = \""+deferring+"\"\ndefer_begin = true\n", 1)
	path := filepath.Join(t.TempDir(), "config.toml")
	noError(t, os.WriteFile(path, []byte(text), 0o600))
	cfg, err := load.Config(path, nil)
	noError(t, err)
	p, err := proxy.New(cfg, slog.New(slog.NewTextHandler(poolerLog{t}, &slog.HandlerOptions{Level: slog.LevelError})))
	noError(t, err)
	noError(t, p.Start())
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	addresses := map[string]string{"direct": c.Address()}
	for _, port := range ports {
		addresses[port] = p.Addresses()[port][0]
	}
	free = make(chan map[string]Target, n)
	for lane := range n {
		targets := map[string]Target{}
		for name, address := range addresses {
			targets[name] = newTarget(t, c, fmt.Sprintf("compat_%d_%s", lane, name), address)
		}
		free <- targets
	}
	return free, version
}

// setupLimit is how long the setup of a script may wait for the locks of clients that are gone.
const setupLimit = 6 * playLimit

// newTarget makes a database. All are called alike in what clients see: nothing they are answered names it.
func newTarget(t *testing.T, c *pgtest.Cluster, database, address string) Target {
	t.Helper()
	noError(t, c.Exec("drop database if exists "+database+" with (force)"))
	noError(t, c.Exec("create database "+database))
	server, err := pgconn.Connect(t.Context(), c.DSN("postgres", database))
	noError(t, err)
	t.Cleanup(func() { _ = server.Close(context.WithoutCancel(t.Context())) })
	return Target{
		Address: address, Database: database,
		Exec: func(sql string) error {
			ctx, cancel := context.WithTimeout(t.Context(), setupLimit)
			defer cancel()
			_, err := server.Exec(ctx, sql).ReadAll()
			return err
		},
		Running: func(part string) (bool, error) {
			r := server.ExecParams(t.Context(), "select 1 from pg_stat_activity where datname = current_database() and state = 'active' and wait_event is not null "+
				"and pid <> pg_backend_pid() and query like '%' || $1 || '%'", [][]byte{[]byte(part)}, nil, nil, nil).Read()
			return len(r.Rows) > 0, r.Err
		},
	}
}

// poolerLog shows the pooler's errors with the test.
type poolerLog struct{ t *testing.T }

func (w poolerLog) Write(b []byte) (int, error) {
	w.t.Logf("pooler: %s", b)
	return len(b), nil
}

var _ io.Writer = poolerLog{}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var playPending = flag.Bool("pending", false, "also play the scripts of features that are still to be built")

// outcome is what became of one script on all targets.
type outcome struct {
	direct Transcript
	ports  map[string]Transcript // by port, and port + " byte by byte"
	err    error
}

// playAll plays a script on PostgreSQL and these ports at once; bytewise: there once more, byte by byte.
func playAll(script Script, targets map[string]Target, on []string, bytewise bool) outcome {
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := outcome{ports: map[string]Transcript{}}
	play := func(name string, target Target, bytewise bool) {
		tr, err := Play(script, target, bytewise)
		mu.Lock()
		defer mu.Unlock()
		if err != nil && out.err == nil {
			out.err = fmt.Errorf("%s: %w\n%s", name, err, tr)
		}
		if name == "direct" {
			out.direct = tr
		} else {
			out.ports[name] = tr
		}
	}
	wg.Go(func() { play("direct", targets["direct"], false) })
	for _, port := range on {
		wg.Go(func() {
			play(port, targets[port], false)
			if bytewise {
				play(port+" byte by byte", targets[port], true)
			}
		})
	}
	wg.Wait()
	return out
}

// TestScripts plays each script of testdata. `go test ./compat -run TestScripts/name -v` shows what PostgreSQL answers.
func TestScripts(t *testing.T) {
	scripts, err := Load("testdata")
	noError(t, err)
	if len(scripts) < 60 {
		t.Errorf("only %d scripts", len(scripts))
	}
	free, version := newLanes(t, lanes)
	for _, script := range scripts {
		t.Run(script.Name, func(t *testing.T) {
			t.Parallel()
			targets := <-free
			defer func() { free <- targets }()
			var on []string
			for _, port := range ports {
				if !expectedOf(script.Name, port, version).Pending || *playPending {
					on = append(on, port)
				}
			}
			start := time.Now()
			out := playAll(script, targets, on, true)
			noError(t, out.err)
			t.Logf("%v\n%s\n%s", time.Since(start).Round(time.Millisecond), script.About, out.direct)
			if len(script.About) < 20 {
				t.Error("the script does not say what it is for")
			}
			for name, transcript := range out.ports {
				port, _, _ := strings.Cut(name, " ")
				diff, expected := Diff(out.direct, transcript), expectedOf(script.Name, port, version)
				want := expected.Diff
				if !matches(diff, want) && !(expected.Sometimes && len(diff) == 0) {
					t.Errorf("%s differs from PostgreSQL:\n%s\nexpected to differ:\n%s\nit was answered:\n%s", name, strings.Join(diff, "\n"), strings.Join(want, "\n"), transcript)
				}
			}
		})
	}
}

// TestExpectedDifferences looks for entries that no script uses and for reasons that are missing.
func TestExpectedDifferences(t *testing.T) {
	for _, e := range ExpectedDifferences {
		if _, err := os.Stat(filepath.Join("testdata", e.Script+".txt")); err != nil {
			t.Errorf("%s: %v", e.Script, err)
		}
		if len(e.Why) < 20 || e.Pending != (len(e.Diff) == 0) || e.Port != "both" && !slices.Contains(ports, e.Port) {
			t.Errorf("%s on %s: an entry has a port, a reason and a difference", e.Script, e.Port)
		}
	}
}
