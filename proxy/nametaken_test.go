package proxy_test

import (
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
