package proxy_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestIdleServerOutlivesTimeouts: a client's idle_session_timeout does not end the server that it has given back.
func TestIdleServerOutlivesTimeouts(t *testing.T) {
	c := pgtest.Shared(t)
	p := start(t, c, "default_pool_size = 1\n", "")
	a, b := p.login(t, p.transaction), p.login(t, p.transaction)
	run(t, a, "set idle_session_timeout = '50ms'")
	pid := one(t, a, "select pg_backend_pid()")
	if _, err := c.Query("select pg_sleep(0.3)"); err != nil {
		t.Fatal(err)
	}
	if got := one(t, b, "select pg_backend_pid()"); got != pid {
		t.Error("the server was lost while nobody had it")
	}
	if got := one(t, a, "show idle_session_timeout"); got != "50ms" {
		t.Errorf("the client's own is %s", got)
	}
}

// TestShortTimeoutsTakenBack: time-outs that the pooler's own statements could meet are taken back before another client gets the server.
// Longer ones cost nothing.
func TestShortTimeoutsTakenBack(t *testing.T) {
	c := pgtest.Shared(t)
	fault := pgtest.NewFaultProxy(t, c.Address())
	p := launch(t, c, configuration(t, fmt.Sprintf("host = %q\nport = %d\n", fault.Host(), fault.Port()), "default_pool_size = 1\n", ""))
	for _, setting := range []string{"statement_timeout = 50", "lock_timeout = '99ms'", "idle_in_transaction_session_timeout = '0.05s'"} {
		name, _, _ := bytes.Cut([]byte(setting), []byte(" "))
		reset := append([]byte("RESET "), name...)
		plant := fault.Plant(pgtest.Fault{Side: pgtest.FromPooler, Type: 'Q', Match: func(b []byte) bool { return bytes.Contains(b, reset) }})
		w := p.login(t, p.transaction)
		run(t, w, "set "+setting)
		<-plant.Struck
		w.Close()
	}
	long := fault.Plant(pgtest.Fault{Side: pgtest.FromPooler, Type: 'Q', Match: func(b []byte) bool { return bytes.Contains(b, []byte("RESET statement_timeout")) }})
	w := p.login(t, p.transaction)
	run(t, w, "set statement_timeout = '30s'")
	run(t, w, "select 1")
	select {
	case <-long.Struck:
		t.Error("a long time-out was taken back")
	default:
	}
}

// TestQuestionAskedAgain: a question of the pooler's that the client's statement_timeout ends is asked again. The client hears nothing of it,
// and what it has set is followed.
func TestQuestionAskedAgain(t *testing.T) {
	c := pgtest.Shared(t)
	fault := pgtest.NewFaultProxy(t, c.Address())
	p := launch(t, c, configuration(t, fmt.Sprintf("host = %q\nport = %d\n", fault.Host(), fault.Port()), "default_pool_size = 1\n", ""))
	for _, vain := range []int{1, 2, 20} {
		t.Run(fmt.Sprint(vain), func(t *testing.T) {
			w, other := p.login(t, p.transaction), p.login(t, p.transaction)
			run(t, w, "set statement_timeout = '300ms'")
			run(t, w, "set app.x = 'before'")
			var plants []*pgtest.Planted
			for range vain {
				plants = append(plants, fault.Plant(pgtest.Fault{
					Side: pgtest.FromPooler, Type: 'Q',
					Match: func(b []byte) bool { return bytes.Contains(b, []byte("getdatabaseencoding")) },
					Change: func([]byte) []byte {
						return pgtest.Encode(t, &pgproto3.Query{String: "select pg_sleep(100)"})
					},
				}))
			}
			run(t, w, "select set_config('app.x', upper('asked'), false)")
			<-plants[0].Struck
			run(t, other, "select 1")
			want := "ASKED"
			if vain > 5 {
				want = "before" // nobody knows what it has set
			}
			if got := one(t, w, "select current_setting('app.x')"); got != want {
				t.Errorf("it has %s", got)
			}
			w.Close()
			other.Close()
		})
	}
}
