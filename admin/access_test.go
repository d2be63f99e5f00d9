package admin

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// public are the paths that scrapers and probes use, without a password and from anywhere.
var public = []string{"/metrics", "/metrics/pgbouncer", "/health/db", "/healthz", "/readyz"}

// ask sends a request as if it had come in on a local address.
func (s *started) ask(path, local, host string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.Host = host
	address, err := net.ResolveTCPAddr("tcp", local)
	if err != nil {
		s.t.Fatal(err)
	}
	// A request that ends at once: the stream would not.
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(address)))
	if path == "/api/v1/stream" {
		cancel()
	}
	defer cancel()
	r = r.WithContext(ctx)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.server.Handler.ServeHTTP(w, r)
	return w
}

// Beyond this machine, without a password, there are metrics and health and nothing else.
func TestAccessWithoutPassword(t *testing.T) {
	s := start(t, busySnapshot())
	proxied := func(header string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(header, "203.0.113.7") }
	}
	for _, c := range []struct {
		name, local, host string
		change            func(*http.Request)
		allowed           bool
	}{
		{"loopback", "127.0.0.1:9127", "127.0.0.1:9127", nil, true},
		{"by name", "127.0.0.1:9127", "localhost:9127", nil, true},
		{"loopback, IPv6", "[::1]:9127", "[::1]:9127", nil, true},
		{"mapped", "[::ffff:127.0.0.1]:9127", "localhost", nil, true},
		{"another machine", "10.0.0.5:9127", "10.0.0.5:9127", nil, false},
		{"another machine that says localhost", "10.0.0.5:9127", "localhost", nil, false},
		{"another machine, IPv6", "[2001:db8::1]:9127", "[2001:db8::1]:9127", nil, false},
		{"a name that was pointed here", "127.0.0.1:9127", "evil.example:9127", nil, false},
		{"a proxy", "127.0.0.1:9127", "127.0.0.1:9127", proxied("X-Forwarded-For"), false},
		{"a proxy that knows RFC 7239", "127.0.0.1:9127", "127.0.0.1:9127", proxied("Forwarded"), false},
	} {
		for path := range s.operatorPaths() {
			path = strings.TrimSuffix(path, "{$}")
			w := s.ask(path, c.local, c.host, c.change)
			if refused := w.Code == http.StatusForbidden; refused == c.allowed {
				t.Errorf("%s, %s: %d", c.name, path, w.Code)
			}
			if !c.allowed && strings.Contains(w.Body.String(), "transactional") {
				t.Errorf("%s, %s: the refusal tells numbers", c.name, path)
			}
		}
		for _, path := range public {
			if w := s.ask(path, c.local, c.host, c.change); w.Code != http.StatusOK {
				t.Errorf("%s, %s: %d", c.name, path, w.Code)
			}
		}
	}
}

// With a password the operator may come from anywhere, and nobody without it from nowhere.
func TestAccessWithPassword(t *testing.T) {
	s := start(t, busySnapshot())
	s.SetPassword("correct horse")
	with := func(password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth("anybody", password) }
	}
	for _, local := range []string{"127.0.0.1:9127", "10.0.0.5:9127"} {
		for name, c := range map[string]struct {
			change func(*http.Request)
			want   int
		}{
			"right": {with("correct horse"), http.StatusOK}, "wrong": {with("correct hors"), http.StatusUnauthorized},
			"empty": {with(""), http.StatusUnauthorized}, "none": {nil, http.StatusUnauthorized},
			"bearer": {func(r *http.Request) { r.Header.Set("Authorization", "Bearer correct horse") }, http.StatusUnauthorized},
		} {
			for path := range s.operatorPaths() {
				if path == "/api/v1/stream" && c.want == http.StatusOK {
					continue // it ended before it began
				}
				w := s.ask(strings.TrimSuffix(path, "{$}"), local, "pooler.example", c.change)
				if w.Code != c.want {
					t.Errorf("%s password, %s on %s: %d, want %d", name, path, local, w.Code, c.want)
				}
				if asks := w.Header().Get("WWW-Authenticate") != ""; asks != (c.want == http.StatusUnauthorized) {
					t.Errorf("%s password, %s: WWW-Authenticate %v", name, path, asks)
				}
			}
		}
		for _, path := range public {
			if w := s.ask(path, local, "pooler.example", nil); w.Code != http.StatusOK {
				t.Errorf("%s on %s: %d", path, local, w.Code)
			}
		}
	}
}
