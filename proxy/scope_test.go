package proxy_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// tenantTables makes schemas, and roles of their names, with a table of the same name in each: its column is an integer, a text, a date.
func tenantTables(t *testing.T, c *pgtest.Cluster) map[string]uint32 {
	t.Helper()
	direct := pgtest.Login(t, c.Address(), "postgres", "postgres", "")
	types := map[string]uint32{"tenant_a": 23, "tenant_b": 25, "tenant_c": 1082}
	for name, typeName := range map[string]string{"tenant_a": "int", "tenant_b": "text", "tenant_c": "date"} {
		run(t, direct, fmt.Sprintf(`drop schema if exists %[1]s cascade; create schema %[1]s; create table %[1]s.t (x %[2]s);
			do $$begin create role %[1]s; exception when duplicate_object then null; end$$;
			grant usage on schema %[1]s to %[1]s; grant all on %[1]s.t to %[1]s`, name, typeName))
	}
	return types
}

// parameterType prepares and describes the statement that all tenants have.
func parameterType(t *testing.T, w *pgtest.Wire, name string) uint32 {
	t.Helper()
	w.Send(&pgproto3.Close{ObjectType: 'S', Name: name}, &pgproto3.Parse{Name: name, Query: "insert into t values ($1) returning x"},
		&pgproto3.Describe{ObjectType: 'S', Name: name}, &pgproto3.Sync{})
	return described(t, w)
}

func described(t *testing.T, w *pgtest.Wire) (oid uint32) {
	t.Helper()
	for _, m := range w.ReceiveReady() {
		switch m := m.(type) {
		case *pgproto3.ParameterDescription:
			oid = m.ParameterOIDs[0]
		case *pgproto3.RowDescription:
			if m.Fields[0].DataTypeOID != oid {
				t.Errorf("a parameter of type %d, a result of type %d", oid, m.Fields[0].DataTypeOID)
			}
		case *pgproto3.ErrorResponse:
			t.Errorf("%s %s", m.Code, m.Message)
		}
	}
	return oid
}

// TestStatementsOfTenants: one text means another thing under another search_path or role. Each client's statement is that of its own tenant,
// whoever had the server before: the types of its parameters, its result, and where its rows go.
func TestStatementsOfTenants(t *testing.T) {
	c := pgtest.Shared(t)
	types := tenantTables(t, c)
	p := start(t, c, single, "")
	value := map[string]string{"tenant_a": "1", "tenant_b": "one", "tenant_c": "2001-02-03"}
	ways := map[string]struct{ begin, end string }{
		"set":           {"set search_path = %s", "select 1"},
		"schema":        {"set schema '%s'", "select 1"},
		"set_config":    {"select set_config('search_path', '%s', false)", "select 1"},
		"role":          {"set role %s", "reset role"},
		"set local":     {"begin; set local search_path to %s, public", "commit"},
		"local role":    {"begin; set local role %s", "commit"},
		"local config":  {"begin; select set_config('search_path', '%s', true)", "commit"},
		"open":          {"begin; set search_path = %s", "commit"},
		"savepoint":     {"begin; savepoint s; set local search_path = tenant_a; rollback to s; set local search_path = %s", "commit"},
		"two":           {"begin; set local search_path = tenant_b; set local search_path = %s", "commit"},
		"pipelined two": {"begin; set local search_path = tenant_c; commit; begin; set local search_path = %s", "commit"},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			for _, statement := range []string{"s", ""} {
				clients := map[string]*pgtest.Wire{}
				for range 3 {
					for tenant, oid := range types {
						w := clients[tenant]
						if w == nil {
							w = p.login(t, p.transaction)
							clients[tenant] = w
							defer w.Close()
						}
						run(t, w, fmt.Sprintf(way.begin, tenant))
						if got := parameterType(t, w, statement); got != oid {
							t.Errorf("%s, %q: a parameter of type %d", tenant, statement, got)
						}
						w.Send(append([]pgproto3.FrontendMessage{
							&pgproto3.Bind{PreparedStatement: statement, Parameters: [][]byte{[]byte(value[tenant])}},
						}, execute...)...)
						w.Expect("BindComplete", "DataRow "+value[tenant], "CommandComplete INSERT 0 1", "*")
						run(t, w, way.end)
					}
				}
			}
		})
	}
}

// TestStatementFollowsSearchPath: a client changes its search_path under a statement that it has. As on a direct connection, the statement then
// finds the tables of the new path; and nobody else gets what was prepared under that.
func TestStatementFollowsSearchPath(t *testing.T) {
	c := pgtest.Shared(t)
	direct := pgtest.Login(t, c.Address(), "postgres", "postgres", "")
	run(t, direct, `drop schema if exists first cascade; drop schema if exists second cascade; create schema first; create schema second;
		create table first.named as select 'first'::text as x; create table second.named as select 'second'::text as x`)
	p := start(t, c, single+"max_prepared_statements = 1\n", "")
	w, other := p.login(t, p.transaction), p.login(t, p.transaction)
	for _, side := range []*pgtest.Wire{w, other} {
		run(t, side, "set search_path = first")
		side.Send(&pgproto3.Parse{Name: "s", Query: "select x, '01/02/2003'::date::text, $1::text from named"}, &pgproto3.Sync{})
		side.ReceiveReady()
	}
	ask := func(side *pgtest.Wire, want string) {
		t.Helper()
		side.Send(append([]pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: "s", Parameters: [][]byte{[]byte("x")}}}, execute...)...)
		side.Expect("BindComplete", "DataRow "+want+" x", "CommandComplete SELECT 1", "ReadyForQuery I")
	}
	evict := func() {
		other.Send(&pgproto3.Close{ObjectType: 'S', Name: "e"}, &pgproto3.Parse{Name: "e", Query: "select 1"}, &pgproto3.Sync{})
		other.ReceiveReady()
	}
	ask(w, "first 2003-01-02")
	run(t, w, "set search_path = second")
	ask(w, "second 2003-01-02") // the server has it still
	evict()
	ask(w, "second 2003-01-02")
	ask(other, "first 2003-01-02")
	// What a constant means is decided when the text is parsed.
	run(t, w, "set datestyle = 'ISO, DMY'")
	evict()
	ask(w, "second 2003-02-01")
	ask(other, "first 2003-01-02")
	// The text of a statement is in the client's encoding.
	run(t, w, "set client_encoding = latin1")
	w.Send(&pgproto3.Parse{Name: "l", Query: "select length('\xf6')"}, &pgproto3.Sync{})
	w.ReceiveReady()
	evict()
	run(t, w, "set client_encoding = utf8")
	w.Send(append([]pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: "l"}}, execute...)...)
	expectChanged(t, w, "I")
}

// TestLocalSettingsShareStatements: clients that set the same for each of their transactions, as PostgREST does, share what they prepare. Who
// does not ask for the types of parameters prepares it once for each server.
func TestLocalSettingsShareStatements(t *testing.T) {
	c := pgtest.Shared(t)
	tenantTables(t, c)
	p := start(t, c, single, "")
	for range 3 {
		w := p.login(t, p.transaction)
		w.Send(&pgproto3.Parse{Name: "local", Query: "select set_config('search_path', $1, true), set_config('role', $2, true)"}, &pgproto3.Sync{})
		w.ReceiveReady()
		for range 2 {
			for _, tenant := range []string{"tenant_a", "tenant_b"} {
				run(t, w, "begin")
				w.Send(append([]pgproto3.FrontendMessage{
					&pgproto3.Bind{PreparedStatement: "local", Parameters: [][]byte{[]byte(tenant), []byte(tenant)}},
				}, execute...)...)
				w.ReceiveReady()
				parameterType(t, w, "of_"+tenant)
				run(t, w, "commit")
			}
		}
	}
	const each, texts = 3 * 4, 2 // of those whose types are asked for
	ps, statements := p.pool(t, "transaction"), p.Snapshot().Statements
	if ps.ParsesSaved != 3*5-3 || ps.ParsesInjected != each-texts || statements > 1+2*texts {
		t.Errorf("%d saved, %d injected, %d statements", ps.ParsesSaved, ps.ParsesInjected, statements)
	}
}
