package protocol

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestReplicationParameter compares each value with what PostgreSQL makes of it.
func TestReplicationParameter(t *testing.T) {
	c := pgtest.Shared(t)
	for _, value := range []string{
		"database", "Database", "data", "true", "TRUE", "t", "tr", "truely", "yes", "Y", "ye", "on", "o", "1", "10", "false", "F", "fa", "no", "n", "off", "of",
		"0", "physical", "", " true",
	} {
		w := pgtest.Dial(t, c.Address())
		w.Startup(map[string]string{"user": c.Superuser, "database": "postgres", "replication": value})
		want := postgresKind(w)
		startup := Startup{Params: []Param{{Name: "replication", Value: value}}}
		ours, err := startup.Replication()
		got := ours.String()
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, PostgreSQL says %s", value, got, want)
		}
	}
}

// postgresKind asks the server what kind it is, or gives the error of its login.
func postgresKind(w *pgtest.Wire) string {
	for w.TxStatus == 0 {
		if e, refused := w.Receive().(*pgproto3.ErrorResponse); refused {
			return e.Message + " (SQLSTATE " + e.Code + ")"
		}
	}
	answered := func(query string) bool {
		w.Query(query)
		return !slices.ContainsFunc(w.ReceiveReady(), func(m pgproto3.BackendMessage) bool {
			_, failed := m.(*pgproto3.ErrorResponse)
			return failed
		})
	}
	switch {
	case !answered("IDENTIFY_SYSTEM"):
		return NoReplication.String()
	case !answered("select 1"):
		return PhysicalReplication.String()
	}
	return LogicalReplication.String()
}
