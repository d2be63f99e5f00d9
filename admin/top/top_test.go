package top

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

const example = `{"version":"1.2.3","uptime_seconds":300,
"verdict":{"level":"critical","sentence":"Critical. transactional has 24 of 25 servers lent; 3 clients waiting, the first for 12ms."},
"attention":[{"level":"critical","text":"transactional had 22 of 25 servers lent on average over 10 min; 26 would have sufficed."},{"level":"advice","text":"Move."}],
"listeners":[{"name":"transactional","level":"critical","size":25,"checked_out":24,"utilization":96.0,"waiting":3,"max_wait_seconds":0.012,"clients":900,"max_client_conn":1000,
 "rates":{"transactions_per_second":12345,"queries_per_second":99,"wait_seconds":{"p99":0.4},"query_seconds":{"p99":null}}},
 {"name":"session","level":"ok","size":10,"checked_out":1,"utilization":10.0,"rates":null}],
"pools":[{"listener":"transactional","database":"app\u001b[2J","user":"\u202eweb","size":25,"checked_out":24,"clients":{"idle":800,"active":24,"waiting":3},"servers":{"idle":1},"transactions":7}],
"applications":[{"application_name":"","listener":"transactional","clients":2,"advice":"move it"},{"others":true,"listener":"session"}],
"process":{"logins":5,"panics":1,"loop_busy":0.25}}`

func exampleView(t *testing.T) *View {
	t.Helper()
	v := &View{Past: map[string][]float64{"transactional": {-1, 0, 0.5, 1, 1.2}}}
	if err := json.Unmarshal([]byte(example), v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLines(t *testing.T) {
	text := strings.Join(Lines(exampleView(t), 160, 0, false), "\n")
	for _, want := range []string{
		"hybridbouncer 1.2.3, running for 5min. Logins 5, busiest loop 25%, PANICS 1", "Critical. transactional has 24 of 25",
		"  critical: transactional had 22 of 25", "24/25", "12.3k", "400ms", "900/1000", "·▁▅██", "app?[2J/?web transactional", "(no name)",
		"(all others)", "move it",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// Nothing is wider or higher than the terminal, and nothing but our own codes can be obeyed by it.
func TestLinesFit(t *testing.T) {
	codes := regexp.MustCompile(`\x1b\[[0-9;]*m`)
	for _, width := range []int{0, 1, 40, 80, 200} {
		for _, height := range []int{0, 1, 24} {
			lines := Lines(exampleView(t), width, height, true)
			if height > 0 && len(lines) > max(height, heightMin) {
				t.Errorf("%d lines in a terminal of %d", len(lines), height)
			}
			for _, line := range lines {
				plain := codes.ReplaceAllString(line, "")
				if n := utf8.RuneCountInString(plain); n > max(width, widthMin) {
					t.Errorf("%d columns in a terminal of %d: %q", n, width, plain)
				}
				for _, r := range plain {
					if !unicode.IsGraphic(r) || unicode.Is(unicode.Bidi_Control, r) {
						t.Errorf("%q has the character %U", plain, r)
					}
				}
			}
		}
	}
}

func TestDuration(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0", 0.00005: "50us", 0.0123: "12.3ms", 1.5: "1.5s", 119: "119s", 600: "10min", 9000: "2.5h", 259200: "3d"} {
		if have := duration(seconds); have != want {
			t.Errorf("%v s: %s, want %s", seconds, have, want)
		}
	}
}

// What is wrong with an endpoint is told in words that help.
func TestLookFails(t *testing.T) {
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{http.StatusUnauthorized, "", "wants a password"},
		{http.StatusForbidden, "beyond this machine ...\n", "answers 403: beyond this machine"},
		{http.StatusOK, "<html>", "is not the API of a hybridbouncer"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		_, err := (&Client{URL: server.URL, HTTP: server.Client()}).Look(context.Background())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d %q: %v, want %q", c.status, c.body, err, c.want)
		}
		server.Close()
	}
}
