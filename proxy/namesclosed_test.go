package proxy_test

import (
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

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
