package catalog

import (
	"strings"
	"testing"
)

// quietExtensions are extensions of PostgreSQL's own with functions in C that all do nothing, but for those of exceptions.
var quietExtensions = strings.Fields("citext cube earthdistance fuzzystrmatch hstore intarray isn ltree pg_trgm pgcrypto seg tablefunc unaccent uuid-ossp " +
	"btree_gin btree_gist dblink postgres_fdw file_fdw pg_stat_statements pgstattuple amcheck lo tcn autoinc moddatetime insert_username xml2 bloom dict_int")

// TestExtensions: of PostgreSQL's own extensions only those functions do something that the list names.
func TestExtensions(t *testing.T) {
	d := newDatabase(t)
	installed := 0
	for _, name := range quietExtensions {
		results, err := d.all.Exec(d.ctx, "SELECT 1 FROM pg_available_extensions WHERE name = '"+name+"'").ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if len(results[0].Rows) == 0 {
			t.Logf("this PostgreSQL has no %s", name)
			continue
		}
		d.run(d.all, `CREATE EXTENSION "`+name+`" CASCADE`)
		installed++
	}
	if installed < 15 {
		t.Errorf("only %d extensions", installed)
	}
	c := d.load(nil)
	for f := range c.Found() {
		name := strings.TrimPrefix(f.Name, "public.")
		known := false
		for key := range extensionDeeds {
			known = known || strings.HasSuffix(key, " "+name)
		}
		if !known && !strings.HasPrefix(name, "crosstab") {
			t.Errorf("%s %s: %s via %q: %s", f.Kind, f.Name, f.Does, f.Via, f.Why)
		}
	}
	for text, want := range map[string]string{
		"SELECT dblink_connect('dbname=x')": "anything cannot_undo", "SELECT set_limit(0.5)": "sets(pg_trgm.similarity_threshold)",
		"SELECT crosstab('SELECT 1')": "anything", "SELECT similarity('a', 'b') FROM x WHERE a % 'b'": "nothing", "SELECT digest('x', 'md5')": "nothing",
		"SELECT * FROM dblink('dbname=x', 'SELECT 1') AS x(a int)": "nothing",
	} {
		if have := judge(c, text).String(); have != want {
			t.Errorf("%s: have %s, want %s", text, have, want)
		}
	}
}

// TestUnknownCode: code that nobody can read does anything, unless its author promises that it changes nothing.
func TestUnknownCode(t *testing.T) {
	d := newDatabase(t)
	d.run(d.all, `CREATE FUNCTION app.c_volatile(cstring) RETURNS text LANGUAGE internal VOLATILE AS 'textin';
		CREATE FUNCTION app.c_stable(cstring) RETURNS text LANGUAGE internal STABLE AS 'textin';
		CREATE FUNCTION app.sneaky(text, text, boolean) RETURNS text LANGUAGE internal AS 'set_config_by_name'`)
	c := d.load(nil)
	for text, want := range map[string]string{
		"SELECT app.c_volatile('x')": "anything cannot_undo", "SELECT app.c_stable('x')": "nothing",
		"SELECT app.sneaky('app.x', '1', false)": "anything cannot_undo",
	} {
		if have := judge(c, text).String(); have != want {
			t.Errorf("%s: have %s, want %s", text, have, want)
		}
	}
	if c.Function(1) != nil || c.Stats().Functions != 3 {
		t.Errorf("%+v", c.Stats())
	}
}
