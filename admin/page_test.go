package admin

import (
	"os"
	"strings"
	"testing"
)

// pageMax is how large the page may be: it is loaded over a phone's line at three in the morning.
const pageMax = 60_000

// The page needs nothing from elsewhere, and its script and style are those that the Content-Security-Policy names.
func TestPage(t *testing.T) {
	s := start(t, busySnapshot())
	_, header, body := s.get("/")
	if len(body) > pageMax {
		t.Errorf("the page has %d bytes, more than %d", len(body), pageMax)
	}
	for _, no := range []string{"http://", "https://", "<form", " style=\"", " onclick=", " onload=", "javascript:", "innerHTML", "eval("} {
		if strings.Contains(strings.ReplaceAll(body, "http://www.w3.org/2000/svg", ""), no) {
			t.Errorf("the page has %s", no)
		}
	}
	for _, tag := range []string{"<script>", "<style>"} {
		if strings.Count(body, tag) != 1 {
			t.Errorf("the page has %d %s; the policy knows one", strings.Count(body, tag), tag)
		}
	}
	policy := header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "connect-src 'self'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy has no %s: %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
	if !strings.HasSuffix(body, "</html>\n") {
		t.Error("the page is cut off")
	}
}

// Nothing of the environment or the command line of the process may be seen, where passwords often are.
func TestNoSecrets(t *testing.T) {
	t.Setenv("DB_PASSWORD", "hunter2-environment")
	was := os.Args
	os.Args = append([]string{}, append(was, "hunter2-argument")...)
	defer func() { os.Args = was }()
	s := start(t, busySnapshot())
	s.SetPassword("hunter2-password")
	paths := []string{"/metrics", "/health/db", "/healthz", "/readyz", "/debug/vars", "/debug/pprof/cmdline"}
	for path := range s.operatorPaths() {
		if path != "/api/v1/stream" {
			paths = append(paths, strings.TrimSuffix(path, "{$}"))
		}
	}
	for _, path := range paths {
		_, _, refused := s.get(path)
		s.SetPassword("")
		_, _, body := s.get(path)
		s.SetPassword("hunter2-password")
		if strings.Contains(body+refused, "hunter2") {
			t.Errorf("%s shows the process's surroundings", path)
		}
	}
}
