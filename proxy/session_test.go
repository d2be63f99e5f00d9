package proxy_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

const (
	tenants      = 110
	tenantServer = 5
)

var (
	tenantSeed  = flag.Uint64("tenantseed", 7, "what the tenants of TestTenants do")
	tenantSteps = flag.Int("tenantsteps", 16, "how much each of them does")
)

// tenantCluster is a PostgreSQL with a table under row-level security, and a role that is subject to it.
func tenantCluster(t *testing.T) *pgtest.Cluster {
	t.Helper()
	c := pgtest.New(t, pgtest.Options{MaxConnections: 2*tenants + 40})
	for _, sql := range []string{
		"create role app login", "create role other", "grant other to app",
		"create table docs (tenant text, body text)",
		fmt.Sprintf("insert into docs select 't' || g, 'body ' || g from generate_series(0, %d) g", tenants-1),
		"alter table docs enable row level security",
		"create policy own on docs using (tenant = current_setting('app.tenant_id', true))",
		"grant select, insert on docs to app, other",
	} {
		if err := c.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// twin is one client twice: through the pooler, and straight to PostgreSQL. What it does is done to both, and must come out the same.
type twin struct {
	ctx            context.Context
	pooled, direct *pgconn.PgConn
	addresses      [2]string
	random         *rand.Rand
	tenant         int
	log            []string
}

func (w *twin) login(startup map[string]string) error {
	for i, to := range []**pgconn.PgConn{&w.pooled, &w.direct} {
		cfg, err := pgconn.ParseConfig("postgres://app@" + w.addresses[i] + "/postgres?sslmode=disable")
		if err != nil {
			return err
		}
		for k, v := range startup {
			cfg.RuntimeParams[k] = v
		}
		if *to, err = pgconn.ConnectConfig(w.ctx, cfg); err != nil {
			return fmt.Errorf("login %d: %w", i, err)
		}
	}
	return nil
}

// close ends both without a goodbye, or with one.
func (w *twin) close() {
	for _, pc := range []*pgconn.PgConn{w.pooled, w.direct} {
		if pc == nil {
			continue
		}
		if w.random.IntN(2) == 0 {
			_ = pc.Conn().Close()
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = pc.Close(ctx)
		cancel()
	}
}

// outcome is all that a client sees of a step.
func outcome(results []*pgconn.Result, err error, pc *pgconn.PgConn) string {
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "[%s", r.CommandTag)
		for _, row := range r.Rows {
			fmt.Fprintf(&b, " %q", row)
		}
		b.WriteString("]")
	}
	var pe *pgconn.PgError
	switch {
	case errors.As(err, &pe):
		fmt.Fprintf(&b, " %s %s", pe.Code, pe.Message)
	case err != nil:
		fmt.Fprintf(&b, " %v", err)
	}
	fmt.Fprintf(&b, " %c", pc.TxStatus())
	for _, name := range []string{"TimeZone", "DateStyle", "application_name", "IntervalStyle", "client_encoding"} {
		fmt.Fprintf(&b, " %s", pc.ParameterStatus(name))
	}
	return b.String()
}

// both runs a step on either side.
func (w *twin) both(name string, step func(pc *pgconn.PgConn) ([]*pgconn.Result, error)) error {
	results, err := step(w.pooled)
	pooled := outcome(results, err, w.pooled)
	results, err = step(w.direct)
	direct := outcome(results, err, w.direct)
	w.log = append(w.log, fmt.Sprintf("%s -> %s", name, direct))
	if pooled != direct {
		return fmt.Errorf("tenant %d: %s\npooled %s\ndirect %s\nafter\n%s", w.tenant, name, pooled, direct,
			strings.Join(w.log[max(0, len(w.log)-25):], "\n"))
	}
	return nil
}

func (w *twin) simple(sql string) error {
	return w.both(sql, func(pc *pgconn.PgConn) ([]*pgconn.Result, error) { return pc.Exec(w.ctx, sql).ReadAll() })
}

func (w *twin) extended(sql string, params ...string) error {
	values := make([][]byte, len(params))
	for i, p := range params {
		values[i] = []byte(p)
	}
	return w.both(fmt.Sprintf("%s %q", sql, params), func(pc *pgconn.PgConn) ([]*pgconn.Result, error) {
		r := pc.ExecParams(w.ctx, sql, values, nil, nil, nil).Read()
		return []*pgconn.Result{r}, r.Err
	})
}

// pipeline sends statements with one Sync behind them.
func (w *twin) pipeline(statements ...string) error {
	return w.both(strings.Join(statements, " | "), func(pc *pgconn.PgConn) ([]*pgconn.Result, error) {
		var batch pgconn.Batch
		for _, sql := range statements {
			batch.ExecParams(sql, nil, nil, nil, nil)
		}
		return pc.ExecBatch(w.ctx, &batch).ReadAll()
	})
}

// named prepares or executes a statement with a name, which may be there already or not.
func (w *twin) named() error {
	statements := [...]struct {
		sql    string
		params [][]byte
	}{{"set app.x = 'prepared'", nil}, {"select set_config('app.y', $1, false)", [][]byte{[]byte("bound")}}, {"reset app.x", nil}, {"discard all", nil}}
	i := w.random.IntN(len(statements))
	name := fmt.Sprintf("s%d", i)
	if w.random.IntN(2) == 0 {
		return w.both("prepare "+statements[i].sql, func(pc *pgconn.PgConn) ([]*pgconn.Result, error) {
			_, err := pc.Prepare(w.ctx, name, statements[i].sql, nil)
			return nil, err
		})
	}
	return w.both("execute "+statements[i].sql, func(pc *pgconn.PgConn) ([]*pgconn.Result, error) {
		r := pc.ExecPrepared(w.ctx, name, statements[i].params, nil, nil).Read()
		return []*pgconn.Result{r}, r.Err
	})
}

const tenantProbe = "select coalesce(current_setting('app.tenant_id', true), ''), coalesce(current_setting('app.x', true), ''), " +
	"coalesce(current_setting('app.y', true), ''), current_setting('statement_timeout'), current_setting('search_path'), current_user, " +
	"current_setting('role'), current_setting('timezone'), current_setting('datestyle'), current_setting('enable_seqscan'), " +
	"current_setting('default_transaction_isolation'), current_setting('application_name'), (select string_agg(body, ',') from docs)"

// any is a random value, spelled as SQL.
func (w *twin) any() string {
	return []string{"'1'", "''", "'it''s'", "'tenant \u00e4'", `E'a\\b'`, "7", "word", "'a' \n 'b'", "$$d$$", "DEFAULT"}[w.random.IntN(10)]
}

// step does something at random.
func (w *twin) step() error {
	own := fmt.Sprintf("t%d", w.tenant)
	name := []string{"app.x", "app.y", "App.X"}[w.random.IntN(3)]
	simple := [...]string{
		"set app.tenant_id = '" + own + "'", "set app.tenant_id to " + own, "set local app.tenant_id = '" + own + "'",
		"set " + name + " = " + w.any(), "set session " + name + " = " + w.any(), "set local " + name + " = " + w.any(), "reset " + name,
		"select set_config('" + name + "', 'c" + own + "', false)", "select set_config('app.tenant_id', '" + own + "', true)",
		"select set_config('app.x', 'never', false) where false", "select set_config('app.x', upper('abc'), false), 1",
		"begin", "begin", "start transaction", "commit", "commit", "rollback", "savepoint a", "rollback to a", "release a", "commit and chain",
		"select 1/0", "set statement_timeout = 'bad'", "select bad syntax here", "select * from docs", "insert into docs values ('" + own + "x', '')",
		"set statement_timeout = 20000", "set statement_timeout = '21s'", "reset statement_timeout", "set search_path = a, public",
		"set search_path to DEFAULT", "set enable_seqscan = off", "set local enable_seqscan = off",
		"set timezone = 'Europe/Berlin'", "set time zone 'UTC'", "set local timezone = 'Asia/Tokyo'", "reset timezone", "set datestyle = 'sql'",
		"set application_name = '" + own + "'", "reset application_name", "set role other", "reset role", "set role none", "set local role other",
		"set session authorization app", "reset session authorization",
		"set session characteristics as transaction isolation level repeatable read", "reset all", "discard all",
		"set app.x = 'a'; select 1/0", "set app.x = 'b'; set app.y = 'c'", "begin; set app.x = 'd'; commit; set app.y = 'e'",
		"begin; set app.x = 'f'; rollback; set app.y = 'g'", "commit; set app.x = 'h'", "rollback; set app.x = 'i'", "set app.x = 'j'; commit",
		"set app.x = 'k'; rollback", "set app.x = 'l'; begin", "reset all; set app.x = 'm'", "", ";", "/* set app.x = 1 */ select 1",
	}
	switch n := w.random.IntN(20); {
	case n < 10:
		return w.simple(simple[w.random.IntN(len(simple))])
	case n < 13:
		sql := simple[w.random.IntN(len(simple))]
		if strings.Contains(strings.TrimSuffix(sql, ";"), ";") {
			sql = "select 2"
		}
		return w.extended(sql)
	case n == 13:
		return w.extended("select set_config($1, $2, false)", "app.y", own)
	case n == 14:
		return w.extended("select set_config('app.tenant_id', $1, $2)", own, []string{"true", "false"}[w.random.IntN(2)])
	case n == 15:
		return w.pipeline("begin", "set app.x = 'p'", "set app.y = 'q'", []string{"commit", "rollback", "select 1/0"}[w.random.IntN(3)])
	case n == 16:
		return w.pipeline("set app.x = 'r'", "select 1/0", "set app.y = 's'")
	case n == 17:
		return w.named()
	}
	return w.simple(tenantProbe)
}

// run is one client's life: it comes and goes, in mid-transaction too.
func (w *twin) run() (err error) {
	defer func() { w.close() }()
	startups := []map[string]string{
		{"application_name": "plain"},
		{"application_name": "mine"},
		{"datestyle": "SQL", "application_name": "dated"},
		{"options": "-c app.x=started -c statement_timeout=9s", "timezone": "Asia/Tokyo", "application_name": "optional"},
	}
	if err := w.login(startups[w.random.IntN(len(startups))]); err != nil {
		return err
	}
	for range *tenantSteps {
		if w.random.IntN(30) == 0 {
			w.close()
			if err := w.login(startups[w.random.IntN(len(startups))]); err != nil {
				return err
			}
			w.log = []string{"new login"}
		}
		if err := w.step(); err != nil {
			return err
		}
	}
	return nil
}

// TestTenants: clients of a transaction pool, each a tenant, see at each moment what they would see on connections of their own, and no
// row of another tenant.
func TestTenants(t *testing.T) {
	for _, isolation := range []string{"tracked", "strict"} {
		t.Run(isolation, func(t *testing.T) {
			p := start(t, tenantCluster(t), fmt.Sprintf("max_client_conn = 1000\ndefault_pool_size = %d\nisolation = %q", tenantServer, isolation), "")
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
			defer cancel()
			var all sync.WaitGroup
			faults := make(chan error, tenants)
			for i := range tenants {
				all.Go(func() {
					w := &twin{
						ctx: ctx, addresses: [2]string{p.transaction, p.postgres.Address()}, random: rand.New(rand.NewPCG(uint64(i), *tenantSeed)), tenant: i,
					}
					if err := w.run(); err != nil {
						faults <- err
						cancel()
					}
				})
			}
			all.Wait()
			close(faults)
			n := 0
			for err := range faults {
				if n++; n <= 3 && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		})
	}
}

// succession is two clients that get the same server, one after the other.
func succession(t *testing.T, isolation string) (first, second *pgtest.Wire) {
	t.Helper()
	p := start(t, pgtest.Shared(t), fmt.Sprintf("default_pool_size = 1\npromotion = \"off\"\nisolation = %q", isolation), "")
	return p.login(t, p.transaction), p.login(t, p.transaction)
}

// TestLeftovers: without promotion, what only a connection can hold is gone before another client gets the server, but not with isolation = "off".
func TestLeftovers(t *testing.T) {
	for _, c := range []struct{ leave, look, left string }{
		{"create temp table lying_about (a int)", "select count(*) from pg_class where relname = 'lying_about'", "1"},
		{"prepare lying_about as select 1", "select count(*) from pg_prepared_statements", "1"},
		{"select pg_advisory_lock(815)", "select count(*) from pg_locks where locktype = 'advisory' and objid = 815", "1"},
		{"declare lying_about cursor with hold for select 1", "select count(*) from pg_cursors where is_holdable", "1"},
		{"do $$begin perform set_config('lying.about', 'x', false); end$$", "select coalesce(current_setting('lying.about', true), '')", "x"},
		{"listen lying_about", "select count(*) from pg_listening_channels()", "1"},
		{"begin; create temp table dropped (a int) on commit drop; commit", "select count(*) from pg_class where relname = 'dropped'", "0"},
	} {
		for _, isolation := range []string{"tracked", "strict", "off"} {
			first, second := succession(t, isolation)
			run(t, first, c.leave)
			want := map[string]string{"1": "0", "0": "0", "x": ""}[c.left]
			if isolation == "off" {
				want = c.left
			}
			if have := one(t, second, c.look); have != want {
				t.Errorf("%s: after %s, %s is %q, want %q", isolation, c.leave, c.look, have, want)
			}
		}
	}
}

// TestHiddenSetter: what a function sets inside, no text tells; strict keeps it from the next client all the same. The client itself
// keeps its server's state only as long as nobody else comes between.
func TestHiddenSetter(t *testing.T) {
	for isolation, want := range map[string]string{"strict": "", "off": "secret", "tracked": "secret"} {
		first, second := succession(t, isolation)
		run(t, first, "create or replace function sets_inside() returns text language sql as $$select set_config('hidden.value', 'secret', false)$$")
		run(t, first, "select sets_inside()")
		if have := one(t, second, "select coalesce(current_setting('hidden.value', true), '')"); have != want {
			t.Errorf("%s: the next client sees %q, want %q", isolation, have, want)
		}
	}
}

// TestSettingsFollow: a value goes with its client, a client that never set it does not see it, and equal values send nothing.
func TestSettingsFollow(t *testing.T) {
	first, second := succession(t, "tracked")
	const look = "select coalesce(current_setting('app.tenant_id', true), '')"
	run(t, first, "set app.tenant_id = 'first'")
	if have := one(t, second, look); have != "" {
		t.Errorf("a client that set nothing has %q", have)
	}
	run(t, second, "set app.tenant_id = 'second'")
	for range 3 {
		if a, b := one(t, first, look), one(t, second, look); a != "first" || b != "second" {
			t.Errorf("%q and %q", a, b)
		}
	}
	run(t, second, "reset app.tenant_id")
	if a, b := one(t, first, look), one(t, second, look); a != "first" || b != "" {
		t.Errorf("%q and %q", a, b)
	}
}

// TestSettingsLeftInMidTransaction: a client that goes away inside a transaction takes what it set with it.
func TestSettingsLeftInMidTransaction(t *testing.T) {
	first, second := succession(t, "tracked")
	run(t, first, "set app.a = 'left'")
	run(t, first, "begin; set app.a = 'never'; set app.b = 'never'")
	first.Reset()
	if have := one(t, second, "select coalesce(current_setting('app.a', true), '') || coalesce(current_setting('app.b', true), '')"); have != "" {
		t.Errorf("the next client sees %q", have)
	}
}

// TestEncodingFollows: values that are not ASCII, set in an encoding that is not the database's.
func TestEncodingFollows(t *testing.T) {
	first, second := succession(t, "tracked")
	run(t, first, "set client_encoding = latin1")
	run(t, first, "set app.name = 'J\xf6rg'")
	run(t, second, "select 1")
	if have := one(t, first, "select current_setting('app.name')"); have != "J\xf6rg" {
		t.Errorf("%q", have)
	}
	run(t, first, "set client_encoding = sjis")
	run(t, first, "set app.name = '\x83\x5c'; set app.other = 'x'") // the second byte is a backslash
	if have := one(t, second, "select coalesce(current_setting('app.other', true), '')"); have != "" {
		t.Errorf("the next client sees %q", have)
	}
}
