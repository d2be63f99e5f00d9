package proxy_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestProxyProtocol: the rules for logins use the client's address, as a load balancer in proxy_protocol_from gives it.
func TestProxyProtocol(t *testing.T) {
	hba := filepath.Join(t.TempDir(), "hba.conf")
	write(t, hba, "host all all 203.0.113.0/24 trust\nhost all all 2001:db8::/32 trust\nhost all bob 127.0.0.1/32 trust\nlocal all all trust\n")
	const from = "proxy_protocol = true\nproxy_protocol_from = [%q]\n"
	auth := fmt.Sprintf("[auth]\ntype = \"hba\"\nauth_hba_file = %q\n", hba)
	p := start(t, pgtest.Shared(t), fmt.Sprintf(from, "127.0.0.0/8"), auth)
	v2 := "\r\n\r\n\x00\r\nQUIT\n"
	tcp4 := "\x00\x0c" + "\xcb\x00\x71\x07" + "\x7f\x00\x00\x01" + "\x01\x02\x03\x04"
	try := func(p *pooler, header, user string) string {
		t.Helper()
		w := pgtest.Dial(t, p.transaction)
		defer w.Close()
		w.Raw(append([]byte(header), pgtest.Encode(t, &pgproto3.StartupMessage{
			ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": user, "database": "postgres"},
		})...)) // at once: a header that is no good is not read to its end
		m, err := w.TryReceive()
		if e, is := m.(*pgproto3.ErrorResponse); is {
			return e.Code + " " + e.Message
		}
		if err != nil {
			return "closed"
		}
		return ""
	}
	const refused = `28000 no pg_hba.conf entry for host "%s", user "postgres", database "postgres", no encryption`
	for _, c := range []struct{ name, header, user, want string }{
		{"version 1", "PROXY TCP4 203.0.113.7 127.0.0.1 1000 6432\r\n", "postgres", ""},
		{"version 1, another", "PROXY TCP4 198.51.100.7 127.0.0.1 1000 6432\r\n", "postgres", fmt.Sprintf(refused, "198.51.100.7")},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::1 ::1 1000 6432\r\n", "postgres", ""},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", "postgres", fmt.Sprintf(refused, "127.0.0.1")},
		{"version 1, unknown and more", "PROXY UNKNOWN 203.0.113.7 127.0.0.1 1 2\r\n", "postgres", fmt.Sprintf(refused, "127.0.0.1")},
		{"version 2", v2 + "\x21\x11" + tcp4, "postgres", ""},
		{"version 2 with an extension", v2 + "\x21\x11\x00\x10" + tcp4[2:] + "\x04\x00\x01x", "postgres", ""},
		{"version 2, IPv6", v2 + "\x21\x21\x00\x24\x20\x01\x0d\xb8" + strings.Repeat("\x00", 32), "postgres", ""},
		{"version 2, a health check", v2 + "\x20\x00\x00\x00", "postgres", fmt.Sprintf(refused, "127.0.0.1")},
		{"version 2, a socket", v2 + "\x21\x31\x00\xd8" + strings.Repeat("\x00", 216), "postgres", fmt.Sprintf(refused, "127.0.0.1")},
		{"none", "", "bob", "closed"},
		{"half", "PROXY TCP4 203.0.113.7 127.0.0.1 1000\r\n", "bob", "closed"},
		{"mixed", "PROXY TCP4 ::1 127.0.0.1 1000 6432\r\n", "bob", "closed"},
		{"endless", "PROXY TCP4 " + strings.Repeat("1", 200), "bob", "closed"},
		{"version 2, too short", v2 + "\x21\x11\x00\x04abcd", "bob", "closed"},
		{"version 2, too long", v2 + "\x21\x11\xff\xff", "bob", "closed"},
		{"version 3", v2 + "\x31\x11" + tcp4, "bob", "closed"},
	} {
		if have := try(p, c.header, c.user); have != c.want {
			t.Errorf("%s: %s", c.name, have)
		}
	}
	stranger := start(t, pgtest.Shared(t), fmt.Sprintf(from, "10.0.0.1"), auth)
	if have := try(stranger, "PROXY TCP4 203.0.113.7 127.0.0.1 1000 6432\r\n", "postgres"); !strings.HasPrefix(have, "08P01") {
		t.Errorf("from an address that is not listed: %q", have)
	}
	if have := tryLogin(t, stranger.transaction, "postgres", "postgres", ""); have != fmt.Sprintf(refused, "127.0.0.1") {
		t.Errorf("without: %q", have)
	}
	id := newIdentity(t)
	secure := start(t, pgtest.Shared(t), fmt.Sprintf(from, "127.0.0.1")+id.listener("require"), auth)
	nc := dialTCP(t, secure.transaction)
	if _, err := nc.Write([]byte("PROXY TCP4 203.0.113.7 127.0.0.1 1000 6432\r\n")); err != nil {
		t.Fatal(err)
	}
	w := pgtest.NewWire(t, tlsClient(nc, id, t))
	w.Startup(map[string]string{"user": "postgres", "database": "postgres"})
	w.Authenticate("postgres", "")
	if got := one(t, w, "select 7"); got != "7" {
		t.Error(got)
	}
}

// tlsClient begins with TLS at once.
func tlsClient(nc net.Conn, id *identity, t *testing.T) net.Conn { return tls.Client(nc, id.client(t)) }
