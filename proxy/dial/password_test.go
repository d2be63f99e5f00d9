package dial

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestPasswordsOutsideASCII: servers log in with passwords that SASLprep changes or refuses, by every method, with and without TLS. Over TLS
// the login is bound to the connection.
func TestPasswordsOutsideASCII(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{
		TLS: true,
		HBA: "host all scram all scram-sha-256\nhost all md5 all md5\nhost all clear all password\n",
	})
	for _, password := range []string{"plain", "\ufb01sh", "so\u00adft", "n\u00a0b", "\u212b", "a\u0627b\u2126", "\u0221\u2126", "\u00ad"} {
		if err := c.Exec(fmt.Sprintf(`drop role if exists scram, md5, clear; set password_encryption = 'scram-sha-256'; create role scram login password '%[1]s';
			create role clear login password '%[1]s'; set password_encryption = 'md5'; create role md5 login password '%[1]s'`, password)); err != nil {
			t.Fatal(err)
		}
		for _, user := range []string{"scram", "md5", "clear"} {
			for _, mode := range []string{"disable", "require"} {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				pc, err := Connect(ctx, Target{
					Server:   config.Server{SSLMode: mode, SSLNegotiation: "postgres"},
					Resolved: config.Resolved{Host: c.Host, Port: c.Port, DBName: "postgres", ServerUser: user, ServerPassword: password},
				})
				if err != nil {
					t.Errorf("%s, sslmode %s, password %q: %v", user, mode, password, err)
				} else if err := pc.Close(ctx); err != nil {
					t.Error(err)
				}
				cancel()
			}
		}
	}
}
