package leak

import (
	"fmt"
	"strings"
)

// probe tells what a session has. A custom name that was never set may read ” where a server has heard of it: the one difference that is
// allowed.
const probe = "select coalesce(current_setting('app.tenant_id', true), ''), coalesce(current_setting('app.x', true), ''), " +
	"coalesce(current_setting('app.y', true), ''), coalesce(current_setting('app.z', true), ''), coalesce(current_setting('session.user_id', true), ''), " +
	"current_user, session_user, current_setting('role'), current_setting('search_path'), current_setting('transaction_isolation'), " +
	"(select string_agg(tenant || body, ',' order by body) from public.docs)"

// hiddenProbe finds settings that other clients have changed inside functions. It leaves out those of the client itself.
const hiddenProbe = "select nullif(nullif(current_setting('hidden.who', true), ''), '%[1]s'), " +
	"(select string_agg(relname, ',') from pg_class where relnamespace = pg_my_temp_schema() and relname like 'hidden%%' and relname <> 'hidden_%[2]d'), " +
	"(select string_agg(objid::text, ',') from pg_locks where locktype = 'advisory' and classid = 99 and pid = pg_backend_pid() and objid <> %[2]d), " +
	"(select string_agg(name, ',') from pg_prepared_statements where name like 'hidden%%' and name <> 'hidden_%[2]d'), " +
	"current_setting('geqo_threshold') in ('12', (20 + %[2]d %% 7)::text)"

// look is a statement that tells about the session or reads the tenant's rows.
func (a *author) look() string {
	looks := [...]string{
		probe, probe, probe,
		// Everything that is not as it was compiled in. Where a session began with parameters of its own only the value is the same.
		"select string_agg(name || '=' || setting, ', ' order by name) from pg_settings where setting is distinct from boot_val and context in ('user', 'superuser') and name <> 'geqo_threshold'",
		"select tenant, body from public.docs order by 1, 2", "select count(*) from public.docs where tenant <> '" + a.own + "'",
		"show timezone", "show datestyle", "show application_name", "select timestamptz '2001-02-03 04:05:06+00', interval '1 day 2 hours', '\\x01'::bytea",
		"select current_user, session_user", `select 'a\'`, "select 1.0::float8 / 3",
	}
	return looks[a.IntN(len(looks))]
}

// parameter is one with values to be set, as SET takes them and as set_config does.
type parameter struct {
	name   string
	values [][2]string
}

func plain(values ...string) (both [][2]string) {
	for _, v := range values {
		both = append(both, [2]string{"'" + v + "'", v})
	}
	return both
}

var parameters = []parameter{
	{"statement_timeout", plain("11min", "660000", "0")},
	{"lock_timeout", plain("12min", "0")},
	{"search_path", [][2]string{{"a, public", "a, public"}, {"public", "public"}, {`"$user", public`, `"$user", public`}}},
	{"enable_seqscan", plain("off", "on")},
	{"timezone", plain("Europe/Berlin", "UTC", "Asia/Tokyo")},
	{"DateStyle", plain("SQL, DMY", "ISO", "german")},
	{"intervalstyle", plain("iso_8601", "postgres")},
	{"client_encoding", plain("LATIN1", "UTF8", "SJIS")},
	{"work_mem", plain("5MB", "6144")},
	{"extra_float_digits", plain("3", "-5")},
	{"standard_conforming_strings", plain("off", "on")},
	{"bytea_output", plain("escape", "hex")},
	{"default_transaction_isolation", plain("repeatable read", "read committed")},
	{"default_transaction_read_only", plain("on", "off")},
	{"client_min_messages", plain("error", "warning", "notice")},
	{"log_statement", plain("all")}, // not allowed
	{"no_such_parameter", plain("x")},
	{"statement_timeout", plain("bad")},
}

// pick is a name with a value, as SET and as set_config take it. Most are of the application's own, and say whose they are.
func (a *author) pick() (name string, value [2]string) {
	switch n := a.IntN(10); {
	case n < 3:
		spelled := []string{"'%s'", "E'%s'", "$$%s$$", "$x$%s$x$", `"%s"`}[a.IntN(5)] // all the same: the prelude finds the rows again
		return "app.tenant_id", [2]string{fmt.Sprintf(spelled, a.own), a.own}
	case n < 7:
		text := fmt.Sprintf("%s%d", a.own, a.IntN(5))
		return []string{"app.x", "app.y", "App.X", "app.z", "session.user_id"}[a.IntN(5)], [2]string{a.spelled(text), text}
	case n == 7:
		text := a.own + "application"
		return "application_name", [2]string{a.spelled(text), text}
	}
	p := parameters[a.IntN(len(parameters))]
	return p.name, p.values[a.IntN(len(p.values))]
}

// spelled is a string constant, in one of the many ways.
func (a *author) spelled(s string) string {
	switch a.IntN(7) {
	case 0:
		return "E'" + s + `\x41'`
	case 1:
		return "'" + s + "'\n '''\u00e4'"
	case 2:
		return "$$" + s + "; set app.tenant_id = 'x'$$"
	case 3:
		return "'" + s + `\'`
	}
	return "'" + s + "'"
}

// set is a statement that changes the session.
func (a *author) set() string {
	name, value := a.pick()
	switch n := a.IntN(20); {
	case n < 5:
		return "set " + name + " = " + value[0]
	case n == 5:
		return "SET SESSION " + strings.ToUpper(name) + " TO " + value[0]
	case n == 6:
		return "/* set app.x = 1 */ set -- x\n " + name + " = " + value[0]
	case n < 9:
		return "set local " + name + " = " + value[0]
	case n < 12:
		return "select set_config('" + name + "', '" + value[1] + "', " + []string{"false", "true", "'f'", "'on'"}[a.IntN(4)] + ")"
	case n == 12:
		return "with x as (select set_config('" + name + "', '" + value[1] + "', false)) select * from x"
	case n == 13:
		return "select set_config('" + name + "', '" + value[1] + "', false) where false"
	case n == 14 && !strings.Contains(name, "."): // of a name that is not known it fails
		return "set " + name + " from current"
	case n < 18:
		return a.reset(name)
	}
	return a.identity()
}

// reset takes something back, or everything.
func (a *author) reset(name string) string {
	switch a.IntN(8) {
	case 0:
		return "set " + name + " to default"
	case 1:
		return "reset all"
	case 2:
		return "discard all"
	case 3:
		return "reset time zone"
	}
	return "reset " + name
}

// identity changes who the session acts as, or how its transactions begin.
func (a *author) identity() string {
	all := [...]string{
		"set role leak_other", "set role none", "reset role", "set local role leak_other", "select set_config('role', 'leak_other', false)",
		"set session authorization leak_app", "set session authorization default", "reset session authorization",
		"set session authorization leak_other", "set session characteristics as transaction isolation level repeatable read",
		"set session characteristics as transaction read only", "set transaction isolation level repeatable read", "set time zone local",
		"set names 'latin1'", "set constraints all deferred", "discard plans", "discard temp", "discard sequences", "deallocate all",
	}
	return all[a.IntN(len(all))]
}

// statement is any one.
func (a *author) statement() string {
	switch n := a.IntN(24); {
	case n < 13:
		return a.set()
	case n < 15:
		return []string{"begin", "commit", "rollback", "savepoint a", "rollback to a", "release a", "commit and chain", "rollback and chain"}[a.IntN(8)]
	case n == 15:
		return []string{"select 1/0", "selec", "select * from nowhere", "", "insert into docs values ('not " + a.own + "', '')"}[a.IntN(5)]
	case n == 16:
		return "insert into docs select coalesce(current_setting('app.tenant_id', true), ''), 'new ' || count(*) from docs"
	case n == 17:
		return "update docs set body = 'new ' || body where body like 'new %'"
	}
	return a.look()
}

// several statements in one text.
func (a *author) several() string {
	var all []string
	for range 2 + a.IntN(3) {
		sql := a.statement()
		for a.patient && isReset(sql) {
			sql = a.statement()
		}
		all = append(all, sql)
	}
	return strings.Join(all, "; ")
}

func isReset(sql string) bool {
	return strings.HasPrefix(sql, "reset") || strings.HasPrefix(sql, "discard all") || strings.HasSuffix(sql, "default") || strings.HasSuffix(sql, "local")
}

// large is a statement that comes in many pieces.
func (a *author) large() string {
	comment := "/*" + strings.Repeat("set app.x = 'never'; ", 1000+a.IntN(6000)) + "*/"
	if a.IntN(2) == 0 {
		return a.set() + comment
	}
	return comment + a.set()
}

// kept is about what only a connection can hold.
func (a *author) kept() string {
	all := [...]string{
		"create temp table mine (i text)", "insert into mine values ('" + a.own + "')", "select count(*), min(i) from mine", "drop table mine",
		"prepare p as select coalesce(current_setting('app.x', true), '')", "execute p", "deallocate p",
		"declare c cursor with hold for select '" + a.own + "' || n from generate_series(1, 9) n", "fetch 2 from c", "close c",
		fmt.Sprintf("select pg_advisory_lock(1, %d)", a.client), fmt.Sprintf("select pg_advisory_unlock(1, %d)", a.client),
		"select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", "discard all", "discard all",
	}
	return all[a.IntN(len(all))]
}
