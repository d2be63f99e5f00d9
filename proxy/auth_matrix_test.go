package proxy_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/lib/pq" // the third driver; it cannot do channel binding

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// A matrixLogin is one cell: who tries to come in, and how.
type matrixLogin struct {
	driver, method, user, password string
	tls                            bool
	certificate                    string // whose the client shows; "" for none
}

// allowed is the table in a few words.
func (l matrixLogin) allowed() bool {
	known := l.user != "mx_nobody"
	right := known && l.password == "right"
	switch l.method {
	case "trust":
		return known
	case "cert":
		return l.tls && l.certificate == l.user
	case "password", "md5":
		return right
	case "scram-sha-256":
		return right && l.user != "mx_md5"
	case "scram-sha-256-plus":
		return right && l.user != "mx_md5" && l.tls && l.driver != "pq"
	}
	return false
}

var matrixDrivers = map[string]func(t *testing.T, dsn string) (string, error){
	"psql": func(t *testing.T, dsn string) (string, error) {
		out, err := psql(t, dsn, "select current_user")
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return strings.TrimSpace(out), err
	},
	"pgx": func(t *testing.T, dsn string) (user string, err error) {
		c, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			return "", err
		}
		defer c.Close(context.WithoutCancel(t.Context()))
		err = c.QueryRow(t.Context(), "select current_user").Scan(&user)
		return user, err
	},
	"pq": func(t *testing.T, dsn string) (user string, err error) {
		db, err := sql.Open("postgres", dsn)
		if err != nil {
			return "", err
		}
		defer db.Close()
		err = db.QueryRowContext(t.Context(), "select current_user").Scan(&user)
		return user, err
	},
}

// TestAuthMatrix: each method, each form of secret, with and without TLS, the right password and a wrong one, by three drivers.
func TestAuthMatrix(t *testing.T) {
	c := pgtest.Shared(t)
	id := newIdentity(t)
	if err := c.Exec("set password_encryption = 'md5'; create role mx_md5 login password 'right'; create role mx_plain login; create role mx_scram login"); err != nil {
		t.Fatal(err)
	}
	scram, err := auth.BuildSCRAMSecret("right", 4096)
	if err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(t.TempDir(), "users.txt")
	write(t, users, fmt.Sprintf("\"mx_plain\" \"right\"\n\"mx_md5\" %q\n\"mx_scram\" %q\n", secretOf(t, c, "mx_md5"), scram))
	for _, method := range []string{"trust", "password", "md5", "scram-sha-256", "scram-sha-256-plus", "cert", "reject"} {
		hba := filepath.Join(t.TempDir(), "hba.conf")
		kind := "host"
		if method == "cert" {
			kind = "hostssl"
		}
		write(t, hba, kind+" all all all "+method+"\n")
		t.Run(method, func(t *testing.T) {
			settings := fmt.Sprintf("[auth]\ntype = %q\nuser_file = %q\n", method, users)
			if method == "reject" || method == "cert" {
				settings = fmt.Sprintf("[auth]\ntype = \"hba\"\nauth_hba_file = %q\nuser_file = %q\n", hba, users)
			}
			p := start(t, c, id.listener("allow"), settings)
			for _, user := range []string{"mx_plain", "mx_md5", "mx_scram", "mx_nobody"} {
				for _, password := range []string{"right", "wrong", ""} {
					for _, tls := range []bool{false, true} {
						for driver := range matrixDrivers {
							p.tryCell(t, id, matrixLogin{driver: driver, method: method, user: user, password: password, tls: tls})
						}
					}
				}
			}
			for driver := range matrixDrivers {
				p.tryCell(t, id, matrixLogin{driver: driver, method: method, user: "mx_plain", password: "right", tls: true, certificate: "mx_plain"})
				p.tryCell(t, id, matrixLogin{driver: driver, method: method, user: "mx_plain", password: "right", tls: true, certificate: "mx_md5"})
			}
		})
	}
}

// tryCell tries one login and compares.
func (p *pooler) tryCell(t *testing.T, id *identity, l matrixLogin) {
	t.Helper()
	_, port, err := net.SplitHostPort(p.transaction)
	if err != nil {
		t.Fatal(err)
	}
	dsn := fmt.Sprintf("host=localhost port=%s user=%s password='%s' dbname=postgres connect_timeout=20", port, l.user, l.password)
	if !l.tls {
		dsn += " sslmode=disable"
	} else {
		dsn += " sslmode=verify-full sslrootcert=" + id.authority.File
	}
	if l.certificate != "" {
		cert, key := id.authority.Issue(t, id.folder, l.certificate)
		dsn += fmt.Sprintf(" sslcert=%s sslkey=%s", cert, key)
	}
	begin := time.Now()
	user, err := matrixDrivers[l.driver](t, dsn)
	if (err == nil) != l.allowed() || err == nil && user != l.user {
		t.Errorf("%+v: as %q after %s, %v", l, user, time.Since(begin).Round(time.Millisecond), err)
	}
}

// TestChannelBinding: what each side insists on, by the two drivers that can.
func TestChannelBinding(t *testing.T) {
	id := newIdentity(t)
	users := filepath.Join(t.TempDir(), "users.txt")
	write(t, users, "\"postgres\" \"right\"\n")
	for _, c := range []struct {
		method, binding string
		allowed         bool
	}{
		{"scram-sha-256", "require", true},
		{"scram-sha-256", "prefer", true},
		{"scram-sha-256", "disable", true},
		{"scram-sha-256-plus", "require", true},
		{"scram-sha-256-plus", "disable", false},
		{"md5", "require", false}, // the secret is plain, so MD5 it is
		{"password", "require", false},
	} {
		p := start(t, pgtest.Shared(t), id.listener("require"), fmt.Sprintf("[auth]\ntype = %q\nuser_file = %q\n", c.method, users))
		_, port, _ := net.SplitHostPort(p.transaction)
		for _, driver := range []string{"psql", "pgx"} {
			_, err := matrixDrivers[driver](t, fmt.Sprintf("host=localhost port=%s user=postgres password=right dbname=postgres sslmode=require channel_binding=%s", port, c.binding))
			if (err == nil) != c.allowed {
				t.Errorf("%s, %s, channel_binding=%s: %v", driver, c.method, c.binding, err)
			}
		}
	}
}
