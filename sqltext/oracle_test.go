package sqltext

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// templates are statements that PostgreSQL takes. Where a blank is, any white space or comment may be; <v> is a string.
var templates = strings.Split(strings.TrimSpace(`
select 1
select <v> , <v>
table pg_am
values ( <v> )
( select <v> )
set app.a = <v>
set app . b to <v>
set session "App" . a = <v>
set local app.a = <v>
set session.x = <v>
set app.a = x
set app.a = "X y"
set app.a = 12
set app.b = - 12
set app.b = 1.50
set app.a = default
set app.a = 00012
set app.a = <v> , <v>
set work_mem = '1MB'
set work_mem to 2000
set enable_seqscan = off
set enable_seqscan to <off>
set time zone <tz>
set timezone = <tz>
set time zone 5
set time zone interval '3' hour
set time zone local
set search_path = <v>
set search_path = a , "B" , pg_catalog
set schema <v>
set role lexer_a
set role 'lexer_a'
set role = lexer_a
set role none
set session authorization lexer_a
set session_authorization = lexer_a
set session authorization default
set local role lexer_a
set session characteristics as transaction isolation level serializable
set default_transaction_isolation = 'serializable'
set transaction isolation level serializable
set transaction_isolation = 'serializable'
set constraints all deferred
set names 'latin1'
set xml option document
reset app.a
reset role
reset all
reset time zone
reset session authorization
discard all
discard plans
discard temp
select set_config ( 'app.a' , <v> , false )
select pg_catalog.set_config ( 'App.B' , <v> , 'f' ) as x , set_config ( 'app.a' , <v> , true )
select "set_config" ( 'work_mem' , '3MB' , false ) where false
select 1 , set_config ( 'app.a' , <v> || 'x' , 1 = 2 )
select case when true then set_config ( 'app.b' , <v> , false ) end
with x as ( select set_config ( 'app.b' , <v> , false ) ) select * from x
explain analyze select set_config ( 'app.b' , <v> , false )
explain select set_config ( 'app.b' , <v> , false )
update pg_settings set setting = 'off' where name = 'enable_sort'
update pg_catalog . pg_settings set setting = 'off' where name = 'enable_sort'
with x as ( select 1 ) update only "pg_catalog" . U&"pg\005fsettings" as y set setting = 'off' where name = 'enable_sort'
set U&"app\002ea" = <v>
set U&"work!005fmem" UESCAPE '!' = '2MB'
set local U&"app" . U&"b" = <v>
select U&"set\005fconfig" ( 'app.a' , <v> , false )
select * from U&"pg!005fadvisory!005flock" UESCAPE '!' ( 5 )
select setseed ( 0.5 )
set search_path = pg_temp , public ; create table t7 ( a int )
set search_path = "$user" , nowhere , 'pg_temp' ; select 1 as a into t7
set local search_path = public , pg_temp ; create table if not exists t7 ( a int )
select set_config ( 'search_path' , 'nowhere, "pg_temp"' , true ) ; create type t8 as ( a int )
select query_to_xml ( $$ select set_config('app.b', 'hidden', false) $$ , true , false , '' )
create temp table t1 ( a int )
create temporary table t2 on commit drop as select 1
create local temp view v1 as select 1
create or replace temp view v1 as select 1 as temp
select 1 as a into temp t3
select 1 as a into local temporary table t4
explain analyze create temp table t5 as select 1
create table pg_temp.t6 ( a int )
create function pg_temp.f ( ) returns int language sql as <v>
create function pg_temp.g ( ) returns int begin atomic select 1 ; select case when true then 1 end ; end
prepare p1 as select <v>
prepare p2 ( int ) as select $1
deallocate all
declare c cursor with hold for select 1
declare d insensitive no scroll cursor without hold for with hold as ( select 1 ) select * from hold
select pg_advisory_lock ( 1 )
select pg_catalog . "pg_try_advisory_lock_shared" ( 2 , 3 ) , pg_advisory_unlock ( 9 )
select pg_advisory_xact_lock ( 4 )
listen a
unlisten *
notify a , <v>
do $$ begin perform set_config('app.a', 'hidden', false); end $$
load 'plpgsql'
begin
start transaction read only
commit
rollback
commit and chain
rollback and chain
savepoint a
rollback to a
release a
end
abort
`), "\n")

// blanks are what may stand between two tokens.
var blanks = []string{
	" ", " ", " ", "\n", "\t ", "/**/", "/* ; ' \" $$ /* -- */ */", "-- ; ' $a$ /* \"\n", "\r--\r", " /*/ */ */", "/***/",
}

// spelled is a string constant that says s, in one of the many ways. s holds nothing special.
func spelled(r *rand.Rand, s string, escapes bool) string {
	switch r.IntN(9) {
	case 0:
		return "E'" + s + "'"
	case 1:
		return "$$" + s + "$$"
	case 2:
		return "$a$" + s + "$a$"
	case 3:
		return "'" + s[:1] + "'\n '" + s[1:] + "'"
	case 4:
		return `E'\'' -- ';` + "\n'" + s + "'"
	case 5:
		return "'" + s + ";''--'"
	case 6:
		return "$_$" + s + "$$ ; $b$_$_$"
	case 7:
		if escapes {
			return `'` + s + `\';'`
		}
		return `'` + s + `\'`
	}
	return "'" + s + "'"
}

// generate is a text of one or more statements.
func generate(r *rand.Rand, escapes bool) string {
	var b strings.Builder
	for n := 1 + r.IntN(3); n > 0; n-- {
		for i, part := range strings.Split(templates[r.IntN(len(templates))], " ") {
			if i > 0 {
				b.WriteString(blanks[r.IntN(len(blanks))])
			}
			switch part {
			case "<v>":
				part = spelled(r, []string{"select 1", "v1", "on"}[r.IntN(3)], escapes)
			case "<off>":
				part = spelled(r, "off", escapes)
			case "<tz>":
				part = spelled(r, "UTC", escapes)
			default:
				if r.IntN(8) == 0 && !strings.ContainsAny(part, `'"$`) {
					part = strings.ToUpper(part)
				}
			}
			b.WriteString(part)
		}
		if n > 1 || r.IntN(2) == 0 {
			b.WriteString(blanks[r.IntN(len(blanks))] + ";" + strings.Repeat(" ;", r.IntN(2)))
		}
	}
	return b.String()
}

// oracle is a connection to PostgreSQL that tells what a text did.
type oracle struct {
	*pgtest.Wire
	names []string
}

// probe tells the state of the session.
func (o *oracle) probe(t *testing.T) map[string]string {
	t.Helper()
	sql := `select (select count(*) from pg_prepared_statements), (select count(*) from pg_cursors where is_holdable),
		(select count(*) from pg_listening_channels()), (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
		(select count(*) from pg_class where relnamespace = pg_my_temp_schema()) +
		(select count(*) from pg_proc where pronamespace = pg_my_temp_schema())`
	for _, name := range o.names {
		sql += ", coalesce(current_setting('" + name + "', true), '')"
	}
	state := map[string]string{}
	rows := o.Rows(sql)
	for i, name := range append([]string{"#prepared", "#cursors", "#channels", "#locks", "#temp"}, o.names...) {
		state[name] = rows[0][i]
	}
	return state
}

// execute runs a text as one Query: completed is the number of CommandComplete.
func (o *oracle) execute(sql string) (completed int, failed bool) {
	o.Query(sql)
	for {
		switch o.Receive().(type) {
		case *pgproto3.CommandComplete:
			completed++
		case *pgproto3.ErrorResponse:
			failed = true
		case *pgproto3.ReadyForQuery:
			return completed, failed
		}
	}
}

// causes are the effects by which a part of the state may change.
var causes = map[string]Effects{
	"#prepared": Prepares | Deallocates | DiscardsAll, "#cursors": HoldsCursor, "#channels": Listens | Unlistens | DiscardsAll,
	"#locks": LocksAdvisory | UnlocksAdvisory, "#temp": MakesTemp | DiscardsTemp | DiscardsAll,
}

// TestLexerAgainstPostgres: a text changes the state of a session only in ways that the Lexer has foretold, values are what it said
// they would be, and it counts the statements as PostgreSQL does.
func TestLexerAgainstPostgres(t *testing.T) {
	cluster := pgtest.Shared(t)
	o := &oracle{Wire: pgtest.Login(t, cluster.Address(), cluster.Superuser, "postgres", ""), names: []string{
		"app.a", "app.b", "session.x", "work_mem", "enable_seqscan", "enable_sort", "timezone", "search_path", "role", "session_authorization",
		"default_transaction_isolation", "client_encoding", "xmloption",
	}}
	o.execute("drop role if exists lexer_a; create role lexer_a superuser")
	r := rand.New(rand.NewPCG(3, 4))
	succeeded := 0
	for range 1500 {
		escapes := r.IntN(4) == 0
		text := generate(r, escapes)
		clean(o, escapes)
		before := o.probe(t)
		completed, failed := o.execute(text)
		if o.TxStatus != 'I' {
			o.execute("rollback")
		}
		after := o.probe(t)
		var l Lexer
		said := lexed(&l, Dialect{BackslashEscapes: escapes}, text)
		if !failed {
			succeeded++
			if completed != l.Statements() {
				t.Errorf("%q: %d statements, PostgreSQL completed %d", text, l.Statements(), completed)
			}
			checkValues(t, &l, text, after)
		}
		for name, value := range after {
			if value != before[name] && !foretold(&l, name) {
				t.Errorf("%q: %s went from %q to %q; said %s", text, name, before[name], value, said)
			}
		}
	}
	if succeeded < 400 {
		t.Errorf("only %d texts succeeded", succeeded)
	}
	clean(o, false)
	o.execute("drop role lexer_a")
}

func clean(o *oracle, escapes bool) {
	o.execute("reset session authorization")
	o.execute("discard all")
	o.execute("drop table if exists t7")
	if escapes {
		o.execute("set standard_conforming_strings = off")
	}
}

// foretold reports that the text may change a part of the state.
func foretold(l *Lexer, name string) bool {
	e := l.effects
	if e&(Opaque|Unreadable|Executes) != 0 || e&causes[name] != 0 {
		return true
	}
	if name == "#temp" && e&LeadsToTemp != 0 && e&Creates != 0 {
		return true
	}
	if strings.HasPrefix(name, "#") {
		return false
	}
	if e&(ResetsAll|DiscardsAll) != 0 {
		return true
	}
	for i := range l.Assignments() {
		assigned := string(l.Assignment(i).Name)
		if l.Assignment(i).Local {
			continue
		}
		if assigned == name || name == "role" && assigned == "session_authorization" {
			return true
		}
	}
	return false
}

// checkValues compares the exact values of a text that succeeded and neither began nor ended a transaction.
func checkValues(t *testing.T, l *Lexer, text string, after map[string]string) {
	t.Helper()
	if l.effects&^(Assigns|Notifies|Listens) != 0 {
		return
	}
	exact := map[string]string{}
	for i := range l.Assignments() {
		a := l.Assignment(i)
		if len(a.Name) == 0 {
			clear(exact)
		} else if a.Exact && !a.Reset {
			exact[string(a.Name)] = string(a.Value)
		} else {
			delete(exact, string(a.Name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(exact)) {
		switch name {
		case "work_mem", "client_encoding", "timezone": // PostgreSQL spells these anew
		case "role": // set anew by session_authorization
		default:
			if after[name] != exact[name] {
				t.Errorf("%q: %s is %q, not %q", text, name, after[name], exact[name])
			}
		}
	}
}

// TestLexerOnPostgresOwnScripts: PostgreSQL's own SQL files, each sent as one Query, complete as many statements as are counted.
func TestLexerOnPostgresOwnScripts(t *testing.T) {
	cluster := pgtest.Shared(t)
	admin := &oracle{Wire: pgtest.Login(t, cluster.Address(), cluster.Superuser, "postgres", "")}
	admin.execute("drop database if exists lexer_scripts")
	admin.execute("create database lexer_scripts")
	for _, script := range []struct{ file, before string }{
		{"system_functions.sql", "set allow_system_table_mods = on"},
		{"information_schema.sql", "drop schema information_schema cascade"},
	} {
		o := &oracle{Wire: pgtest.Login(t, cluster.Address(), cluster.Superuser, "lexer_scripts", "")}
		folder := o.Rows("select setting from pg_config where name = 'SHAREDIR'")[0][0]
		text, err := os.ReadFile(filepath.Join(folder, script.file))
		if err != nil {
			t.Fatal(err)
		}
		o.execute(script.before)
		completed, failed := o.execute(string(text))
		var l Lexer
		l.Begin(Dialect{})
		l.Feed(text)
		l.End()
		if failed || completed != l.Statements() || completed < 50 {
			t.Errorf("%s: %d statements, PostgreSQL completed %d, failed: %v", script.file, l.Statements(), completed, failed)
		}
		o.Close()
	}
	waitForNobody(t, admin)
	admin.execute("drop database lexer_scripts")
}

// waitForNobody waits until the closed connections are gone.
func waitForNobody(t *testing.T, o *oracle) {
	t.Helper()
	pgtest.WaitFor(t, 20*time.Second, "nobody in lexer_scripts", func() bool {
		return o.Rows("select count(*) from pg_stat_activity where datname = 'lexer_scripts'")[0][0] == "0"
	})
}
