package compat

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// The generator makes up scripts: a few rounds of messages sent in one go, legal and illegal in any mixture, each round closed by a
// marker that PostgreSQL answers whatever came before it. Steps that would end a script early are drawn rarely.

// marker ends a COPY, a batch and a skip to the next Sync; the empty query is answered in every transaction status, and nothing else
// drawn here is empty.
const marker = `CopyFail "marker" | Sync | Query ""`

// queries are simple queries, one or several statements, with every way of ending a transaction. BEGIN with an isolation level is not among
// them: see testdata/isolation_behind_describe.txt.
var queries = []string{
	"select 1", "select", "select n, 'row ' || n from generate_series(1, 3) n", "select 1/0", "selec", "begin", "begin", "commit", "rollback",
	"savepoint s", "rollback to s", "release s", "insert into t values (1)", "insert into t values (2), (3)", "delete from t",
	"insert into t values (4); select count(*) from t; select 1/0", "select 1; commit; select 2", "begin; insert into t values (5)",
	"commit and chain", "rollback and chain", "do $$ begin raise notice 'n'; end $$", "copy t to stdout", "copy nosuch from stdin",
	"set local application_name to 'local'; show application_name", "select repeat('x', 20000)", "fetch 1 from p", "insert into d values (1)",
	"declare q cursor for select n from generate_series(1, 3) n", "close q", "lock table t", "begin read only",
}

// statements are the texts to prepare, each with its number of parameters.
var texts = []string{
	"0 select 1", "0 select n from generate_series(1, 4) n", "1 select $1::int", "1 select 10 / $1::int", "1 insert into t values ($1)",
	"2 select $1::text, $2::int", "0 begin", "0 commit", "0 rollback", "0 selec", "0 select 1; select 2", "0 ", "0 copy t to stdout",
	"0 insert into t values (6) returning n", "1 select repeat('y', $1::int)", "0 insert into d values (1)", "0 delete from t",
	"0 do $$ begin raise warning 'w'; end $$", "0 declare p cursor for select 1", "0 show transaction_isolation", "0 select * from t order by n",
}

var (
	statementNames = rapid.SampledFrom([]string{"", "", "a", "a", "b", "c"})
	// namedPortals are for messages drawn alone: Execute of the unnamed portal that a failed Query left behind crashes PostgreSQL 15
	// (segmentation fault).
	namedPortals = rapid.SampledFrom([]string{"p", "q"})
	portalNames  = rapid.SampledFrom([]string{"", "", "", "p", "q"})
	parameters   = rapid.SampledFrom([]string{"1", "2", "0", "7", "x", "NULL", `\x00000002`, `"a b"`})
)

// message draws one message, or a few that belong together.
func drawMessage(t *rapid.T) string {
	switch rapid.SampledFrom([]string{
		"query", "query", "query", "parse", "parse", "bind", "bind", "describe", "execute", "execute", "execute", "batch", "batch", "batch",
		"close", "sync", "sync", "flush", "copy", "copy", "stray", "function", "bad",
	}).Draw(t, "kind") {
	case "query":
		return fmt.Sprintf("Query %q", rapid.SampledFrom(queries).Draw(t, "sql"))
	case "parse":
		return drawParse(t)
	case "bind":
		return drawBind(t)
	case "describe":
		return drawNamed(t, "Describe")
	case "close":
		return drawNamed(t, "Close")
	case "execute":
		return fmt.Sprintf("Execute %q %d", namedPortals.Draw(t, "portal"), rapid.IntRange(0, 2).Draw(t, "rows"))
	case "batch":
		return drawBatch(t)
	case "sync":
		return "Sync"
	case "flush":
		return "Flush"
	case "copy":
		return drawCopy(t)
	case "stray":
		return rapid.SampledFrom([]string{`CopyData "1\n"`, "CopyDone", `CopyFail "stray"`}).Draw(t, "stray")
	case "function":
		return rapid.SampledFrom([]string{"FunctionCall 177 1 2", "FunctionCall 154 1 0", "FunctionCall 4000000000", "FunctionCall 177 1"}).Draw(t, "call")
	}
	return rapid.SampledFrom([]string{ // bodies that cannot be understood; the last two end the connection, between batches: within one
		// PostgreSQL answers what it has not flushed yet if it must say an error, and the pooler has closed by then
		"Raw 42 00 00 00 06 00 00", "Raw 50 00 00 00 05 00", "Raw 45 00 00 00 05 00", "Raw 44 00 00 00 06 58 00", "Raw 53 00 00 00 05 00",
		"Raw 51 00 00 00 04", "Raw 46 00 00 00 06 00 00", "Raw 43 00 00 00 06 58 00", "Sync | Raw 7a 00 00 00 04", "Sync | Terminate",
	}).Draw(t, "bad")
}

func drawParse(t *rapid.T) string {
	_, sql, _ := strings.Cut(rapid.SampledFrom(texts).Draw(t, "text"), " ")
	return fmt.Sprintf("Parse %q %q", statementNames.Draw(t, "statement"), sql)
}

func drawBind(t *rapid.T) string {
	return strings.TrimSpace(fmt.Sprintf("Bind %q %q %s", portalNames.Draw(t, "portal"), statementNames.Draw(t, "statement"),
		strings.Join(rapid.SliceOfN(parameters, 0, 2).Draw(t, "parameters"), " ")))
}

func drawNamed(t *rapid.T, what string) string {
	if rapid.Bool().Draw(t, "of a statement") {
		return fmt.Sprintf("%s S %q", what, statementNames.Draw(t, "statement"))
	}
	return fmt.Sprintf("%s P %q", what, namedPortals.Draw(t, "portal"))
}

// drawBatch is what drivers send, mostly with its Sync.
func drawBatch(t *rapid.T) string {
	count, sql, _ := strings.Cut(rapid.SampledFrom(texts).Draw(t, "text"), " ")
	name, portal := statementNames.Draw(t, "statement"), portalNames.Draw(t, "portal")
	values := strings.Repeat(" "+parameters.Draw(t, "parameter"), int(count[0]-'0'))
	messages := []string{fmt.Sprintf("Parse %q %q", name, sql)}
	if name != "" && rapid.Bool().Draw(t, "closed first") {
		messages = append([]string{fmt.Sprintf("Close S %q", name)}, messages...)
	}
	if rapid.Bool().Draw(t, "prepared in a batch of its own") {
		messages = append(messages, fmt.Sprintf("Describe S %q", name), "Sync")
	}
	messages = append(messages, fmt.Sprintf("Bind %q %q%s", portal, name, values))
	if rapid.Bool().Draw(t, "described") {
		messages = append(messages, fmt.Sprintf("Describe P %q", portal))
	}
	messages = append(messages, fmt.Sprintf("Execute %q %d", portal, rapid.IntRange(0, 2).Draw(t, "rows")))
	return strings.Join(append(messages, rapid.SampledFrom([]string{"Sync", "Sync", "Sync", "Flush"}).Draw(t, "end")), " | ")
}

// drawCopy is a COPY with its data, whole or broken off, simple or extended.
func drawCopy(t *rapid.T) string {
	data := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{
		`CopyData "11\n"`, `CopyData "12\n13\n"`, `CopyData "1"`, `CopyData "4\n"`, `CopyData ""`, `CopyData "nonsense\n"`, "Flush",
	}), 1, 4).Draw(t, "data"), " | ")
	end := rapid.SampledFrom([]string{"CopyDone", "CopyDone", "CopyDone", `CopyFail "drawn"`}).Draw(t, "end")
	if rapid.Bool().Draw(t, "simple") {
		return `Query "copy t from stdin" | ` + data + " | " + end
	}
	return `Parse "" "copy t from stdin" | Bind | Execute "" | ` + data + " | " + end + " | Sync"
}

// drawScript is a script of one client in the language of testdata.
func drawScript(t *rapid.T) string {
	var text strings.Builder
	text.WriteString("# Made up.\nsetup create table t (n int primary key)\n" +
		"setup create table d (n int primary key deferrable initially deferred); insert into d values (1)\n")
	for range rapid.IntRange(1, 4).Draw(t, "rounds") {
		messages := rapid.SliceOfN(rapid.Custom(drawMessage), 1, 8).Draw(t, "messages")
		fmt.Fprintf(&text, "client> %s | %s\nclient until EmptyQueryResponse\nclient until ReadyForQuery\n", strings.Join(messages, " | "), marker)
	}
	return text.String()
}

// generatedOn are the ports that made-up scripts are played on.
var generatedOn = flag.String("ports", "session transaction deferring", "ports that made-up scripts are played on")

// TestGenerated plays scripts made up at random. -rapid.checks=100000 plays more of them, -rapid.seed=N those of a failure again.
func TestGenerated(t *testing.T) {
	free, _ := newLanes(t, 1)
	targets := <-free
	t.Cleanup(func() {
		if log := pgtest.Shared(t).Log(); strings.Contains(log, "was terminated by signal") {
			at := strings.Index(log, "was terminated by signal")
			t.Errorf("PostgreSQL itself crashed:\n%s", log[max(0, at-500):min(len(log), at+500)])
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		text := drawScript(rt)
		script, err := Parse("generated", text)
		if err != nil {
			rt.Fatalf("%v\n%s", err, text)
		}
		bytewise := rapid.Bool().Draw(rt, "byte by byte")
		out := playAll(script, targets, strings.Fields(*generatedOn), bytewise)
		if out.err != nil {
			rt.Fatalf("%v\n%s", out.err, text)
		}
		for name, transcript := range out.ports {
			if diff := tolerated(Diff(out.direct, transcript)); len(diff) > 0 {
				rt.Fatalf("%s differs from PostgreSQL:\n%s\n\n%s\nPostgreSQL:\n%s", name, strings.Join(diff, "\n"), text, out.direct)
			}
		}
	})
}
