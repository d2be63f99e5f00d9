package catalog

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// change is the answer to ChangeSQL.
func (d *database) change() string {
	d.t.Helper()
	results, err := d.plain.Exec(d.ctx, ChangeSQL).ReadAll()
	if err != nil {
		d.t.Fatal(err)
	}
	if len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 1 {
		d.t.Fatalf("%d rows", len(results[0].Rows))
	}
	return string(results[0].Rows[0][0])
}

// TestChange: what alters the catalogue alters the answer, and what does not does not.
func TestChange(t *testing.T) {
	d := newDatabase(t)
	d.run(d.plain, functions+"CREATE TABLE app.t (a int PRIMARY KEY, b text); CREATE TABLE app.u (a int); INSERT INTO app.t VALUES (1, 'x')")
	last := d.change()
	for _, c := range []struct {
		sql     string
		changes bool
	}{
		{"INSERT INTO app.t VALUES (2, 'y'); UPDATE app.t SET b = 'z'; DELETE FROM app.t WHERE a = 2", false},
		{"ANALYZE app.t", false},
		{"VACUUM FREEZE app.t", false},
		{"TRUNCATE app.u", false},
		{"REINDEX TABLE app.t", false},
		{"CREATE TEMP TABLE x (a int CHECK (a > 0), b int DEFAULT 3); DROP TABLE x", false},
		{"CREATE TEMP VIEW x AS SELECT 1", false},
		{"GRANT SELECT ON app.t TO bob; COMMENT ON TABLE app.t IS 'x'", false},
		{"ALTER TABLE app.t ADD c int", false},
		{"CREATE OR REPLACE FUNCTION app.set_tenant(t text) RETURNS text LANGUAGE sql AS $$SELECT 'x'$$", true},
		{"ALTER FUNCTION app.set_tenant(text) RENAME TO other", true},
		{"ALTER FUNCTION app.other(text) SET search_path = pg_temp", true},
		{"DROP FUNCTION app.other(text)", true},
		{"CREATE TRIGGER g BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.on_row()", true},
		{"ALTER TABLE app.t DISABLE TRIGGER g", true},
		{"DROP TRIGGER g ON app.t", true},
		{"ALTER TABLE app.t ALTER b SET DEFAULT upper('x')", true},
		{"ALTER TABLE app.t ALTER b SET DEFAULT lower('x')", true},
		{"ALTER TABLE app.t ADD CHECK (app.is_set(a))", true},
		{"CREATE POLICY p ON app.t USING (app.is_set(a))", true},
		{"ALTER POLICY p ON app.t USING (true)", true},
		{"CREATE INDEX ON app.t (app.set_int(a))", true},
		{"CREATE TABLE app.v (a int REFERENCES app.t ON DELETE CASCADE)", true},
		{"ALTER TABLE app.u RENAME TO w", true},
		{"CREATE TABLE app.x () INHERITS (app.w)", true},
		{"ALTER TABLE app.x NO INHERIT app.w", true},
		{"CREATE VIEW app.y AS SELECT 1 AS a", true},
		{"CREATE OR REPLACE VIEW app.y AS SELECT 2 AS a", true},
		{"CREATE RULE r AS ON INSERT TO app.w DO ALSO SELECT 1", true},
		{"CREATE DOMAIN app.d AS int", true},
		{"ALTER DOMAIN app.d ADD CHECK (value > 0)", true},
		{"ALTER DOMAIN app.d SET DEFAULT 7", true},
		{"ALTER TABLE app.w ADD e app.d", true},
		{"ALTER TABLE app.w ADD CONSTRAINT k CHECK (a > 0)", true},
		{"ALTER TABLE app.w DROP CONSTRAINT k, ADD CONSTRAINT k CHECK (app.is_set(a))", true},
		{"CREATE OPERATOR app.<%> (leftarg = int, rightarg = int, function = app.harmless)", true},
		{"DROP OPERATOR app.<%> (int, int); CREATE OPERATOR app.<%> (leftarg = int, rightarg = int, function = pg_catalog.int4pl)", true},
		{"DROP OPERATOR app.<%> (int, int)", true},
	} {
		d.run(d.plain, c.sql)
		now := d.change()
		if (now != last) != c.changes {
			t.Errorf("%s: changed: %v", c.sql, now != last)
		}
		last = now
	}
	if again := d.change(); again != last {
		t.Errorf("the answer changes by itself: %s, %s", last, again)
	}
}

// listener is a connection that listens for changes, and what it has heard.
func (d *database) listener() (pc *pgconn.PgConn, heard *[]string) {
	d.t.Helper()
	cluster := pgtest.Shared(d.t)
	config, err := pgconn.ParseConfig(cluster.DSN("plain", d.name))
	if err != nil {
		d.t.Fatal(err)
	}
	heard = new([]string)
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { *heard = append(*heard, n.Payload) }
	pc, err = pgconn.ConnectConfig(d.ctx, config)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = pc.Close(context.Background()) })
	d.run(pc, "LISTEN "+NotifyChannel)
	return pc, heard
}

// TestNotify: with the event triggers a change is told at its commit, and nothing of temporary objects; the triggers themselves are harmless.
func TestNotify(t *testing.T) {
	d := newDatabase(t)
	d.run(d.all, NotifySQL)
	d.run(d.all, NotifySQL) // it may be run again
	pc, heard := d.listener()
	for _, c := range []struct {
		sql  string
		told bool
	}{
		{"CREATE TABLE app.t (a int)", true},
		{"CREATE TEMP TABLE x (a int)", false},
		{"CREATE TEMP TABLE y (a int); DROP TABLE y", false},
		{"SELECT 1", false},
		{"CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", true},
		{"DROP FUNCTION app.f()", true},
		{"ALTER TABLE app.t ADD b int DEFAULT 3", true},
	} {
		*heard = nil
		d.run(d.plain, c.sql)
		d.run(d.plain, "NOTIFY "+NotifyChannel+", 'mark'") // notifications come in the order of commits
		for !slices.Contains(*heard, "mark") {
			if err := pc.WaitForNotification(d.ctx); err != nil {
				t.Fatal(err)
			}
		}
		if told := (*heard)[0] != "mark"; told != c.told {
			t.Errorf("%s: told: %v", c.sql, told)
		}
	}
	if deeds := judge(d.load(nil), "CREATE TABLE app.u (a int)"); deeds != nil {
		t.Errorf("the triggers that tell of changes do something themselves: %s", deeds)
	}
}
