package wire

import (
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/xdg-go/scram"
)

// Target is where clients log in, and as whom. Make it by newTarget; it may be shared by goroutines.
type Target struct {
	host                     string
	Port                     int
	User, Password, Database string
	TLS                      bool

	scram *scram.Client // keeps the derived keys, so that a login costs the client HMACs and not PBKDF2
}

// NewTarget prepares logins. It fails when SCRAM does not allow the password.
func NewTarget(host string, port int, user, password, database string) (*Target, error) {
	// PostgreSQL takes the name from the startup message and ignores the one of SCRAM (manual 55.3.1).
	exchange, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		return nil, fmt.Errorf("prepare the password of %s: %w", user, err)
	}
	exchange = exchange.WithMinIterations(1) // the secrets of a storm have one, and who answers was started by this program
	return &Target{host: host, Port: port, User: user, Password: password, Database: database, scram: exchange}, nil
}

// sslMode is libpq's word for how to connect.
func (t *Target) sslMode() string {
	if t.TLS {
		return "require"
	}
	return "disable"
}

// Environment is how libpq's programs and others that heed its variables get to the target.
func (t *Target) Environment() []string {
	return append(os.Environ(), "PGHOST="+t.host, "PGPORT="+strconv.Itoa(t.Port), "PGUSER="+t.User, "PGPASSWORD="+t.Password,
		"PGDATABASE="+t.Database, "PGSSLMODE="+t.sslMode(), "PGGSSENCMODE=disable")
}

// Address is host:port.
func (t *Target) Address() string { return net.JoinHostPort(t.host, strconv.Itoa(t.Port)) }
