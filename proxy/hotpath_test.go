package proxy_test

import (
	"bytes"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// bare is a client that allocates nothing between its queries, so that what is counted is the pooler's.
type bare struct {
	socket net.Conn
	reply  [4096]byte
}

func (p *pooler) bare(t *testing.T, address string) *bare {
	t.Helper()
	w := p.login(t, address)
	if err := w.Socket().SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &bare{socket: w.Socket()}
}

var readyIdle = []byte{'Z', 0, 0, 0, 5, 'I'}

// ask sends a query of whatever kind and reads until PostgreSQL is ready again.
func (b *bare) ask(query []byte) error {
	if _, err := b.socket.Write(query); err != nil {
		return err
	}
	for got := 0; ; {
		n, err := b.socket.Read(b.reply[got:])
		if err != nil {
			return err
		}
		if got += n; bytes.HasSuffix(b.reply[:got], readyIdle) {
			return nil
		}
	}
}

// TestNothingAllocatedPerQuery: from the client's bytes through scanner, verdict, checkout, server, reply and checkin to the client
// again nothing is allocated: with a server for everybody, and with a queue.
func TestNothingAllocatedPerQuery(t *testing.T) {
	p := start(t, pgtest.Shared(t), "default_pool_size = 2\nreserve_pool_size = 0\n", "")
	const text = "select $1::int as a, 'b' as b"
	prepare := pgtest.Encode(t, &pgproto3.Parse{Name: "S_1", Query: text}, &pgproto3.Describe{ObjectType: 'S', Name: "S_1"}, &pgproto3.Sync{})
	one, portal := [][]byte{{0, 0, 0, 1}}, &pgproto3.Describe{ObjectType: 'P'}
	bind := &pgproto3.Bind{PreparedStatement: "S_1", ParameterFormatCodes: []int16{1}, Parameters: one, ResultFormatCodes: []int16{1, 0}}
	setup := map[string][]byte{
		"pgx": prepare, "JDBC": prepare, "psycopg": pgtest.Encode(t, &pgproto3.Parse{Name: "_pg3_0", Query: text}, &pgproto3.Sync{}),
		"unnamed, bound again": pgtest.Encode(t, &pgproto3.Parse{Query: text}, &pgproto3.Describe{ObjectType: 'S'}, &pgproto3.Sync{}),
	}
	kinds := map[string][]byte{
		"pgx":  pgtest.Encode(t, bind, portal, &pgproto3.Execute{}, &pgproto3.Sync{}),
		"JDBC": pgtest.Encode(t, bind, &pgproto3.Execute{}, &pgproto3.Sync{}),
		"psycopg": pgtest.Encode(t, &pgproto3.Bind{PreparedStatement: "_pg3_0", Parameters: [][]byte{[]byte("1")}}, portal, &pgproto3.Execute{},
			&pgproto3.Sync{}),
		"unnamed, bound again": pgtest.Encode(t, &pgproto3.Bind{Parameters: [][]byte{[]byte("1")}}, &pgproto3.Execute{}, &pgproto3.Sync{}),
		"lib/pq": pgtest.Encode(t, &pgproto3.Parse{Query: text}, &pgproto3.Describe{ObjectType: 'S'}, &pgproto3.Bind{Parameters: [][]byte{[]byte("1")}},
			portal, &pgproto3.Execute{}, &pgproto3.Sync{}),
		"simple": pgtest.Encode(t, &pgproto3.Query{String: "select 1"}),
		"extended": pgtest.Encode(t, &pgproto3.Parse{Query: "select $1::int"}, &pgproto3.Bind{Parameters: [][]byte{[]byte("1")}},
			&pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{}),
		"transaction": pgtest.Encode(t, &pgproto3.Query{String: "begin; select 1; commit"}),
	}
	for kind, query := range kinds {
		for name, clients := range map[string]int{"idle servers": 1, "queue": 6} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				const queries = 3000
				all := make([]*bare, clients)
				for i := range all {
					all[i] = p.bare(t, p.transaction)
					if first := setup[kind]; first != nil {
						if err := all[i].ask(first); err != nil {
							t.Fatal(err)
						}
					}
				}
				askAll(t, all, query, 200) // buffers and waiters are made with the first ones
				before := mallocs()
				askAll(t, all, query, queries/clients)
				// The janitor, timers and the goroutines above need a few, whatever the number of queries.
				if n := mallocs() - before; n > queries/20 {
					t.Errorf("%d allocations for %d queries", n, queries)
				}
			})
		}
	}
}

// askAll lets all clients ask at once, each so many times.
func askAll(t *testing.T, clients []*bare, query []byte, times int) {
	t.Helper()
	var done sync.WaitGroup
	for _, b := range clients {
		done.Go(func() {
			for range times {
				if err := b.ask(query); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done.Wait()
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// TestNoGoroutinePerClient: after its login a client is no goroutine, idle, in a transaction or waiting.
func TestNoGoroutinePerClient(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+"max_client_conn = 2000\nlong_transaction = \"0s\"\n", "")
	holder := p.login(t, p.transaction)
	run(t, holder, "begin")
	before := runtime.NumGoroutine()
	const clients = 1000
	for i := range clients {
		w := p.login(t, p.transaction)
		if i%2 == 0 {
			w.Query("select 1") // waits
		}
	}
	waitFor(t, "the queue", func() bool { return p.pool(t, "transaction").ClientsWaiting == clients/2 })
	waitFor(t, "the goroutines of the logins to end", func() bool { return runtime.NumGoroutine() <= before })
	if n := p.Snapshot().Listeners[0].Clients; n != clients+1 {
		t.Errorf("%d clients", n)
	}
}
