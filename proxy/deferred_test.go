package proxy_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

const deferring = "defer_begin = true\n"

// TestDeferredBegin: a client that begins a transaction and thinks holds no server; the transaction is one from its first statement on.
func TestDeferredBegin(t *testing.T) {
	c := pgtest.Shared(t)
	p := start(t, c, single+deferring, "")
	if err := c.Exec("create table deferred (n int)"); err != nil {
		t.Fatal(err)
	}
	thinker, other := p.login(t, p.transaction), p.login(t, p.transaction)
	thinker.Query("begin isolation level repeatable read")
	thinker.Expect("CommandComplete BEGIN", "ReadyForQuery T")
	run(t, other, "insert into deferred values (1)")
	if level := one(t, thinker, "show transaction_isolation"); level != "repeatable read" {
		t.Errorf("a transaction of isolation level %s", level)
	}
	if ps := p.pool(t, "transaction"); ps.ServersActive != 1 || ps.ClientsActive != 1 {
		t.Errorf("in its transaction it has %d servers", ps.ServersActive)
	}
	run(t, thinker, "insert into deferred values (2)")
	run(t, thinker, "rollback")
	if n := one(t, other, "select count(*) from deferred"); n != "1" || thinker.TxStatus != 'I' {
		t.Errorf("%s rows after a rollback", n)
	}
	before := p.pool(t, "transaction").Queries
	run(t, thinker, "START TRANSACTION")
	thinker.Query("commit")
	thinker.Expect("CommandComplete COMMIT", "ReadyForQuery I")
	if asked := p.pool(t, "transaction").Queries - before; asked != 0 {
		t.Errorf("PostgreSQL was asked %d times for an empty transaction", asked)
	}
	session := p.login(t, p.session)
	run(t, session, "begin")
	if ps := p.pool(t, "session"); ps.ServersActive != 1 {
		t.Error("on the session port nothing is deferred")
	}
}

// TestDeferredBeginWaitsInVain: no server in time, or a cancel request while waiting: the transaction has failed, as PostgreSQL would say, and
// goes on as one that has.
func TestDeferredBeginWaitsInVain(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+deferring+"query_wait_timeout = \"700ms\"\npromotion = \"off\"\n", "")
	holder, w := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, holder, "begin")
	run(t, holder, "select 1")
	run(t, w, "begin")
	w.Query("select 1")
	w.ExpectError("53300")
	w.Expect("ReadyForQuery E")
	w.Query("select 1")
	waitFor(t, "it to wait", func() bool { return p.pool(t, "transaction").ClientsWaiting == 1 })
	pgtest.Cancel(t, p.transaction, w.Key)
	w.ExpectError("57014")
	w.Expect("ReadyForQuery E")
	w.Query("commit")
	w.Expect("CommandComplete ROLLBACK", "ReadyForQuery I")
	run(t, w, "begin")
	w.Query("select 1")
	w.ExpectError("53300")
	w.Expect("ReadyForQuery E")
	run(t, holder, "commit")
	w.Query("select 1")
	w.ExpectError("25P02")
	w.Expect("ReadyForQuery E")
	w.Query("rollback to savepoint s")
	w.ExpectError("3B001")
	w.Expect("ReadyForQuery E")
	run(t, w, "rollback")
	if one(t, w, "select 7") != "7" || one(t, holder, "select 8") != "8" || w.TxStatus != 'I' {
		t.Error("they do not go on")
	}
}

// TestDeferredBeginTimeouts: a transaction that no server knows of is one all the same for the time-outs; and a client in it is not an idle one.
func TestDeferredBeginTimeouts(t *testing.T) {
	c := pgtest.Shared(t)
	for settings, code := range map[string]string{
		"idle_transaction_timeout = \"200ms\"\nclient_idle_timeout = \"100ms\"\n": "25P03",
		"transaction_timeout = \"200ms\"\nclient_idle_timeout = \"100ms\"\n":      "25P04",
	} {
		p := start(t, c, single+deferring+settings, "")
		w := p.login(t, p.transaction)
		run(t, w, "begin")
		w.ExpectError(code)
		w.ExpectClosed()
	}
}

// TestDeferredBeginTimeoutOfTheWhole: transaction_timeout counts from BEGIN, not from when there was a server.
func TestDeferredBeginTimeoutOfTheWhole(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+deferring+"transaction_timeout = \"3s\"\nquery_wait_timeout = \"0s\"\npromotion = \"off\"\n", "")
	w, holder := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, holder, "select 1")
	run(t, w, "begin")
	holder.Query("select pg_sleep(2)")
	waitFor(t, "the server to be busy", func() bool { return p.pool(t, "transaction").ServersActive == 1 })
	w.Query("select pg_sleep(2.5)") // it gets the server after two seconds, and would have a second left
	if e := w.ExpectError("25P04"); e.Severity != "FATAL" {
		t.Errorf("%+v", e)
	}
}

// TestDeferredBeginSettings: what the client has set before goes ahead of its BEGIN, so that a rollback does not undo it.
func TestDeferredBeginSettings(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+deferring, "")
	w, other := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, w, "set app.tenant_id = '7'")
	run(t, other, "set app.tenant_id = '8'")
	run(t, w, "begin")
	if tenant := one(t, w, "show app.tenant_id"); tenant != "7" {
		t.Errorf("tenant %s", tenant)
	}
	run(t, w, "rollback")
	if a, b := one(t, w, "show app.tenant_id"), one(t, other, "show app.tenant_id"); a != "7" || b != "8" {
		t.Errorf("tenants %s and %s", a, b)
	}
}

// TestDeferredBeginIsATransaction: the first statement is in a transaction before the server has said so: an error in it is the client's, and
// what could be sent again outside of one is not.
func TestDeferredBeginIsATransaction(t *testing.T) {
	c := pgtest.Shared(t)
	p := start(t, c, single+deferring, "")
	if err := c.Exec("create table changing (n int)"); err != nil {
		t.Fatal(err)
	}
	w := p.login(t, p.transaction)
	batch := []pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: "s"}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{}}
	w.Send(append([]pgproto3.FrontendMessage{&pgproto3.Parse{Name: "s", Query: "select * from changing"}}, batch...)...)
	w.ReceiveReady()
	if err := c.Exec("alter table changing add column m int"); err != nil {
		t.Fatal(err)
	}
	run(t, w, "begin")
	w.Send(batch...)
	w.ExpectError("0A000")
	w.Expect("ReadyForQuery E")
	run(t, w, "rollback")
}

// TestDeferredBeginDrain: a transaction in which nothing has been done does not hold up a drain.
func TestDeferredBeginDrain(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+deferring, "")
	w := p.login(t, p.transaction)
	run(t, w, "begin")
	drained := make(chan error, 1)
	go func() { drained <- drain(p, 10*time.Second) }()
	w.ExpectError("57P01")
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// TestBeginUnderPressure: a BEGIN never fails. Where no server is free it is answered, whatever its modes, and its first statement waits. That
// one is told when there is none in time; then the transaction has failed. COMMIT and ROLLBACK need no server before it had one.
func TestBeginUnderPressure(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+"query_wait_timeout = \"700ms\"\npromotion = \"off\"\n", "")
	holder, w := p.login(t, p.transaction), p.login(t, p.transaction)
	for _, begin := range []string{
		"begin", "BEGIN ISOLATION LEVEL SERIALIZABLE;", "start transaction read write", "/* trace */ begin -- x", "begin isolation level repeatable read",
	} {
		run(t, holder, "begin")
		run(t, holder, "select 1")
		w.Query(begin)
		if got := w.ReceiveReady(); len(got) != 2 || w.TxStatus != 'T' {
			t.Fatalf("%s: %v", begin, got)
		}
		w.Query("commit")
		w.Expect("CommandComplete COMMIT", "ReadyForQuery I")
		w.Send(&pgproto3.Query{String: begin}, &pgproto3.Query{String: "select 1"}) // the second is on its way when the first is answered
		w.ReceiveReady()
		w.ExpectError("53300")
		w.Expect("ReadyForQuery E")
		w.Query("commit")
		w.Expect("CommandComplete ROLLBACK", "ReadyForQuery I")
		run(t, w, begin)
		w.Query("select current_setting('transaction_isolation')")
		waitFor(t, "it to wait", func() bool { return p.pool(t, "transaction").ClientsWaiting == 1 })
		run(t, holder, "commit")
		w.ReceiveReady()
		run(t, w, "savepoint s")
		if run(t, w, "rollback"); w.TxStatus != 'I' {
			t.Errorf("%s: status %c", begin, w.TxStatus)
		}
	}
	before := p.pool(t, "transaction").Transactions
	run(t, w, "begin")
	if ps := p.pool(t, "transaction"); ps.ServersActive != 1 || ps.Transactions != before {
		t.Errorf("a BEGIN takes no server though one is free: %+v", ps)
	}
}

// TestBeginUnderPressureTimeouts: the time-outs of a transaction count though no server knows of it.
func TestBeginUnderPressureTimeouts(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+"idle_transaction_timeout = \"2s\"\npromotion = \"off\"\n", "")
	holder, w := p.login(t, p.transaction), p.login(t, p.transaction)
	holder.Query("select pg_sleep(4)")
	waitFor(t, "the server to be busy", func() bool { return p.pool(t, "transaction").ServersActive == 1 })
	run(t, w, "begin")
	w.ExpectError("25P03")
	w.ExpectClosed()
}
