package proxy_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestEndedBehindReset: PostgreSQL's words at the end of a connection are the client's as they are, also in front of the answer to what restores
// its startup parameters.
func TestEndedBehindReset(t *testing.T) {
	c := pgtest.Shared(t)
	p := start(t, c, single, "")
	for range 10 {
		w, other := p.enter(t, p.session, tenant("7")), p.login(t, c.Address())
		pid := one(t, w, "select pg_backend_pid()")
		for range 5 {
			w.Send(&pgproto3.Query{String: "reset all"})
		}
		other.Query("select pg_terminate_backend(" + pid + ")")
		var last *pgproto3.ErrorResponse
		for {
			m, err := w.TryReceive()
			if err != nil {
				break
			}
			if e, ok := m.(*pgproto3.ErrorResponse); ok {
				last = e
			}
		}
		if last == nil || last.Severity != "FATAL" || last.Code != "57P01" || last.Hint != "" {
			t.Errorf("told %+v", last)
		}
		other.Close()
	}
}
