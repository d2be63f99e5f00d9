package auth

import (
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// preparedPasswords are passwords that SASLprep changes, refuses, or reads differently in several implementations.
var preparedPasswords = []string{
	"plain", "\ufb01sh", "x\u2168y", "so\u00adft", "\uff41\uff42", "n\u00a0b", "zero\u200bwidth", "\u200b", "\u00ad", "\u0627\u0031", "a\u0627b",
	"tab\tbed", "\u0221unassigned", "e\u0301", "\u00e9", "\U0001f600", "\u2003", "\u0340tone", "\U0001f100", "private\ue000", "\u1e9b\u0323", "\u212b",
}

// TestPasswordsLikePostgreSQL: for every password, PostgreSQL's own SCRAM secret is the one that the pooler derives.
func TestPasswordsLikePostgreSQL(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{})
	for _, password := range preparedPasswords {
		if err := c.Exec("set password_encryption = 'scram-sha-256'; drop role if exists p; create role p password '" + password + "'"); err != nil {
			t.Fatalf("%q: %v", password, err)
		}
		rows, err := c.Query("select rolpassword from pg_authid where rolname = 'p'")
		if err != nil {
			t.Fatal(err)
		}
		secret, err := ParseSecret(rows[0][0])
		if err != nil {
			t.Fatal(err)
		}
		if !secret.matchesSCRAM(password) {
			t.Errorf("%q (prepared %q): PostgreSQL's secret is another", password, saslPrepared(password))
		}
	}
}
