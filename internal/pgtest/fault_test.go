package pgtest

import (
	"bytes"
	"strconv"
	"testing"
	"time"
)

// through logs in through a new fault proxy.
func through(t *testing.T) (*FaultProxy, *Wire) {
	t.Helper()
	f := NewFaultProxy(t, Shared(t).Address())
	return f, Login(t, f.Address(), "postgres", "postgres", "")
}

func TestFaultProxyPassesEverything(t *testing.T) {
	f, w := through(t)
	rows := w.Rows("select repeat('y', 3000000)")
	if len(rows[0][0]) != 3000000 || f.Connections() != 1 {
		t.Errorf("%d bytes over %d connections", len(rows[0][0]), f.Connections())
	}
	w.Close()
	WaitFor(t, 5*time.Second, "the connection is forgotten", func() bool { return f.Connections() == 0 })

	tls := New(t, Options{TLS: true})
	f = NewFaultProxy(t, tls.Address())
	dsn := bytes.Replace([]byte(tls.DSN("postgres", "postgres")), []byte(tls.Address()), []byte(f.Address()), 1)
	if _, err := login(t, string(dsn)); err != nil {
		t.Errorf("TLS through the proxy: %v", err)
	}
	socket := NewFaultProxy(t, tls.SocketDir+"/.s.PGSQL."+strconv.Itoa(tls.Port))
	Login(t, socket.Address(), "postgres", "postgres", "")
	Cancel(t, socket.Address(), w.Key) // an unknown key: closed without a word
}

func TestFaultCut(t *testing.T) {
	f, w := through(t)
	p := f.Plant(Fault{Side: FromPostgreSQL, Type: 'D', Skip: 1, Cut: true, CutAt: 7})
	w.Query("select n from generate_series(1, 3) n")
	w.Expect("RowDescription n", "DataRow 1")
	if m, err := w.TryReceive(); err == nil || err.Error() == "EOF" {
		t.Errorf("expected the second row to break off, got %v, %v", m, err)
	}
	<-p.Struck

	_, w = f, Login(t, f.Address(), "postgres", "postgres", "")
	f.Plant(Fault{Side: FromPooler, Type: 'Q', Cut: true, Reset: true})
	w.Query("select 1")
	w.ExpectClosed()

	w = Login(t, f.Address(), "postgres", "postgres", "")
	if n := f.CutAll(true); n < 1 {
		t.Errorf("cut %d", n)
	}
	w.ExpectClosed()
}

func TestFaultStallDelayChange(t *testing.T) {
	f, w := through(t)
	p := f.Plant(Fault{Side: FromPostgreSQL, Type: 'Z', Stall: true})
	w.Query("select 1")
	w.Expect("RowDescription ?column?", "DataRow 1", "CommandComplete SELECT 1")
	<-p.Struck
	w.ExpectSilence(20 * time.Millisecond)
	p.Release()
	w.Expect("ReadyForQuery I")

	const delay = 30 * time.Millisecond
	f.Plant(Fault{Side: FromPooler, Delay: delay})
	begin := time.Now()
	w.Rows("select 1")
	if took := time.Since(begin); took < delay {
		t.Errorf("a message delayed by %v was answered after %v", delay, took)
	}

	f.Plant(Fault{
		Side: FromPooler, Match: func(m []byte) bool { return bytes.Contains(m, []byte("two")) },
		Change: func(m []byte) []byte { return bytes.Replace(m, []byte("two"), []byte("TWO"), 1) },
	})
	if one, two, again := w.Rows("select 'one'"), w.Rows("select 'two'"), w.Rows("select 'two'"); one[0][0] != "one" ||
		two[0][0] != "TWO" || again[0][0] != "two" {
		t.Errorf("got %q %q %q", one, two, again)
	}
}

func TestFaultStallEndsWithTheConnection(t *testing.T) {
	f, w := through(t)
	p := f.Plant(Fault{Side: FromPooler, Type: 'Q', Stall: true})
	w.Query("select 1")
	<-p.Struck
	f.CutAll(false)
	w.ExpectClosed()
	WaitFor(t, 5*time.Second, "the stalled connection is forgotten", func() bool { return f.Connections() == 0 })
}

func TestFaultRefuse(t *testing.T) {
	f, w := through(t)
	f.Refuse(true)
	Dial(t, f.Address()).ExpectClosed()
	w.Rows("select 1") // those there already go on
	f.Refuse(false)
	Login(t, f.Address(), "postgres", "postgres", "")
}
