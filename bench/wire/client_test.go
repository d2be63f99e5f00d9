package wire

import (
	"strings"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// The clients of this package speak the protocol themselves; PostgreSQL is the judge.
func TestLoginAndQuery(t *testing.T) {
	for _, method := range []string{"trust", "password", "md5", "scram-sha-256"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			const due = 10 * time.Second
			server, err := pgtest.Start(t.Context(), pgtest.Options{AuthMethod: method})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := server.Stop(true); err != nil {
					t.Error(err)
				}
			}()
			to, err := NewTarget(server.Host, server.Port, server.Superuser, server.Password, "postgres")
			if err != nil {
				t.Fatal(err)
			}
			idle := &Crowd{Target: to, Due: due}
			defer idle.Leave()
			if err := idle.Grow(t.Context(), 20, "SELECT 1"); err != nil {
				t.Fatal(err)
			}
			if answer, err := idle.Clients[19].Query("SELECT 'first', 2 UNION ALL SELECT 'second', 3"); err != nil || answer != "first" {
				t.Errorf("got %q, %v", answer, err)
			}
			if _, err := idle.Clients[0].Query("SELECT 1/0"); err == nil || !strings.Contains(err.Error(), "22012") {
				t.Errorf("division by zero: %v", err)
			}
			if answer, err := idle.Clients[0].Query("SELECT 7"); err != nil || answer != "7" {
				t.Errorf("after an error: %q, %v", answer, err)
			}
			if method != "trust" {
				refused(t, server, due)
			}
		})
	}
}

func refused(t *testing.T, server *pgtest.Cluster, due time.Duration) {
	t.Helper()
	wrong, err := NewTarget(server.Host, server.Port, server.Superuser, "wrong", "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Login(t.Context(), wrong, due); err == nil || !strings.Contains(err.Error(), "28P01") {
		t.Errorf("wrong password: %v", err)
	}
}
