package catalog

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// recorder writes down what a reader finds.
type recorder struct {
	deeds    *Deeds
	calls    []string
	writesTo []string
	wild     []string
}

func (r *recorder) does(d Deed, _ []byte) { r.deeds = union(r.deeds, &Deeds{What: d}) }

func (r *recorder) sets(name string, _ []byte) {
	r.deeds = union(r.deeds, &Deeds{What: SetsNamed, Settings: []string{name}})
}

func (r *recorder) listens(channel string, _ []byte) {
	r.deeds = union(r.deeds, &Deeds{What: ListensNamed, Channels: []string{channel}})
}

func (r *recorder) mentions(m mention) {
	if m.calls && strings.HasPrefix(string(m.name), "f_") {
		r.calls = append(r.calls, string(m.name))
	}
	if m.writes && strings.HasPrefix(string(m.name), "t_") {
		r.writesTo = append(r.writesTo, string(m.name))
	}
}

func (r *recorder) operator([]byte) {}

func (r *recorder) defined() {}

func (r *recorder) unnamed(writes bool) { r.wild = append(r.wild, fmt.Sprintf("any(%v)", writes)) }

func (r *recorder) String() string {
	return strings.TrimSpace(r.deeds.String() + " " + strings.Join(slices.Concat(r.calls, r.writesTo, r.wild), " "))
}

// TestBodies: what bodies do, of functions in PL/pgSQL (begin ...) and in SQL.
func TestBodies(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"select 1", "nothing"},
		{"begin return new; end", "nothing"},
		{"begin perform set_config('app.tenant', new.x, false); return new; end", "sets(app.tenant)"},
		{"begin perform set_config('app.tenant', new.x, true); end", "nothing"},
		{"begin perform set_config('app.' || k, v, true); end", "nothing"},
		{"begin perform set_config('app.' || k, v, false); end", "sets_any"},
		{"begin perform set_config('App.X', case when a then 'b' else 'c' end, is_local => false); end", "sets(app.x)"},
		{"begin perform set_config(is_local => false, setting_name => 'App.X', new_value => v); end", "sets(app.x)"},
		{"begin perform set_config(is_local => true, setting_name => 'App.X', new_value => v); end", "nothing"},
		{"begin perform set_config('a.b', v, loc); end", "sets(a.b)"},
		{"begin perform pg_catalog.\"set_config\"('a.b', v, 1 = 2); end", "sets(a.b)"},
		{"begin perform set_config(set_config('a.b', 'c.d', false), pg_advisory_lock(1)::text, true); end", "sets(a.b) locks_advisory"},
		{"begin x := set_config('a.b', v, false); end", "sets(a.b)"},
		{"declare x text := set_config('a.b', v, false); begin end", "sets(a.b)"},
		{"declare c cursor (k int) for select set_config('a.b', v, false); begin open c(1); end", "sets(a.b)"},
		{"begin if set_config('a.b', v, false) = 'x' then null; end if; end", "sets(a.b)"},
		{"begin return case when v then set_config('a.b', v, false) else current_setting('a.b') end; end", "sets(a.b)"},
		{"begin for r in select set_config('a.b', v, false) loop null; end loop; end", "sets(a.b)"},
		{"begin raise notice '%', set_config('a.b', v, false); exception when others then set role bob; end", "sets(a.b role)"},
		{"begin set role bob; end", "sets(role)"},
		{"declare y int := case when a then 1 else pg_advisory_lock(1) end; c cursor for select case when a then setseed(0) end; begin null; end", "locks_advisory seeds"},
		{"begin select case when a then pg_advisory_lock(1) else setseed(0) end into x; end", "locks_advisory seeds"},
		{"begin if a then set local role bob; else set time zone 'UTC'; end if; end", "sets(timezone)"},
		{"<<x>> begin <<y>> loop set session authorization bob; end loop; end", "sets(session_authorization)"},
		{"begin set search_path to a, b; reset a.b; reset all; end", "sets(a.b search_path) sets_any"},
		{"begin set local search_path to pg_temp; create table x (a int); end", "makes_temp"},
		{"begin create table x (a int); end", "nothing"},
		{"begin set local search_path = 'pg_catalog', 'pg_temp'; create table x (a int); end", "nothing"},
		{"begin perform set_config('search_path', p, true); create table x (a int); end", "makes_temp"},
		{"begin create temp table x as select 1; end", "makes_temp"},
		{"begin create temp table x on commit drop as select 1; end", "nothing"},
		{"begin create table pg_temp.x (a int); end", "makes_temp"},
		{"begin listen a; end", "listens(a)"},
		{"begin LISTEN \"A b\"; unlisten c; notify d; end", "listens(A b) listens_any"},
		{"begin prepare x as select 1; end", "prepares"},
		{"begin perform pg_advisory_xact_lock(1); select pg_try_advisory_lock(1) into x; end", "locks_advisory"},
		{"begin load 'x'; end", "anything cannot_undo"},
		{"begin update pg_catalog.pg_settings set setting = v where name = n; end", "anything"},
		{"begin perform setseed(0.5); end", "seeds"},
		{"begin return query_to_xml(v, true, false, ''); end", "anything"},
		{"begin update t_a set b = f_x(c) where set = 1; select f_y() into d from t_b; end", "nothing f_x f_y t_a"},
		{"begin insert into t_a values (case when x then f_x() else 1 end) on conflict do nothing; end", "nothing f_x t_a"},
		{"begin perform 1 from t_a; delete from t_b; end", "nothing t_b"},
		{"begin call f_p(); f_q(1); end", "nothing f_p f_q"},
		{"declare set text; listen int := 1; begin set := 'x'; listen := 2; set.x := 3; set[1] := 4; end", "nothing"},
		{"begin alter table t_a add b int; grant execute on function f to x; end", "nothing t_a"},
		{"begin create trigger a before insert on t_a execute function f_x(); end", "anything f_x t_a"},
		{"#variable_conflict use_column\nbegin set role bob; end", "sets(role)"},
		{"#print_strict_params on\n#variable_conflict use_column\n<<x>>\ndeclare y text := set_config('a.b', 'c', false); begin null; end", "sets(a.b)"},
		{"begin <<y>> begin set role bob; exception when others then <<z>> declare x int; begin set role none; listen a; end; end; end", "sets(role) listens(a)"},
		// EXECUTE
		{"begin execute v; end", "anything"},
		{"begin execute 'set role ' || v; end", "anything"},
		{"begin execute 'set role bob'; end", "sets(role)"},
		{"begin execute 'set role ' || quote_ident(v); end", "sets(role)"},
		{"begin execute format('set role %I', v); end", "sets(role)"},
		{"begin execute format('set %I = %L', k, v); end", "sets_any"},
		{"begin execute format('select set_config(%L, %L, false)', k, v); end", "sets_any"},
		{"begin execute format('listen %I', k); end", "listens_any"},
		{"begin execute format('insert into %I.%I (a, b) values (%L, $1)', s, r, v) using f_x(); end", "nothing f_x any(true) any(true)"},
		{"begin execute format('create table if not exists %1$I partition of t_a for values from (%2$L)', r, v); end", "nothing t_a any(true)"},
		{"begin execute format('select %I(1)', f); end", "anything any(false)"},
		{"begin execute format('select count(*) from %I x', f); end", "nothing any(false)"},
		{"begin execute format('%I x', f); end", "anything any(false)"},
		{"begin execute format('select 1 into %I x', f); end", "anything any(false)"},
		{"begin execute format('select ''%L''', f); end", "anything"},
		{"begin execute format('select 1 -- %I', f); end", "anything"},
		{"begin execute 'e' || quote_literal(f); end", "anything"},
		{"begin execute 'select f_' || quote_ident(f); end", "anything"},
		{"begin execute format('select %s', f); end", "anything"},
		{"begin execute 'select ' || (pg_catalog.quote_nullable(f)) || ' from t_a'; end", "nothing"},
		{"begin return query execute 'delete from t_a'; end", "nothing t_a"},
		{"begin for r in execute v using 1 loop null; end loop; end", "anything"},
		{"begin open c for execute 'select f_x()'; end", "nothing f_x"},
		{"begin execute E'select \\'x\\''; end", "anything"},
		{"begin execute 'do $x$ begin set role bob; end $x$'; end", "sets(role)"},
		// DO
		{"do $$ begin listen a; end $$", "listens(a)"},
		{"do language plpgsql 'begin set role bob; end'; select 1", "sets(role)"},
		{"do $$ begin null; end $$ language \"plperl\"", "anything cannot_undo"},
		{"do $$ begin execute $y$do 'begin execute ''set role bob''; end'$y$; end $$", "sets(role)"},
		// SQL
		{"select set_config($1, $2, false)", "sets_any"},
		{"select set_config('a.b', v, false); insert into t_a select f_x()", "sets(a.b) f_x t_a"},
		{"begin atomic select set_config('a.b', v, false); select case when f_x() then 1 end; end", "sets(a.b) f_x"},
		{"return f_x(1)", "nothing f_x"},
		{"execute p", "anything"},
		{"declare c cursor with hold for select 1", "holds_cursor"},
		{"set role bob", "sets(role)"},
		{"create temp table x (a int)", "makes_temp"},
		{"select U&\"set\\005fconfig\"('a.b', v, false)", "sets(a.b)"},
	} {
		if have := readBody(c.body); have != c.want {
			t.Errorf("%s\nhave %s\nwant %s", c.body, have, c.want)
		}
	}
}

// readBody reads a body in PL/pgSQL, or else in SQL.
func readBody(body string) string {
	var r reader
	found := &recorder{}
	r.begin(found, false, sqltext.Dialect{})
	first, _, _ := strings.Cut(body, " ")
	if (first == "begin" || first[:1] == "#" || first == "declare" || first == "<<x>>") && !strings.HasPrefix(body, "begin atomic") && !strings.Contains(body, "with hold") {
		r.plpgsql([]byte(body), 0)
	} else {
		r.sqlBody([]byte(body))
	}
	r.finish()
	return found.String()
}
