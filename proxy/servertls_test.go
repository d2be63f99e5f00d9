package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// secureCluster is a PostgreSQL with TLS: ssl_only and plain_only may come so alone, certified with a certificate of that name.
func secureCluster(t *testing.T) *pgtest.Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgtest.Start(ctx, pgtest.Options{
		TLS: true, HBA: "hostssl all ssl_only all trust\nhostnossl all plain_only all trust\nhostssl all certified all cert\nhost all postgres all trust\n",
		Settings: map[string]string{"ssl_ca_file": "../ca.crt"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop(true) })
	if err := c.Exec("create user ssl_only; create user plain_only; create user certified"); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestServerSSLModes: each sslmode, against what PostgreSQL wants of a user, and the certificates each needs.
func TestServerSSLModes(t *testing.T) {
	secure, plain := secureCluster(t), pgtest.Shared(t)
	stranger := newIdentity(t)
	cert, key := secure.Authority.Issue(t, t.TempDir(), "certified")
	for _, test := range []struct {
		to   *pgtest.Cluster
		user string
		tls  string // settings of [server], beside host and port
		want string // of pg_stat_ssl; "": no login
	}{
		{secure, "postgres", "sslmode = 'disable'", "f"},
		{secure, "postgres", "sslmode = 'allow'", "f"},
		{secure, "postgres", "sslmode = 'prefer'", "t"},
		{secure, "postgres", "sslmode = 'require'", "t"},
		{secure, "postgres", fmt.Sprintf("sslmode = 'require'\nsslrootcert = %q", secure.CAFile), "t"},
		{secure, "postgres", fmt.Sprintf("sslmode = 'require'\nsslrootcert = %q", stranger.authority.File), ""},
		{secure, "postgres", fmt.Sprintf("sslmode = 'verify-ca'\nsslrootcert = %q", secure.CAFile), "t"},
		{secure, "postgres", fmt.Sprintf("sslmode = 'verify-ca'\nsslrootcert = %q", stranger.authority.File), ""},
		{secure, "postgres", fmt.Sprintf("sslmode = 'verify-full'\nsslrootcert = %q", secure.CAFile), "t"},
		{secure, "ssl_only", "sslmode = 'disable'", ""},
		{secure, "ssl_only", "sslmode = 'allow'", "t"},
		{secure, "plain_only", "sslmode = 'prefer'", "f"},
		{secure, "plain_only", "sslmode = 'require'", ""},
		{secure, "certified", "sslmode = 'require'", ""},
		{secure, "certified", fmt.Sprintf("sslmode = 'require'\nsslcert = %q\nsslkey = %q", cert, key), "t"},
		{plain, "postgres", "sslmode = 'prefer'", "f"},
		{plain, "postgres", "sslmode = 'require'", ""},
	} {
		p := launch(t, test.to, configuration(t, serverAt(test.to)+test.tls+"\n", "", ""))
		w := pgtest.Dial(t, p.transaction)
		w.Startup(map[string]string{"user": test.user, "database": "postgres"})
		if e := w.TryAuthenticate(test.user, ""); e != nil {
			if test.want != "" {
				t.Errorf("%s, %s: %s", test.user, test.tls, e.Message)
			}
			continue
		}
		if got := one(t, w, "select ssl from pg_stat_ssl where pid = pg_backend_pid()"); got != test.want {
			t.Errorf("%s, %s: %q", test.user, test.tls, got)
		}
	}
}

// TestServerAuthorityReplaced: the file of authorities is read at each login to PostgreSQL.
func TestServerAuthorityReplaced(t *testing.T) {
	c, stranger := secureCluster(t), newIdentity(t)
	authority := filepath.Join(t.TempDir(), "ca.crt")
	link := func(to string) { // as Kubernetes replaces a file
		t.Helper()
		next := authority + ".next"
		if err := os.Symlink(to, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, authority); err != nil {
			t.Fatal(err)
		}
	}
	link(stranger.authority.File)
	server := serverAt(c) + fmt.Sprintf("sslmode = 'verify-full'\nsslrootcert = %q\nserver_login_retry = '200ms'\n", authority)
	p := launch(t, c, configuration(t, server, "", ""))
	if have := tryLogin(t, p.transaction, "postgres", "postgres", ""); !strings.HasPrefix(have, "08006") {
		t.Errorf("with another authority: %q", have)
	}
	link(c.CAFile)
	waitFor(t, "a login", func() bool { return tryLogin(t, p.transaction, "postgres", "postgres", "") == "" })
}

// TestServerName: verify-full is for the name that was asked for; verify-ca is not.
func TestServerName(t *testing.T) {
	c := secureCluster(t)
	certificate, key, err := c.Authority.Sign("elsewhere", "elsewhere.example")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"server.crt": certificate, "server.key": key} {
		file, err := os.OpenFile(filepath.Join(c.DataDir, name), os.O_WRONLY|os.O_TRUNC, 0) // it keeps its owner
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[string]string{"verify-ca": "", "verify-full": "08006"} {
		server := serverAt(c) + fmt.Sprintf("sslmode = %q\nsslrootcert = %q\n", mode, c.CAFile)
		p := launch(t, c, configuration(t, server, "", ""))
		if have := tryLogin(t, p.transaction, "postgres", "postgres", ""); !strings.HasPrefix(have, want) || want == "" && have != "" {
			t.Errorf("%s: %s", mode, have)
		}
	}
}

// TestServerTLS: what a pooler does, with TLS on both sides: big messages both ways, transactions, many clients, cancels.
func TestServerTLS(t *testing.T) {
	c := secureCluster(t)
	id := newIdentity(t)
	p := launch(t, c, configuration(t, serverAt(c)+fmt.Sprintf("sslmode = 'verify-full'\nsslrootcert = %q\n", c.CAFile),
		id.listener("require")+"default_pool_size = 4\nmax_client_conn = 200\n", ""))
	w := p.secure(t, p.transaction, id.client(t))
	for _, n := range []int{100, 16_384, 500_000, 20_000_000} {
		if got := one(t, w, fmt.Sprintf("select repeat('x', %d)", n)); len(got) != n {
			t.Fatal(len(got), n)
		}
		if got := one(t, w, fmt.Sprintf("select length('%s')", strings.Repeat("y", n))); got != fmt.Sprint(n) {
			t.Fatal(got, n)
		}
	}
	w.Query("select pg_sleep(15)")
	waitFor(t, "the query", func() bool { // at PostgreSQL: a request that comes before it does nothing
		rows, err := c.Query("select 1 from pg_stat_activity where query like 'select pg_sleep(15%' and wait_event = 'PgSleep'")
		return err == nil && len(rows) == 1
	})
	pgtest.Cancel(t, p.transaction, w.Key)
	canceled(t, w)
	if strings.Contains(c.Log(), "unexpected EOF") || strings.Contains(c.Log(), "SSL error") {
		t.Error(c.Log())
	}
	host, port, _ := net.SplitHostPort(p.transaction)
	at := []string{"-h", host, "-p", port, "-U", "postgres", "postgres"}
	pgbench(t, append([]string{"-i", "-q"}, at...)...)
	out := pgbench(t, append([]string{"-n", "-c", "100", "-j", "2", "-t", "30"}, at...)...)
	if !strings.Contains(out, "3000/3000") {
		t.Error(out)
	}
	rows, err := c.Query("select count(*) from pg_stat_ssl s join pg_stat_activity a using (pid) where a.backend_type = 'client backend' and client_addr is not null and not ssl")
	if err != nil || rows[0][0] != "0" {
		t.Errorf("%v servers in the clear, %v", rows, err)
	}
}

// TestDirectServerTLS: PostgreSQL 17 takes TLS at once; so does this pooler, which stands in for it here.
func TestDirectServerTLS(t *testing.T) {
	id := newIdentity(t)
	behind := start(t, pgtest.Shared(t), id.listener("require"), "")
	host, port, _ := net.SplitHostPort(behind.session)
	server := fmt.Sprintf("host = %q\nport = %s\nsslmode = 'verify-full'\nsslrootcert = %q\nsslnegotiation = 'direct'\n", host, port, id.authority.File)
	p := launch(t, pgtest.Shared(t), configuration(t, server, "", ""))
	w := p.login(t, p.transaction)
	if got := one(t, w, "select 7"); got != "7" {
		t.Fatal(got)
	}
	w.Query("select pg_sleep(15)")
	waitFor(t, "the query", func() bool {
		return behind.pool(t, "session").ClientsActive >= 1 && p.pool(t, "transaction").ClientsActive == 1
	})
	pgtest.Cancel(t, p.transaction, w.Key)
	canceled(t, w)
}

// TestServerInjectsBeforeTLS: what somebody puts behind PostgreSQL's S is never taken for PostgreSQL's (CVE-2021-23222).
func TestServerInjectsBeforeTLS(t *testing.T) {
	sock, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	go func() {
		for {
			nc, err := sock.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(nc, make([]byte, 8))
			_, _ = nc.Write(append([]byte{'S'}, bytes.Repeat([]byte{'R', 0, 0, 0, 8, 0, 0, 0, 0}, 10)...)) // AuthenticationOk
			_, _ = io.Copy(io.Discard, nc)
			_ = nc.Close()
		}
	}()
	host, port, _ := net.SplitHostPort(sock.Addr().String())
	p := launch(t, pgtest.Shared(t), configuration(t, fmt.Sprintf("host = %q\nport = %s\nsslmode = 'require'\n", host, port), "", ""))
	if have := tryLogin(t, p.transaction, "postgres", "postgres", ""); !strings.HasPrefix(have, "08006") {
		t.Error(have)
	}
}

// pgbench runs over TLS.
func pgbench(t *testing.T, args ...string) string {
	t.Helper()
	pgbenchProgram, err := pgtest.Program("pgbench")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(pgbenchProgram, args...)
	cmd.Env = append(os.Environ(), "PGSSLMODE=require")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("pgbench: %v\n%s", err, out)
	}
	return string(out)
}

// canceled waits for the end of a query that was canceled.
func canceled(t *testing.T, w *pgtest.Wire) {
	t.Helper()
	messages := w.ReceiveReady()
	if !slices.ContainsFunc(messages, func(m pgproto3.BackendMessage) bool {
		e, ok := m.(*pgproto3.ErrorResponse)
		return ok && e.Code == "57014"
	}) {
		t.Fatalf("not canceled: %v", messages)
	}
}
