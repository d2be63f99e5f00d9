package sqltext

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

var rewrite = flag.Bool("rewrite", false, "add what PostgreSQL has to builtins.txt")

// TestBuiltins: every function that PostgreSQL has is known, and every keyword that may stand before a parenthesis.
func TestBuiltins(t *testing.T) {
	cluster := pgtest.Shared(t)
	w := pgtest.Login(t, cluster.Address(), cluster.Superuser, "postgres", "")
	var missing []string
	for _, row := range w.Rows("SELECT DISTINCT proname FROM pg_catalog.pg_proc WHERE pronamespace = 11 AND oid < 16384 ORDER BY 1") {
		if !Builtins().Has([]byte(row[0])) {
			missing = append(missing, row[0])
		}
	}
	if *rewrite {
		all := append(strings.Fields(builtinNames), missing...)
		slices.Sort(all)
		if err := os.WriteFile("builtins.txt", []byte(strings.Join(all, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if len(missing) > 0 {
		t.Errorf("go test ./sqltext -run TestBuiltins -args -rewrite: %d functions are not known, such as %s", len(missing), missing[0])
	}
	for _, row := range w.Rows("SELECT word FROM pg_catalog.pg_get_keywords() WHERE catcode IN ('R', 'C', 'T')") {
		if !notCalled[row[0]] && !Builtins().Has([]byte(row[0])) {
			t.Errorf("the keyword %s may be taken for a function", row[0])
		}
	}
	if !slices.IsSorted(strings.Fields(builtinNames)) || Builtins().Len() < 2500 && !*rewrite {
		t.Errorf("%d names", Builtins().Len())
	}
	w.Close()
}

// TestBuiltinsInQueries: queries as applications send them call nothing that is not known.
func TestBuiltinsInQueries(t *testing.T) {
	for _, c := range []struct {
		sql  string
		does bool
	}{
		{"SELECT coalesce(max(a), 0), count(*) FILTER (WHERE b IN (1, 2)) OVER (PARTITION BY c ORDER BY d) FROM t WHERE e = ANY($1) AND (f OR g)", false},
		{"INSERT INTO s.t (a, b) VALUES ($1, now()), (DEFAULT, gen_random_uuid()) ON CONFLICT (a) DO UPDATE SET (b, c) = ROW(1, 2) RETURNING (a)", false},
		{"WITH RECURSIVE x AS (SELECT 1), y AS MATERIALIZED (SELECT 2) SELECT * FROM x JOIN y USING (a) LEFT JOIN LATERAL (SELECT 3) z ON (true)", false},
		{"SELECT a::numeric(10, 2), CAST(b AS varchar(20)), extract(year FROM c), trim(both 'x' FROM d), substring(e FROM 1 FOR 2) FROM t AS u(a, b)", false},
		{"SELECT a FROM t GROUP BY ROLLUP (a), CUBE (b), GROUPING SETS ((c), ()) HAVING (count(*) > 1) LIMIT (1)", false},
		{"COPY t (a, b) FROM STDIN WITH (FORMAT csv)", false},
		{"UPDATE t SET a = jsonb_set(b, '{x}', to_jsonb($1)) WHERE c IN (SELECT d FROM u) AND NOT (e)", false},
		{"SELECT set_config('a.b', 'c', false), pg_advisory_lock(1)", false}, // other effects tell
		{"SELECT app.lower(1)", false},                                       // it has the name of a trusted one
		{"SELECT st_area(geom) FROM t", true},
		{`SELECT "values"(1)`, true},
		{"INSERT INTO t (a) SELECT my_function(1)", true},
	} {
		var l Lexer
		l.Begin(Dialect{})
		l.Trust(Builtins())
		l.Feed([]byte(c.sql))
		if have := l.End()&CallsUnknown != 0; have != c.does {
			t.Errorf("%s: calls an unknown function: %v", c.sql, have)
		}
	}
}
