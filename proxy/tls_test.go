package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/lib/pq"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// identity is what a TLS test has of certificates.
type identity struct {
	folder    string
	authority *pgtest.Authority
	cert, key string // of the pooler
}

func newIdentity(t *testing.T) *identity {
	t.Helper()
	id := &identity{folder: t.TempDir()}
	var err error
	if id.authority, err = pgtest.NewAuthority(id.folder); err != nil {
		t.Fatal(err)
	}
	id.cert, id.key = id.authority.Issue(t, id.folder, "localhost")
	return id
}

// listener are the settings of a listener that speaks TLS.
func (id *identity) listener(mode string) string {
	return fmt.Sprintf("client_tls_sslmode = %q\nclient_tls_cert_file = %q\nclient_tls_key_file = %q\nclient_tls_ca_file = %q\n",
		mode, id.cert, id.key, id.authority.File)
}

// client is what a client of this pooler needs to trust it.
func (id *identity) client(t *testing.T) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(id.authority.File)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"postgresql"}}
}

// secure asks for TLS and logs in over it.
func (p *pooler) secure(t *testing.T, address string, cfg *tls.Config) *pgtest.Wire {
	t.Helper()
	nc := dialTCP(t, address)
	if _, err := nc.Write(sslRequest); err != nil {
		t.Fatal(err)
	}
	var answer [1]byte
	if _, err := io.ReadFull(nc, answer[:]); err != nil || answer[0] != 'S' {
		t.Fatalf("%q %v", answer, err)
	}
	w := pgtest.NewWire(t, tls.Client(nc, cfg))
	w.Startup(map[string]string{"user": "postgres", "database": "postgres"})
	w.Authenticate("postgres", "")
	return w
}

var sslRequest = []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}

func dialTCP(t *testing.T, address string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return nc
}

// What a client of TestSSLModes comes to.
const plain, secure, refused = "plain", "secure", "refused"

// sslModeDrivers log in, ask for 41 + 1, and tell how they are connected.
var sslModeDrivers = map[string]func(t *testing.T, dsn string) (how string, err error){
	"psql": func(t *testing.T, dsn string) (string, error) {
		out, err := psql(t, dsn, `\conninfo`, "select 41 + 1")
		switch {
		case err != nil:
			return refused, fmt.Errorf("%w: %s", err, out)
		case !strings.Contains(out, "42"):
			t.Error(out)
		case strings.Contains(out, "SSL connection (protocol: TLSv1.3"):
			return secure, nil
		}
		return plain, nil
	},
	"pgx": func(t *testing.T, dsn string) (string, error) {
		c, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			return refused, err
		}
		defer c.Close(context.WithoutCancel(t.Context()))
		if n := 0; c.QueryRow(t.Context(), "select 41 + 1").Scan(&n) != nil || n != 42 {
			t.Errorf("pgx has read %d", n)
		}
		if _, is := c.PgConn().Conn().(*tls.Conn); is {
			return secure, nil
		}
		return plain, nil
	},
	"pq": func(t *testing.T, dsn string) (string, error) {
		connector, err := pq.NewConnector(dsn)
		if err != nil {
			return refused, err
		}
		watched := &firstBytes{}
		connector.Dialer(watched)
		db := sql.OpenDB(connector)
		defer db.Close()
		n := 0
		if err := db.QueryRowContext(t.Context(), "select 41 + 1").Scan(&n); err != nil || n != 42 {
			return refused, err
		}
		if watched.last == 'S' {
			return secure, nil
		}
		return plain, nil
	},
}

// firstBytes dials, and notes the first byte that the other side has said on the last connection: S where it agrees to TLS.
type firstBytes struct{ last byte }

func (f *firstBytes) Dial(network, address string) (net.Conn, error) {
	nc, err := net.Dial(network, address)
	f.last = 0
	return &firstByte{Conn: nc, of: f}, err
}

func (f *firstBytes) DialTimeout(network, address string, _ time.Duration) (net.Conn, error) {
	return f.Dial(network, address)
}

type firstByte struct {
	net.Conn
	of *firstBytes
}

func (f *firstByte) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if n > 0 && f.of.last == 0 {
		f.of.last = b[0]
	}
	return n, err
}

// TestSSLModes: each sslmode of real drivers against each of ours.
func TestSSLModes(t *testing.T) {
	// What the client gets to see, by its own sslmode.
	modes := []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
	for _, test := range []struct {
		pooler      string
		certificate bool // the client shows one
		want        [6]string
	}{
		{"disable", false, [6]string{plain, plain, plain, refused, refused, refused}},
		{"allow", false, [6]string{plain, plain, secure, secure, secure, secure}},
		{"prefer", false, [6]string{plain, plain, secure, secure, secure, secure}},
		{"require", false, [6]string{refused, secure, secure, secure, secure, secure}},
		{"verify-ca", false, [6]string{refused, refused, refused, refused, refused, refused}},
		{"verify-ca", true, [6]string{refused, secure, secure, secure, secure, secure}},
		{"verify-full", true, [6]string{refused, secure, secure, secure, secure, secure}},
	} {
		t.Run(fmt.Sprintf("%s/certificate=%v", test.pooler, test.certificate), func(t *testing.T) {
			t.Parallel()
			id := newIdentity(t)
			p := start(t, pgtest.Shared(t), id.listener(test.pooler), "")
			_, port, _ := net.SplitHostPort(p.transaction)
			for i, mode := range modes {
				dsn := fmt.Sprintf("host=localhost port=%s user=postgres dbname=postgres sslmode=%s sslrootcert=%s", port, mode, id.authority.File)
				if test.certificate {
					cert, key := id.authority.Issue(t, id.folder, "postgres")
					dsn += fmt.Sprintf(" sslcert=%s sslkey=%s", cert, key)
				}
				for driver, connect := range sslModeDrivers {
					if got, err := connect(t, dsn); got != test.want[i] {
						t.Errorf("%s sslmode=%s: %s, want %s (%v)", driver, mode, got, test.want[i], err)
					}
				}
			}
		})
	}
}

// psql runs commands and gives what it prints.
func psql(t *testing.T, dsn string, commands ...string) (string, error) {
	t.Helper()
	psqlProgram, err := pgtest.Program("psql")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", dsn}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	cmd := exec.Command(psqlProgram, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir()) // no certificates of whoever runs the test
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestTLSRefusals: what a refused client is told.
func TestTLSRefusals(t *testing.T) {
	id := newIdentity(t)
	stranger := newIdentity(t)
	for _, test := range []struct{ mode, dsn, want string }{
		{"require", "sslmode=disable", "connection requires TLS (client_tls_sslmode)"},
		{"verify-full", "sslmode=require", "connection requires a valid client certificate"},
		{"verify-full", "sslmode=require", "connection requires a valid client certificate"},
		{"disable", "sslmode=require", "server does not support SSL, but SSL was required"},
	} {
		p := start(t, pgtest.Shared(t), id.listener(test.mode), "")
		_, port, _ := net.SplitHostPort(p.transaction)
		out, err := psql(t, fmt.Sprintf("host=localhost port=%s user=postgres dbname=postgres %s", port, test.dsn), "select 1")
		if err == nil || !strings.Contains(out, test.want) {
			t.Errorf("%+v: %s", test, out)
		}
	}
	p := start(t, pgtest.Shared(t), id.listener("verify-ca"), "")
	cert, key := stranger.authority.Issue(t, stranger.folder, "postgres")
	_, port, _ := net.SplitHostPort(p.transaction)
	out, err := psql(t, fmt.Sprintf("host=localhost port=%s user=postgres dbname=postgres sslmode=require sslcert=%s sslkey=%s", port, cert, key), "select 1")
	if err == nil || !strings.Contains(out, "alert") {
		t.Errorf("a certificate of somebody else's authority: %s", out)
	}
}

// TestTLSVersions: client_tls_protocols holds, and 1.1 is not spoken at all.
func TestTLSVersions(t *testing.T) {
	id := newIdentity(t)
	for protocols, want := range map[string][3]bool{
		"secure": {false, true, true}, "tlsv1.2": {false, true, false}, "tlsv1.3": {false, false, true}, "tlsv1.2,tlsv1.3": {false, true, true},
	} {
		p := start(t, pgtest.Shared(t), id.listener("require")+fmt.Sprintf("client_tls_protocols = %q\n", protocols), "")
		for i, version := range []uint16{tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
			nc := dialTCP(t, p.transaction)
			if _, err := nc.Write(sslRequest); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			cfg := id.client(t)
			cfg.MinVersion, cfg.MaxVersion = version, version
			if err := tls.Client(nc, cfg).Handshake(); (err == nil) != want[i] {
				t.Errorf("%s: %s: %v", protocols, tls.VersionName(version), err)
			}
		}
	}
}

// TestTLSCiphers: client_tls_ciphers holds for TLS 1.2, and takes nothing from TLS 1.3.
func TestTLSCiphers(t *testing.T) {
	id := newIdentity(t)
	const one, other = tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA
	for ciphers, want := range map[string][2]bool{
		"default": {true, true}, "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384": {true, false}, "ECDHE-ECDSA-AES128-SHA": {false, true},
	} {
		p := start(t, pgtest.Shared(t), id.listener("require")+fmt.Sprintf("client_tls_ciphers = %q\n", ciphers), "")
		for i, suite := range []uint16{one, other} {
			cfg := id.client(t)
			cfg.MaxVersion, cfg.CipherSuites = tls.VersionTLS12, []uint16{suite}
			nc := tls.Client(dialTCP(t, p.transaction), cfg)
			if err := nc.Handshake(); (err == nil) != want[i] {
				t.Errorf("%s: %s: %v", ciphers, tls.CipherSuiteName(suite), err)
			}
		}
		if nc := tls.Client(dialTCP(t, p.transaction), id.client(t)); nc.Handshake() != nil || nc.ConnectionState().Version != tls.VersionTLS13 {
			t.Errorf("%s: no TLS 1.3", ciphers)
		}
	}
}

// TestDirectTLS: a client may begin with TLS at once, as libpq 17 does with sslnegotiation=direct, but has to name the protocol. Its first
// message may be short or long.
func TestDirectTLS(t *testing.T) {
	id := newIdentity(t)
	p := start(t, pgtest.Shared(t), id.listener("require"), "")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, curve := range []tls.CurveID{tls.CurveP256, tls.X25519MLKEM768} {
			cfg := id.client(t)
			cfg.MaxVersion, cfg.CurvePreferences = version, []tls.CurveID{curve, tls.CurveP384}
			w := pgtest.NewWire(t, tls.Client(dialTCP(t, p.transaction), cfg))
			w.Startup(map[string]string{"user": "postgres", "database": "postgres"})
			w.Authenticate("postgres", "")
			if got := one(t, w, "select 7"); got != "7" {
				t.Fatal(got)
			}
		}
	}
	_, port, _ := net.SplitHostPort(p.transaction)
	how, err := sslModeDrivers["pgx"](t, fmt.Sprintf("host=localhost port=%s user=postgres dbname=postgres sslmode=verify-full sslrootcert=%s "+
		"sslnegotiation=direct", port, id.authority.File)) // lib/pq does not name the protocol, and psql 15 does not know it
	if err != nil || how != secure {
		t.Errorf("%s, %v", how, err)
	}
	for _, names := range [][]string{nil, {"http/1.1"}} {
		cfg := id.client(t)
		cfg.NextProtos = names
		nc := tls.Client(dialTCP(t, p.transaction), cfg)
		startup := pgtest.Encode(t, &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "postgres"}})
		_, err := nc.Write(startup)
		if err == nil {
			_, err = nc.Read(make([]byte, 1))
		}
		if err == nil {
			t.Errorf("answered to a client that speaks %v", names)
		}
	}
	plain := start(t, pgtest.Shared(t), "", "")
	if err := tls.Client(dialTCP(t, plain.transaction), id.client(t)).Handshake(); err == nil {
		t.Error("TLS where there is none")
	}
}

// TestInjectedBeforeTLS: what is sent in the clear behind a request for encryption is never taken for what comes within (CVE-2021-23214).
func TestInjectedBeforeTLS(t *testing.T) {
	id := newIdentity(t)
	p := start(t, pgtest.Shared(t), id.listener("prefer"), "")
	gss := []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30}
	startup := pgtest.Encode(t, &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "postgres"}})
	for name, b := range map[string][]byte{"TLS": append(bytes.Clone(sslRequest), startup...), "GSS": append(gss, startup...)} {
		w := pgtest.Dial(t, p.transaction)
		w.Raw(b)
		if e, ok := w.Receive().(*pgproto3.ErrorResponse); !ok || e.Code != "08P01" || !strings.Contains(e.Message, "unencrypted data") {
			t.Errorf("%s: %v", name, e)
		}
	}
	// Asking twice, or within TLS, is no better.
	w := pgtest.Dial(t, p.transaction)
	nc := w.Socket()
	if _, err := nc.Write(sslRequest); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	inner := pgtest.NewWire(t, tls.Client(nc, id.client(t)))
	inner.Raw(sslRequest)
	if e, ok := inner.Receive().(*pgproto3.ErrorResponse); !ok || e.Code != "08P01" {
		t.Errorf("a request within TLS: %v", e)
	}
}

// TestTLSResumption: a client that comes again may leave out the certificate's part of the handshake.
func TestTLSResumption(t *testing.T) {
	id := newIdentity(t)
	p := start(t, pgtest.Shared(t), id.listener("require"), "")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := id.client(t)
		cfg.MaxVersion, cfg.ClientSessionCache = version, tls.NewLRUClientSessionCache(1)
		for i := range 2 {
			w := p.secure(t, p.transaction, cfg)
			if got := one(t, w, "select 7"); got != "7" {
				t.Fatal(got)
			}
			if resumed := w.Socket().(*tls.Conn).ConnectionState().DidResume; resumed != (i == 1) {
				t.Errorf("%s: login %d resumed: %v", tls.VersionName(version), i, resumed)
			}
		}
	}
}

// TestTLSCancel: psql's way of canceling, in the clear or within TLS, reaches the query.
func TestTLSCancel(t *testing.T) {
	id := newIdentity(t)
	p := start(t, pgtest.Shared(t), id.listener("require"), "")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	server, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=verify-full&sslrootcert=%s", p.transaction, id.authority.File))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := server.Exec(ctx, "select pg_sleep(15)")
		done <- err
	}()
	waitFor(t, "the query", func() bool { return p.pool(t, "transaction").ClientsActive == 1 })
	if err := server.PgConn().CancelRequest(ctx); err != nil { // pgx cancels within TLS
		t.Fatal(err)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "57014") {
		t.Fatal(err)
	}
}

// TestTLSBigResults: more than fits anywhere, both ways, through pgx; and one that does not read does not fill the process.
func TestTLSBigResults(t *testing.T) {
	id := newIdentity(t)
	p := start(t, pgtest.Shared(t), id.listener("require"), "")
	w := p.secure(t, p.transaction, id.client(t))
	for _, n := range []int{1, 8_000, 81_830, 81_920, 1_000_000, 50_000_000} {
		if got := one(t, w, fmt.Sprintf("select repeat('x', %d)", n)); len(got) != n {
			t.Fatalf("%d bytes of %d", len(got), n)
		}
		if n > 10_000_000 {
			continue
		}
		if got := one(t, w, fmt.Sprintf("select length('%s')", strings.Repeat("y", n))); got != fmt.Sprint(n) {
			t.Fatalf("%s bytes arrived of %d", got, n)
		}
	}
}

// TestSlowTLSClient is TestSlowClient over TLS on both sides of the pooler.
func TestSlowTLSClient(t *testing.T) {
	id, c := newIdentity(t), secureCluster(t)
	p := launch(t, c, configuration(t, serverAt(c)+"sslmode = 'require'\n", id.listener("prefer")+single, ""))
	slowClient(t, p, p.secure(t, p.transaction, id.client(t)), nil)
}

// TestCertificateReplaced under load: no query fails, and new logins see the new one; a broken one is not taken up.
func TestCertificateReplaced(t *testing.T) {
	id := newIdentity(t)
	p := start(t, pgtest.Shared(t), id.listener("require"), "")
	_, port, _ := net.SplitHostPort(p.transaction)
	pgbenchProgram, err := pgtest.Program("pgbench")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var queries atomic.Int64
	var load sync.WaitGroup
	for range 8 {
		w := p.secure(t, p.transaction, id.client(t))
		load.Go(func() {
			for ctx.Err() == nil {
				if rows := w.Rows("select 1"); len(rows) != 1 {
					t.Error(rows)
					return
				}
				queries.Add(1)
			}
		})
	}
	bench := exec.Command(pgbenchProgram, "-n", "-C", "-c", "2", "-T", "4", "-f", "/dev/stdin", "-h", "localhost", "-p", port, "-U", "postgres", "postgres")
	bench.Env = append(os.Environ(), "PGSSLMODE=require")
	bench.Stdin = strings.NewReader("select 1;\n")
	report := make(chan error, 1)
	go func() {
		out, err := bench.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "number of failed transactions: 0") {
			err = errors.Join(err, errors.New(string(out)))
		}
		report <- err
	}()
	serial := func() string {
		nc := tls.Client(dialTCP(t, p.transaction), id.client(t))
		if err := nc.Handshake(); err != nil {
			t.Fatal(err)
		}
		return nc.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	write(t, id.key, "broken")
	certificate, key, err := id.authority.Sign("localhost")
	if err != nil {
		t.Fatal(err)
	}
	write(t, id.cert, string(certificate)) // the key does not fit yet
	before, since := queries.Load(), time.Now()
	waitFor(t, "queries", func() bool { return queries.Load() > before+100 && time.Since(since) > 1500*time.Millisecond })
	if serial() != first {
		t.Error("a certificate without its key was taken up")
	}
	write(t, id.key, string(key))
	waitFor(t, "the new certificate", func() bool { return serial() != first })
	if err := <-report; err != nil {
		t.Error(err)
	}
	cancel()
	load.Wait()
}

// TestTLSReload: TLS is switched on and off by a reload, for those who come afterwards; one that cannot be read changes nothing.
func TestTLSReload(t *testing.T) {
	id := newIdentity(t)
	c := pgtest.Shared(t)
	p := start(t, c, "", "")
	plain := p.login(t, p.transaction)
	reload := func(listener string) error {
		_, err := p.Reload(configuration(t, serverAt(c), listener, ""))
		return err
	}
	if err := reload(id.listener("require")); err != nil {
		t.Fatal(err)
	}
	secure := p.secure(t, p.transaction, id.client(t))
	write(t, id.key, "broken")
	if err := reload(id.listener("prefer")); err == nil {
		t.Fatal("a broken key was accepted")
	}
	w := pgtest.Dial(t, p.transaction)
	w.Startup(map[string]string{"user": "postgres", "database": "postgres"})
	if e, ok := w.Receive().(*pgproto3.ErrorResponse); !ok || e.Code != "28000" {
		t.Errorf("the refused reload is in force: %v", e)
	}
	if err := reload(""); err != nil {
		t.Fatal(err)
	}
	for _, w := range []*pgtest.Wire{plain, secure, p.login(t, p.transaction)} {
		if got := one(t, w, "select 7"); got != "7" {
			t.Fatal(got)
		}
	}
}

// TestCertificateLogin: an HBA file may want TLS, a certificate beside the password, or let the certificate's name in.
func TestCertificateLogin(t *testing.T) {
	id := newIdentity(t)
	hba := filepath.Join(id.folder, "hba.conf")
	write(t, hba, "hostssl postgres postgres all cert\nhostssl template1 all all trust clientcert=verify-ca\nhostnossl all all all reject\n")
	p := start(t, pgtest.Shared(t), id.listener("prefer"), fmt.Sprintf("[auth]\ntype = \"hba\"\nauth_hba_file = %q\n", hba))
	_, port, _ := net.SplitHostPort(p.transaction)
	for _, test := range []struct{ name, user, database, sslmode, want string }{
		{"postgres", "postgres", "postgres", "require", ""},
		{"somebody", "postgres", "postgres", "require", `certificate authentication failed for user "postgres"`},
		{"", "postgres", "postgres", "require", "certificate"},
		{"somebody", "postgres", "template1", "require", ""},
		{"", "postgres", "template1", "require", "certificate"},
		{"postgres", "postgres", "postgres", "disable", "rejects connection"},
	} {
		dsn := fmt.Sprintf("host=localhost port=%s user=%s dbname=%s sslmode=%s", port, test.user, test.database, test.sslmode)
		if test.name != "" {
			cert, key := id.authority.Issue(t, id.folder, test.name)
			dsn += fmt.Sprintf(" sslcert=%s sslkey=%s", cert, key)
		}
		out, err := psql(t, dsn, "select 1")
		if (err == nil) != (test.want == "") || !strings.Contains(out, test.want) {
			t.Errorf("%+v: %s", test, out)
		}
	}
}
