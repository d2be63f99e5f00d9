package catalog

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// way is one by which the state of a session changes without a word of it in the text.
type way struct {
	name  string
	setup string // as the ordinary role; behind a line "--super" as the superuser
	text  string
	want  string // what the catalogue says
	quiet bool   // the session does not change, though the catalogue cannot know
}

// functions are there in all ways.
const functions = `
CREATE FUNCTION app.set_tenant(t text) RETURNS text LANGUAGE sql AS $$SELECT set_config('app.tenant', t, false)$$;
CREATE FUNCTION app.set_int(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN PERFORM set_config('app.int', i::text, false); RETURN i; END$$;
CREATE FUNCTION app.is_set(i int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN PERFORM app.set_int(i); RETURN true; END$$;
CREATE FUNCTION app.on_row() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('app.tenant', 'row', false); RETURN coalesce(new, old); END$$;
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('app.tenant', 'row', true); RETURN new; END$$;
CREATE FUNCTION app.harmless(a int, b int) RETURNS int LANGUAGE sql AS $$SELECT a + count(*)::int FROM pg_class WHERE relname = 'x'$$;
`

var ways = []way{
	// Functions
	{name: "function", text: "SELECT app.set_tenant('a')", want: "sets(app.tenant)"},
	{name: "function, quoted", text: `SELECT "app" . "set_tenant" ('a')`, want: "sets(app.tenant)"},
	{name: "function, escaped", text: `SELECT app.U&"set\005ftenant"('a')`, want: "sets(app.tenant)"},
	{name: "function in FROM", text: "SELECT * FROM app.set_tenant('a')", want: "sets(app.tenant)"},
	{name: "column of that name", text: "SELECT set_tenant FROM (SELECT 1 AS set_tenant) x", want: "nothing"},
	{name: "harmless function", text: "SELECT app.harmless(1, 2)", want: "nothing"},
	{
		name: "function that calls one", text: "SELECT app.outer1()", want: "sets(app.tenant)",
		setup: "CREATE FUNCTION app.outer1() RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN app.outer2(); END$$; " +
			"CREATE FUNCTION app.outer2() RETURNS text LANGUAGE sql AS $$SELECT app.set_tenant('a')$$",
	},
	{
		name: "BEGIN ATOMIC", text: "SELECT app.atomic()", want: "sets(app.tenant)",
		setup: "CREATE FUNCTION app.atomic() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT app.set_tenant('a'); END",
	},
	{
		name: "BEGIN ATOMIC, set_config", text: "SELECT app.atomic()", want: "sets(app.x)",
		setup: "CREATE FUNCTION app.atomic() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT set_config('app.x', '1', false); END",
	},
	{
		name: "RETURN", text: "SELECT app.returns()", want: "sets(app.tenant)",
		setup: "CREATE FUNCTION app.returns() RETURNS text LANGUAGE sql RETURN app.set_tenant('a')",
	},
	{
		name: "SET ROLE", text: "SELECT app.acts()", want: "sets(role)",
		setup: "CREATE FUNCTION app.acts() RETURNS void LANGUAGE plpgsql AS $$BEGIN SET ROLE bob; END$$",
	},
	{
		name: "set_config of role", text: "SELECT app.acts()", want: "sets(role)",
		setup: "CREATE FUNCTION app.acts() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('Role', 'bob', false); END$$",
	},
	{
		name: "computed name", text: "SELECT app.acts('app.k')", want: "sets_any",
		setup: "CREATE FUNCTION app.acts(k text) RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM set_config(k, 'x', false); END$$",
	},
	{
		name: "dynamic", text: "SELECT app.acts('SET app.x = 1')", want: "anything",
		setup: "CREATE FUNCTION app.acts(k text) RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE k; END$$",
	},
	{
		name: "dynamic, constant", text: "SELECT app.acts('bob')", want: "sets(role)",
		setup: "CREATE FUNCTION app.acts(k text) RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE format('SET ROLE %I', k); END$$",
	},
	{
		name: "SET clause", text: "SELECT app.acts()", want: "nothing",
		setup: "CREATE FUNCTION app.acts() RETURNS void LANGUAGE plpgsql SET work_mem = '9MB' SET search_path = app AS $$BEGIN PERFORM 1; END$$",
	},
	{
		name: "local", text: "SELECT app.acts()", want: "nothing",
		setup: "CREATE FUNCTION app.acts() RETURNS void LANGUAGE plpgsql AS $$BEGIN SET LOCAL app.tenant = 'x'; PERFORM set_config('app.x', '1', true); END$$",
	},
	{
		name: "temporary table", text: "SELECT app.acts()", want: "makes_temp",
		setup: "CREATE FUNCTION app.acts() RETURNS void LANGUAGE plpgsql AS $$BEGIN CREATE TEMP TABLE secret AS SELECT 1; END$$",
	},
	{
		name: "temporary table by search_path", text: "SELECT app.acts()", want: "makes_temp",
		setup: "CREATE FUNCTION app.acts() RETURNS void LANGUAGE plpgsql SET search_path = pg_temp AS $$BEGIN CREATE TABLE secret (a int); END$$",
	},
	{
		name: "temporary table, dropped", text: "SELECT app.acts()", want: "nothing",
		setup: "CREATE FUNCTION app.acts() RETURNS void LANGUAGE plpgsql AS $$BEGIN CREATE TEMP TABLE secret ON COMMIT DROP AS SELECT 1; END$$",
	},
	{
		name: "advisory lock", text: "SELECT app.acts()", want: "locks_advisory",
		setup: "CREATE FUNCTION app.acts() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM * FROM pg_try_advisory_lock(7); END$$",
	},
	{
		name: "advisory lock of the transaction", text: "SELECT app.acts()", want: "nothing",
		setup: "CREATE FUNCTION app.acts() RETURNS void LANGUAGE sql AS $$SELECT pg_advisory_xact_lock(7)$$",
	},
	{
		name: "cursor", text: "SELECT app.acts()", want: "holds_cursor",
		setup: "CREATE FUNCTION app.acts() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'; END$$",
	},
	{
		name: "PREPARE", text: "SELECT app.acts()", want: "prepares",
		setup: "CREATE FUNCTION app.acts() RETURNS void LANGUAGE plpgsql AS $$BEGIN PREPARE p AS SELECT 1; END$$",
	},
	{
		name: "LISTEN", text: "SELECT app.acts()", want: "listens(jobs)",
		setup: "CREATE FUNCTION app.acts() RETURNS void LANGUAGE plpgsql AS $$BEGIN LISTEN jobs; END$$",
	},
	{
		name: "setseed", text: "SELECT app.acts()", want: "seeds", quiet: true,
		setup: "CREATE FUNCTION app.acts() RETURNS void LANGUAGE sql AS $$SELECT setseed(0.5)$$",
	},
	{
		name: "procedure", text: "CALL app.acts()", want: "sets(app.tenant)",
		setup: "CREATE PROCEDURE app.acts() LANGUAGE plpgsql AS $$BEGIN COMMIT; SET app.tenant = 'x'; END$$",
	},
	{name: "DO", text: "DO $$BEGIN PERFORM app.set_tenant('x'); LISTEN jobs; END$$", want: "sets(app.tenant) listens(jobs)"},
	{name: "DO, harmless", text: "DO $$BEGIN PERFORM app.harmless(1, 2); END$$", want: "nothing"},
	{
		name: "default of an argument", text: "SELECT app.acts()", want: "sets(app.tenant)",
		setup: "CREATE FUNCTION app.acts(a text = app.set_tenant('d')) RETURNS text LANGUAGE sql AS $$SELECT a$$",
	},
	{
		name: "default of an argument, set_config", text: "SELECT app.acts()", want: "sets(app.x)",
		setup: "CREATE FUNCTION app.acts(a text = set_config('app.x', '1', false)) RETURNS text LANGUAGE sql AS $$SELECT a$$",
	},
	{
		name: "attribute of a row", text: "SET search_path = app, public; SELECT r.acts FROM app.things r", want: "sets(app.tenant)",
		setup: "CREATE TABLE app.things (a int); INSERT INTO app.things VALUES (1); " +
			"CREATE FUNCTION app.acts(app.things) RETURNS text LANGUAGE sql AS $$SELECT app.set_tenant('r')$$",
	},
	{name: "text in query_to_xml", text: "SELECT query_to_xml($$SELECT app.set_tenant('x')$$, true, false, '')", want: "anything"},
	{
		name: "aggregate", text: "SELECT app.gather(i) FROM generate_series(1, 2) i", want: "sets(app.int)",
		setup: "CREATE FUNCTION app.state(s int, i int) RETURNS int LANGUAGE sql AS $$SELECT app.set_int(i)$$; " +
			"CREATE AGGREGATE app.gather(int) (sfunc = app.state, stype = int)",
	},
	{
		name: "aggregate of set_config", text: "SELECT app.gather('v', false) FROM generate_series(1, 1) i", want: "sets_any",
		setup: "CREATE AGGREGATE app.gather(text, boolean) (sfunc = set_config, stype = text, initcond = 'app.x')",
	},
	// Triggers
	{name: "trigger", setup: table("TRIGGER a BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.on_row()"), text: "INSERT INTO app.t VALUES (1)", want: "sets(app.tenant)"},
	{name: "trigger, read", setup: table("TRIGGER a BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.on_row()"), text: "SELECT * FROM app.t", want: "nothing"},
	{name: "trigger, harmless", setup: table("TRIGGER a BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.touch()"), text: "INSERT INTO app.t VALUES (1)", want: "nothing"},
	{name: "trigger, disabled", setup: table("TRIGGER a BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.on_row(); ALTER TABLE app.t DISABLE TRIGGER a"), text: "INSERT INTO app.t VALUES (1)", want: "nothing"},
	{name: "trigger of a statement", setup: table("TRIGGER a AFTER UPDATE ON app.t EXECUTE FUNCTION app.on_row()"), text: "WITH x AS (UPDATE app.t SET a = 1) SELECT 1", want: "sets(app.tenant)"},
	{name: "trigger, TRUNCATE", setup: table("TRIGGER a AFTER TRUNCATE ON app.t EXECUTE FUNCTION app.on_row()"), text: "TRUNCATE app.t", want: "sets(app.tenant)"},
	{name: "trigger, deferred", setup: table("CONSTRAINT TRIGGER a AFTER INSERT ON app.t INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.on_row()"), text: "INSERT INTO app.t VALUES (1)", want: "sets(app.tenant)"},
	{name: "trigger, WHEN", setup: table("TRIGGER a BEFORE INSERT ON app.t FOR EACH ROW WHEN (app.is_set(new.a)) EXECUTE FUNCTION app.touch()"), text: "INSERT INTO app.t VALUES (1)", want: "sets(app.int)"},
	{name: "trigger, WHEN set_config", setup: table("TRIGGER a BEFORE INSERT ON app.t FOR EACH ROW WHEN (set_config('app.x', '1', false) = '1') EXECUTE FUNCTION app.touch()"), text: "INSERT INTO app.t VALUES (1)", want: "sets(app.x)"},
	{name: "trigger, COPY", setup: table("TRIGGER a BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.on_row()"), text: "COPY app.t FROM PROGRAM 'echo 1'", want: "sets(app.tenant)", quiet: true},
	{name: "trigger, function that writes", setup: table("TRIGGER a BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.on_row(); CREATE FUNCTION app.acts() RETURNS void LANGUAGE sql AS $$INSERT INTO app.t VALUES (1)$$"), text: "SELECT app.acts()", want: "sets(app.tenant)"},
	{name: "trigger, function that reads", setup: table("TRIGGER a BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.on_row(); CREATE FUNCTION app.acts() RETURNS bigint LANGUAGE sql AS $$SELECT count(*) FROM app.t$$"), text: "SELECT app.acts()", want: "nothing"},
	{name: "trigger, table computed", setup: table("TRIGGER a BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.on_row(); CREATE FUNCTION app.acts(t text) RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE format('INSERT INTO app.%I VALUES (1)', t); END$$"), text: "SELECT app.acts('t')", want: "sets(app.tenant)"},
	{
		name: "trigger of a partition", text: "INSERT INTO app.t VALUES (1)", want: "sets(app.tenant)",
		setup: "CREATE TABLE app.t (a int) PARTITION BY LIST (a); CREATE TABLE app.t1 PARTITION OF app.t DEFAULT; CREATE TRIGGER a BEFORE INSERT ON app.t1 FOR EACH ROW EXECUTE FUNCTION app.on_row()",
	},
	{
		name: "trigger of the whole, partition named", text: "INSERT INTO app.t1 VALUES (1)", want: "sets(app.tenant)",
		setup: "CREATE TABLE app.t (a int) PARTITION BY LIST (a); CREATE TABLE app.t1 PARTITION OF app.t DEFAULT; CREATE TRIGGER a AFTER INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.on_row()",
	},
	{
		name: "trigger of the whole, partition attached later", text: "INSERT INTO app.t1 VALUES (1)", want: "sets(app.tenant)",
		setup: "CREATE TABLE app.t (a int) PARTITION BY LIST (a); CREATE TRIGGER a AFTER INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.on_row(); CREATE TABLE app.t1 (a int); ALTER TABLE app.t ATTACH PARTITION app.t1 DEFAULT",
	},
	{
		name: "trigger of a child", text: "UPDATE app.t SET a = 2", want: "sets(app.tenant)",
		setup: "CREATE TABLE app.t (a int); CREATE TABLE app.t1 () INHERITS (app.t); INSERT INTO app.t1 VALUES (1); CREATE TRIGGER a BEFORE UPDATE ON app.t1 FOR EACH ROW EXECUTE FUNCTION app.on_row()",
	},
	{
		name: "trigger behind a foreign key", text: "DELETE FROM app.parent", want: "sets(app.tenant)",
		setup: "CREATE TABLE app.parent (a int PRIMARY KEY); CREATE TABLE app.t (a int REFERENCES app.parent ON DELETE CASCADE); INSERT INTO app.parent VALUES (1); INSERT INTO app.t VALUES (1); " +
			"CREATE TRIGGER a BEFORE DELETE ON app.t FOR EACH ROW EXECUTE FUNCTION app.on_row()",
	},
	{
		name: "trigger behind a foreign key, SET NULL", text: "UPDATE app.parent SET a = 2", want: "sets(app.tenant)",
		setup: "CREATE TABLE app.parent (a int PRIMARY KEY); CREATE TABLE app.t (a int REFERENCES app.parent ON UPDATE SET NULL); INSERT INTO app.parent VALUES (1); INSERT INTO app.t VALUES (1); " +
			"CREATE TRIGGER a BEFORE UPDATE ON app.t FOR EACH ROW EXECUTE FUNCTION app.on_row()",
	},
	// Rules and views
	{name: "rule", setup: table("RULE a AS ON INSERT TO app.t DO ALSO SELECT app.set_tenant('r')"), text: "INSERT INTO app.t VALUES (1)", want: "sets(app.tenant)"},
	{name: "rule, set_config", setup: table("RULE a AS ON INSERT TO app.t DO ALSO SELECT set_config('app.x', '1', false)"), text: "INSERT INTO app.t VALUES (1)", want: "sets(app.x) sets_any"},
	{name: "view", setup: "CREATE VIEW app.v AS SELECT app.set_tenant('v') AS x", text: "SELECT * FROM app.v", want: "sets(app.tenant)"},
	{name: "view of a view", setup: "CREATE VIEW app.v AS SELECT app.set_tenant('v') AS x; CREATE VIEW app.w AS SELECT * FROM app.v", text: "TABLE app.w", want: "sets(app.tenant)"},
	{name: "view, set_config", setup: "CREATE VIEW app.v AS SELECT set_config('app.x', '1', false) AS x", text: "SELECT * FROM app.v", want: "sets(app.x)"},
	{name: "view, advisory lock", setup: "CREATE VIEW app.v AS SELECT * FROM pg_try_advisory_lock(8)", text: "SELECT * FROM app.v", want: "locks_advisory"},
	{name: "view of pg_settings", setup: "CREATE VIEW app.v AS SELECT * FROM pg_settings", text: "UPDATE app.v SET setting = '1234' WHERE name = 'work_mem'", want: "sets_any"},
	{name: "view of pg_settings, read", setup: "CREATE VIEW app.v AS SELECT * FROM pg_settings", text: "SELECT * FROM app.v WHERE name = 'work_mem'", want: "nothing"},
	{name: "view, written through", setup: table("TRIGGER a BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.on_row(); CREATE VIEW app.v AS SELECT * FROM app.t"), text: "INSERT INTO app.v VALUES (1)", want: "sets(app.tenant)"},
	{name: "view, INSTEAD OF", setup: "CREATE VIEW app.v AS SELECT 1 AS a; CREATE TRIGGER a INSTEAD OF INSERT ON app.v FOR EACH ROW EXECUTE FUNCTION app.on_row()", text: "INSERT INTO app.v VALUES (1)", want: "sets(app.tenant)"},
	{name: "function that reads a view", setup: "CREATE VIEW app.v AS SELECT app.set_tenant('v') AS x; CREATE FUNCTION app.acts() RETURNS text LANGUAGE sql AS $$SELECT x FROM app.v$$", text: "SELECT app.acts()", want: "sets(app.tenant)"},
	// Policies, defaults, generated columns, indexes, checks
	{
		name: "policy", text: "SELECT * FROM app.t", want: "sets(app.int)",
		setup: "CREATE TABLE app.t (a int); INSERT INTO app.t VALUES (1); ALTER TABLE app.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON app.t USING (app.is_set(a))",
	},
	{
		name: "policy, set_config", text: "SELECT * FROM app.t", want: "sets(app.x)",
		setup: "CREATE TABLE app.t (a int); INSERT INTO app.t VALUES (1); ALTER TABLE app.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON app.t USING (set_config('app.x', a::text, false) <> '')",
	},
	{name: "default", setup: "CREATE TABLE app.t (a int, b text DEFAULT app.set_tenant('d'))", text: "INSERT INTO app.t (a) VALUES (1)", want: "sets(app.tenant)"},
	{name: "default, set_config", setup: "CREATE TABLE app.t (a int, b text DEFAULT set_config('app.x', '1', false))", text: "INSERT INTO app.t (a) VALUES (1)", want: "sets(app.x)"},
	{name: "generated column", setup: "CREATE TABLE app.t (a int, b int GENERATED ALWAYS AS (app.set_int(a)) STORED)", text: "INSERT INTO app.t (a) VALUES (1)", want: "sets(app.int)"},
	{name: "index", setup: "CREATE TABLE app.t (a int); CREATE INDEX ON app.t (app.set_int(a))", text: "INSERT INTO app.t (a) VALUES (1)", want: "sets(app.int)"},
	{name: "part of an index", setup: "CREATE TABLE app.t (a int); CREATE INDEX ON app.t (a) WHERE app.set_int(a) > 0", text: "INSERT INTO app.t (a) VALUES (1)", want: "sets(app.int)"},
	{name: "check", setup: "CREATE TABLE app.t (a int CHECK (app.is_set(a)))", text: "INSERT INTO app.t (a) VALUES (1)", want: "sets(app.int)"},
	{name: "check, set_config", setup: "CREATE TABLE app.t (a int CHECK (set_config('app.x', a::text, false) <> ''))", text: "INSERT INTO app.t (a) VALUES (1)", want: "sets(app.x)"},
	{name: "key of partitions", setup: "CREATE TABLE app.t (a int) PARTITION BY LIST (app.set_int(a)); CREATE TABLE app.t1 PARTITION OF app.t DEFAULT", text: "INSERT INTO app.t (a) VALUES (1)", want: "sets(app.int)"},
	// Types, operators, casts
	{name: "domain", setup: "CREATE DOMAIN app.d AS int CHECK (app.is_set(value))", text: "SELECT 1::app.d", want: "sets(app.int)"},
	{name: "domain of a column", setup: "CREATE DOMAIN app.d AS int CHECK (app.is_set(value)); CREATE TABLE app.t (a app.d)", text: "INSERT INTO app.t VALUES (1)", want: "sets(app.int)"},
	{name: "domain of an array's column", setup: "CREATE DOMAIN app.d AS int CHECK (app.is_set(value)); CREATE TABLE app.t (a app.d[])", text: "INSERT INTO app.t VALUES ('{1}')", want: "sets(app.int)"},
	{name: "domain in a row", setup: "CREATE DOMAIN app.d AS int CHECK (app.is_set(value)); CREATE TYPE app.r AS (x app.d); CREATE TABLE app.t (a app.r)", text: "INSERT INTO app.t VALUES ('(1)')", want: "sets(app.int)"},
	{name: "domain of an argument", setup: "CREATE DOMAIN app.d AS int CHECK (app.is_set(value)); CREATE FUNCTION app.acts(a app.d) RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN 1; END$$", text: "SELECT app.acts(1)", want: "sets(app.int)"},
	{name: "domain of a variable", setup: "CREATE DOMAIN app.d AS int CHECK (app.is_set(value)); CREATE FUNCTION app.acts(a int) RETURNS int LANGUAGE plpgsql AS $$DECLARE x app.d := a; BEGIN RETURN x; END$$", text: "SELECT app.acts(1)", want: "sets(app.int)"},
	{name: "domain, set_config", setup: "CREATE DOMAIN app.d AS int CHECK (set_config('app.x', value::text, false) <> '')", text: "SELECT CAST(1 AS app.d)", want: "sets(app.x)"},
	{name: "default of a domain", setup: "CREATE DOMAIN app.d AS text DEFAULT app.set_tenant('d'); CREATE TABLE app.t (a int, b app.d)", text: "INSERT INTO app.t (a) VALUES (1)", want: "sets(app.tenant)"},
	{name: "default of a domain, set_config", setup: "CREATE DOMAIN app.d AS text DEFAULT set_config('app.x', '1', false); CREATE TABLE app.t (a int, b app.d)", text: "INSERT INTO app.t (a) VALUES (1)", want: "sets(app.x)"},
	{name: "operator", setup: operator, text: "SELECT 1 OPERATOR(app.<%>) 2", want: "sets(app.int)"},
	{name: "operator, sign alone", setup: operator, text: "SET search_path = app, public; SELECT 1<%>2", want: "sets(app.int)"},
	{name: "operator, another", setup: operator, text: "SELECT 1 < 2", want: "nothing"},
	{name: "operator of set_config", setup: "CREATE FUNCTION app.two(a text, b text) RETURNS text LANGUAGE sql AS $$SELECT set_config(a, b, false)$$; CREATE OPERATOR app.<%> (leftarg = text, rightarg = text, function = app.two)", text: "SELECT 'app.x' OPERATOR(app.<%>) '2'", want: "sets_any"},
	{name: "operator in a view", setup: operator + "; CREATE VIEW app.v AS SELECT 1 OPERATOR(app.<%>) 2", text: "SELECT * FROM app.v", want: "sets(app.int)"},
	{
		name: "cast", text: "SELECT row(1)::app.r::app.s", want: "sets(app.int)",
		setup: "CREATE TYPE app.r AS (x int); CREATE TYPE app.s AS (y int); CREATE FUNCTION app.turn(app.r) RETURNS app.s LANGUAGE sql AS $$SELECT row(app.set_int(($1).x))::app.s$$; CREATE CAST (app.r AS app.s) WITH FUNCTION app.turn(app.r)",
	},
	{
		name: "cast of a column", text: "INSERT INTO app.t VALUES (row(1)::app.r)", want: "sets(app.int)",
		setup: "CREATE TYPE app.r AS (x int); CREATE TYPE app.s AS (y int); CREATE TABLE app.t (a app.s); CREATE FUNCTION app.turn(app.r) RETURNS app.s LANGUAGE sql AS $$SELECT row(app.set_int(($1).x))::app.s$$; CREATE CAST (app.r AS app.s) WITH FUNCTION app.turn(app.r) AS ASSIGNMENT",
	},
	{
		name: "cast of a number", text: "INSERT INTO app.t VALUES (1)", want: "sets(app.int)",
		setup: "CREATE TYPE app.s AS (y int); CREATE TABLE app.t (a app.s); CREATE FUNCTION app.turn(int) RETURNS app.s LANGUAGE sql AS $$SELECT row(app.set_int($1))::app.s$$; CREATE CAST (int AS app.s) WITH FUNCTION app.turn(int) AS ASSIGNMENT",
	},
	{
		name: "cast between PostgreSQL's types", text: "SELECT 'a' || 1::money::point::text", want: "sets(app.int)",
		setup: "--super\nCREATE FUNCTION app.turn(money) RETURNS point LANGUAGE sql AS $$SELECT point(app.set_int(1), 1)$$; CREATE CAST (money AS point) WITH FUNCTION app.turn(money)",
	},
	{
		name: "event trigger", text: "CREATE TABLE app.t (a int)", want: "sets(app.tenant)",
		setup: "--super\nCREATE FUNCTION app.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('app.tenant', 'e', false); END$$; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION app.on_ddl()",
	},
	{
		name: "event trigger, function that defines", text: "SELECT app.acts()", want: "sets(app.tenant)",
		setup: "CREATE FUNCTION app.acts() RETURNS void LANGUAGE plpgsql AS $$BEGIN CREATE TABLE app.t (a int); END$$;\n--super\nCREATE FUNCTION app.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('app.tenant', 'e', false); END$$; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION app.on_ddl()",
	},
	{
		name: "event trigger, SELECT INTO", text: "SELECT 1 AS a INTO app.t", want: "sets(app.tenant)",
		setup: "--super\nCREATE FUNCTION app.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('app.tenant', 'e', false); END$$; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION app.on_ddl()",
	},
	{
		name: "row of a table with a domain", text: "SELECT app.acts()", want: "sets(app.int)",
		setup: "CREATE DOMAIN app.d AS int CHECK (app.is_set(value)); CREATE TABLE app.t (a app.d); CREATE FUNCTION app.acts() RETURNS app.t LANGUAGE sql AS $$SELECT 1$$",
	},
	{
		name: "row of a table with a domain, named", text: "SELECT jsonb_populate_record(NULL::app.t, '{\"a\": 1}')", want: "sets(app.int)",
		setup: "CREATE DOMAIN app.d AS int CHECK (app.is_set(value)); CREATE TABLE app.t (a app.d)",
	},
	{name: "domain, by the name of its type", setup: "--16\nCREATE DOMAIN app.d AS int CHECK (app.is_set(value))", text: "SELECT pg_input_is_valid('1', 'app.d')", want: "anything"},
	{name: "name that is not ASCII", setup: "CREATE FUNCTION app.gr\u00f6\u00dfe() RETURNS text LANGUAGE sql AS $$SELECT app.set_tenant('u')$$", text: "SELECT app.gr\u00f6\u00dfe()", want: "sets(app.tenant)"},
}

const operator = "CREATE FUNCTION app.two(a int, b int) RETURNS int LANGUAGE sql AS $$SELECT app.set_int(a)$$; CREATE OPERATOR app.<%> (leftarg = int, rightarg = int, function = app.two)"

func table(created string) string {
	return "CREATE TABLE app.t (a int); INSERT INTO app.t VALUES (1); CREATE " + created
}

// probed are the parameters that ways set.
var probed = []string{"app.tenant", "app.x", "app.int", "app.k", "role", "work_mem", "search_path"}

// probe is what a session has.
func (d *database) probe(pc *pgconn.PgConn) map[string]string {
	d.t.Helper()
	sql := "SELECT "
	for _, name := range probed {
		sql += "coalesce(pg_catalog.current_setting('" + name + "', true), ''), "
	}
	sql += `(SELECT count(*) FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema()),
		(SELECT count(*) FROM pg_catalog.pg_cursors WHERE is_holdable), (SELECT count(*) FROM pg_catalog.pg_prepared_statements),
		(SELECT pg_catalog.string_agg(c, ',') FROM pg_catalog.pg_listening_channels() c),
		(SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid())`
	results, err := pc.Exec(d.ctx, sql).ReadAll()
	if err != nil {
		d.t.Fatal(err)
	}
	state := map[string]string{}
	for i, name := range append(slices.Clone(probed), "#temp", "#cursors", "#prepared", "#channels", "#locks") {
		state[name] = string(results[0].Rows[0][i])
	}
	return state
}

// covers reports whether deeds speak of a part of the state.
func covers(d *Deeds, name string) bool {
	if d == nil {
		return false
	}
	what := map[string]Deed{"#temp": MakesTemp, "#cursors": HoldsCursor, "#prepared": Prepares, "#channels": ListensNamed | ListensAny, "#locks": LocksAdvisory}
	if d.What&Anything != 0 || d.What&what[name] != 0 {
		return true
	}
	return !strings.HasPrefix(name, "#") && (d.What&SetsAny != 0 || slices.Contains(d.Settings, name))
}

// TestWays: each way is found, and said to do what it does. What is said to be harmless changes nothing.
func TestWays(t *testing.T) {
	d := newDatabase(t)
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			sub := *d
			sub.t = t
			sub.tries(w)
		})
	}
}

// reset makes a session what it was at its beginning.
func (d *database) reset(pc *pgconn.PgConn) {
	d.t.Helper()
	d.run(pc, "RESET SESSION AUTHORIZATION")
	d.run(pc, "DISCARD ALL")
	d.run(pc, "SELECT set_config(n, '', false) FROM unnest('{app.tenant,app.x,app.int,app.k}'::text[]) n")
}

func (d *database) tries(w way) {
	t := d.t
	t.Helper()
	if since, ok := strings.CutPrefix(w.setup, "--16\n"); ok {
		if d.plain.ParameterStatus("server_version") < "16" {
			return
		}
		w.setup = since
	}
	d.reset(d.plain)
	d.run(d.plain, "DROP SCHEMA IF EXISTS app CASCADE; CREATE SCHEMA app; GRANT USAGE, CREATE ON SCHEMA app TO bob")
	setup, super, _ := strings.Cut(w.setup, "--super\n")
	d.run(d.plain, functions+setup)
	d.run(d.all, super)
	defer d.run(d.all, "DROP EVENT TRIGGER IF EXISTS e; DROP CAST IF EXISTS (money AS point)")
	c := d.load(nil)
	deeds := judge(c, w.text)
	if have := deeds.String(); have != w.want {
		t.Errorf("%s\nhave %s\nwant %s", w.text, have, w.want)
	}
	session := d.plain
	if w.name == "trigger, COPY" {
		session = d.all
	}
	d.reset(session)
	before := d.probe(session)
	d.run(session, w.text)
	after := d.probe(session)
	d.reset(session)
	changed := 0
	var l sqltext.Lexer
	l.Begin(sqltext.Dialect{})
	l.Feed([]byte(w.text))
	said := l.End()
	for name, value := range after {
		if value == before[name] || name == "search_path" && said&sqltext.Assigns != 0 {
			continue
		}
		changed++
		if !covers(deeds, name) {
			t.Errorf("%s: %s went from %q to %q; said %s", w.text, name, before[name], value, deeds)
		}
	}
	if changed == 0 && deeds != nil && !w.quiet {
		t.Errorf("%s: it changes nothing: is it the way that is meant? Said %s", w.text, deeds)
	}
}

// TestFound: the list for people says what does something, by what, and why.
func TestFound(t *testing.T) {
	d := newDatabase(t)
	d.run(d.plain, functions+"CREATE TABLE app.t (a int CHECK (app.is_set(a))); CREATE FUNCTION app.reads() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM app.t'")
	var lines []string
	for f := range d.load(nil).Found() {
		lines = append(lines, fmt.Sprintf("%s %s: %s via %q: %s", f.Kind, f.Name, f.Does, f.Via, f.Why))
	}
	have := strings.Join(lines, "\n")
	want := strings.TrimSpace(`
function app.is_set: sets(app.int) via ["app.set_int"]: PERFORM set_config('app.int', i::text, false)
function app.on_row: sets(app.tenant) via []: PERFORM set_config('app.tenant', 'row', false)
function app.set_int: sets(app.int) via []: PERFORM set_config('app.int', i::text, false)
function app.set_tenant: sets(app.tenant) via []: SELECT set_config('app.tenant', t, false)
write app.t: sets(app.int) via ["app.is_set" "app.set_int"]: PERFORM set_config('app.int', i::text, false)`)
	if have != want {
		t.Errorf("have\n%s\nwant\n%s", have, want)
	}
}

// TestCorrections: an operator's word stands above what is read.
func TestCorrections(t *testing.T) {
	d := newDatabase(t)
	d.run(d.plain, functions+`CREATE FUNCTION app.dynamic(q text) RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE q; END$$;
		CREATE FUNCTION app.calls() RETURNS void LANGUAGE sql AS $$SELECT app.dynamic('SELECT 1')$$`)
	c := d.load(map[string]*Deeds{"app.dynamic": {}, "harmless": {What: SetsNamed, Settings: []string{"app.said"}}})
	for text, want := range map[string]string{
		"SELECT app.dynamic('x')": "nothing", "SELECT app.calls()": "nothing", "SELECT app.harmless(1, 2)": "sets(app.said)",
		"SELECT app.set_tenant('x')": "sets(app.tenant)",
	} {
		if have := judge(c, text).String(); have != want {
			t.Errorf("%s: have %s, want %s", text, have, want)
		}
	}
}
