package proxy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestListenDeferred: LISTEN and NOTIFY in a transaction whose BEGIN was answered without a server. They take effect at its COMMIT, not before,
// and not at all at its ROLLBACK; whether a server listens already or not, as the first statement or a later one, with settings that go ahead
// of the BEGIN or none, on the first loop or another.
func TestListenDeferred(t *testing.T) {
	for _, loops := range []int{1, 2} {
		for _, shared := range []bool{false, true} {
			t.Run(fmt.Sprintf("loops=%d shared=%v", loops, shared), func(t *testing.T) {
				p := onLoops(t, loops, three+deferring)
				other, plain := p.login(t, p.transaction), p.login(t, p.transaction)
				if shared {
					run(t, plain, "listen elsewhere")
				}
				for _, script := range [][]string{
					{"listen news"},
					{"select 1", "listen news"},
					{"listen news", "select 1"},
					{"listen olds; unlisten olds; listen news"},
					{"savepoint s", "listen news", "release s"},
					{"savepoint s", "listen olds", "rollback to s", "listen news"},
					{"savepoint s; listen olds; rollback to s; listen news"},
				} {
					for _, sets := range []bool{false, true} {
						deferredListen(t, p, other, script, sets)
					}
				}
				if n := p.servers(t); n > 3 {
					t.Errorf("%d servers", n)
				}
			})
		}
	}
}

// deferredListen runs a script that listens to news, in transactions of which only the last is committed.
func deferredListen(t *testing.T, p *pooler, other *pgtest.Wire, script []string, sets bool) {
	t.Helper()
	w := p.login(t, p.transaction)
	defer w.Close()
	if sets {
		run(t, w, "set lock_timeout = '7s'")
	}
	for _, end := range []string{"rollback", "commit"} {
		run(t, w, "begin")
		for _, sql := range script {
			w.Query(sql)
			if got := payloads(w.ReceiveReady()); got != nil || w.TxStatus != 'T' {
				t.Fatalf("%q, %s: heard %q in status %c", script, sql, got, w.TxStatus)
			}
		}
		run(t, other, "notify news, 'before'; notify olds, 'before'")
		w.Query("notify news, 'its own'")
		if got := payloads(w.ReceiveReady()); got != nil {
			t.Fatalf("%q: heard %q before it ended", script, got)
		}
		w.Query(end)
		got := strings.Join(payloads(w.ReceiveReady()), " ")
		if want := map[string]string{"commit": "its own"}[end]; got != want {
			t.Fatalf("%q, %s: heard %q, not %q", script, end, got, want)
		}
		run(t, other, "notify news, 'behind'; notify olds, 'behind'")
		if end == "commit" {
			if got := payload(t, w); got != "behind" {
				t.Fatalf("%q: heard %q", script, got)
			}
		}
		w.Query("select 1")
		if got := payloads(w.ReceiveReady()); got != nil {
			t.Fatalf("%q, %s: heard %q", script, end, got)
		}
	}
	if sets {
		if got := one(t, w, "show lock_timeout"); got != "7s" {
			t.Errorf("lock_timeout %s", got)
		}
	}
	for _, end := range []string{"rollback", "commit"} {
		run(t, w, "begin")
		run(t, w, "unlisten *")
		run(t, w, end)
		run(t, other, "notify news, 'again'")
		if end == "rollback" {
			if got := payload(t, w); got != "again" {
				t.Fatalf("%q: heard %q", script, got)
			}
		}
	}
	w.ExpectSilence(5 * time.Millisecond)
}

// TestNotifyDeferred: a NOTIFY in a transaction whose BEGIN was answered without a server is sent at its COMMIT and only then; and who waits in
// such a transaction hears nothing until it has ended, although no server knows of it.
func TestNotifyDeferred(t *testing.T) {
	p := start(t, pgtest.Shared(t), three+deferring, "")
	w, listener := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, listener, "listen news")
	for _, end := range []string{"rollback", "commit"} {
		run(t, w, "begin")
		run(t, w, "notify news, '"+end+"'")
		listener.ExpectSilence(20 * time.Millisecond)
		run(t, w, end)
	}
	if got := payload(t, listener); got != "commit" {
		t.Errorf("heard %q", got)
	}
	for _, end := range []string{"rollback", "commit"} {
		run(t, listener, "begin")
		run(t, w, "notify news, 'x'")
		listener.ExpectSilence(50 * time.Millisecond)
		listener.Query(end)
		got := payloads(listener.ReceiveReady())
		if len(got) == 0 {
			got = append(got, payload(t, listener)) // where no server was asked it comes behind the reply
		}
		if len(got) != 1 || got[0] != "x" {
			t.Errorf("%s: heard %q", end, got)
		}
	}
}

// TestListenNames: channels are told apart as PostgreSQL folds their names, whoever listens and in whatever spelling.
func TestListenNames(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	folded, quoted, same, other := p.login(t, p.transaction), p.login(t, p.transaction), p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, folded, "LISTEN News")
	run(t, quoted, `listen "News"`)
	run(t, same, `listen "news"`)
	run(t, other, `notify NEWS, 'folded'; notify "News", 'quoted'; select pg_notify('news', 'exact')`)
	for _, w := range []*pgtest.Wire{folded, same} {
		if first, second := payload(t, w), payload(t, w); first+second != "foldedexact" {
			t.Errorf("heard %q and %q", first, second)
		}
	}
	if got := payload(t, quoted); got != "quoted" {
		t.Errorf("heard %q", got)
	}
	run(t, folded, `unlisten "News"`) // to which it does not listen
	run(t, quoted, "unlisten news")
	run(t, folded, `begin; unlisten U&"n\0065w"; commit; begin; unlisten news; rollback`)
	run(t, same, `unlisten U&"n\0065w"; unlisten nEWS`) // the first is not read, and does not hide the second
	run(t, other, `notify news, '1'; notify "News", '2'`)
	if a, b := payload(t, folded), payload(t, quoted); a != "1" || b != "2" {
		t.Errorf("heard %q and %q", a, b)
	}
	for _, w := range []*pgtest.Wire{folded, quoted, same} {
		w.Query("select 1")
		if got := payloads(w.ReceiveReady()); got != nil {
			t.Errorf("heard %q", got)
		}
	}
}

// TestListenLongText: a LISTEN in a text of more than 32 KiB, which is sent before all of it has been read, is followed like any other.
func TestListenLongText(t *testing.T) {
	long := "/*" + strings.Repeat("x", 40<<10) + "*/"
	for name, script := range map[string]string{
		"behind":      long + "listen news",
		"ahead":       "listen news;" + long,
		"inside":      "listen " + long + " news",
		"committed":   "begin; listen news;" + long + "; commit",
		"rolled back": "begin; listen olds; " + long + "; rollback; listen news",
		"savepoint":   "begin; savepoint s; listen olds; " + long + "; rollback to s; listen news; commit",
		"stopped":     "listen olds; listen news; " + long + "; unlisten olds",
		"all stopped": "listen olds; " + long + "; unlisten *; listen news",
	} {
		t.Run(name, func(t *testing.T) {
			for _, loops := range []int{1, 2} {
				for _, shared := range []bool{false, true} {
					p := onLoops(t, loops, three)
					other, w := p.login(t, p.transaction), p.login(t, p.transaction)
					if shared {
						run(t, p.login(t, p.transaction), "listen elsewhere")
					}
					run(t, w, script)
					run(t, other, "notify olds, 'x'; notify news, 'y'")
					if got := payload(t, w); got != "y" {
						t.Errorf("shared %v: heard %q", shared, got)
					}
					w.Query("unlisten " + long + "news")
					w.ReceiveReady()
					run(t, other, "notify news, 'x'")
					w.Query("select 1")
					if got := payloads(w.ReceiveReady()); got != nil {
						t.Errorf("shared %v: heard %q", shared, got)
					}
				}
			}
		})
	}
}

// TestListenLongTextUnnamed: where a text of more than 32 KiB listens to channels whose names are not read, or to more than are kept, its client
// is told so: it would miss what it waits for.
func TestListenLongTextUnnamed(t *testing.T) {
	long := "/*" + strings.Repeat("x", 40<<10) + "*/"
	many := ""
	for i := range 70 {
		many += fmt.Sprintf("listen channel_%d;", i)
	}
	for name, sql := range map[string]string{
		"escaped": long + `listen U&"n\0065ws" /**/ uescape '\'`,
		"many":    many + long,
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, pgtest.Shared(t), three, "")
			w, other := p.login(t, p.transaction), p.login(t, p.transaction)
			run(t, w, "begin")
			run(t, w, sql)
			run(t, w, "rollback") // so it listens to nothing
			run(t, w, "listen news; select 1/0; "+sql)
			w.Query(sql)
			for m := w.Receive(); ; m = w.Receive() {
				if e, ok := m.(*pgproto3.ErrorResponse); ok && e.Code == "0A000" && e.Severity == "FATAL" {
					break
				} else if _, ok := m.(*pgproto3.CommandComplete); !ok {
					t.Fatal(pgtest.Describe(m))
				}
			}
			w.ExpectClosed()
			if got := one(t, other, "select count(*) from pg_listening_channels()"); got != "0" {
				t.Errorf("its server listens to %s channels", got)
			}
		})
	}
}
