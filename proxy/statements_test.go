package proxy_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// connect opens a pgx connection through the transaction port.
func connect(ctx context.Context, p *pooler, mode pgx.QueryExecMode) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig("postgres://postgres@" + p.transaction + "/postgres?sslmode=disable")
	if err != nil {
		return nil, err
	}
	cfg.DefaultQueryExecMode = mode
	return pgx.ConnectConfig(ctx, cfg)
}

// TestManyStatements: 200 clients run 10,000 distinct statements over a few servers that hold ten each. Each answer names its statement;
// afterwards nothing is kept.
func TestManyStatements(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 4\nmax_client_conn = 300\nmax_prepared_statements = 10\n", "")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	modes := []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec}
	const clients, each = 200, 50
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			if err := askWhich(ctx, p, modes[i%len(modes)], i, each); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	all.Wait()
	ps := p.pool(t, "transaction")
	if ps.StatementsEvicted == 0 || ps.ParsesInjected == 0 {
		t.Errorf("%d evicted, %d injected", ps.StatementsEvicted, ps.ParsesInjected)
	}
	waitFor(t, "the statements of the clients to be forgotten", func() bool {
		return p.Snapshot().Statements <= 2*4*10 // one that declares types keeps the one it was declared from
	})
}

// askWhich runs statements of its own and some that all share, in any order, in and out of transactions.
func askWhich(ctx context.Context, p *pooler, mode pgx.QueryExecMode, client, each int) error {
	rnd := rand.New(rand.NewPCG(uint64(client), 3))
	c, err := connect(ctx, p, mode)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.Background()) }()
	for range 2 * each {
		n := client*each + rnd.IntN(each)
		if rnd.IntN(4) == 0 {
			n = -rnd.IntN(20)
		}
		ask := func(tx interface {
			QueryRow(context.Context, string, ...any) pgx.Row
		},
		) error {
			var which, sum int
			if err := tx.QueryRow(ctx, fmt.Sprintf("select %d, $1::int + 1", n), client).Scan(&which, &sum); err != nil {
				return err
			}
			if which != n || sum != client+1 {
				return fmt.Errorf("statement %d answered as %d, %d", n, which, sum)
			}
			return nil
		}
		if rnd.IntN(3) > 0 {
			err = ask(c)
		} else {
			err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return ask(tx) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TestPgbenchPrepared: pgbench prepares in all its ways, with many clients. Its transactions of several statements cannot be tried with more
// clients than servers: its threads block while they prepare, and leave open transactions alone meanwhile.
func TestPgbenchPrepared(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 5\nmax_client_conn = 500\n", "")
	host, port, _ := net.SplitHostPort(p.transaction)
	at := []string{"-h", host, "-p", port, "-U", "postgres", "postgres"}
	t.Setenv("PGSSLMODE", "disable")
	program, err := pgtest.Program("pgbench")
	if err != nil {
		t.Fatal(err)
	}
	bench := func(args ...string) string {
		out, err := exec.Command(program, append(args, at...)...).CombinedOutput()
		if err != nil {
			t.Errorf("pgbench: %v", err)
		}
		return string(out)
	}
	bench("-i", "-q")
	for _, mode := range []string{"prepared", "extended"} {
		out := bench("-S", "-n", "-M", mode, "-c", "100", "-j", "2", "-t", "20")
		if !strings.Contains(out, "2000/2000") {
			t.Error(out)
		}
	}
}

// TestStatementsAfterDDL: the columns of a result change while clients and servers have the statement.
func TestStatementsAfterDDL(t *testing.T) {
	c := pgtest.Shared(t)
	p := start(t, c, single, "")
	direct := pgtest.Login(t, c.Address(), "postgres", "postgres", "")
	run(t, direct, "drop table if exists changing; create table changing (a int); insert into changing values (1)")
	w := p.login(t, p.transaction)
	w.Send(&pgproto3.Parse{Name: "s", Query: "select * from changing"}, &pgproto3.Sync{})
	w.Expect("ParseComplete", "ReadyForQuery I")
	use := []pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: "s"}, &pgproto3.Execute{}, &pgproto3.Sync{}}
	w.Send(use...)
	w.Expect("BindComplete", "DataRow 1", "CommandComplete SELECT 1", "ReadyForQuery I")

	// Who has heard of the old columns gets the error that PostgreSQL gives, once.
	run(t, direct, "alter table changing add b int default 2")
	w.Send(use...)
	w.ExpectError("0A000")
	w.Expect("ReadyForQuery I")
	w.Send(use...)
	w.Expect("BindComplete", "DataRow 1 2", "CommandComplete SELECT 1", "ReadyForQuery I")

	// Who asks for the columns in the same batch, or prepares only now, need not know.
	run(t, direct, "alter table changing add c int default 3")
	w.Send(&pgproto3.Bind{PreparedStatement: "s"}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{})
	w.Expect("BindComplete", "*", "DataRow 1 2 3", "CommandComplete SELECT 1", "ReadyForQuery I")
	run(t, direct, "alter table changing add d int default 4")
	other := p.login(t, p.transaction)
	other.Send(&pgproto3.Parse{Name: "mine", Query: "select * from changing"}, &pgproto3.Describe{ObjectType: 'S', Name: "mine"}, &pgproto3.Flush{})
	other.Expect("ParseComplete", "ParameterDescription", "RowDescription a b c d")
	other.Send(&pgproto3.Bind{PreparedStatement: "mine"}, &pgproto3.Execute{}, &pgproto3.Sync{})
	other.Expect("BindComplete", "DataRow 1 2 3 4", "CommandComplete SELECT 1", "ReadyForQuery I")

	// Dropped by a function, where nobody saw it.
	run(t, w, "do $$begin execute 'deallocate all'; end$$")
	other.Send(&pgproto3.Bind{PreparedStatement: "mine"}, &pgproto3.Execute{}, &pgproto3.Sync{})
	other.Expect("BindComplete", "DataRow 1 2 3 4", "CommandComplete SELECT 1", "ReadyForQuery I")

	// The table is gone: the error is in its place, and the statement is there when the table is.
	run(t, direct, "drop table changing")
	run(t, w, "discard plans")
	other.Send(&pgproto3.Bind{PreparedStatement: "mine"}, &pgproto3.Execute{}, &pgproto3.Sync{})
	other.ExpectError("42P01")
	other.Expect("ReadyForQuery I")
}

// TestLongParse: a statement longer than any buffer, in pieces; one that is too long; and a large parameter behind a name.
func TestLongParse(t *testing.T) {
	p := start(t, pgtest.Shared(t), single, "")
	w := p.login(t, p.transaction)
	for _, n := range []int{1000, 60_000, 70_000, 900_000} {
		text := "select length('" + strings.Repeat("x", n) + "')"
		name := fmt.Sprint("s", n)
		parse := pgtest.Encode(t, &pgproto3.Parse{Name: name, Query: text})
		for len(parse) > 0 {
			piece := parse[:min(len(parse), 100_000)]
			w.Raw(piece)
			parse = parse[len(piece):]
		}
		w.Send(&pgproto3.Bind{PreparedStatement: name}, &pgproto3.Execute{}, &pgproto3.Sync{})
		w.Expect("ParseComplete", "BindComplete", fmt.Sprint("DataRow ", n), "CommandComplete SELECT 1", "ReadyForQuery I")
		w.Send(&pgproto3.Bind{PreparedStatement: name}, &pgproto3.Execute{}, &pgproto3.Sync{})
		w.Expect("BindComplete", fmt.Sprint("DataRow ", n), "CommandComplete SELECT 1", "ReadyForQuery I")
	}
	run(t, w, "begin")
	w.Send(&pgproto3.Parse{Name: "huge", Query: "select '" + strings.Repeat("x", 2<<20) + "'"}, &pgproto3.Bind{PreparedStatement: "huge"}, &pgproto3.Sync{})
	w.ExpectError("54000")
	w.Expect("ReadyForQuery E")
	run(t, w, "rollback")
	w.Send(&pgproto3.Parse{Name: "p", Query: "select length($1::text)"}, &pgproto3.Bind{PreparedStatement: "p", Parameters: [][]byte{make20MB()}}, &pgproto3.Execute{}, &pgproto3.Sync{})
	w.Expect("ParseComplete", "BindComplete", "DataRow 20000000", "CommandComplete SELECT 1", "ReadyForQuery I")
	w.Send(&pgproto3.Bind{PreparedStatement: "huge"}, &pgproto3.Sync{})
	w.ExpectError("26000")
}

func make20MB() []byte { return []byte(strings.Repeat("y", 20_000_000)) }

// TestClientsGoWhilePreparing: clients end at every point of a batch; what they leave behind harms nobody.
func TestClientsGoWhilePreparing(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+"max_prepared_statements = 2\nreserve_pool_size = 0\n", "")
	steady := p.login(t, p.transaction)
	steady.Send(&pgproto3.Parse{Name: "a", Query: "select 'steady'"}, &pgproto3.Sync{})
	steady.ReceiveReady()
	batch := pgtest.Encode(t,
		&pgproto3.Parse{Name: "a", Query: "select 1"}, &pgproto3.Parse{Name: "b", Query: "select 2"}, &pgproto3.Bind{PreparedStatement: "a"}, &pgproto3.Execute{},
		&pgproto3.Parse{Name: "a", Query: "select 3"}, &pgproto3.Close{ObjectType: 'S', Name: "b"}, &pgproto3.Flush{}, &pgproto3.Parse{Query: "select 4"}, &pgproto3.Sync{},
		&pgproto3.Bind{PreparedStatement: "b"}, &pgproto3.Execute{}, &pgproto3.Sync{})
	for n := 0; n <= len(batch); n += 3 {
		w := p.login(t, p.transaction)
		w.Raw(batch[:n])
		if n%2 == 0 {
			w.Reset()
		} else {
			w.Close()
		}
		steady.Send(&pgproto3.Bind{PreparedStatement: "a"}, &pgproto3.Execute{}, &pgproto3.Sync{})
		steady.Expect("BindComplete", "DataRow steady", "CommandComplete SELECT 1", "ReadyForQuery I")
	}
	waitFor(t, "what they had prepared to be forgotten", func() bool { return p.Snapshot().Statements <= 3 })
}
