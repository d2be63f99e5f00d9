package proxy_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

var (
	disorderClients    = flag.Int("disorder-clients", 40, "clients of TestStatementsInDisorder")
	disorderServers    = flag.Int("disorder-servers", 4, "their servers")
	disorderStatements = flag.Int("disorder-statements", 1500, "distinct statements of theirs")
	disorderSteps      = flag.Int("disorder-steps", 60, "what each of them does")
	disorderSeed       = flag.Uint64("disorder-seed", 1, "of the clients' scripts")
)

// TestStatementsInDisorder: many clients with many statements over few servers, with and without names, with errors, DEALLOCATE and DISCARD of
// all kinds, and clients that die. Each answer says which statement has run. In the end nothing of it is kept. `make statements` does more of it.
func TestStatementsInDisorder(t *testing.T) {
	c := pgtest.Shared(t)
	p := start(t, c, fmt.Sprintf("default_pool_size = %d\nmax_client_conn = 1000\nmax_prepared_statements = 30\n", *disorderServers), "")
	var all sync.WaitGroup
	for i := range *disorderClients {
		all.Go(func() {
			d := &disorderly{p: p, rnd: rand.New(rand.NewPCG(uint64(i), *disorderSeed))}
			defer func() {
				if d.w != nil {
					d.w.Close()
				}
			}()
			for range *disorderSteps {
				if err := d.step(t); err != nil {
					t.Errorf("client %d: %v, behind %s", i, err, strings.Join(d.log[max(0, len(d.log)-10):], " | "))
					return
				}
			}
		})
	}
	all.Wait()
	snapshot := p.Snapshot()
	ps := p.pool(t, "transaction")
	t.Logf("%d statements in %d bytes; %d parses injected, %d saved, %d statements evicted, %d compared", snapshot.Statements, snapshot.StatementBytes,
		ps.ParsesInjected, ps.ParsesSaved, ps.StatementsEvicted, ps.StatementsCompared)
	if ps.StatementsEvicted == 0 || ps.ParsesInjected == 0 || ps.ParsesSaved == 0 || ps.StatementsChanged != 0 {
		t.Errorf("%+v", ps)
	}
	waitFor(t, "what the clients had prepared to be forgotten", func() bool {
		return p.Snapshot().Statements <= 2**disorderServers*30 // one that declares types keeps the one it was declared from
	})
	waitFor(t, "what the servers held to be forgotten", func() bool {
		_ = c.Exec("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'hybridbouncer'")
		snapshot := p.Snapshot()
		return snapshot.Statements == 0 && snapshot.StatementBytes == 0
	})
}

// disorderly is a client that knows what it has prepared.
type disorderly struct {
	p    *pooler
	w    *pgtest.Wire
	rnd  *rand.Rand
	has  map[string]int // statements by name
	open bool           // in a transaction
	log  []string
}

func (d *disorderly) step(t *testing.T) error {
	if d.w == nil {
		d.w, d.has, d.open, d.log = d.p.login(t, d.p.transaction), map[string]int{}, false, nil
	}
	name := []string{"", "a", "b", "c", "d"}[d.rnd.IntN(5)]
	n, has := d.has[name]
	switch r := d.rnd.IntN(40); {
	case r == 0:
		d.w.Send(&pgproto3.Parse{Name: name, Query: d.text(7)}, &pgproto3.Bind{PreparedStatement: name}) // in the middle of a batch
		d.w.Reset()
		d.w = nil
		return nil
	case r == 1:
		d.w.Close()
		d.w = nil
		return nil
	case r == 2 && !d.open:
		return d.query([]string{"deallocate all", "discard all"}[d.rnd.IntN(2)], func() { clear(d.has) })
	case r == 3 && has && name != "":
		return d.query("deallocate "+name, func() { delete(d.has, name); delete(d.has, "") })
	case r == 4:
		return d.query([]string{"begin", "commit"}[d.index()], func() { d.open = !d.open; delete(d.has, "") })
	case r == 5 && has && name != "":
		return d.executes(name, n)
	case r == 6 && !d.open:
		return d.fails(name)
	case r < 10 && has:
		d.note("close %q", name)
		d.w.Send(&pgproto3.Close{ObjectType: 'S', Name: name}, &pgproto3.Sync{})
		delete(d.has, name)
		return d.hear("CloseComplete")
	case !has || r < 16 && name == "":
		return d.prepare(name)
	default:
		return d.use(name, n)
	}
}

func (d *disorderly) index() int {
	if d.open {
		return 1
	}
	return 0
}

func (d *disorderly) note(format string, args ...any) {
	d.log = append(d.log, fmt.Sprintf(format, args...))
}

// text is a statement that says its number.
func (d *disorderly) text(n int) string { return fmt.Sprintf("select %d, $1::int", n) }

func (d *disorderly) query(sql string, done func()) error {
	d.note("%s", sql)
	done()
	d.w.Query(sql)
	return d.hear("CommandComplete")
}

// prepare gives a name to a statement, and perhaps asks for its columns.
func (d *disorderly) prepare(name string) error {
	n := d.rnd.IntN(*disorderStatements)
	d.note("prepare %q as %d", name, n)
	d.has[name] = n
	messages := []pgproto3.FrontendMessage{&pgproto3.Parse{Name: name, Query: d.text(n)}}
	want := []string{"ParseComplete"}
	if d.rnd.IntN(2) == 0 {
		messages = append(messages, &pgproto3.Describe{ObjectType: 'S', Name: name})
		want = append(want, "ParameterDescription", "RowDescription")
	}
	d.w.Send(append(messages, &pgproto3.Sync{})...)
	return d.hear(want...)
}

// use runs a statement once or several times in a pipeline.
func (d *disorderly) use(name string, n int) error {
	d.note("use %q, which is %d", name, n)
	var messages []pgproto3.FrontendMessage
	var want []string
	for range 1 + d.rnd.IntN(3) {
		messages = append(messages, &pgproto3.Bind{PreparedStatement: name, Parameters: [][]byte{[]byte("5")}}, &pgproto3.Execute{})
		want = append(want, "BindComplete", fmt.Sprintf("DataRow %d 5", n), "CommandComplete")
	}
	d.w.Send(append(messages, &pgproto3.Sync{})...)
	return d.hear(want...)
}

// executes runs a statement in SQL, which ends the unnamed one.
func (d *disorderly) executes(name string, n int) error {
	delete(d.has, "")
	d.note("execute %s, which is %d", name, n)
	d.w.Query("execute " + name + "(5)")
	return d.hear("RowDescription", fmt.Sprintf("DataRow %d 5", n), "CommandComplete")
}

// fails does what comes to nothing: behind an error nothing is prepared.
func (d *disorderly) fails(name string) error {
	d.note("a batch that fails, with %q", name)
	d.w.Send(&pgproto3.Parse{Name: "e", Query: "select 1 / $1::int"}, &pgproto3.Bind{PreparedStatement: "e", Parameters: [][]byte{[]byte("0")}}, &pgproto3.Execute{},
		&pgproto3.Close{ObjectType: 'S', Name: name}, &pgproto3.Parse{Name: name, Query: d.text(-1)}, &pgproto3.Sync{},
		&pgproto3.Close{ObjectType: 'S', Name: "e"}, &pgproto3.Sync{})
	if err := d.hear("ParseComplete", "ErrorResponse"); err != nil {
		return err
	}
	return d.hear("CloseComplete")
}

// hear compares what comes up to ReadyForQuery.
func (d *disorderly) hear(want ...string) error {
	for i := 0; ; i++ {
		m, err := d.w.TryReceive()
		if err != nil {
			return err
		}
		got := pgtest.Describe(m)
		switch {
		case i < len(want) && !strings.HasPrefix(got, want[i]), i >= len(want) && !strings.HasPrefix(got, "ReadyForQuery"):
			return fmt.Errorf("heard %s, not %s", got, append(want, "ReadyForQuery")[min(i, len(want))])
		case i == len(want):
			return nil
		}
	}
}
