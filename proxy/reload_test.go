package proxy_test

import (
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// reload puts a configuration of configuration's in force.
func (p *pooler) reload(t *testing.T, server, listener, more string) {
	t.Helper()
	if _, err := p.Reload(configuration(t, server, listener, more)); err != nil {
		t.Fatal(err)
	}
}

// elsewhere makes a second database, and returns what points the first one there.
func elsewhere(t *testing.T, c *pgtest.Cluster) string {
	t.Helper()
	if err := c.Exec("create database elsewhere"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Exec("drop database elsewhere with (force)"); err != nil {
			t.Error(err)
		}
	})
	return "[databases.postgres]\ndbname = \"elsewhere\"\n"
}

// TestReloadMovesPool: behind a reload that points a database elsewhere no transaction begins in the old one. One that has begun ends there.
func TestReloadMovesPool(t *testing.T) {
	c := pgtest.Shared(t)
	moves := elsewhere(t, c)
	const listener = "default_pool_size = 3\nserver_round_robin = true\n"
	p := start(t, c, listener, "")
	var clients []*pgtest.Wire
	for range 3 {
		clients = append(clients, p.login(t, p.transaction))
	}
	for _, w := range clients {
		run(t, w, "begin")
	}
	for _, w := range clients[1:] {
		run(t, w, "commit")
	}
	p.reload(t, serverAt(c), listener, moves)
	const where = "select current_database()"
	if got := one(t, clients[0], where); got != "postgres" {
		t.Errorf("a transaction goes on in %s", got)
	}
	for range 4 {
		for _, w := range clients[1:] {
			if got := one(t, w, where); got != "elsewhere" {
				t.Errorf("a transaction begins in %s", got)
			}
		}
		clients = append(clients, p.login(t, p.transaction))
	}
	run(t, clients[0], "commit")
	for range 4 {
		if got := one(t, clients[0], where); got != "elsewhere" {
			t.Errorf("behind the old transaction one begins in %s", got)
		}
	}
}

// TestReloadMovesListening: a client that listens hears what is notified in the database where its pool is now.
func TestReloadMovesListening(t *testing.T) {
	c := pgtest.Shared(t)
	moves := elsewhere(t, c)
	p := start(t, c, "", "")
	w := p.login(t, p.transaction)
	run(t, w, "listen news")
	before := p.ListeningServer("transaction")
	p.reload(t, serverAt(c), "", moves)
	waitFor(t, "another server that listens", func() bool { n := p.ListeningServer("transaction"); return n != 0 && n != before })
	w.ReceiveUntil(func(m pgproto3.BackendMessage) bool { _, warned := m.(*pgproto3.NoticeResponse); return warned })
	run(t, p.login(t, p.transaction), "notify news")
	w.ReceiveUntil(func(m pgproto3.BackendMessage) bool { _, heard := m.(*pgproto3.NotificationResponse); return heard })
}

// TestReloadLeavesLogins: logins to PostgreSQL that hang where the pool was before a reload hold nobody up.
func TestReloadLeavesLogins(t *testing.T) {
	c := pgtest.Shared(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	dialed := make(chan net.Conn, 10)
	accepting.Go(func() {
		for {
			nc, err := silent.Accept()
			if err != nil {
				close(dialed)
				return
			}
			dialed <- nc
		}
	})
	t.Cleanup(func() {
		_ = silent.Close()
		accepting.Wait()
		for nc := range dialed {
			_ = nc.Close()
		}
	})
	address := silent.Addr().(*net.TCPAddr)
	server := fmt.Sprintf("host = %q\nport = %d\nserver_connect_timeout = \"10m\"\n", address.IP, address.Port)
	p := launch(t, c, configuration(t, server, "query_wait_timeout = \"10m\"\n", ""))
	w := pgtest.Dial(t, p.transaction)
	w.Startup(map[string]string{"user": "postgres", "database": "postgres"})
	nc := <-dialed
	defer nc.Close()
	p.reload(t, serverAt(c), "", "")
	w.ReceiveReady()
	if got := one(t, w, "select 1"); got != "1" {
		t.Error(got)
	}
}

// TestReloadRemovesDatabase: a database that a reload takes out of the configuration lets nobody in any more. Its clients stay.
func TestReloadRemovesDatabase(t *testing.T) {
	c := pgtest.Shared(t)
	p := start(t, c, "", "[databases.postgres]\n")
	w := p.login(t, p.transaction)
	run(t, w, "select 1")
	p.reload(t, serverAt(c), "", "[databases.other]\ndbname = \"postgres\"\n")
	refused := pgtest.Dial(t, p.transaction)
	refused.Startup(map[string]string{"user": "postgres", "database": "postgres"})
	refused.ReceiveUntil(func(m pgproto3.BackendMessage) bool {
		e, is := m.(*pgproto3.ErrorResponse)
		return is && e.Code == "3D000"
	})
	if got := one(t, w, "select 1"); got != "1" {
		t.Error(got)
	}
}
