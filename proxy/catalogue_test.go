package proxy_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestWhatNoTextShows: what functions, triggers, views and defaults do to a session follows the client that used them, or is gone before
// another client gets the server. All clients of the transaction port have one server between them.
func TestWhatNoTextShows(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	dba := pgtest.Login(t, c.Address(), "postgres", "postgres", "")
	for _, sql := range []string{
		"create role other nologin",
		"create table real (i int)", "create table of_trigger (x text)", "create table of_default (x text default set_config('app.default', 'mine', false))",
		"create function set_tenant(t text) returns text language sql as $$select set_config('app.tenant_id', t, false)$$",
		"create function by_name(n text, v text) returns text language sql as $$select set_config(n, v, false)$$",
		"create function act_as_other() returns void language plpgsql as $$begin set role other; end$$",
		"create function shadow() returns void language plpgsql as $$begin create temporary table real (i int, stolen text); end$$",
		"create function locks() returns void language sql as $$select pg_advisory_lock(7)$$",
		"create function trg() returns trigger language plpgsql as $$begin perform set_config('app.trigger', new.x, false); return new; end$$",
		"create trigger tr before insert on of_trigger for each row execute function trg()",
		"create view of_view as select set_config('app.view', 'mine', false) as v",
	} {
		run(t, dba, sql)
	}
	p := start(t, c, "default_pool_size = 1\nreserve_pool_size = 0\n", "")
	for _, try := range []struct {
		name, does, looks string
		follows           bool // its client sees its own value afterwards
	}{
		{"a function", "select set_tenant('mine')", "select current_setting('app.tenant_id', true)", true},
		{"a function in another's argument", "select length(set_tenant('mine'))", "select current_setting('app.tenant_id', true)", true},
		{"a trigger", "insert into of_trigger values ('mine')", "select current_setting('app.trigger', true)", true},
		{"a view", "select * from of_view", "select current_setting('app.view', true)", true},
		{"a default", "insert into of_default default values", "select current_setting('app.default', true)", true},
		{"a role", "select act_as_other()", "select current_user", true},
		{"a name that nobody can read", "select by_name('app.' || 'computed', 'mine')", "select current_setting('app.computed', true)", false},
		{"a temporary table", "select shadow()", "select count(*) from information_schema.columns where table_name = 'real' and column_name = 'stolen'", true},
		{"a lock", "select locks()", "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", true},
	} {
		t.Run(try.name, func(t *testing.T) {
			first, second := p.login(t, p.transaction), p.login(t, p.transaction)
			defer first.Close()
			defer second.Close()
			calm := one(t, second, try.looks)
			first.Query(try.does)
			first.ReceiveReady()
			for range 2 {
				if got := one(t, second, try.looks); got != calm && got != "" {
					t.Errorf("the other client sees %q, not %q", got, calm)
				}
				if got := one(t, first, try.looks); try.follows && (got == calm || got == "") {
					t.Errorf("its own client sees %q", got)
				}
			}
		})
	}
	t.Run("a function that is made through the pooler", func(t *testing.T) {
		first, second := p.login(t, p.transaction), p.login(t, p.transaction)
		defer first.Close()
		defer second.Close()
		run(t, first, "create function fresh() returns void language plpgsql as $$begin set role other; end$$")
		run(t, first, "select fresh()")
		if got := one(t, second, "select current_user"); got != "postgres" {
			t.Errorf("the other client acts as %s", got)
		}
	})
}

// TestPreparedBeforeItsTrigger: a statement that was prepared before the trigger exists that sets something is judged anew.
func TestPreparedBeforeItsTrigger(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	dba := pgtest.Login(t, c.Address(), "postgres", "postgres", "")
	run(t, dba, "create table t (x text)")
	run(t, dba, "create function trg() returns trigger language plpgsql as $$begin perform set_config('app.trigger', new.x, false); return new; end$$")
	p := start(t, c, "default_pool_size = 1\nreserve_pool_size = 0\n", "")
	for _, name := range []string{"", "named"} {
		run(t, dba, "drop trigger if exists tr on t")
		first, second := p.login(t, p.transaction), p.login(t, p.transaction)
		insert := func() {
			first.Send(&pgproto3.Bind{PreparedStatement: name}, &pgproto3.Execute{}, &pgproto3.Sync{})
			first.ReceiveReady()
		}
		first.Send(&pgproto3.Parse{Name: name, Query: "insert into t values ('mine')"}, &pgproto3.Sync{})
		first.ReceiveReady()
		insert()
		run(t, second, "create trigger tr before insert on t for each row execute function trg()")
		for range 3 {
			insert()
			if got := one(t, second, "select current_setting('app.trigger', true)"); got == "mine" {
				t.Errorf("statement %q: the other client sees what the trigger has set", name)
			}
		}
		first.Close()
		second.Close()
	}
}
