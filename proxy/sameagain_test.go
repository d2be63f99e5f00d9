package proxy_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestSameAgain: a setting that says how texts are read, and is set or reset to what it is, makes no text one that nobody can read: the server is
// not emptied behind it. Drivers send that when they take a connection out of their own pool, with the first query behind it.
func TestSameAgain(t *testing.T) {
	sync := &pgproto3.Sync{}
	for name, turns := range map[string][]turn{
		"RESET ALL":            {queries("reset all", `select 'ä\d'`)},
		"in front of a batch":  {{messages: append(queries("reset all").messages, batch(`select 'ä\d'`, sync).messages...)}},
		"of one":               {queries("reset standard_conforming_strings", `select '\d'`)},
		"set":                  {queries("begin"), queries("set standard_conforming_strings = on"), queries(`select '\d'`), queries("commit")},
		"for a transaction":    {queries("begin"), queries("set local client_encoding = 'utf8'"), queries(`select 'ä'`), queries("commit")},
		"by a bound parameter": {batch(&pgproto3.Parse{Query: "select set_config('client_encoding', $1, true)"}, &pgproto3.Bind{Parameters: [][]byte{[]byte("UTF8")}}, &pgproto3.Execute{}, `select 'ä'`, sync)},
	} {
		first, second := succession(t, "tracked")
		both := [2]*pgtest.Wire{first, second}
		batch(&pgproto3.Parse{Name: "plain", Query: "select 1"}, sync).play(both)
		for _, u := range turns {
			u.play(both)
		}
		if have := one(t, second, "select count(*) from pg_prepared_statements"); have == "0" {
			t.Errorf("%s: the server was emptied", name)
		}
	}
}
