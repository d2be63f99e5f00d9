package relay

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// told is an Outcome as a line.
func told(o Outcome) string {
	var b strings.Builder
	for _, c := range o.Changes {
		switch {
		case c.Reset:
			fmt.Fprintf(&b, "%s reset; ", c.Name)
		case c.Exact:
			fmt.Fprintf(&b, "%s = %s; ", c.Name, c.Value)
		default:
			fmt.Fprintf(&b, "%s ?; ", c.Name)
		}
	}
	switch {
	case o.AskAll:
		b.WriteString("ask all; ")
	case o.Ask:
		b.WriteString("ask; ")
	}
	if o.Leftovers {
		b.WriteString("leftovers; ")
	}
	return b.String()
}

// said are the messages of a server by their first letters: "C:CREATE_TABLE" is CommandComplete, "Z:I" ReadyForQuery.
func said(t *testing.T, words ...string) []byte {
	t.Helper()
	var messages []byte
	for _, word := range words {
		kind, rest, _ := strings.Cut(word, ":")
		var err error
		switch kind {
		case "C":
			messages, err = (&pgproto3.CommandComplete{CommandTag: []byte(strings.ReplaceAll(rest, "_", " "))}).Encode(messages)
		case "Z":
			messages, err = (&pgproto3.ReadyForQuery{TxStatus: rest[0]}).Encode(messages)
		case "E":
			messages, err = (&pgproto3.ErrorResponse{Severity: "ERROR", Code: "22012"}).Encode(messages)
		case "1":
			messages, err = (&pgproto3.ParseComplete{}).Encode(messages)
		case "2":
			messages, err = (&pgproto3.BindComplete{}).Encode(messages)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return messages
}

// once sends a statement by the extended protocol.
func once(sql string, params ...string) []pgproto3.FrontendMessage {
	values := make([][]byte, len(params))
	for i, p := range params {
		values[i] = []byte(p)
	}
	return []pgproto3.FrontendMessage{&pgproto3.Parse{Query: sql}, &pgproto3.Bind{Parameters: values}, &pgproto3.Execute{}, &pgproto3.Sync{}}
}

func query(sql string) []pgproto3.FrontendMessage {
	return []pgproto3.FrontendMessage{&pgproto3.Query{String: sql}}
}

// exchange is what a client sends at once, and what the server says to it.
type exchange struct {
	sent []pgproto3.FrontendMessage
	said string
}

func join(parts ...[]pgproto3.FrontendMessage) (all []pgproto3.FrontendMessage) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

const longName = "app.a_name_that_is_long_enough_to_be_cut_in_the_middle_by_any_piece"

// sessions are transactions and what they are found to have done.
var sessions = []struct {
	name      string
	exchanges []exchange
	want      string
}{
	{"autocommit", []exchange{{query("set app.x = 'a'"), "C:SET Z:I"}}, "app.x = a; "},
	{"failed", []exchange{{query("set app.x = 'a'"), "E Z:I"}}, ""},
	{"failed behind another", []exchange{{query("set app.x = 'a'; select 1/0"), "C:SET E Z:I"}}, ""},
	{"failed behind a commit", []exchange{{query("set app.x = 'a'; commit; select 1/0"), "C:SET C:COMMIT E Z:I"}}, "app.x = a; "},
	{
		"failed in a transaction",
		[]exchange{
			{query("begin"), "C:BEGIN Z:T"}, {query("set app.x = 'a'"), "C:SET Z:T"}, {query("select 1/0"), "E Z:E"}, {query("commit"), "C:ROLLBACK Z:I"},
		},
		"",
	},
	{
		"failed, and saved by a savepoint",
		[]exchange{
			{query("begin"), "C:BEGIN Z:T"},
			{query("set app.x = 'a'"), "C:SET Z:T"},
			{query("savepoint a"), "C:SAVEPOINT Z:T"},
			{query("select 1/0"), "E Z:E"},
			{query("rollback to a"), "C:ROLLBACK Z:T"},
			{query("commit"), "C:COMMIT Z:I"},
		},
		"app.x = a; ",
	},
	{
		"committed, then failed in a pipeline",
		[]exchange{{append(query("set app.x = 'a'"), query("select 1/0")...), "C:SET Z:I E Z:I"}},
		"app.x = a; ",
	},
	{"two in one text", []exchange{{query("set app.x = 'a'; reset all; set app.y = 'b'"), "C:SET C:RESET C:SET Z:I"}}, "app.x = a;  reset; app.y = b; "},
	{"committed", []exchange{{query("begin"), "C:BEGIN Z:T"}, {query("set app.x = 'a'"), "C:SET Z:T"}, {query("commit"), "C:COMMIT Z:I"}}, "app.x = a; "},
	{"rolled back", []exchange{{query("begin"), "C:BEGIN Z:T"}, {query("set app.x = 'a'"), "C:SET Z:T"}, {query("rollback"), "C:ROLLBACK Z:I"}}, ""},
	{
		"pipelined ahead of a transaction that is rolled back",
		[]exchange{
			{join(query("set app.x = 'a'"), query("begin")), "C:SET Z:I C:BEGIN Z:T"},
			{query("rollback"), "C:ROLLBACK Z:I"},
		},
		"app.x = a; ",
	},
	{
		"rolled back to a savepoint",
		[]exchange{
			{query("begin; savepoint a"), "C:BEGIN C:SAVEPOINT Z:T"},
			{query("set app.x = 'a'"), "C:SET Z:T"},
			{query("rollback to a"), "C:ROLLBACK Z:T"},
			{query("commit"), "C:COMMIT Z:I"},
		},
		"",
	},
	{"chained", []exchange{
		{query("begin"), "C:BEGIN Z:T"},
		{query("set app.x = 'a'"), "C:SET Z:T"},
		{query("commit and chain"), "C:COMMIT Z:T"},
		{query("rollback"), "C:ROLLBACK Z:I"},
	}, "app.x = a; "},
	{"committed and set in one text", []exchange{{query("begin; set app.x = 'a'; commit; set app.y = 'b'"), "C:BEGIN C:SET C:COMMIT C:SET Z:I"}}, "app.x = a; app.y = b; "},
	{"pipelined queries", []exchange{{join(query("rollback"), query("set app.x = 'a'")), "C:ROLLBACK Z:I C:SET Z:I"}}, "app.x = a; "},
	{"extended", []exchange{{once("set app.x = 'a'"), "1 2 C:SET Z:I"}}, "app.x = a; "},
	{"bound value", []exchange{{once("select set_config('app.x', $1, false)", "v"), "1 2 C:SELECT_1 Z:I"}}, "app.x = v; "},
	{"bound name", []exchange{{once("select set_config($1, $2, false)", "App.N", "v"), "1 2 C:SELECT_1 Z:I"}}, "app.n = v; "},
	{"bound name, not ASCII", []exchange{{once("select set_config($1, $2, false)", "app.\u00e4", "v"), "1 2 C:SELECT_1 Z:I"}}, "ask all; leftovers; "},
	{"bound value, not ASCII", []exchange{{once("select set_config('app.x', $1, false)", "\u00e4"), "1 2 C:SELECT_1 Z:I"}}, "app.x ?; "},
	{"bound number", []exchange{{
		append([]pgproto3.FrontendMessage{&pgproto3.Parse{Query: "select set_config('app.x', $1::text, false)", ParameterOIDs: []uint32{23}}},
			once("", "007")[1:]...), "1 2 C:SELECT_1 Z:I",
	}}, "app.x ?; "},
	{"prepared only", []exchange{{[]pgproto3.FrontendMessage{&pgproto3.Parse{Name: "s", Query: "set app.x = 'a'"}, &pgproto3.Sync{}}, "1 Z:I"}}, "nothing"},
	{
		"prepared, executed later",
		[]exchange{
			{[]pgproto3.FrontendMessage{&pgproto3.Parse{Name: "s", Query: "set " + longName + " = 'a'"}, &pgproto3.Sync{}}, "1 Z:I"},
			{[]pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: "s"}, &pgproto3.Execute{}, &pgproto3.Sync{}}, "2 C:SET Z:I"},
		},
		longName[:4] + longName[4:67] + " = a; ",
	},
	{"bound, never executed", []exchange{{[]pgproto3.FrontendMessage{
		&pgproto3.Parse{Query: "set app.x = 'a'"}, &pgproto3.Bind{}, &pgproto3.Sync{},
	}, "1 2 Z:I"}}, ""},
	{"another portal", []exchange{{[]pgproto3.FrontendMessage{
		&pgproto3.Parse{Query: "set app.x = 'a'"}, &pgproto3.Bind{DestinationPortal: "p"}, &pgproto3.Execute{}, &pgproto3.Sync{},
	}, "1 2 E Z:I"}}, ""},
	{"replaced by one without effects", []exchange{{join(
		[]pgproto3.FrontendMessage{&pgproto3.Parse{Query: "set app.x = 'a'"}}, once("select 1")), "1 1 2 C:SELECT_1 Z:I"}}, "nothing"},
	{"a batch of its own transactions", []exchange{{join(once("rollback")[:3], once("set app.x = 'a'")), "1 2 C:ROLLBACK 1 2 C:SET Z:I"}}, "app.x = a; "},
	{"saved by a savepoint of a text", []exchange{{
		query("begin; set app.x = 'a'; savepoint s; set app.x = 'b'; release s; savepoint t; set app.y = 'c'; rollback to t; commit"),
		"C:BEGIN C:SET C:SAVEPOINT C:SET C:RELEASE C:SAVEPOINT C:SET C:ROLLBACK C:COMMIT Z:I",
	}}, "app.x = a; app.x = b; "},
	{"rolled back to a savepoint that was made before anything", []exchange{
		{query("begin; savepoint s"), "C:BEGIN C:SAVEPOINT Z:T"},
		{query("set app.x = 'a'; savepoint t; set app.x = 'b'; rollback to s; commit"), "C:SET C:SAVEPOINT C:SET C:ROLLBACK C:COMMIT Z:I"},
	}, ""},
	{"a name twice", []exchange{{
		query("begin; savepoint s; set app.x = 'a'; savepoint s; set app.x = 'b'; rollback to s; release s; rollback to s; commit"),
		"C:BEGIN C:SAVEPOINT C:SET C:SAVEPOINT C:SET C:ROLLBACK C:RELEASE C:ROLLBACK C:COMMIT Z:I",
	}}, ""},
	{"a savepoint whose name is not known", []exchange{
		{[]pgproto3.FrontendMessage{&pgproto3.Parse{Name: "s", Query: "savepoint s"}, &pgproto3.Sync{}}, "1 Z:I"},
		{query("begin; set app.x = 'a'"), "C:BEGIN C:SET Z:T"},
		{[]pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: "s"}, &pgproto3.Execute{}, &pgproto3.Sync{}}, "2 C:SAVEPOINT Z:T"},
		{query("set app.x = 'b'; rollback to s; commit"), "C:SET C:ROLLBACK C:COMMIT Z:I"},
	}, "app.x = a; app.x = b; ask; "},
	{"skipped behind an error", []exchange{{join(once("select 1/0")[:3], once("set app.x = 'a'")), "1 2 E Z:I"}}, ""},
	{"prepared anew in a batch that is skipped", []exchange{
		{[]pgproto3.FrontendMessage{&pgproto3.Parse{Query: "set app.x = 'a'"}, &pgproto3.Sync{}}, "1 Z:I"},
		{[]pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: "nosuch"}, &pgproto3.Parse{Query: "set app.x = 'b'"}, &pgproto3.Sync{}}, "E Z:I"},
		{[]pgproto3.FrontendMessage{&pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}}, "1 2 C:SET Z:I"},
	}, "app.x = a; "},
	{"executed in two portals", []exchange{{[]pgproto3.FrontendMessage{
		&pgproto3.Parse{Query: "set app.x = 'a'"}, &pgproto3.Bind{DestinationPortal: "p"}, &pgproto3.Parse{Query: "set app.x = 'b'"}, &pgproto3.Bind{},
		&pgproto3.Execute{}, &pgproto3.Execute{Portal: "p"}, &pgproto3.Sync{},
	}, "1 2 1 2 C:SET C:SET Z:I"}}, "app.x = b; app.x = a; "},
	{"a procedure between", []exchange{{join(query("begin; set app.x = 'a'; call p(); commit")), "C:BEGIN C:SET C:CALL C:COMMIT Z:I"}}, "app.x = a; ask all; leftovers; "},
	{"discarded", []exchange{{query("create temp table x ()"), "C:CREATE_TABLE Z:I"}, {query("discard all"), "C:DISCARD_ALL Z:I"}}, " reset; "},
	{"leftovers", []exchange{{query("create temp table x ()"), "C:CREATE_TABLE Z:I"}}, "leftovers; "},
	{"opaque", []exchange{{query("do $$begin end$$"), "C:DO Z:I"}}, "ask all; leftovers; "},
	{"identity", []exchange{{query("set session authorization x"), "C:SET Z:I"}}, "role ?; session_authorization ?; "},
	{"nothing", []exchange{{query("select 1"), "C:SELECT_1 Z:I"}, {once("set local x = 1"), "1 2 C:SET Z:I"}}, "nothing"},
}

// TestSessionState: what is known of a session when its transactions have ended, however the client's messages are cut.
func TestSessionState(t *testing.T) {
	for _, c := range sessions {
		for _, piece := range []int{1, 2, 3, 5, 7, 1 << 20} {
			client, server := NewClient(false), NewServer()
			client.Session.Tracked, client.tracked = true, true
			server.Watch(&client, new(sqltext.Lexer))
			server.Link(&client, &Tally{}, &Desk{Table: prepared.NewTable(1 << 20)}, 100)
			for _, e := range c.exchanges {
				sendPieces(t, &client, &server, pgtest.Encode(t, e.sent...), piece)
				reply := said(t, strings.Fields(e.said)...)
				for len(reply) > 0 {
					step := server.FromServer(reply)
					if step.N == 0 {
						t.Fatalf("%s: stuck: %+v", c.name, step)
					}
					reply = reply[step.N:]
				}
			}
			have := "nothing"
			if client.Session.Pending() {
				have = told(client.Session.Resolve())
			}
			if have != c.want {
				t.Errorf("%s, in pieces of %d: %q, want %q", c.name, piece, have, c.want)
			}
		}
	}
}

// sendPieces feeds what a client sends as a socket would.
func sendPieces(t *testing.T, c *Client, s *Server, b []byte, piece int) {
	t.Helper()
	var kept []byte
	for len(b) > 0 {
		n := min(piece, len(b))
		kept = append(kept, b[:n]...)
		b = b[n:]
		for len(kept) > 0 {
			step := c.FromClient(kept, s)
			if step.Verdict == More {
				break
			}
			if step.Verdict != Forward && step.Verdict != Rewrite && step.Verdict != Drop {
				t.Fatalf("%+v", step)
			}
			kept = kept[step.N:]
		}
	}
}

// TestNamesAreForgotten: a client that prepares more statements that set something than are remembered may be running any of them under a name
// that is not known.
func TestNamesAreForgotten(t *testing.T) {
	n, s := &SessionState{}, &Server{}
	for i := range preparedMax {
		n.remember(strconv.Itoa(i), &effect{effects: sqltext.Assigns})
	}
	if e := n.means([]byte("other"), s); e != nil {
		t.Errorf("before: %+v", e)
	}
	n.remember("one more", &effect{effects: sqltext.Assigns})
	if e := n.means([]byte("0"), s); e == nil || e.effects&sqltext.Unreadable == 0 {
		t.Errorf("a name that was forgotten: %+v", e)
	}
	if e := n.means([]byte("one more"), s); e == nil || e.effects != sqltext.Assigns {
		t.Errorf("the last one: %+v", e)
	}
}
