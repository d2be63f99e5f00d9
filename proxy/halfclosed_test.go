package proxy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestHalfClosedInMidReply: a client that sends no more, without a Sync, while the last reply that it has asked for is half there, gets the
// rest of it.
func TestHalfClosedInMidReply(t *testing.T) {
	c := pgtest.Shared(t)
	faults := pgtest.NewFaultProxy(t, c.Address())
	p := launch(t, c, configuration(t, fmt.Sprintf("host = %q\nport = %d\n", faults.Host(), faults.Port()), "default_pool_size = 1\n", ""))
	w := p.login(t, p.transaction)
	run(t, w, "select 1") // so that nothing but its batch is on the server
	stall := faults.Plant(pgtest.Fault{Side: pgtest.FromPostgreSQL, Type: 'C', Stall: true, CutAt: 8})
	w.Send(&pgproto3.Parse{Query: "select 'all of it'"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Flush{})
	<-stall.Struck
	<-time.After(50 * time.Millisecond) // what has come of it is with the client
	halfClose(t, w)
	<-time.After(50 * time.Millisecond) // the pooler has seen that
	stall.Release()
	for _, message := range []string{"ParseComplete", "BindComplete", "DataRow all of it", "CommandComplete SELECT 1"} {
		w.Expect(message)
	}
	w.ExpectClosed()
}
