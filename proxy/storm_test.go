package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// stormLimit ends a client of a storm that hangs.
const stormLimit = 30 * time.Second

// open is a driver's login.
func open(ctx context.Context, address, user string) (*pgconn.PgConn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return pgconn.Connect(ctx, fmt.Sprintf("host=%s port=%s user=%s dbname=postgres sslmode=disable", host, port, user))
}

// settled waits until the pooler has come to rest: no client, nobody waiting, no server but idle ones, and those PostgreSQL knows.
func (p *pooler) settled(t *testing.T) {
	t.Helper()
	for _, l := range p.Snapshot().Listeners {
		waitFor(t, "the last client of "+l.Name+" to be gone", func() bool {
			for _, now := range p.Snapshot().Listeners {
				if now.Name == l.Name {
					return now.Clients == 0
				}
			}
			return false
		})
	}
	for i := range p.Snapshot().Pools {
		waitFor(t, "the servers to come to rest", func() bool {
			s := p.Snapshot().Pools[i]
			return s.ClientsIdle+s.ClientsActive+s.ClientsWaiting+s.ServersOpening+s.ServersActive+s.ServersTested+s.ServersBeingCanceled+s.ServersClosing == 0
		})
		s := p.Snapshot().Pools[i]
		closed := uint64(0)
		for _, n := range s.ServerCloses {
			closed += n
		}
		if s.ServerConnects != closed+uint64(s.ServersIdle) {
			t.Errorf("%s: %d servers opened, %d closed, %d idle", s.Listener, s.ServerConnects, closed, s.ServersIdle)
		}
	}
	if err := p.Verify(); err != nil {
		t.Error(err)
	}
	if n := p.Snapshot().Panics; n != 0 {
		t.Errorf("%d panics", n)
	}
}

// TestTerminatedAtRandom: servers are killed at random under load. Clients hear of it in PostgreSQL's words and are closed, or notice
// nothing; there are never more servers than the pool may have; and afterwards all is as before.
func TestTerminatedAtRandom(t *testing.T) {
	const clients, size, reserve = 24, 4, 2
	c := pgtest.Shared(t)
	if err := c.Exec("create role storm login; create table storm (n int); insert into storm values (0); grant all on storm to storm"); err != nil {
		t.Fatal(err)
	}
	p := start(t, c, fmt.Sprintf("default_pool_size = %d\nreserve_pool_size = %d\nreserve_pool_timeout = \"1ms\"\nlong_transaction = \"0s\"\n", size, reserve), "")
	ctx, cancel := context.WithTimeout(context.Background(), stormLimit)
	defer cancel()
	watch := watchServers(t, c, size+reserve)
	killed := killServers(t, c, 150)
	var done, told, committed atomic.Int64
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() { loadUntil(ctx, t, p.transaction, uint64(i), killed.over, &done, &told, &committed) })
	}
	all.Wait()
	killed.wait()
	watch.end()
	if told.Load() == 0 || done.Load() < 500 {
		t.Errorf("%d queries, %d clients told of a lost server: that was no test", done.Load(), told.Load())
	}
	rows, err := c.Query("select n from storm")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(committed.Load()); rows[0][0] != got {
		t.Errorf("%s transactions took effect, %s were answered as committed", rows[0][0], got)
	}
	p.settled(t)
}

// clean are the ways in which a client may lose its server: PostgreSQL's own word, or the pooler's when there was none.
var clean = map[string]bool{"57P01": true, "08006": true}

// loadUntil is one client: simple queries, extended ones and transactions, with a new login after each loss.
func loadUntil(ctx context.Context, t *testing.T, address string, seed uint64, over func() bool, done, told, committed *atomic.Int64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var pc *pgconn.PgConn
	for !over() && ctx.Err() == nil {
		var err error
		if pc == nil {
			if pc, err = open(ctx, address, "storm"); err != nil {
				t.Errorf("login: %v", err)
				return
			}
		}
		switch rnd.IntN(3) {
		case 0:
			_, err = pc.Exec(ctx, "select 1").ReadAll()
		case 1:
			err = pc.ExecParams(ctx, "select $1::int from generate_series(1, 1000)", [][]byte{[]byte("1")}, nil, nil, nil).Read().Err
		default:
			if _, err = pc.Exec(ctx, "begin; update storm set n = n + 1").ReadAll(); err == nil {
				_, err = pc.Exec(ctx, "commit").ReadAll()
			}
			if err == nil {
				committed.Add(1)
			}
		}
		if err == nil {
			done.Add(1)
			continue
		}
		told.Add(1)
		var said *pgconn.PgError
		if !errors.As(err, &said) || !clean[said.Code] || said.Severity != "FATAL" || !pc.IsClosed() {
			t.Errorf("not a clean end of a client: %v", err)
		}
		_ = pc.Close(ctx)
		pc = nil
	}
	if pc != nil {
		got, err := pc.Exec(ctx, "select 'still here'").ReadAll()
		var said *pgconn.PgError
		switch {
		case errors.As(err, &said) && clean[said.Code]: // the last one that was killed takes its time to die
		case err != nil || string(got[0].Rows[0][0]) != "still here":
			t.Errorf("afterwards: %v %v", got, err)
		}
		_ = pc.Close(ctx)
	}
}

// watcher counts PostgreSQL's view of the servers of role storm, all the time.
type watcher struct{ end func() }

func watchServers(t *testing.T, c *pgtest.Cluster, most int) watcher {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ctx := context.Background()
		pc, err := pgconn.Connect(ctx, c.DSN("postgres", "postgres"))
		if err != nil {
			t.Error(err)
			return
		}
		defer pc.Close(ctx)
		for looks := 0; ; looks++ {
			rows, err := pc.Exec(ctx, "select count(*) > "+fmt.Sprint(most)+", count(*) from pg_stat_activity where usename = 'storm'").ReadAll()
			if err != nil {
				t.Error(err)
				return
			}
			if row := rows[0].Rows[0]; string(row[0]) == "t" {
				t.Errorf("%s servers, %d allowed", row[1], most)
				return
			}
			select {
			case <-stop:
				if looks < 100 {
					t.Errorf("looked only %d times", looks)
				}
				return
			default:
			}
		}
	}()
	return watcher{end: func() { close(stop); <-ended }}
}

// killer ends servers of role storm at random.
type killer struct {
	over func() bool
	wait func()
}

func killServers(t *testing.T, c *pgtest.Cluster, times int) killer {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for killed := 0; killed < times; {
			rows, err := c.Query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'storm' order by random() limit 1")
			if err != nil {
				t.Error(err)
				return
			}
			killed += len(rows)
		}
	}()
	over := func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
	return killer{over: over, wait: func() { <-ended }}
}

// misdeeds are what clients do to a pooler. Errors are theirs to live with; nothing may be left of them.
var misdeeds = []func(ctx context.Context, address string){
	func(ctx context.Context, address string) { // a good one
		if pc, err := open(ctx, address, "postgres"); err == nil {
			_, _ = pc.Exec(ctx, "select 1").ReadAll()
			_ = pc.Close(ctx)
		}
	},
	func(ctx context.Context, address string) { // cancels its query
		if pc, err := open(ctx, address, "postgres"); err == nil {
			query := pc.Exec(ctx, "select pg_sleep(0.3)")
			_ = pc.CancelRequest(ctx)
			_, _ = query.ReadAll()
			_ = pc.Close(ctx)
		}
	},
	func(ctx context.Context, address string) { // dies in mid-query, in a transaction
		if pc, err := open(ctx, address, "postgres"); err == nil {
			_ = pc.Exec(ctx, "begin; lock table pg_class in access share mode; select pg_sleep(0.01)")
			_ = pc.Conn().Close()
		}
	},
	func(ctx context.Context, address string) { // dies while a large result is on its way to it
		if pc, err := open(ctx, address, "postgres"); err == nil {
			query := pc.Exec(ctx, "select repeat('x', 100000) from generate_series(1, 100)")
			query.NextResult()
			_ = pc.Conn().Close()
		}
	},
	func(ctx context.Context, address string) { // dies in COPY
		if pc, err := open(ctx, address, "postgres"); err == nil {
			_, _ = pc.CopyFrom(ctx, &dying{socket: pc.Conn()}, "copy storm from stdin")
		}
	},
	func(ctx context.Context, address string) { // its server is terminated
		if pc, err := open(ctx, address, "postgres"); err == nil {
			_, _ = pc.Exec(ctx, "select pg_terminate_backend(pg_backend_pid())").ReadAll()
			_ = pc.Close(ctx)
		}
	},
	func(ctx context.Context, address string) { // names no database there is
		if pc, err := pgconn.Connect(ctx, "postgres://postgres@"+address+"/nowhere?sslmode=disable"); err == nil {
			_ = pc.Close(ctx)
		}
	},
	func(_ context.Context, address string) { speak(address, "\x00\x00\x00\x54\x00\x03\x00\x00user\x00") }, // half a login
	func(_ context.Context, address string) { speak(address, "GET / HTTP/1.1\r\n\r\n") },                   // another protocol
	func(_ context.Context, address string) {
		speak(address, "\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x01\x00\x00\x00\x02")
	}, // cancels nothing
	func(_ context.Context, address string) { speak(address, "") },
}

// dying is what a client copies in until it dies.
type dying struct {
	socket net.Conn
	reads  int
}

func (d *dying) Read(b []byte) (int, error) {
	if d.reads++; d.reads > 3 {
		_ = d.socket.Close()
	}
	return copy(b, strings.Repeat("line\n", 1000)), nil
}

// speak says something and hangs up.
func speak(address, text string) {
	if nc, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		_, _ = nc.Write([]byte(text))
		_ = nc.Close()
	}
}

// TestNothingLeftBehind: after a storm of logins, cancels, deaths in mid-query and two deaths of PostgreSQL itself, the pooler comes to
// rest; once closed, no goroutine and no descriptor is left.
func TestNothingLeftBehind(t *testing.T) {
	pgtest.Shared(t) // what the first cluster of a process needs stays open
	pgtest.CheckLeaks(t)
	c := pgtest.New(t, pgtest.Options{})
	if err := c.Exec("create table storm (t text)"); err != nil {
		t.Fatal(err)
	}
	p := start(t, c, "default_pool_size = 3\nquery_wait_timeout = \"5s\"\n", "")
	ctx, cancel := context.WithTimeout(context.Background(), stormLimit)
	defer cancel()
	for round := range 3 {
		var all sync.WaitGroup
		var begun atomic.Int64
		for i := range 20 {
			all.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(round), uint64(i)))
				address := []string{p.transaction, p.session}[rnd.IntN(2)]
				for range 12 {
					begun.Add(1)
					misdeeds[rnd.IntN(len(misdeeds))](ctx, address)
				}
			})
		}
		if round < 2 {
			waitFor(t, "half of the storm", func() bool { return begun.Load() > 120 })
			c.Kill()
			if err := c.Restart(); err != nil {
				t.Error(err)
			}
		}
		all.Wait()
	}
	if ctx.Err() != nil {
		t.Error("a client of the storm was left hanging")
	}
	p.settled(t)
	for _, address := range []string{p.transaction, p.session} {
		if got := one(t, p.login(t, address), "select 'calm'"); got != "calm" {
			t.Error(got)
		}
	}
}
