package sqltext

import (
	"slices"
	"strings"
	"testing"
)

// effectsOf is what a Lexer says of a text, as words.
func effectsOf(sql string) string {
	var l Lexer
	l.Begin(Dialect{})
	l.Feed([]byte(sql))
	return l.End().String()
}

// TestLexerKinds: what kind of statement it is.
func TestLexerKinds(t *testing.T) {
	for _, c := range []struct{ sql, want string }{
		{"select a from b where c = $1 order by d limit 1", ""},
		{"(select 1) union values (2)", ""},
		{"with a as (select 1) table a", ""},
		{"show work_mem", ""},
		{"fetch all from c; close c; move c; lock table a; checkpoint", ""},
		{"explain select 1", ""},
		{"insert into a values (1)", "writes draws_sequence"},
		{"with a as (insert into b select 1) select 1", "writes draws_sequence"},
		{"merge into a using b on true when matched then delete", "writes draws_sequence"},
		{"UPDATE a SET b = 1", "writes"},
		{"DELETE FROM a", "writes"},
		{"with a as (delete from b returning *) select * from a", "writes"},
		{"truncate a", "writes"},
		{"copy a from stdin", "writes draws_sequence"},
		{"select * from a for update", "writes"},
		{"explain analyze update a set b = 1", "writes"},
		{"select NextVal('a'), setval ('b', 1)", "draws_sequence"},
		{"select currval('a'), pg_catalog.lastval()", "reads_sequence"},
		{"select lastval, currval, nextval from a", ""},
		{"create table a (b int)", "creates defines"},
		{"create table if not exists a as select 1", "creates defines"},
		{"select 1 into a", "creates"},
		{"alter table a add b int", "defines"},
		{"drop table a", "defines"},
		{"refresh materialized view a; vacuum; grant a to b", "defines"},
		{"select setseed(0.5)", "seeds"},
		{"select * from pg_catalog.\"setseed\" (0.5)", "seeds"},
		{"set local seed = 0.5", "seeds"},
		{"select set_config('seed', '0.5', false)", "seeds"},
		{"select pg_create_logical_replication_slot('a', 'b', true)", "holds_other"},
		{"select * from pg_copy_physical_replication_slot('a', 'b', true)", "holds_other"},
		{"select schema_to_xml('a', true, false, '')", "opaque"},
		{"select Table_To_Xml('a', true, false, ''), database_to_xmlschema(true, false, '')", "opaque"},
		{"select * from ts_stat('select f()')", "opaque"},
	} {
		if have := effectsOf(c.sql); have != c.want {
			t.Errorf("%q: have %q, want %q", c.sql, have, c.want)
		}
	}
}

// TestLexerSettingsUpdate: UPDATE of pg_settings in many spellings.
func TestLexerSettingsUpdate(t *testing.T) {
	for _, c := range []struct {
		sql  string
		does bool
	}{
		{"update pg_settings set setting = 1", true},
		{"UPDATE pg_catalog.pg_settings SET setting = 1", true},
		{`update only "pg_catalog" . "pg_settings" as s set setting = 1`, true},
		{"update/**/pg_catalog/**/./**/PG_SETTINGS s set setting = 1", true},
		{"with x as (select 1) update pg_settings set setting = 1", true},
		{"with x as (update pg_catalog.pg_settings set setting = 1 returning 1) select 1", true},
		{"explain analyze update pg_settings set setting = 1", true},
		{`update U&"pg\005fsettings" set setting = 1`, true},
		{"select * from pg_settings", false},
		{"select * from pg_settings; update a set b = 1", false},
	} {
		if have := strings.Contains(effectsOf(c.sql), "unreadable"); have != c.does {
			t.Errorf("%q: unreadable: %v", c.sql, have)
		}
	}
}

// TestLexerSearchPath: which search_paths lead to temporary objects.
func TestLexerSearchPath(t *testing.T) {
	for _, c := range []struct{ sql, want string }{
		{"set search_path = pg_temp, public", "makes_temp leads_to_temp"},
		{`set search_path to "pg_temp"`, "makes_temp leads_to_temp"},
		{"SET LOCAL Search_Path = 'pg_temp', a", "makes_temp leads_to_temp"},
		{"set search_path = PG_TEMP_3", "makes_temp leads_to_temp"},
		{`set search_path = U&"pg\005ftemp"`, "makes_temp leads_to_temp"},
		{`set U&"search\005fpath" = pg_temp`, "makes_temp leads_to_temp"},
		{"set schema 'pg_temp'", "makes_temp leads_to_temp"},
		{`set search_path = "$user", pg_temp`, "leads_to_temp"},
		{"set search_path = public, pg_temp", "leads_to_temp"},
		{"set search_path = a, E'pg_te\\x6dp'", "leads_to_temp"},
		{"set search_path = pg_catalog, pg_temp", ""},
		{`set search_path = "PG_TEMP", pg_temperature, 'pg_temp, a'`, ""},
		{"set search_path = default; reset search_path; set search_path from current", ""},
		{"select set_config('search_path', 'pg_temp, a', false)", "makes_temp leads_to_temp"},
		{`select set_config('search_path', ' "a,""b" ,Pg_Temp', true)`, "leads_to_temp"},
		{"select set_config('search_path', x, true) from y", "leads_to_temp"},
		{"select set_config('search_path', 'pg_catalog, pg_temp', false)", ""},
		{"select set_config('search_path', $1, false)", ""}, // the caller has the value
		{"set " + "search_path = a" + strings.Repeat(", a", 30), "leads_to_temp"},
		{"set " + "search_path = pg_catalog" + strings.Repeat(", a", 30), ""},
	} {
		var l Lexer
		l.Begin(Dialect{})
		l.Feed([]byte(c.sql))
		if have := (l.End() & (MakesTemp | LeadsToTemp)).String(); have != c.want {
			t.Errorf("%q: have %q, want %q", c.sql, have, c.want)
		}
	}
	for value, want := range map[string]bool{
		"": false, "public": false, "pg_temp": true, `"$user", public, pg_temp`: true, `"pg_temp"`: true, `"a""pg_temp"`: false,
		" PG_temp_12 ,a": true, "pg_catalog,pg_temp": false, `"pg_temp`: true, ",,pg_temp": true,
	} {
		if have := PathLeadsToTemp(value); have != want {
			t.Errorf("%q leads to temporary objects: %v", value, have)
		}
	}
}

// TestLexerWatch: names are found however they are spelled.
func TestLexerWatch(t *testing.T) {
	names := NewNames(slices.Values([]string{"set_tenant", "Weird Name", "f", "gr\u00f6\u00dfe", strings.Repeat("l", 63)}))
	for _, c := range []struct {
		sql  string
		does bool
	}{
		{"select set_tenant('a')", true},
		{"SELECT app.Set_Tenant ('a')", true},
		{`select * from "app"."set_tenant"('a')`, true},
		{"call set_tenant('a')", true},
		{"prepare x as select set_tenant('a')", true},
		{`select U&"set\005ftenant"('a')`, true},
		{`select "weird name"(1), "Set_Tenant"()`, false},
		{`select "Weird Name"(1)`, true},
		{"select F()", true},
		{"select ff(), e'f', 'set_tenant', $$f$$ -- f", false},
		{"select gr\u00f6\u00dfe()", true},
		{"select gr\xf6\xdfe()", true}, // the same name in another encoding
		{"select " + strings.Repeat("L", 70) + "()", true},
		{"select " + strings.Repeat("L", 62) + "()", false},
	} {
		var l Lexer
		for cut := range len(c.sql) {
			l.Begin(Dialect{})
			l.Watch(names)
			l.Feed([]byte(c.sql[:cut]))
			l.Feed([]byte(c.sql[cut:]))
			if have := l.End()&Mentions != 0; have != c.does {
				t.Errorf("%q cut at %d: mentions: %v", c.sql, cut, have)
			}
		}
		l.Begin(Dialect{})
		l.Feed([]byte(c.sql))
		if l.End()&Mentions != 0 {
			t.Errorf("%q: mentions something that nobody watches for", c.sql)
		}
		l.Begin(Dialect{})
		l.Watch(EveryName())
		l.Feed([]byte(c.sql))
		if l.End()&Mentions == 0 {
			t.Errorf("%q: mentions nothing of all names", c.sql)
		}
	}
}

// TestLexerTrust: calls of functions that are not on the list, and what only looks like a call.
func TestLexerTrust(t *testing.T) {
	trusted := NewNames(slices.Values(strings.Fields("lower count and where in values numeric exists")))
	for _, c := range []struct {
		sql  string
		does bool
	}{
		{"select lower(a), COUNT(*) from b where (c) and (d) in (1, 2)", false},
		{"insert into b (c, d) values (lower('x'), 1)", false},
		{"insert into a.b (c) values (1) on conflict (c) do update set (c) = (1)", false},
		{"select count(*) over (partition by a), lower(b)::numeric(10, 2) from c as d(e) where exists (select 1)", false},
		{"with x as (select 1) select * from x", false},
		{"copy a.b (c, d) from stdin", false},
		{"select f from g where h = 'f(x)'", false},
		{"select f(1)", true},
		{"select app . f /* x */ (1)", true},
		{`select "Lower"(1)`, true},
		{"select lower(f(1))", true},
		{"insert into b (c) select f(1)", true},
		{"select 1 as a from f(1)", true},
		{`select U&"f"(1)`, true},
	} {
		var l Lexer
		for cut := range len(c.sql) {
			l.Begin(Dialect{})
			l.Trust(trusted)
			l.Feed([]byte(c.sql[:cut]))
			l.Feed([]byte(c.sql[cut:]))
			if have := l.End()&CallsUnknown != 0; have != c.does {
				t.Errorf("%q cut at %d: calls an unknown function: %v", c.sql, cut, have)
			}
		}
	}
}

// TestNames: a large set has what was put in, and nothing else; asking allocates nothing.
func TestNames(t *testing.T) {
	var in []string
	for i := range 5000 {
		in = append(in, "name_"+strings.Repeat("x", i%40)+string(rune('a'+i%26)))
	}
	names := NewNames(slices.Values(in))
	for _, name := range in {
		if !names.Has([]byte(name)) || names.Has([]byte(name+"?")) {
			t.Fatalf("%q", name)
		}
	}
	for _, empty := range []*Names{nil, NewNames(slices.Values([]string{"", long}))} {
		if !empty.Empty() || empty.Has([]byte("x")) || empty.Has(nil) {
			t.Error("an empty set has something")
		}
	}
	text, l := []byte("select name_xxa, lower(b) from c"), Lexer{}
	if n := testing.AllocsPerRun(100, func() {
		l.Begin(Dialect{})
		l.Watch(names)
		l.Trust(names)
		l.Feed(text)
		l.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
