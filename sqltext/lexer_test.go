package sqltext

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// lexed is all that a Lexer says of a text, to be compared.
func lexed(l *Lexer, d Dialect, pieces ...string) string {
	l.Begin(d)
	for _, p := range pieces {
		l.Feed([]byte(p))
	}
	var b strings.Builder
	e := l.End()
	fmt.Fprintf(&b, "%d %s", l.Statements(), e)
	for i := range l.Assignments() {
		a := l.Assignment(i)
		fmt.Fprintf(&b, "; %s%s", map[bool]string{true: "local "}[a.Local], a.Name)
		if a.NameParam > 0 {
			fmt.Fprintf(&b, "$%d", a.NameParam)
		}
		switch {
		case a.Reset:
			b.WriteString(" reset")
		case a.Exact && a.ValueParam > 0:
			fmt.Fprintf(&b, " = $%d", a.ValueParam)
		case a.Exact:
			fmt.Fprintf(&b, " = %s", a.Value)
		case a.ValueParam > 0:
			fmt.Fprintf(&b, " = $%d?", a.ValueParam)
		default:
			b.WriteString(" ?")
		}
	}
	return b.String()
}

var long = strings.Repeat("x", 100)

// nasties are texts and what they do: "statements effects; name = value; name ? (ask); name reset".
var nasties = []struct{ sql, want string }{
	{"", "0 "},
	{" ; ;; -- nothing\n;/* ; */", "0 "},
	{"select 1", "1 "},
	{"select 1;select 2;", "2 "},
	{"SELECT abalance FROM pgbench_accounts WHERE aid = 1;", "1 "},
	{"select temp, temporary from load where set = 'set x = 1' and pg_tempo > 0", "1 "},
	// SET
	{"set app.tenant_id = '7'", "1 assigns; app.tenant_id = 7"},
	{"SET SESSION App.\"Tenant\" TO 'a''b' ;", "1 assigns; app.tenant = a'b"},
	{"set local app.tenant_id = '7'", "1 "},
	{"/* x */ set -- y\n app . /* z */ tenant_id = $$7$$", "1 assigns; app.tenant_id ?"},
	{"set statement_timeout = 5000", "1 assigns; statement_timeout = 5000"},
	{"set statement_timeout to -5", "1 assigns; statement_timeout = -5"},
	{"set statement_timeout to - 5", "1 assigns; statement_timeout = -5"},
	{"set statement_timeout to +5", "1 assigns; statement_timeout ?"},
	{"set geqo to 007", "1 assigns; geqo ?"},
	{"set geqo to 1e5", "1 assigns; geqo ?"},
	{"set seed to 0.5", "1 seeds"},
	{"set enable_seqscan = OFF", "1 assigns; enable_seqscan = off"},
	{"set enable_seqscan = default", "1 assigns; enable_seqscan reset"},
	{"set enable_seqscan from current", "1 assigns; enable_seqscan ?"},
	{"set search_path = a, b", "1 assigns; search_path ?"},
	{"set search_path = a", "1 assigns; search_path ?"},
	{"set search_path = default", "1 assigns; search_path reset"},
	{"set search_path = pg_temp", "1 assigns makes_temp leads_to_temp; search_path ?"},
	{"set schema 'a'", "1 assigns; search_path ?"},
	{"set x = 'a' 'b'", "1 assigns; x ?"},
	{"set x = 'a' \n 'b'", "1 assigns; x = ab"},
	{"set x = 'a' -- c\n 'b';set y=1", "2 assigns; x = ab; y = 1"},
	{"set x = 'a' /* c */\n 'b'", "1 assigns; x ?"},
	{`set x = E'a\'b'; set y = 2`, "2 assigns; x ?; y = 2"},
	{`set x = 'a\'; set y = 2`, `2 assigns; x = a\; y = 2`},
	{"set x = U&'a\\0061'", "1 assigns; x ?"},
	{`set U&"x" = 1`, "1 assigns; x = 1"},
	{`set U&"work\005fmem" = 1; set u&"\+00006b\\" . a = 1`, "2 assigns; work_mem = 1; k\\.a = 1"},
	{`set U&"x!0061!!" UESCAPE '!' = 1; set U&"x" uescape
		'.' . U&"\0061" = 2`, "2 assigns; xa! = 1; x.a = 2"},
	{`select U&"\0073et_config"('a.b', 'c', false), U&"pg_advisory_lock"(1)`, "1 assigns locks_advisory; a.b ?"},
	{`select U&"pg" || x, U&"pg_advisory"(1), U&"a""b"`, "1 "},
	{`select 1 as U&"x"; set y = 1; select U&"x"`, "3 assigns; y = 1"},
	{`set U&"x" /* */ uescape '!' = 1`, "1 unreadable"},
	{`select U&"x" /* */ uescape '!', U&"\00"`, "1 unreadable"},
	{`select U&"x" -- c`, "1 unreadable"},
	{`set U&"\d83d\de00" = 1; select U&"` + long + `", U&"\d83dx"`, "2 unreadable"},
	{`update U&"pg_settin!0067s" UESCAPE '!' set setting = 1`, "1 unreadable"},
	{"set x = \u00e4", "1 assigns; x ?"},
	{"set \u00e4 = 1", "1 unreadable"},
	{"set x = '" + strings.Repeat("y", 5000) + "'; set y = 1", "2 assigns; x ?; y = 1"},
	{"set names 'utf8'", "1 assigns; client_encoding = utf8"},
	{"set names", "1 assigns; client_encoding reset"},
	{"set names.x = 1", "1 assigns; names.x = 1"},
	{"set session.user_id = '5'", "1 assigns; session.user_id = 5"},
	{"set local.user_id = '5'", "1 assigns; local.user_id = 5"},
	{"set local local.user_id = '5'", "1 "},
	{"set role.x = 1; set transaction.x = 1; set constraints.x = 1", "3 assigns; role.x = 1; transaction.x = 1; constraints.x = 1"},
	{"set role a; set role 'B'; set role none; set role = c; set role \"D\"", "5 assigns; role = a; role = B; role = none; role = c; role = D"},
	{"set local role a; set local session authorization b", "2 assigns_locally; local role = a; local session_authorization = b"},
	{"set local search_path = a, \"B\", 'c'", "1 assigns_locally; local search_path =  0a 5, 1B 5, 2c"},
	{"set local search_path = \"a, b\"; set local search_path = E'\\x61'", "2 assigns_locally leads_to_temp; local search_path =  1a, b; local search_path ?"},
	{"set local search_path to default; set local schema 'a'", "2 assigns_locally; local search_path reset; local search_path =  2a"},
	{"set local search_path = pg_temp; set local names latin1", "2 makes_temp assigns_locally leads_to_temp; local search_path =  0pg_temp; local client_encoding = latin1"},
	{"set local work_mem = 1; set local transaction read only; set local constraints all deferred", "3 "},
	{"set session role a", "1 assigns; role = a"},
	{"set session authorization a; set session session authorization b", "2 assigns; session_authorization = a; session_authorization = b"},
	{"set session authorization default", "1 assigns; session_authorization reset"},
	{"set session_authorization to a", "1 assigns; session_authorization = a"},
	{"set transaction isolation level serializable; set session transaction read only", "2 "},
	{"set transaction_isolation = serializable", "1 "},
	{"set session characteristics as transaction read only", "1 assigns; default_transaction_isolation ?; default_transaction_read_only ?; " +
		"default_transaction_deferrable ?"},
	{"set constraints all deferred", "1 "},
	{
		"set time zone 'UTC'; set time zone local; set timezone = default; set time zone interval '1' hour to minute",
		"4 assigns; timezone = UTC; timezone reset; timezone reset; timezone ?",
	},
	{"set time.zone = 1", "1 assigns; time.zone = 1"},
	{"set xml option document", "1 assigns; xmloption ?"},
	{
		"reset x; reset all; reset time zone; reset session authorization; reset transaction isolation level; reset role; reset session.x",
		"7 assigns resets_all; x reset;  reset; timezone reset; session_authorization reset; role reset; session.x reset",
	},
	// set_config
	{"select set_config('app.t', '7', false)", "1 assigns; app.t = 7"},
	{"select set_config('app.t', '7', true), set_config('App.U', '', 'f')", "1 assigns; app.u = "},
	{"select pg_catalog.set_config('app.t', '7', false) as x, \"set_config\" ('b.c', 'd', false);", "1 assigns; app.t = 7; b.c = d"},
	{"select set_config('app.t', '7', false) where false", "1 assigns; app.t ?"},
	{"select set_config('app.t', '7', false), x from y", "1 assigns; app.t ?"},
	{"select (set_config('app.t', '7', false)), 1", "1 assigns; app.t ?"},
	{"select 1 + set_config('app.t', upper('7'), false)", "1 assigns; app.t ?"},
	{"select set_config('app.t', $1, $2)", "1 assigns; app.t = $1?"},
	{"select set_config('app.t', $1, true)", "1 "},
	{"select set_config('search_path', 'a, b', true), set_config('role', $1, true)", "1 assigns_locally; local search_path = a, b; local role = $1"},
	{"select set_config('search_path', 'a, b', true) from x", "1 assigns_locally; local search_path ?"},
	{"select set_config($1, $2, true), set_config('a' || 'b', 'c', true)", "1 unreadable assigns_locally assigns_unnamed; local $1 = $2"},
	{"select set_config($1, $2::text, false)", "1 assigns; $1 = $2"},
	{"select set_config('app.t'::text, '7'::text, false::bool)", "1 assigns; app.t = 7"},
	{"select set_config('app.t' || x, '7', false)", "1 unreadable assigns_unnamed"},
	{"select set_config(setting_name => 'x', new_value => 'y', is_local => false)", "1 unreadable assigns_unnamed"},
	{"select set_config(set_config('a.b', 'c', true), 'd', true)", "1 unreadable assigns_unnamed"},
	{"with x as (select set_config('app.t', '7', false)) select * from x", "1 assigns; app.t ?"},
	{"insert into x values (set_config/**/\n('app.t', '7', false), 'set_config(')", "1 assigns; app.t ?"},
	{"select set_config, my_set_config('a', 'b', false), set_configs('a')", "1 "},
	{"explain select set_config('app.t', '7', false)", "1 assigns; app.t ?"},
	{"select SET_CONFIG(e'a.b', 'c', false)", "1 unreadable assigns_unnamed"},
	{"update pg_settings set setting = 1", "1 unreadable"},
	{"UPDATE \"pg_settings\" set setting = 1", "1 unreadable"},
	{"select * from pg_settings", "1 "},
	// Temporary objects
	{"create temp table x (a int)", "1 makes_temp"},
	{"create local temporary table x (a int) on commit drop", "1 "},
	{"create temp table x on commit drop as select temp into y", "1 "},
	{"CREATE OR REPLACE TEMP VIEW x AS SELECT 1", "1 makes_temp"},
	{"create temp sequence x; create table y(temp int)", "2 makes_temp"},
	{"create unlogged table temp(x int); create table temporary as select 1", "2 "},
	{"select 1 into temp x", "1 makes_temp"},
	{"select 1 as a into local temporary table x from y", "1 makes_temp"},
	{"select 1 into temp.x; insert into temp values (1); merge into temp using x on true when matched then do nothing", "3 makes_temp"},
	{"insert into temp(a) select 1", "1 "},
	{"with x as (select 1) insert into temp select 1", "1 "},
	{"explain analyze create temp table x as select 1", "1 makes_temp"},
	{"select * from pg_temp.x", "1 makes_temp"},
	{"select * from \"pg_temp_3\".x; select pg_template, pg_temperature", "2 makes_temp"},
	// Cursors, advisory locks, prepared statements
	{"declare c cursor for select 1", "1 "},
	{"declare c no scroll cursor with hold for select 1", "1 holds_cursor"},
	{"declare c cursor without hold for with hold as (select 1) select * from hold", "1 "},
	{"select pg_advisory_lock(1)", "1 locks_advisory"},
	{"select pg_try_advisory_lock_shared (1,2), pg_advisory_unlock_all()", "1 locks_advisory unlocks_advisory"},
	{"select pg_advisory_xact_lock(1), pg_advisory_lock from x", "1 "},
	{"select pg_catalog.\"pg_advisory_lock\"(1) from x", "1 locks_advisory"},
	{"select \"PG_ADVISORY_LOCK\"(1)", "1 "},
	{"prepare x as select pg_advisory_lock(1); execute x(1); deallocate x; deallocate all", "4 prepares deallocates executes"},
	{"prepare transaction 'x'", "1 prepares_transaction"},
	{"prepare transaction as select 1", "1 prepares"},
	{"explain analyze execute x", "1 executes"},
	{"explain (analyze, costs off) execute x", "1 executes"},
	{"select dblink_connect('x')", "1 holds_other"},
	{"discard all; discard plans; discard temp; discard temporary; discard sequences", "5 discards_all discards_temp"},
	{"listen x; unlisten *; notify x, 'y'", "3 listens unlistens notifies"},
	{"load 'x'; do $$begin; end$$; call x()", "3 loads opaque"},
	// Transactions
	{"begin; start transaction read only; commit; end; rollback; abort work", "6 begins commits rolls_back"},
	{"commit and chain", "1 commits chains"},
	{"commit work and no chain", "1 commits"},
	{"rollback transaction and chain", "1 rolls_back chains"},
	{"savepoint a; rollback to a; rollback work to savepoint a; release a", "4 rolls_back_to saves releases"},
	{"commit prepared 'x'; rollback prepared 'x'", "2 "},
	// Where strings and comments end
	{"select '/*'; set x = 1 --*/", "2 assigns; x = 1"},
	{"select 1 /* /* ' */ ; */; set x = 1", "2 assigns; x = 1"},
	{"select /*/ ; set x = 1 */ 1", "1 "},
	{"select /**/ 1; set x = /***/ 1", "2 assigns; x = 1"},
	{"select 1--; set x = 1\r; set y = 1", "2 assigns; y = 1"},
	{"select 1-/* ; */-1;", "1 "},
	{"select $$;$$; select $a$ $$ ; $b$ $a $a$; set x = 1", "3 assigns; x = 1"},
	{"select a$b$ ; set x = 1; select $1$$;$$", "3 assigns; x = 1"},
	{"select $_1\u00e4$ ; $_1\u00e4$; set x = 1", "2 assigns; x = 1"},
	{"select $" + long + "$ ; set x = 1", "1 unreadable"},
	{"select $abc, $; set x = 1", "2 assigns; x = 1"},
	{`select E'\\'; set x = 1`, "2 assigns; x = 1"},
	{`select E'\'; set x = 1'`, "1 "},
	{`select E'a'` + "\n" + `'\'; set x = 1'`, "1 "},
	{`select E'a'` + " --'\n" + `'\'; set x = 1'`, "1 "},
	{`select E'a' '\'; set x = 1`, "2 assigns; x = 1"},
	{`select nE'\'; set x = 1`, "2 assigns; x = 1"},
	{`select N'\'; set x = 1`, "2 assigns; x = 1"},
	{`select b'1', X'a', u&'\'; set x = 1`, "2 assigns; x = 1"},
	{`select u & 'x', u&x, "e"'\', u&"\"; set x = 1`, "2 assigns unreadable; x = 1"},
	{`select 'a''b;', "c"";"; set x = 1`, "2 assigns; x = 1"},
	{"select (1; set x = 1)", "1 "},
	{"create rule x as on insert to y do also (insert into z values (1); delete from z)", "1 "},
	{"create function f() returns int begin atomic select 1; select case when true then 2 end; end; set x = 1", "2 assigns; x = 1"},
	{"create or replace procedure f() begin atomic set x = 1; end; select 1", "2 "},
	{"create function f() returns int language sql set search_path = a as 'select 1; select 2'; select 1", "2 "},
	{"create function atomic(\"begin\" int) returns int as $$;$$; select 1; end", "3 commits"},
	{"select 1\x00; set x = 1", "1 "},
	{"select 'a\x00'; set x = 1", "1 "},
	{"alter role a set x = 1; alter table b reset (c); update d set e = 1", "3 "},
	{"select " + long + long, "1 "},
	{"set " + long + " = 1", "1 assigns; " + long[:63] + " = 1"},
	{strings.Repeat("set x = 1;", 70), "70 assigns unreadable" + strings.Repeat("; x = 1", 64)},
}

// withoutKinds takes out the effects that most statements have which are no queries: TestLexerKinds has those.
func withoutKinds(said string) string {
	for _, word := range []string{" writes", " defines", " creates", " draws_sequence"} {
		said = strings.ReplaceAll(said, word, "")
	}
	return strings.TrimSpace(said)
}

func TestLexer(t *testing.T) {
	var l Lexer
	for _, c := range nasties {
		if have := withoutKinds(lexed(&l, Dialect{}, c.sql)); have != withoutKinds(c.want) {
			t.Errorf("%.200q\nhave %.300s\nwant %.300s", c.sql, have, c.want)
		}
	}
}

// TestLexerDialects: what standard_conforming_strings and client_encoding change.
func TestLexerDialects(t *testing.T) {
	var l Lexer
	for _, c := range []struct {
		d         Dialect
		sql, want string
	}{
		{Dialect{BackslashEscapes: true}, `select '\'; set x = 1'`, "1 "},
		{Dialect{BackslashEscapes: true}, `select 'a'` + "\n" + `'\'; set x = 1'`, "1 "},
		{Dialect{BackslashEscapes: true}, `select N'\'; set x = 1'`, "1 "},
		{Dialect{BackslashEscapes: true}, `select b'\'; set x = 1`, "2 assigns; x = 1"},
		{Dialect{BackslashEscapes: true}, `select b'1'` + "\n" + `'\'; set x = 1`, "2 assigns; x = 1"},
		{Dialect{BackslashEscapes: true}, `select $$\$$, "\"; set x = '1\n'`, "2 assigns; x ?"},
		{Dialect{Doubtful: true}, `select '\'; set x = 1`, "2 assigns unreadable; x = 1"},
		{Dialect{Doubtful: true}, `select ''`, "1 "},
		{Dialect{TrailingQuotes: true}, "select '\x95'; set x = 1", "2 assigns unreadable; x = 1"},
		{Dialect{TrailingQuotes: true}, "select 'plain'", "1 "},
	} {
		if have := lexed(&l, c.d, c.sql); have != c.want {
			t.Errorf("%+v %q\nhave %s\nwant %s", c.d, c.sql, have, c.want)
		}
	}
}

// TestLexerCut: however a text is cut, it is judged the same.
func TestLexerCut(t *testing.T) {
	var whole, cut Lexer
	for _, c := range nasties {
		for _, d := range []Dialect{{}, {BackslashEscapes: true}, {Doubtful: true}, {TrailingQuotes: true}} {
			checkCuts(t, &whole, &cut, d, c.sql)
		}
	}
}

func checkCuts(t *testing.T, whole, cut *Lexer, d Dialect, sql string) {
	t.Helper()
	want := lexed(whole, d, sql)
	if have := lexed(cut, d, strings.Split(sql, "")...); !strings.ContainsFunc(sql, func(r rune) bool { return r >= 0x80 }) && have != want {
		t.Errorf("byte by byte %+v %.200q\nhave %.200s\nwant %.200s", d, sql, have, want)
	}
	for i := range min(len(sql), 300) {
		if have := lexed(cut, d, sql[:i], sql[i:]); have != want {
			t.Errorf("cut at %d: %+v %.200q\nhave %.200s\nwant %.200s", i, d, sql, have, want)
			return
		}
	}
}

// TestLexerAllocatesNothing: once a Lexer has been used.
func TestLexerAllocatesNothing(t *testing.T) {
	var l Lexer
	texts := [][]byte{
		[]byte("select 'x', \"y\" from z where a = $1; -- c"), []byte("set app.tenant_id = '7'"), []byte("select set_config('a.b', 'c', false)"),
	}
	if n := testing.AllocsPerRun(100, func() {
		for _, text := range texts {
			l.Begin(Dialect{})
			l.Feed(text)
			l.End()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// fragments are what random texts are made of.
var fragments = strings.Split("set|reset|select|set_config(|'app.a'|,|false|true|)|;|;|'|''|\"|\\|E'|e|u&|U&'|b'|$$|$a$|$|1|$1|--|\n|/*|*/|/|*|-|"+
	" | |app|.|tenant|=|to|local|session|role|all|default|create|temp|table|into|begin|atomic|end|case|function|as|(|pg_advisory_lock|"+
	"pg_temp|x|'x'|U&\"|uescape|\\0061|search_path|setseed|declare|with|hold|for|on|commit|drop|insert|update|pg_settings|explain|analyze|discard|\u00e4|time|zone|\x95|"+long, "|")

func randomText(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(25) {
		b.WriteString(fragments[r.IntN(len(fragments))])
		if r.IntN(2) == 0 {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// TestLexerRandomCuts: as TestLexerCut, with texts that nobody thought of.
func TestLexerRandomCuts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var whole, cut Lexer
	for range 20000 {
		text := randomText(r)
		d := Dialect{BackslashEscapes: r.IntN(4) == 0}
		i := r.IntN(len(text) + 1)
		j := i + r.IntN(len(text)+1-i)
		want := lexed(&whole, d, text)
		if have := lexed(&cut, d, text[:i], text[i:j], text[j:]); have != want {
			t.Fatalf("%+v %q | %q | %q\nhave %s\nwant %s", d, text[:i], text[i:j], text[j:], have, want)
		}
	}
}

func FuzzLexer(f *testing.F) {
	for _, c := range nasties {
		f.Add(c.sql, 3, uint8(0))
	}
	f.Fuzz(func(t *testing.T, text string, cut int, dialect uint8) {
		d := Dialect{BackslashEscapes: dialect&1 != 0, Doubtful: dialect&2 != 0, TrailingQuotes: dialect&4 != 0}
		var whole, pieces Lexer
		want := lexed(&whole, d, text)
		n := max(1, cut&0xff)
		var parts []string
		for rest := text; rest != ""; rest = rest[min(n, len(rest)):] {
			parts = append(parts, rest[:min(n, len(rest))])
		}
		if have := lexed(&pieces, d, parts...); have != want {
			t.Errorf("cut to %d bytes %q\nhave %s\nwant %s", n, text, have, want)
		}
	})
}

func BenchmarkLexer(b *testing.B) {
	for _, c := range []struct{ name, sql string }{
		{"select", "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;"},
		{"insert", "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 2, 3, 4, CURRENT_TIMESTAMP);"},
		{"orm", `SELECT "app_user"."id", "app_user"."name", "app_user"."email", "app_user"."created_at" FROM "app_user" ` +
			`INNER JOIN "app_group" ON ("app_user"."group_id" = "app_group"."id") WHERE "app_group"."name" = $1 ORDER BY "app_user"."id" LIMIT 21`},
		{"begin", "BEGIN"},
		{"set", "SET app.tenant_id = 'tenant-12345'"},
		{"blob", "INSERT INTO x VALUES ('" + strings.Repeat("0123456789", 10000) + "')"},
	} {
		b.Run(c.name, func(b *testing.B) {
			text := []byte(c.sql)
			var l Lexer
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				l.Begin(Dialect{})
				l.Feed(text)
				l.End()
			}
		})
	}
}
