package proxy_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// turn is what the first or second client sends, up to the next ReadyForQuery it waits for; until that, or for so many CommandCompletes.
type turn struct {
	second   bool
	messages []pgproto3.FrontendMessage
	tags     int
}

// batch is messages one behind the other: a string is a text that is prepared without a name, bound and executed.
func batch(parts ...any) turn {
	var out turn
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			out.messages = append(out.messages, &pgproto3.Parse{Query: p}, &pgproto3.Bind{}, &pgproto3.Execute{})
		case pgproto3.FrontendMessage:
			out.messages = append(out.messages, p)
		}
	}
	return out
}

// queries are messages too.
func queries(texts ...string) turn {
	var out turn
	for _, text := range texts {
		out.messages = append(out.messages, &pgproto3.Query{String: text})
	}
	return out
}

func (u turn) of(second bool) turn { u.second = second; return u }

func (u turn) untilTags(n int) turn { u.tags = n; return u }

func (u turn) play(clients [2]*pgtest.Wire) {
	w := clients[0]
	if u.second {
		w = clients[1]
	}
	w.Send(u.messages...)
	if u.tags > 0 {
		w.ReceiveUntil(func(m pgproto3.BackendMessage) bool {
			if _, ok := m.(*pgproto3.CommandComplete); ok {
				u.tags--
			}
			return u.tags == 0
		})
		return
	}
	readies := 0
	for _, m := range u.messages {
		switch m.(type) {
		case *pgproto3.Sync, *pgproto3.Query, *pgproto3.FunctionCall:
			readies++
		}
	}
	w.ReceiveReadies(readies)
}

// TestSameValueSet: a client that has the value which another one is thought to have set does not get what that has really set.
func TestSameValueSet(t *testing.T) {
	first, second := succession(t, "tracked")
	run(t, second, "set app.tenant_id = '2'")
	for _, u := range []turn{
		queries("begin"),
		batch(&pgproto3.Parse{Name: "s", Query: "set app.tenant_id = '1'"}, &pgproto3.Bind{DestinationPortal: "p", PreparedStatement: "s"}, &pgproto3.Sync{}),
		queries("set app.tenant_id = '2'"),
		batch(&pgproto3.Execute{Portal: "p"}, &pgproto3.Sync{}),
		queries("commit"),
	} {
		u.play([2]*pgtest.Wire{first, second})
	}
	if have := one(t, second, "select current_setting('app.tenant_id')"); have != "2" {
		t.Errorf("tenant 2 is %s", have)
	}
	if have := one(t, first, "select current_setting('app.tenant_id')"); have != "1" {
		t.Errorf("tenant 1 is %s", have)
	}
}

// TestStatementsStayed: without max_prepared_statements a statement is the server's. Nobody gets what another client's does by running it
// unawares, and those with a name are gone with their transaction.
func TestStatementsStayed(t *testing.T) {
	for _, name := range []string{"", "s"} {
		p := start(t, pgtest.Shared(t), single+"promotion = \"off\"\nmax_prepared_statements = 0", "")
		first, second := p.login(t, p.transaction), p.login(t, p.transaction)
		for _, u := range []turn{
			batch(&pgproto3.Parse{Name: name, Query: "set app.tenant_id = '7'"}, &pgproto3.Sync{}),
			batch(&pgproto3.Bind{PreparedStatement: name}, &pgproto3.Execute{}, &pgproto3.Sync{}).of(true),
		} {
			u.play([2]*pgtest.Wire{first, second})
		}
		if have := one(t, first, "select coalesce(current_setting('app.tenant_id', true), '')"); have != "" {
			t.Errorf("%q: who has prepared it sees %s", name, have)
		}
		if have := one(t, first, "select count(*) from pg_prepared_statements"); have != "0" {
			t.Errorf("%q: %s statements are left", name, have)
		}
	}
}

// TestUnnoticedSetters: ways to set something that were not noticed, or of which it was thought that it had been undone. Nothing of it may be there
// for the second client.
func TestUnnoticedSetters(t *testing.T) {
	sync, flush := &pgproto3.Sync{}, &pgproto3.Flush{}
	parse := func(name, sql string) *pgproto3.Parse { return &pgproto3.Parse{Name: name, Query: sql} }
	bind := func(portal, name string) *pgproto3.Bind {
		return &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: name}
	}
	execute := func(portal string) *pgproto3.Execute { return &pgproto3.Execute{Portal: portal} }
	const (
		set    = "set app.tenant_id = '7'"
		setter = "select set_config('app.tenant_id', '7', false)"
		// In these a SET or set_config is a part of a string, or is not, as the settings say.
		escaped  = `select '\''; set app.tenant_id = 7; --'`
		plain    = `select '\'; set app.tenant_id = 7; --'`
		prepared = `select '\'', set_config($$app.tenant_id$$, $$7$$, false) --'`
		off, on  = "set standard_conforming_strings = off", "set standard_conforming_strings = on"
	)
	other := queries("create temp table emptied (a int)").of(true) // the server is emptied behind it
	prepareSetter := batch(parse("setter", setter), sync)
	for name, turns := range map[string][]turn{
		// What is bound first may run last.
		"a portal that runs behind a RESET": {
			queries("begin"), batch(parse("s", "set lock_timeout = 77"), bind("p", "s"), sync), queries("reset lock_timeout"), batch(execute("p"), sync), queries("commit"),
		},
		// What is set behind a ROLLBACK is not rolled back.
		"behind a ROLLBACK in a batch":                    {batch("set app.y = '1'", "rollback", flush).untilTags(2), batch(set, sync)},
		"behind a ROLLBACK of a failed block, in a batch": {queries("begin; set app.y = '1'"), queries("select 1/0"), batch("rollback", flush).untilTags(1), batch(set, sync)},
		// A text is read as the settings say when PostgreSQL comes to it.
		"escapes switched on in front of it":            {queries(off, escaped)},
		"for a transaction":                             {queries("begin", "set local standard_conforming_strings = off", escaped, "commit")},
		"in a batch":                                    {batch(off, prepared, sync)},
		"switched off":                                  {queries(off), queries(on, plain)},
		"switched off by a ROLLBACK":                    {queries("begin; " + off), queries("rollback", plain)},
		"an encoding":                                   {queries("set client_encoding = latin1"), queries("set client_encoding = sjis", "select E'\x83\x5c'; set app.tenant_id = 7; --'")},
		"prepared before escapes are switched on":       {batch(parse("s", prepared), sync), other, queries(off), other, batch(bind("", "s"), execute(""), sync)},
		"prepared without a name before they are":       {batch(parse("off", off), parse("", prepared), sync), batch(bind("", "off"), execute(""), sync), other, batch(bind("", ""), execute(""), sync)},
		"a function call":                               {{messages: []pgproto3.FrontendMessage{&pgproto3.FunctionCall{Function: 2078, Arguments: [][]byte{[]byte("app.tenant_id"), []byte("7"), []byte("f")}}}}},
		"a former name":                                 {queries("select set_config('sort_mem', '1234', false) where true")},
		"EXECUTE of a statement of the protocol":        {prepareSetter, queries("execute setter")},
		"EXPLAIN ANALYZE EXECUTE":                       {prepareSetter, queries("explain analyze execute setter")},
		"EXECUTE in a batch":                            {prepareSetter, batch("execute setter", sync)},
		"EXECUTE of the name that the server has it by": {prepareSetter, queries("execute hb_1")},
		"CREATE TABLE AS EXECUTE":                       {prepareSetter, queries("begin; create table made as execute hb_1; drop table made; commit")},
		"a query in a string":                           {queries("select query_to_xml('" + `select set_config(''app.tenant_id'', ''7'', false)` + "', true, false, '')")},
		"a name of another type":                        {batch(&pgproto3.Parse{Query: "select set_config($1, '77', false)", ParameterOIDs: []uint32{1042}}, &pgproto3.Bind{Parameters: [][]byte{[]byte("lock_timeout ")}}, execute(""), sync)},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := succession(t, "tracked")
			const look = "select concat_ws('|', coalesce(current_setting('app.tenant_id', true), ''), current_setting('lock_timeout'), current_setting('work_mem'))"
			pristine := one(t, second, look)
			for _, u := range turns {
				u.play([2]*pgtest.Wire{first, second})
			}
			if have := one(t, second, look); have != pristine {
				t.Errorf("another client sees %s", have)
			}
		})
	}
}

// TestLongValueSet: what is too long to be asked for ends its client with a word about that, and is not there for the next one.
func TestLongValueSet(t *testing.T) {
	first, second := succession(t, "tracked")
	first.Query("set app.tenant_id = '" + strings.Repeat("x", 100<<10) + "'")
	for {
		m, err := first.TryReceive()
		if err != nil {
			t.Fatalf("ended without a word: %v", err)
		}
		if e, ok := m.(*pgproto3.ErrorResponse); ok {
			if e.Code != "54000" {
				t.Fatalf("%+v", e)
			}
			break
		}
	}
	if have := one(t, second, "select coalesce(current_setting('app.tenant_id', true), '')"); have != "" {
		t.Errorf("another client sees %d bytes", len(have))
	}
}
