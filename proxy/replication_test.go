package proxy_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// walCluster is a PostgreSQL that can do all of replication.
func walCluster(t *testing.T) *pgtest.Cluster {
	t.Helper()
	return pgtest.New(t, pgtest.Options{Settings: map[string]string{
		"wal_level": "logical", "max_wal_senders": "20", "max_replication_slots": "20", "wal_keep_size": "1GB",
	}})
}

// replicate logs in to the session port for replication; kind is the startup parameter.
func (p *pooler) replicate(t *testing.T, kind string) *pgtest.Wire {
	t.Helper()
	w := pgtest.Dial(t, p.session)
	w.Startup(map[string]string{"user": "postgres", "database": "postgres", "replication": kind, "application_name": "standby"})
	w.Authenticate("postgres", "")
	return w
}

// stream starts a physical stream at the beginning of the first WAL file and waits for its first message.
func stream(t *testing.T, w *pgtest.Wire) {
	t.Helper()
	w.Query("START_REPLICATION PHYSICAL 0/1000000")
	m := w.ReceiveUntil(isCopyData)
	if _, both := m[0].(*pgproto3.CopyBothResponse); !both {
		t.Fatalf("the stream begins with %s", strings.Join(pgtest.DescribeAll(m), " | "))
	}
}

func isCopyData(m pgproto3.BackendMessage) bool {
	_, is := m.(*pgproto3.CopyData)
	return is
}

// backends is how many processes of PostgreSQL serve a pooler's connection, or anybody's; those that count, or have just
// counted and are still ending, excluded.
func backends(t *testing.T, c *pgtest.Cluster, where string) string {
	t.Helper()
	rows, err := c.Query("select count(*) from pg_stat_activity where backend_type in ('client backend', 'walsender') and application_name not in ('pgtest', 'hybridbouncer catalogue') and " + where)
	if err != nil {
		t.Fatal(err)
	}
	return rows[0][0]
}

// versions are the major ones of PostgreSQL's replication programs and of the server: in `make test-pgs` they differ.
func versions(t *testing.T, c *pgtest.Cluster) (tools, server int) {
	t.Helper()
	path, err := pgtest.Program("pg_basebackup")
	if err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command(path, "--version").Output() // "pg_basebackup (PostgreSQL) 15.18 (Debian ...)"
	if err != nil {
		t.Fatal(err)
	}
	_, version, _ := strings.Cut(string(said), "(PostgreSQL) ")
	if _, err := fmt.Sscanf(version, "%d", &tools); err != nil {
		t.Fatalf("pg_basebackup --version says %q", said)
	}
	rows, err := c.Query("select current_setting('server_version_num')::int / 10000")
	if err == nil {
		server, err = strconv.Atoi(rows[0][0])
	}
	if err != nil {
		t.Fatal(err)
	}
	return tools, server
}

// TestReplicationTools: PostgreSQL's own programs back up, receive the WAL and decode it through the session port.
func TestReplicationTools(t *testing.T) {
	c := walCluster(t)
	tools, server := versions(t, c)
	p := start(t, c, "", "")
	host, port, _ := strings.Cut(p.session, ":")
	program := func(name string, args ...string) *exec.Cmd {
		path, err := pgtest.Program(name)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), path, append([]string{"-h", host, "-p", port, "-U", "postgres", "-w"}, args...)...)
		cmd.Stderr = testWriter{t}
		return cmd
	}
	if server > tools {
		for _, cmd := range []*exec.Cmd{program("pg_basebackup", "-D", t.TempDir()), program("pg_receivewal", "-D", t.TempDir(), "--no-loop")} {
			cmd.Stderr = nil
			said, err := cmd.CombinedOutput() // they learn it from what the server reports at the login
			if err == nil || !strings.Contains(string(said), fmt.Sprintf("incompatible server version %d.", server)) {
				t.Errorf("%s of version %d ended with %v and said %s", cmd, tools, err, said)
			}
		}
		return
	}
	for _, sql := range []string{"create table t (n int)", "insert into t select generate_series(1, 100000)"} {
		if err := c.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("pg_basebackup", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "backup")
		if err := program("pg_basebackup", "-D", dir, "--checkpoint=fast", "-X", "stream").Run(); err != nil {
			t.Fatal(err)
		}
		if server != tools {
			return // pg_verifybackup reads the WAL of its own version alone
		}
		path, err := pgtest.Program("pg_verifybackup")
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(path, dir).CombinedOutput(); err != nil {
			t.Fatalf("the backup is broken: %s", out)
		}
	})
	t.Run("pg_receivewal", func(t *testing.T) {
		dir := t.TempDir()
		cmd := program("pg_receivewal", "-D", dir, "--synchronous")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the stream", func() bool { return backends(t, c, "backend_type = 'walsender'") == "1" })
		if err := c.Exec("insert into t values (0); select pg_switch_wal()"); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "a whole WAL file", func() bool {
			files, err := filepath.Glob(filepath.Join(dir, "*[0-9A-F]"))
			return err == nil && len(files) > 0
		})
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	t.Run("pg_recvlogical", func(t *testing.T) {
		cmd := program("pg_recvlogical", "-d", "postgres", "--slot=s", "--create-slot", "--start", "--plugin=test_decoding", "-f", "-", "--no-loop")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the stream", func() bool {
			return backends(t, c, "backend_type = 'walsender' and query like 'START_REPLICATION%'") == "1"
		})
		if err := c.Exec("insert into t values (4711)"); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() && !strings.Contains(lines.Text(), "INSERT: n[integer]:4711") {
		}
		if err := lines.Err(); err != nil {
			t.Error(err)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	waitFor(t, "all of their servers to be closed", func() bool { return backends(t, c, "true") == "0" })
}

// TestSubscription: another database subscribes through the session port: its initial copy and its stream.
func TestSubscription(t *testing.T) {
	c := walCluster(t)
	p := start(t, c, "", "")
	host, port, _ := strings.Cut(p.session, ":")
	if err := c.Exec("create table t (n int); insert into t values (1)"); err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("create publication p for table t"); err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("select pg_create_logical_replication_slot('s', 'pgoutput')"); err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("create database other"); err != nil {
		t.Fatal(err)
	}
	other := pgtest.Login(t, c.Address(), "postgres", "other", "")
	run(t, other, "create table t (n int)")
	run(t, other, fmt.Sprintf("create subscription s connection 'host=%s port=%s user=postgres dbname=postgres' publication p with (create_slot = false)", host, port))
	waitFor(t, "the initial copy", func() bool { return one(t, other, "select count(*) from t") == "1" })
	if err := c.Exec("insert into t select generate_series(2, 1000)"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the stream", func() bool { return one(t, other, "select count(*) from t") == "1000" })
	run(t, other, "alter subscription s disable")
	run(t, other, "alter subscription s set (slot_name = none)")
	run(t, other, "drop subscription s")
}

// TestReplicationLogin: it ends as PostgreSQL ends it, with the server's own parameters or its own refusal; on a port whose servers are
// shared, and with a value that makes no sense, it is refused at once.
func TestReplicationLogin(t *testing.T) {
	c := walCluster(t)
	if err := c.Exec("create role nobody login"); err != nil {
		t.Fatal(err)
	}
	p := start(t, c, "", "")
	login := func(address, user, kind string) (*pgtest.Wire, *pgproto3.ErrorResponse) {
		w := pgtest.Dial(t, address)
		w.Startup(map[string]string{
			"user": user, "database": "postgres", "replication": kind, "application_name": "standby", "options": "-c DateStyle=SQL -c work_mem=5MB",
		})
		return w, w.TryAuthenticate(user, "")
	}
	for _, kind := range []string{"true", "database"} {
		direct, _ := login(c.Address(), "postgres", kind)
		through, refused := login(p.session, "postgres", kind)
		if refused != nil {
			t.Fatal(refused.Message)
		}
		if fmt.Sprint(direct.Parameters) != fmt.Sprint(through.Parameters) || through.Parameters["DateStyle"] != "SQL, MDY" {
			t.Errorf("%s: the pooler greets with\n%v, PostgreSQL with\n%v", kind, through.Parameters, direct.Parameters)
		}
		if pid := fmt.Sprint(through.Key.ProcessID); backends(t, c, "pid = "+pid+" and backend_type = 'walsender'") != "1" {
			t.Errorf("%s: process id %s is not the walsender's", kind, pid)
		}
		if mem := one(t, through, "SHOW work_mem"); mem != "5MB" {
			t.Errorf("%s: work_mem is %s", kind, mem)
		}
		_, direct403 := login(c.Address(), "nobody", kind)
		_, refused = login(p.session, "nobody", kind)
		if direct403 == nil || refused == nil || refused.Message != direct403.Message || refused.Code != direct403.Code || refused.Severity != "FATAL" {
			t.Errorf("%s: a role that may not replicate is told %v, by PostgreSQL %v", kind, refused, direct403)
		}
		_, refused = login(p.transaction, "postgres", kind)
		if refused == nil || refused.Code != "0A000" || !strings.Contains(refused.Message, `listener "transaction"`) ||
			!strings.Contains(refused.Hint, `pool_mode = "session"`) {
			t.Errorf("%s: on the transaction port: %+v", kind, refused)
		}
	}
	if snap := p.Snapshot(); !snap.ServerReachable {
		t.Error("that PostgreSQL refuses a role does not mean that it cannot be reached")
	}
	if name := one(t, p.login(t, p.session), "show application_name"); name == "standby" {
		t.Error("an ordinary client has the application_name of another")
	}
	waitFor(t, "the servers of those who were refused to be forgotten", func() bool { return p.pool(t, "session").ServersOpening == 0 })
}

// TestReplicationHasItsOwnServer: a walsender counts in the session pool (invariant 3), is lent to nobody else, and is closed behind its
// client. Where the pool is full an idle server makes room for it, a busy one when it is given back; who comes later waits longer.
func TestReplicationHasItsOwnServer(t *testing.T) {
	c := walCluster(t)
	p := start(t, c, single, "")
	ordinary := p.login(t, p.session)
	pid := one(t, ordinary, "select pg_backend_pid()")
	waiting := pgtest.Dial(t, p.session)
	waiting.Startup(map[string]string{"user": "postgres", "database": "postgres", "replication": "true"})
	waitFor(t, "replication to wait", func() bool { return p.pool(t, "session").ClientsWaiting == 1 })
	second := p.login(t, p.session)
	second.Query("select pg_backend_pid()")
	waitFor(t, "both to wait", func() bool { return p.pool(t, "session").ClientsWaiting == 2 })
	if n := backends(t, c, "true"); n != "1" {
		t.Errorf("%s servers of a pool of one", n)
	}
	ordinary.Close()
	waiting.Authenticate("postgres", "")
	if n := backends(t, c, "backend_type = 'walsender'"); n != "1" || backends(t, c, "true") != "1" {
		t.Errorf("%s walsenders of one server", n)
	}
	if ps := p.pool(t, "session"); ps.ServersActive != 1 || ps.ServersDedicated != 1 || ps.ClientsActive != 1 || ps.ClientsWaiting != 1 {
		t.Errorf("%d servers and %d clients are active, %d wait", ps.ServersActive, ps.ClientsActive, ps.ClientsWaiting)
	}
	stream(t, waiting)
	waiting.Close()
	if other := second.ReceiveReady(); strings.Contains(strings.Join(pgtest.DescribeAll(other), " "), "DataRow "+pid) {
		t.Error("the server that was closed for replication is there again")
	}
	if n := backends(t, c, "backend_type = 'walsender'"); n != "0" {
		t.Errorf("%s walsenders without a client", n)
	}
	second.Close()
	waitFor(t, "an idle server", func() bool { return p.pool(t, "session").ServersIdle == 1 })
	w := p.replicate(t, "database")
	if one(t, w, "select 1") != "1" || backends(t, c, "true") != "1" {
		t.Error("an idle server has not made room")
	}
	if closes := p.pool(t, "session").ServerCloses; closes["evicted"] != 2 || closes["dedicated"] != 1 {
		t.Errorf("servers were closed because of %v", closes)
	}
}

// TestReplicationWaits: a client that goes while it waits leaves the queue at once; one that waits too long hears of query_wait_timeout, and
// a drain ends its login.
func TestReplicationWaits(t *testing.T) {
	p := start(t, walCluster(t), single+"query_wait_timeout = \"1s\"\n", "")
	holder := p.login(t, p.session)
	run(t, holder, "select 1")
	queue := func() *pgtest.Wire {
		w := pgtest.Dial(t, p.session)
		startup := map[string]string{"user": "postgres", "database": "postgres", "replication": "true"}
		// The query comes ahead of the end of the login: that what is waited for is refused is no answer to it.
		w.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: startup}, &pgproto3.Query{String: "IDENTIFY_SYSTEM"})
		waitFor(t, "replication to wait", func() bool { return p.pool(t, "session").ClientsWaiting == 1 })
		return w
	}
	late := queue()
	late.Receive() // AuthenticationOk
	if e := late.ExpectError("53300"); e.Severity != "FATAL" || !strings.Contains(e.Message, "query_wait_timeout") {
		t.Errorf("%+v", e)
	}
	late.ExpectClosed()
	queue().Close()
	waitFor(t, "the queue to be empty", func() bool { return p.pool(t, "session").ClientsWaiting == 0 })
	last := queue()
	if err := drain(p, 10*time.Second); err != nil {
		t.Error(err)
	}
	last.Receive() // AuthenticationOk
	last.ExpectError("57P01")
	last.ExpectClosed()
}

// TestReplicationTimeouts: no time-out of queries, transactions, idle clients or servers ends a stream, or a transaction of a logical
// replication connection, which keeps a snapshot for as long as a table takes to be copied.
func TestReplicationTimeouts(t *testing.T) {
	c := walCluster(t)
	p := start(t, c, "query_timeout = \"300ms\"\ntransaction_timeout = \"300ms\"\nidle_transaction_timeout = \"300ms\"\nclient_idle_timeout = \"300ms\"\n"+
		"server_lifetime = \"300ms\"\nserver_idle_timeout = \"300ms\"\n", "")
	w := p.replicate(t, "true")
	stream(t, w)
	logical := p.replicate(t, "database")
	run(t, logical, "begin")
	for range 3 { // what each of them cuts shows that its time has come
		busy, idle := p.login(t, p.session), p.login(t, p.session)
		busy.Query("select pg_sleep(60)")
		busy.ReceiveUntil(func(m pgproto3.BackendMessage) bool { _, failed := m.(*pgproto3.ErrorResponse); return failed })
		idle.SetLimit(10 * time.Second)
		idle.ExpectError("57P05")
	}
	if err := c.Exec("select pg_logical_emit_message(false, 'here', 'still streaming')"); err != nil {
		t.Fatal(err)
	}
	w.ReceiveUntil(func(m pgproto3.BackendMessage) bool {
		data, is := m.(*pgproto3.CopyData)
		return is && bytes.Contains(data.Data, []byte("still streaming"))
	})
	if one(t, logical, "select 1") != "1" || logical.TxStatus != 'T' {
		t.Error("the transaction has not survived")
	}
	if age := p.pool(t, "session").OldestTransaction; age > time.Second {
		t.Errorf("a stream counts as a transaction %v old", age)
	}
}

// TestReplicationCancel: a cancel request ends a stream, and the connection goes on.
func TestReplicationCancel(t *testing.T) {
	p := start(t, walCluster(t), "", "")
	w := p.replicate(t, "true")
	stream(t, w)
	pgtest.Cancel(t, p.session, w.Key)
	end := w.ReceiveReady()
	if !slices.ContainsFunc(end, func(m pgproto3.BackendMessage) bool {
		e, is := m.(*pgproto3.ErrorResponse)
		return is && e.Code == "57014"
	}) {
		t.Errorf("the stream ended with %s", strings.Join(pgtest.DescribeAll(end), " | "))
	}
	stream(t, w)
	w.Send(&pgproto3.CopyDone{}, &pgproto3.Query{String: "SHOW work_mem"})
	w.ReceiveReadies(2)
}

// TestReplicationDrain: a drain ends streams at once, and lets a base backup come to its end.
func TestReplicationDrain(t *testing.T) {
	c := walCluster(t)
	p := start(t, c, "", "")
	w, backup := p.replicate(t, "true"), p.replicate(t, "true")
	stream(t, w)
	backup.Query("BASE_BACKUP") // its options are spelled otherwise in PostgreSQL 14
	backup.ReceiveUntil(isCopyData)
	drained := make(chan error, 1)
	go func() { drained <- drain(p, 30*time.Second) }()
	for {
		m := w.Receive()
		if e, is := m.(*pgproto3.ErrorResponse); is {
			if e.Code != "57P01" {
				t.Errorf("the stream ended with %s", e.Message)
			}
			break
		}
	}
	backup.ReceiveReady()
	backup.ExpectError("57P01")
	if err := <-drained; err != nil {
		t.Error(err)
	}
	waitFor(t, "the walsenders to end", func() bool { return backends(t, c, "backend_type = 'walsender'") == "0" })
}

// TestReplicationDrainQuiet: a stream in which nothing passes ends, too.
func TestReplicationDrainQuiet(t *testing.T) {
	c := walCluster(t)
	p := start(t, c, "", "")
	w := p.replicate(t, "true")
	stream(t, w)
	rows, err := c.Query("select pg_current_wal_lsn() - '0/0'")
	if err != nil {
		t.Fatal(err)
	}
	end, err := strconv.ParseUint(rows[0][0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for at := uint64(0); at < end; { // XLogData: w, where it begins, where the WAL ends, the time, the data (manual 55.4)
		if data, is := w.Receive().(*pgproto3.CopyData); is && data.Data[0] == 'w' {
			at = binary.BigEndian.Uint64(data.Data[1:]) + uint64(len(data.Data)-25)
		}
	}
	if err := drain(p, 10*time.Second); err != nil {
		t.Error(err)
	}
}

// TestReplicationLeaves: whichever way a client leaves, in a stream, in a base backup or in the middle of a message, its walsender ends.
func TestReplicationLeaves(t *testing.T) {
	c := walCluster(t)
	p := start(t, c, "", "")
	for name, leave := range map[string]func(*pgtest.Wire){
		"goodbye in a stream": func(w *pgtest.Wire) { stream(t, w); w.Send(&pgproto3.Terminate{}) },
		"reset in a stream":   func(w *pgtest.Wire) { stream(t, w); w.Reset() },
		"half-closed":         func(w *pgtest.Wire) { stream(t, w); halfClose(t, w) },
		"in mid-message":      func(w *pgtest.Wire) { stream(t, w); w.Raw([]byte{'d', 0, 0, 4, 0, 'r'}); w.Close() },
		"in a backup":         func(w *pgtest.Wire) { w.Query("BASE_BACKUP"); w.ReceiveUntil(isCopyData); w.Reset() },
		"idle":                func(w *pgtest.Wire) { w.Send(&pgproto3.Terminate{}) },
	} {
		w := p.replicate(t, "true")
		leave(w)
		waitFor(t, name+": the walsender to end", func() bool { return backends(t, c, "backend_type = 'walsender'") == "0" })
		waitFor(t, name+": its place to be free", func() bool {
			ps := p.pool(t, "session")
			return ps.ServersActive+ps.ServersClosing+ps.ClientsActive == 0
		})
	}
}

func halfClose(t *testing.T, w *pgtest.Wire) {
	t.Helper()
	if err := w.Socket().(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// TestReplicationMemory: a client that does not read its stream stops its server from being read.
func TestReplicationMemory(t *testing.T) {
	c := walCluster(t)
	p := start(t, c, "", "")
	w := p.replicate(t, "true")
	stream(t, w)
	const wal = 64 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range wal >> 20 {
		if err := c.Exec("select pg_logical_emit_message(false, 'here', repeat(md5(random()::text), 32768))"); err != nil {
			t.Fatal(err)
		}
	}
	stuck := func() bool { // PostgreSQL has sent what the sockets on the way hold, and no more goes
		rows, err := c.Query("select pg_current_wal_lsn() - sent_lsn > 8 << 20 from pg_stat_replication")
		return err == nil && len(rows) == 1 && rows[0][0] == "t"
	}
	waitFor(t, "the stream to be stuck", stuck)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("%d bytes of heap for a client that does not read", grown)
	}
	received := 0
	for received < wal {
		if data, is := w.Receive().(*pgproto3.CopyData); is {
			received += len(data.Data)
		}
	}
}

// TestReplicationHBA: the word replication in an HBA file is for physical replication, and no other word is.
func TestReplicationHBA(t *testing.T) {
	c := walCluster(t)
	hba := filepath.Join(t.TempDir(), "pg_hba.conf")
	write(t, hba, "host all all 127.0.0.1/32 reject\n")
	for _, c2 := range []struct{ file, kind, code string }{
		{"host replication all all trust\nhost all all all reject\n", "true", ""},
		{"host replication all all trust\nhost all all all reject\n", "database", "28000"},
		{"host all all all trust\n", "true", "28000"},
		{"host all all all trust\n", "database", ""},
	} {
		write(t, hba, c2.file)
		p := start(t, c, "", fmt.Sprintf("[auth]\ntype = \"hba\"\nauth_hba_file = %q\n", hba))
		w := pgtest.Dial(t, p.session)
		w.Startup(map[string]string{"user": "postgres", "database": "postgres", "replication": c2.kind})
		e := w.TryAuthenticate("postgres", "")
		switch {
		case c2.code == "" && e != nil, c2.code != "" && (e == nil || e.Code != c2.code):
			t.Errorf("%q replication=%s: %+v", c2.file, c2.kind, e)
		case e != nil && (c2.kind == "true") != strings.Contains(e.Message, "replication connection"):
			t.Errorf("%q replication=%s: %s", c2.file, c2.kind, e.Message)
		}
	}
}

// TestReplicationOnAnyLoop: the server may be opened by another loop than the client's.
func TestReplicationOnAnyLoop(t *testing.T) {
	c := walCluster(t)
	cfg := configuration(t, serverAt(c), "", "")
	cfg.Loops = 2
	p := launch(t, c, cfg)
	for range 6 {
		stream(t, p.replicate(t, "true"))
	}
	if n := backends(t, c, "backend_type = 'walsender'"); n != "6" {
		t.Errorf("%s walsenders of six clients", n)
	}
}
