package leak

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Life is one login of a client, what it does, and how it ends. It follows from its seed.
type Life struct {
	Client, Number int
	Startup        map[string]string
	Steps          []Step
	End            Ending
}

// Step is sent as a whole, and answered before the next. Steps do not rest on each other: any may be left out.
type Step struct {
	Kind  string // for the report
	Text  string // for the reader
	Bytes []byte // messages
	Cuts  int    // into how many pieces they are sent, beyond one
	Ready int    // ReadyForQuery that answer them
	// Cancels: the statement would run for long, and is cancelled until it ends. Without Bytes: a cancel request that hits nothing.
	Cancels bool
}

// Ending is how a client leaves.
type Ending uint8

// The endings.
const (
	EndGoodbye   Ending = iota // Terminate
	EndClosed                  // the socket is closed, perhaps inside a transaction
	EndReset                   // likewise, by RST
	EndHalf                    // in the middle of a message
	EndUnheard                 // with statements on their way whose answers nobody waits for
	EndRunning                 // likewise, while one runs
	EndUnsynced                // in the middle of a batch
	endingsCount = iota
)

// String is the word of reports.
func (e Ending) String() string {
	return [...]string{"goodbye", "closed", "reset", "half a message", "answers unheard", "statement running", "batch without Sync"}[e]
}

// describe shows the first n steps.
func (l *Life) describe(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  login %v\n", l.Startup)
	for i, s := range l.Steps[:min(n, len(l.Steps))] {
		fmt.Fprintf(&b, "  %2d %s\n", i, s.Text)
	}
	return b.String()
}

// author makes up a life.
type author struct {
	*rand.Rand
	client  int
	own     string
	hidden  bool
	keeps   bool
	patient bool // its session began with parameters of its own
	steps   []Step
}

// NewLife makes up the number-th life of a client.
func NewLife(o Options, client, number int) Life {
	a := &author{
		Rand:   rand.New(rand.NewPCG(o.Seed, uint64(client)<<32|uint64(number))),
		client: client, own: tenantName(client), hidden: o.Hidden, keeps: client < o.Keepers,
	}
	life := Life{Client: client, Number: number, Startup: a.startup()}
	a.add("prelude", func(b *batch) {
		b.query("begin; set local app.tenant_id = '" + a.own + "'; with x as (delete from docs where body like 'new %' returning 1) select 1 from x where false; commit")
	})
	for n := 1 + a.IntN(2*max(o.Steps, 1)); len(a.steps) < n; {
		a.scene()
	}
	life.Steps, life.End = a.steps, Ending(a.IntN(endingsCount))
	return life
}

// startup are the parameters of a login.
func (a *author) startup() map[string]string {
	all := []map[string]string{
		{},
		{},
		{"datestyle": "SQL", "application_name": "dated"},
		{"client_encoding": "LATIN1"},
		{"options": "-c app.x=" + a.own + "begun -c statement_timeout=9min", "timezone": "Asia/Tokyo"},
		{"options": "-c search_path=a,public -c work_mem=5MB"},
	}
	i := a.IntN(len(all))
	a.patient = true // RESET goes back to what the server began with first
	if _, named := all[i]["application_name"]; !named {
		all[i]["application_name"] = a.own // a pooler's servers may have a name of their own where a client has none
	}
	return all[i]
}

// add is a step of the messages that fill puts into a batch.
func (a *author) add(kind string, fill func(b *batch)) {
	b := &batch{}
	fill(b)
	a.steps = append(a.steps, Step{Kind: kind, Text: strings.Join(b.text, " | "), Bytes: b.bytes, Ready: b.ready, Cuts: max(0, a.IntN(8)-5)})
}

// scene adds one step, or a few that belong together.
func (a *author) scene() {
	switch n := a.IntN(40); {
	case n < 8:
		a.add("query", func(b *batch) { b.query(a.statement()) })
	case n < 11:
		a.add("several statements", func(b *batch) { b.query(a.several()) })
	case n < 15:
		a.add("extended", func(b *batch) { a.extended(b, true); b.sync() })
	case n < 18:
		a.add("pipeline", a.pipeline)
	case n < 21:
		a.add("named", a.named)
	case n < 25:
		a.transaction()
	case n < 33:
		a.add("look", func(b *batch) { b.query(a.look()) })
	case n == 33:
		a.cancelled()
	case n == 34:
		a.steps = append(a.steps, Step{Kind: "stray cancel", Text: "cancel", Cancels: true})
	case n == 35:
		a.add("large", func(b *batch) { b.query(a.large()) })
	case n == 36:
		a.add("copy", func(b *batch) { b.query("copy (select tenant, count(*) from docs group by tenant) to stdout") })
	case n < 39 && a.hidden:
		a.add("hidden", func(b *batch) { b.query(fmt.Sprintf("select public.leak_hide('%s', %d)", a.own, a.client)) })
		a.add("hidden look", func(b *batch) { b.query(fmt.Sprintf(hiddenProbe, a.own, a.client)) })
	case n == 39 && !a.hidden:
		a.add("prepared transaction", a.preparedTransaction)
	case a.keeps:
		a.add("keeps", func(b *batch) { b.query(a.kept()) })
	case a.hidden:
		a.add("hidden look", func(b *batch) { b.query(fmt.Sprintf(hiddenProbe, a.own, a.client)) })
	}
}

// transaction is a BEGIN, some steps, and an end.
func (a *author) transaction() {
	a.add("begin", func(b *batch) {
		b.query([]string{"begin", "start transaction", "begin isolation level repeatable read"}[a.IntN(3)])
	})
	for range 1 + a.IntN(5) {
		switch a.IntN(6) {
		case 0:
			a.add("look", func(b *batch) { b.query(a.look()) })
		case 1:
			a.add("savepoint", func(b *batch) { b.query([]string{"savepoint a", "rollback to a", "release a"}[a.IntN(3)]) })
		case 2:
			a.add("extended", func(b *batch) { a.extended(b, true); b.sync() })
		case 3:
			a.add("named", a.named)
		default:
			a.add("query", func(b *batch) { b.query(a.statement()) })
		}
	}
	if a.IntN(12) == 0 {
		a.add("long transaction", func(b *batch) { b.query("select pg_sleep(0.3)") })
	}
	a.add("end", func(b *batch) { b.query([]string{"commit", "commit", "rollback", "end", "abort"}[a.IntN(5)]) })
}

// cancelled is a statement that runs until it is cancelled.
func (a *author) cancelled() {
	a.add("cancelled", func(b *batch) {
		b.query([]string{"select pg_sleep(100)", "set app.x = '" + a.own + "never'; select pg_sleep(100)"}[a.IntN(2)])
	})
	a.steps[len(a.steps)-1].Cancels = true
}

// preparedTransaction ends a transaction for two-phase commit, and undoes it.
func (a *author) preparedTransaction(b *batch) {
	gid := fmt.Sprintf("'%s %d'", eitherDatabase, a.client) // these names are known in all databases
	for _, sql := range []string{"begin", a.set(), "prepare transaction " + gid, "rollback prepared " + gid} {
		b.query(sql)
	}
}

// pipeline is several batches and queries that are sent at once.
func (a *author) pipeline(b *batch) {
	for range 1 + a.IntN(3) {
		if a.IntN(3) == 0 {
			b.query(a.several())
			continue
		}
		n := 1 + a.IntN(4)
		for range n {
			a.extended(b, n == 1)
			if a.IntN(4) == 0 {
				b.add("flush", &pgproto3.Flush{})
			}
		}
		b.sync()
	}
}

// extended is a statement by the extended protocol, without its Sync. alone: the batch has no other.
func (a *author) extended(b *batch, alone bool) {
	sql, parameters := a.statement(), []string(nil)
	for a.patient && !alone && isReset(sql) {
		sql = a.statement()
	}
	switch a.IntN(6) {
	case 0:
		sql, parameters = "select set_config('app.x', $1, false)", []string{a.own + "bound"}
	case 1:
		sql, parameters = "select set_config($1, $2, $3)", []string{"app.y", a.own + "bound", []string{"true", "false"}[a.IntN(2)]}
	case 2:
		sql, parameters = "select body from docs where tenant = $1 order by 1", []string{a.own}
	case 3:
		sql = a.look()
	}
	b.parse("", sql)
	b.bind("", parameters)
	if a.IntN(2) == 0 {
		b.add("describe", &pgproto3.Describe{ObjectType: 'P'})
	}
	b.add("execute", &pgproto3.Execute{})
}

// named prepares, runs or closes a statement with a name, which may be there or not.
func (a *author) named(b *batch) {
	statements := [...]struct {
		sql        string
		parameters []string
	}{
		{"set app.x = '" + a.own + "prepared'", nil},
		{"select set_config('app.y', $1, false)", []string{a.own + "bound"}},
		{"reset app.x", nil},
		{"discard all", nil},
		{probe, nil},
		{"begin", nil},
		{"commit", nil},
		{"rollback", nil},
		{"set role leak_other", nil},
		{"select 'without a backslash'", nil}, // with one it is refused when standard_conforming_strings has changed since: docs/POOLING.md
	}
	for range 1 + a.IntN(3) {
		i := a.IntN(len(statements))
		if a.patient && (i == 2 || i == 3) {
			i = 0
		}
		name := fmt.Sprintf("s%d", i)
		switch n := a.IntN(10); {
		case n < 4:
			b.parse(name, statements[i].sql)
			fallthrough
		case n < 9:
			b.bind(name, statements[i].parameters)
			b.add("execute", &pgproto3.Execute{})
		default:
			b.add("close "+name, &pgproto3.Close{ObjectType: 'S', Name: name})
		}
		if a.IntN(2) == 0 {
			b.sync()
		}
	}
	b.sync()
}

// batch collects messages.
type batch struct {
	bytes []byte
	text  []string
	ready int
}

func (b *batch) add(text string, m pgproto3.FrontendMessage) {
	var err error
	if b.bytes, err = m.Encode(b.bytes); err != nil {
		panic(err) // longer than 1 GiB
	}
	b.text = append(b.text, text)
}

func (b *batch) query(sql string) {
	b.add("Q "+shown(sql), &pgproto3.Query{String: sql})
	b.ready++
}

func (b *batch) parse(name, sql string) {
	b.add(strings.TrimSpace("parse "+name)+": "+shown(sql), &pgproto3.Parse{Name: name, Query: sql})
}

func (b *batch) bind(name string, parameters []string) {
	values := make([][]byte, len(parameters))
	for i, p := range parameters {
		values[i] = []byte(p)
	}
	b.add(strings.TrimSpace("bind "+name)+fmt.Sprintf(" %q", parameters), &pgproto3.Bind{PreparedStatement: name, Parameters: values})
}

func (b *batch) sync() {
	b.add("sync", &pgproto3.Sync{})
	b.ready++
}

// shown is a text as it is printed.
func shown(sql string) string {
	const most = 300
	switch {
	case sql == probe:
		return "<probe>"
	case len(sql) > most:
		return fmt.Sprintf("%s ...(%d bytes)... %s", sql[:most/3], len(sql), sql[len(sql)-most/3:])
	}
	return sql
}
