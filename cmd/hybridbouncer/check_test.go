package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/config/load"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestCheckReadsTLSAndHBA: check finds keys that do not fit their certificates, on both sides, and rules of an HBA file that cannot work with
// the TLS settings of the listeners.
func TestCheckReadsTLSAndHBA(t *testing.T) {
	dir := t.TempDir()
	authority, err := pgtest.NewAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := authority.Issue(t, dir, "one")
	_, other := authority.Issue(t, dir, "two")
	noKey := filepath.Join(dir, "none.pem")
	if err := os.WriteFile(noKey, []byte("no PEM\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secure := fmt.Sprintf("client_tls_sslmode = \"require\"\nclient_tls_cert_file = %q\nclient_tls_key_file = ", cert)
	fits := secure + fmt.Sprintf("%q\n", key)
	signed := fmt.Sprintf("client_tls_ca_file = %q\n", cert)
	for i, test := range []struct{ listener, server, method, hba, warning, fault string }{
		{fits, "", "trust", "", "", ""},
		{secure + fmt.Sprintf("%q\n", other), "", "trust", "", "", "private key does not match"},
		{secure + fmt.Sprintf("%q\n", noKey), "", "trust", "", "", "client_tls_key_file"},
		{fits + fmt.Sprintf("client_tls_ca_file = %q\n", noKey), "", "trust", "", "", "client_tls_ca_file"},
		{fits, fmt.Sprintf("sslcert = %q\nsslkey = %q\n", cert, key), "trust", "", "", ""},
		{fits, fmt.Sprintf("sslcert = %q\nsslkey = %q\n", cert, other), "trust", "", "", "[server]"},
		{fits, fmt.Sprintf("sslmode = \"verify-full\"\nsslrootcert = %q\n", noKey), "trust", "", "", "[server]"},
		{fits, "", "cert", "", "", "client_tls_ca_file"},
		{fits + signed, "", "cert", "", "", ""},
		{"", "", "hba", "host all all all trust\nhostssl all all all trust\n", "hba:2: the line matches no client", ""},
		{fits, "", "hba", "host all all all trust\nhostssl all all all cert\n", "", "hba:2: the line asks for a certificate"},
		{fits, "", "hba", "hostssl all all all trust clientcert=verify-ca\n", "", "hba:1: the line asks for a certificate"},
		{fits + signed, "", "hba", "hostssl all all all cert\n", "", ""},
	} {
		config := fmt.Sprintf("[server]\nhost = \"127.0.0.1\"\n%s[auth]\ntype = %q\n", test.server, test.method)
		if test.hba != "" {
			if err := os.WriteFile(filepath.Join(dir, "hba"), []byte(test.hba), 0o600); err != nil {
				t.Fatal(err)
			}
			config += "auth_hba_file = \"hba\"\n"
		}
		config += "[[listener]]\nname = \"a\"\nlisten = [\"127.0.0.1:1\"]\n" + test.listener
		path := filepath.Join(dir, "c.toml")
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := load.Config(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		warnings, err := build(c)
		if test.fault == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), test.fault) {
			t.Errorf("case %d: have the error %v, want %q", i, err, test.fault)
		}
		if all := strings.Join(warnings, "\n"); test.warning == "" && all != "" || !strings.Contains(all, test.warning) {
			t.Errorf("case %d: have the warnings %q, want %q", i, all, test.warning)
		}
	}
}
