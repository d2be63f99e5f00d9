package sim

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var plantedFlag = flag.Bool("planted", false, "plant every bug, not only the first few")

// plantedDefault is how many bugs are planted by default: each costs a build.
const plantedDefault = 3

// plantedSeeds is how many seeds may be needed to find one.
const plantedSeeds = 20000

// edit replaces a text that a source file has once.
type edit struct{ file, old, new string }

// planted are bugs that the simulation must find; the first ones are always planted.
var planted = []struct {
	name  string
	edits []edit
}{
	{"a server is released one reply too early", []edit{
		{"proxy/relay/relay.go", "return s.ledger.len() == 0 &&", "return s.ledger.len() <= 1 &&"},
		{"pool/checkin.go", "case f.RepliesOwed != 0:", "case f.RepliesOwed > 1:"},
	}},
	{"a waiter is forgotten", []edit{
		{"pool/checkin.go", "case w == nil:", "case w == nil, p.open < 2:"},
	}},
	{"the budget is off by one", []edit{
		{"pool/budget.go", "for p.waiting > 0 && p.open < p.room(now) {", "for p.waiting > 0 && p.open <= p.room(now) {"},
	}},
	{"CopyDone does not end a COPY", []edit{
		{"proxy/relay/client.go", "case protocol.ClientCopyDone, protocol.ClientCopyFail:\n\t\tswitch {", "case protocol.ClientCopyFail:\n\t\tswitch {"},
	}},
	{"a deferred BEGIN is not sent", []edit{
		{"proxy/link.go", "if c.relay.Deferred() {", "if false {"},
	}},
	{"a deferred transaction goes on after a refusal", []edit{
		{"proxy/relay/refuse.go", "c.deferred.failed = c.Deferred()", ""},
	}},
	{"what stands in for a statement is bound by the name of that", []edit{
		{"proxy/relay/prepare.go", "own.statement = own.statement.Origin()\n\t\treturn own, in", "return own, in"},
	}},
	{"CopyDone ahead of CopyInResponse is not noted", []edit{
		{"proxy/relay/client.go", "s.copyEnded() // the server has", ""},
	}},
	{"a cancel request goes to another server", []edit{
		{"proxy/cancel.go", "c.server.cancelFor(", "w.servers.first.cancelFor("},
	}},
	{"a server is lent while a cancel request is on its way to it", []edit{
		{"proxy/link.go", "CancelsInFlight: s.cancels, ", ""},
	}},
	{"a server is lent although a cancel request may still reach it", []edit{
		{"proxy/cancel.go", "\t\ts.retire(pool.CloseDoubt)\n", ""},
		{"proxy/cancel.go", "\tif late {\n\t\tw.closeServer(s, pool.CloseDoubt)", "\tif false {\n\t\tw.closeServer(s, pool.CloseDoubt)"},
	}},
	{"a server that is to be closed becomes the shared connection", []edit{
		{"proxy/listenclient.go", "!s.outdated && ", ""},
	}},
	{"ReadyForQuery is owed to a Query that the server skips", []edit{
		{"proxy/relay/client.go", "case s.skipping: // the server", "case false: // the server"},
	}},
	{"Flush is taken for the end of a batch", []edit{
		{"proxy/relay/client.go", "case protocol.ClientFlush:\n\t\t\ts.ledger.flushed = s.ledger.tail", "case protocol.ClientFlush:\n\t\t\ts.ledger.flushed, s.batchOpen = s.ledger.tail, false"},
	}},
	{"a server's place is free before PostgreSQL has closed it", []edit{
		{"proxy/link.go", "\ts.deadline = now + goodbyeMax\n\tw.watch()\n", "\ts.gone(nil)\n"},
	}},
	{"a session's server is lent uncleaned", []edit{
		{"proxy/link.go", "s.dirty, s.lastID = c.pool.mode == relay.Session, c.info.id", "s.dirty, s.lastID = false, c.info.id"},
	}},
	{"the newest waiter is served first", []edit{
		{"pool/waiter.go", "chosen := head\n", "chosen := head.queue.Last()\n"},
	}},
	{"a waiter is not told that its time is over", []edit{
		{"proxy/waiting.go", "w.failWaiter(a, stats.ClientQueryWaitTimeout, w.proxy.waitError(sp, a.Waited, oldest))", ""},
	}},
	{"settings are not brought along", []edit{
		{"proxy/link.go", "if c.settings != s.settings || c.relay.Own != s.own || reset {", "if reset {"},
	}},
	{"a SET is taken back with a transaction that was pipelined behind it", []edit{
		{"proxy/relay/transaction.go", "case status == StatusIdle:\n\t\tp.commit()\n", "case status == StatusIdle:\n"},
	}},
	{"a ROLLBACK TO takes nothing back", []edit{
		{"proxy/relay/transaction.go", "\tp.cut(p.savepoints[at].mark)\n", ""},
	}},
	{"what PostgreSQL skips is done all the same", []edit{
		{"proxy/relay/undolog.go", "\ts.ledger.drop(k)\n", "\tfor i := range k {\n\t\tif d := s.ledger.at(i).deed; d != nil {\n\t\t\ts.carryOut(d)\n\t\t}\n\t}\n\ts.ledger.drop(k)\n"},
	}},
	{"a client goes on before its server has answered the pooler's question", []edit{
		{"proxy/server.go", "case c.held && s.relay.Asking():", "case c.held && s.relay.Asking() && c.torn:"},
	}},
	{"a session loses its startup parameters by RESET", []edit{
		{"proxy/restore.go", "if taken == (sqltext.Settings{}) {", "if taken == (sqltext.Settings{}) || c.relay.Session.Restores {"},
	}},
	{"what is pipelined behind RESET does not wait", []edit{
		{"proxy/relay/session.go", "return n.Begun && n.pending != nil &&", "return !n.Restores && n.Begun && n.pending != nil &&"},
	}},
	{"an evicted statement is taken to be there", []edit{
		{"proxy/relay/answers.go", "if !s.lose(x.statement) { // it was", "if true { // it was"},
	}},
	{"a statement is refused behind the transaction's back", []edit{
		{"proxy/promotion.go", "!s.relay.Fresh() || c.conn.Unread() ||", "c.conn.Unread() ||"},
	}},
	{"a half-closed client is kept for ever", []edit{
		{"proxy/server.go", "case s.parting != nil &&", "case s.parting != nil && s.closing &&"},
	}},
	{"last words in the middle of a message", []edit{
		{"proxy/client.go", "if err != nil && !c.torn {", "if err != nil {"},
	}},
	{"what a socket did not take is lost", []edit{
		{"eventloop/conn.go", "c.out = append(c.loop.take(len(b)-n), b[n:]...)", "c.out = append(c.loop.take(len(b)-n), b[min(n+1, len(b)):]...)"},
	}},
}

// TestPlanted plants each bug in a copy of the sources and expects the simulation to fail.
func TestPlanted(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for i, bug := range planted {
		if i >= plantedDefault && !*plantedFlag {
			return
		}
		t.Run(bug.name, func(t *testing.T) {
			out, found := simulateWith(t, root, overlay(t, root, bug.edits))
			if !found {
				t.Fatalf("the simulation did not find it in %d seeds:\n%s", plantedSeeds, out)
			}
			t.Log(out)
		})
	}
}

// overlay writes the changed sources and the file that tells the go command of them.
func overlay(t *testing.T, root string, edits []edit) string {
	t.Helper()
	dir := t.TempDir()
	replace := make(map[string]string)
	for i, e := range edits {
		path := filepath.Join(root, filepath.FromSlash(e.file))
		from := path
		if replace[path] != "" {
			from = replace[path] // two edits of a file
		}
		source, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), e.old); n != 1 {
			t.Fatalf("%s has %d times, not once: %s", e.file, n, e.old)
		}
		replace[path] = filepath.Join(dir, strconv.Itoa(i)+".go")
		if err := os.WriteFile(replace[path], []byte(strings.Replace(string(source), e.old, e.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// simulateWith builds the simulation with changed sources and runs it. found: a seed failed, not the build.
func simulateWith(t *testing.T, root, overlay string) (out string, found bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	test := filepath.Join(filepath.Dir(overlay), "sim.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-tags", "checks", "-overlay", overlay, "-o", test, "./internal/sim")
	build.Dir = root
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the bug does not build: %v\n%s", err, b)
	}
	run := exec.CommandContext(ctx, test, "-test.run", "^TestSeeds$", "-seeds", strconv.Itoa(plantedSeeds), "-failures", "1")
	b, err := run.CombinedOutput()
	return string(b), err != nil && strings.Contains(string(b), "seed ")
}
