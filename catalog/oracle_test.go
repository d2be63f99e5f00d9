package catalog

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

var bodies = flag.Int("bodies", 500, "bodies of TestBodiesAgainstPostgres")

// bodyPieces are statements of PL/pgSQL that PostgreSQL takes in any order; <e> is an expression of type text, <b> a body of statements, <s> a
// string that says the statement in it.
var bodyPieces = strings.Split(strings.TrimSpace(`
x := <e>;
x = <e>;
PERFORM <e>;
SELECT <e> INTO x;
IF <e> = 'v' THEN <b> ELSIF <e> IS NULL THEN <b> ELSE <b> END IF;
CASE WHEN <e> = 'v' THEN <b> ELSE <b> END CASE;
FOR r IN SELECT <e> AS c LOOP <b> END LOOP;
FOR i IN 1 .. 2 LOOP <b> EXIT WHEN <e> = 'v'; END LOOP;
WHILE x = 'nothing' LOOP <b> END LOOP;
BEGIN <b> EXCEPTION WHEN division_by_zero THEN <b> END;
<<lab>> DECLARE y text := <e>; set text; BEGIN set := 'x'; <b> END lab;
<<lab>> DECLARE c CURSOR FOR SELECT <e> AS c; BEGIN OPEN c; FETCH c INTO x; CLOSE c; END;
RAISE DEBUG '% %', <e>, 'SET ROLE bob;';
INSERT INTO app.t VALUES (<e>) RETURNING a INTO x;
UPDATE app.t SET a = <e> WHERE a = 'v';
SET app.x = 'v';
SET LOCAL app.x = 'v';
SET SESSION app . "int" TO v;
SET TIME ZONE 'UTC';
SET ROLE bob;
SET ROLE none;
RESET app.x;
SET search_path = pg_temp, public;
SET LOCAL search_path = nowhere, "pg_temp";
CREATE TABLE IF NOT EXISTS made (a int);
CREATE TEMP TABLE IF NOT EXISTS temporary (a int);
CREATE TEMP TABLE IF NOT EXISTS dropped ON COMMIT DROP AS SELECT 1;
LISTEN jobs;
UNLISTEN jobs;
NOTIFY jobs, 'LISTEN x';
PREPARE p AS SELECT 1;
UPDATE pg_catalog.pg_settings SET setting = '1234' WHERE name = 'work_mem';
EXECUTE <s>;
EXECUTE 'SET ' || quote_ident('app.x') || ' = ' || quote_literal(x);
EXECUTE format('SET ROLE %I', 'bob');
EXECUTE format('INSERT INTO app.%I (a) VALUES (%L)', 't', x);
EXECUTE format('SELECT set_config(%L, %L, %L)', 'app.x', 'v', false);
EXECUTE 'SELECT $1' INTO x USING <e>;
EXECUTE 'DO $do$BEGIN <b> END$do$';
EXECUTE 'DECLARE c' || (random() * 1000000)::int || ' CURSOR WITH HOLD FOR SELECT 1';
NULL; -- SET ROLE bob; ' $$ /*
/* LISTEN x; */ NULL;
`), "\n")

var bodyExpressions = strings.Split(strings.TrimSpace(`
'v'
current_setting('app.x', true)
set_config('app.x', 'v', false)
set_config('app.' || 'tenant', 'v', true)
set_config('App.' || 'Int', 'v', false)
pg_catalog.set_config('app.tenant', <e>, is_local => false)
set_config(is_local => true, new_value => 'v', setting_name => 'app.tenant')
"set_config"('app.int', 'v', 1 = 2)
(SELECT U&"set\005fconfig"('app.k', 'v', false))
CASE WHEN x = 'v' THEN <e> ELSE <e> END
coalesce(<e>, <e>)
pg_try_advisory_lock(5)::text
(SELECT count(*)::text FROM pg_try_advisory_lock_shared(6))
'SELECT set_config(''app.x'', ''v'', false)'
E'\' || set_config(''app.x'', 1, false)'
query_to_xml('SELECT set_config(''app.x'', ''xml'', false)', true, false, '')::text
`), "\n")

// randomBody fills in the holes of the pieces.
func randomBody(r *rand.Rand, depth int) string {
	var b strings.Builder
	for n := 1 + r.IntN(2); n > 0; n-- {
		piece := bodyPieces[r.IntN(len(bodyPieces))]
		if depth > 1 && strings.Contains(piece, "<b>") {
			piece = "NULL;"
		}
		for strings.Contains(piece, "<e>") {
			piece = strings.Replace(piece, "<e>", randomExpression(r, 0), 1)
		}
		for strings.Contains(piece, "<s>") {
			piece = strings.Replace(piece, "<s>", "'"+strings.ReplaceAll(bodyPieces[15+r.IntN(18)], "'", "''")+"'", 1)
		}
		for strings.Contains(piece, "<b>") {
			inner := randomBody(r, depth+1)
			if strings.HasPrefix(piece, "EXECUTE") {
				inner = strings.ReplaceAll(strings.ReplaceAll(inner, "'", "''"), "$do$", "$do"+string(rune('a'+depth))+"$")
			}
			piece = strings.Replace(piece, "<b>", inner, 1)
		}
		b.WriteString(piece + "\n")
	}
	return b.String()
}

func randomExpression(r *rand.Rand, depth int) string {
	e := bodyExpressions[r.IntN(len(bodyExpressions))]
	for strings.Contains(e, "<e>") {
		inner := "'v'"
		if depth < 2 {
			inner = randomExpression(r, depth+1)
		}
		e = strings.Replace(e, "<e>", inner, 1)
	}
	return e
}

// TestBodiesAgainstPostgres: what a body of random pieces does to a session when PostgreSQL runs it has been read in it.
func TestBodiesAgainstPostgres(t *testing.T) {
	d := newDatabase(t)
	d.run(d.plain, "CREATE TABLE app.t (a text)")
	r := rand.New(rand.NewPCG(7, uint64(*bodies)))
	succeeded, harmless := 0, 0
	for range *bodies {
		head := []string{"", "", "#variable_conflict use_column\n", "<<outermost>>\n", "#print_strict_params off\n<<outermost>>\n"}[r.IntN(5)]
		body := head + "DECLARE x text := 'w'; r record; BEGIN\n" + randomBody(r, 0) + "END"
		var reads reader
		found := &recorder{}
		reads.begin(found, false, sqltext.Dialect{})
		reads.plpgsql([]byte(body), 0)
		reads.finish()
		before := d.probe(d.plain)
		if _, err := d.plain.Exec(d.ctx, "DO $body$"+body+"$body$").ReadAll(); err == nil {
			succeeded++
		}
		after := d.probe(d.plain)
		for name, value := range after {
			if value != before[name] && !covers(found.deeds, name) {
				t.Errorf("%s\n%s went from %q to %q; read %s", body, name, before[name], value, found.deeds)
			}
		}
		if found.deeds == nil {
			harmless++
		}
		d.reset(d.plain)
		d.run(d.plain, "DROP TABLE IF EXISTS public.made, app.made")
	}
	t.Logf("%d bodies ran, %d were found harmless", succeeded, harmless)
	if succeeded < *bodies/2 || harmless < *bodies/15 {
		t.Errorf("only %d bodies ran, %d were found harmless", succeeded, harmless)
	}
}
