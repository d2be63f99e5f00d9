package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// TestTrustIsWarnedOf: where others than this machine's users can reach the port.
func TestTrustIsWarnedOf(t *testing.T) {
	for listen, warned := range map[string]bool{
		"127.0.0.1:6432": false, "[::1]:6432": false, "localhost:6432": false, "/run/x:6432": false,
		":6432": true, "0.0.0.0:6432": true, "[::]:6432": true, "10.0.0.1:6432": true, "db.example:6432": true,
	} {
		text := "[[listener]]\nname = \"l\"\nlisten = [\"" + listen + "\"]\n"
		is := func(warning string) bool { return strings.Contains(warning, "trust lets everybody in") }
		if c := mustLoad(t, minimal+text); slices.ContainsFunc(c.Warnings, is) != warned {
			t.Errorf("%s: %q", listen, c.Warnings)
		}
		if c := mustLoad(t, "[auth]\ntype = \"cert\"\n"+text); slices.ContainsFunc(c.Warnings, is) {
			t.Errorf("%s, not trust: %q", listen, c.Warnings)
		}
	}
}

// OpenSSL's names and PgBouncer's words are accepted; suites that Go counts as insecure, and lists, are not.
func TestCipherSuites(t *testing.T) {
	for text, want := range map[string]int{"default": 0, "fast": 0, "ECDHE-RSA-AES256-GCM-SHA384": 1, "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA": 2} {
		if suites, err := config.CipherSuites(text); err != nil || len(suites) != want {
			t.Errorf("%s: %v, %v", text, suites, err)
		}
	}
	for _, text := range []string{"HIGH:!aNULL", "all", "AES256-SHA", "ECDHE-RSA-AES128-SHA:"} {
		if suites, err := config.CipherSuites(text); err == nil {
			t.Errorf("%s: %v", text, suites)
		}
	}
	got := faults(t, minimal+"[[listener]]\nname = \"l\"\nlisten = [\"127.0.0.1:1\"]\nclient_tls_ciphers = \"HIGH\"\n")
	if len(got) != 1 || !strings.Contains(got[0], "client_tls_ciphers") || !strings.Contains(got[0], "ECDHE-RSA-AES256-GCM-SHA384") {
		t.Errorf("%q", got)
	}
}
