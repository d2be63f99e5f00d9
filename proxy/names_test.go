package proxy_test

import (
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestNameTaken: a Parse that PostgreSQL has refused or skipped is not what its name means.
func TestNameTaken(t *testing.T) {
	sync := &pgproto3.Sync{}
	parse := func(name, sql string) *pgproto3.Parse { return &pgproto3.Parse{Name: name, Query: sql} }
	run := []any{&pgproto3.Bind{PreparedStatement: "s"}, &pgproto3.Execute{}, sync}
	const set = "set app.tenant_id = '7'"
	for name, turns := range map[string][]turn{
		"refused":                {batch(parse("s", "select 1"), sync), batch(parse("s", set), sync), batch(run...)},
		"skipped":                {batch(parse("s", "select 1"), sync), batch("select 1/0", &pgproto3.Close{ObjectType: 'S', Name: "s"}, parse("s", set), sync), batch(run...)},
		"skipped, in a pipeline": {batch(parse("s", "select 1"), sync), batch(append([]any{"select 1/0", &pgproto3.Close{ObjectType: 'S', Name: "s"}, parse("s", set), sync}, run...)...)},
	} {
		first, second := succession(t, "tracked")
		for _, u := range turns {
			u.play([2]*pgtest.Wire{first, second})
		}
		one(t, second, "select 1")
		if have := one(t, first, "select coalesce(current_setting('app.tenant_id', true), '')"); have != "" {
			t.Errorf("%s: %s", name, have)
		}
	}
}

// TestNamesClosed: who prepares what sets something under ever new names, and closes them, is not taken for one who may be running any of them.
func TestNamesClosed(t *testing.T) {
	const times = 4200 // more than are remembered
	setter := "select set_config('search_path', 'public', true)"
	for how, again := range map[string]func(name string) turn{
		"by Close": func(name string) turn {
			return batch(&pgproto3.Parse{Name: name, Query: setter}, &pgproto3.Bind{PreparedStatement: name}, &pgproto3.Execute{},
				&pgproto3.Close{ObjectType: 'S', Name: name}, &pgproto3.Sync{})
		},
		"by DEALLOCATE": func(name string) turn {
			u := batch(&pgproto3.Parse{Name: name, Query: setter}, &pgproto3.Sync{})
			u.messages = append(u.messages, &pgproto3.Query{String: "deallocate " + name})
			return u
		},
	} {
		first, second := succession(t, "tracked")
		both := [2]*pgtest.Wire{first, second}
		batch(&pgproto3.Parse{Name: "plain", Query: "select 1"}, &pgproto3.Sync{}).play(both)
		for i := range times {
			again("s" + strconv.Itoa(i)).play(both)
		}
		batch(&pgproto3.Bind{PreparedStatement: "plain"}, &pgproto3.Execute{}, &pgproto3.Sync{}).play(both)
		if have := one(t, second, "select count(*) from pg_prepared_statements"); have == "0" {
			t.Errorf("%s: the server was emptied behind a statement that does nothing", how)
		}
	}
}
