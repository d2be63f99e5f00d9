package admin

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// busyApplications are one of each kind that the report knows.
func busyApplications() []stats.ApplicationSnapshot {
	transactional := stats.ApplicationSnapshot{Listener: "transactional", Database: "app", User: "web", PoolMode: "transaction", LongFrom: time.Second}
	session := stats.ApplicationSnapshot{Listener: "session", Database: "app", User: "jobs", PoolMode: "session", LongFrom: time.Second}

	embedder, web, migration, others := transactional, transactional, transactional, transactional
	embedder.Name, embedder.Clients, embedder.Transactions, embedder.LongTransactions, embedder.LongOpen = "embedder", 20, 90, 83, 2
	embedder.Longest, embedder.InTransaction, embedder.InLong = 28*time.Second, 1001*time.Second, 1000*time.Second
	embedder.Held, embedder.Promoted, embedder.Sets = 1010*time.Second, 920*time.Second, 90
	embedder.Promotions = map[string]uint64{"long_transaction": 81}

	web.Name, web.Clients, web.Transactions, web.LongTransactions = "web", 960, 120000, 1
	web.Longest, web.InTransaction, web.InLong, web.Held = 1400*time.Millisecond, 240*time.Second, 1400*time.Millisecond, 250*time.Second

	migration.User, migration.Clients, migration.Transactions = "owner", 1, 12
	migration.Longest, migration.InTransaction, migration.Held, migration.Promoted = 40*time.Millisecond, 300*time.Millisecond, 20*time.Second, 19*time.Second
	migration.Promotions = map[string]uint64{"session_state": 2}
	migration.Statements = []stats.StatementSnapshot{
		{Kind: "advisory_lock", What: "an advisory lock of the session", Forced: 1, Sample: "select pg_advisory_lock(?)"},
		{Kind: "temporary_table", What: "a temporary table", Forced: 3, Refused: 1, Sample: "create temp table t as select ? < ?"},
	}

	others.Others, others.Transactions, others.Held = true, 5000, 6*time.Second
	others.Statements = []stats.StatementSnapshot{{Kind: "listen", What: "LISTEN", Forced: 9}}

	quick, stateful := session, session
	quick.Name, quick.Clients, quick.Transactions, quick.Longest = "dashboard \"7\"", 8, 4200, 12*time.Millisecond
	quick.InTransaction, quick.Held = 8*time.Second, 800*time.Second
	stateful.Name, stateful.Clients, stateful.Transactions, stateful.Longest, stateful.Held = "importer", 2, 3000, 90*time.Millisecond, 500*time.Second
	stateful.Statements = []stats.StatementSnapshot{{Kind: "temporary_table", What: "a temporary table", Forced: 2}}
	return []stats.ApplicationSnapshot{quick, stateful, migration, embedder, others, web}
}

func TestPortsGolden(t *testing.T) {
	s := start(t, busySnapshot())
	status, header, body := s.get("/report/ports")
	if status != http.StatusOK || header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", status, header.Get("Content-Type"))
	}
	golden(t, filepath.Join("testdata", "ports.json"), body)
}

// TestAdvice: who is told to go where, and who is not.
func TestAdvice(t *testing.T) {
	snap := busySnapshot()
	got := make(map[string]string)
	for _, row := range portsOf(&snap) {
		got[row.Application+"/"+row.User] = row.Advice
	}
	for who, want := range map[string]string{
		"embedder/web":       `move "embedder" to the session listener "session" (6433): 83 transactions over 1s, longest 28s`,
		"web/web":            "",
		"/owner":             `move the clients of user "owner" without application_name to the session listener "session" (6433): 1 statement for an advisory lock of the session; 3 statements for a temporary table (1 refused)`,
		"/web":               "", // the others
		`dashboard "7"/jobs`: `move "dashboard \"7\"" to the transaction listener "transactional" (6432): 4200 transactions, longest 12ms, and no session state; its servers were in transactions for 1 % of the time`,
		"importer/jobs":      "",
	} {
		if got[who] != want {
			t.Errorf("%s\n got %s\nwant %s", who, got[who], want)
		}
	}
	if rows := portsOf(&snap); rows[0].Application != "embedder" || rows[2].Advice == "" || rows[3].Advice != "" {
		t.Error("those with an advice do not come first")
	}
}

// TestNoAdvice: where there is no such listener nobody is sent to it, and few transactions tell nothing.
func TestNoAdvice(t *testing.T) {
	snap := busySnapshot()
	snap.Listeners[0].SessionListener = ""
	snap.Listeners[0].PoolMode = "statement"
	for _, row := range portsOf(&snap) {
		if row.Advice != "" {
			t.Errorf("%s: %s", row.Application, row.Advice)
		}
	}
	snap = busySnapshot()
	quick := &snap.Applications[0]
	for what, change := range map[string]func(a *stats.ApplicationSnapshot){
		"few transactions": func(a *stats.ApplicationSnapshot) { a.Transactions = adviseQuickFrom - 1 },
		"a long one":       func(a *stats.ApplicationSnapshot) { a.Longest = a.LongFrom },
		"a session's own things": func(a *stats.ApplicationSnapshot) {
			a.Statements = []stats.StatementSnapshot{{Kind: "other", Forced: 1}}
		},
	} {
		changed := *quick
		change(&changed)
		if got := advice(&snap, &changed); got != "" {
			t.Errorf("%s: %s", what, got)
		}
	}
	mixed := busyApplications()[3]
	mixed.Transactions, mixed.LongTransactions = 1000, 83
	if got := advice(&snap, &mixed); !strings.HasPrefix(got, `move the long transactions of "embedder" to`) {
		t.Error(got)
	}
}

// TestHostileApplications: names are the clients' own texts, in JSON and in labels.
func TestHostileApplications(t *testing.T) {
	snap := busySnapshot()
	for _, name := range []string{"<script>alert(1)</script>", `"} 1`, "other", "</td>"} {
		for _, user := range []string{"a", "caf\xe9"} {
			snap.Applications = append(snap.Applications, stats.ApplicationSnapshot{Listener: "session", User: user, Name: name, PoolMode: "session", Transactions: 1})
		}
	}
	s := start(t, snap)
	_, _, body := s.get("/report/ports")
	var report struct{ Applications []map[string]any }
	if err := json.Unmarshal([]byte(body), &report); err != nil || len(report.Applications) != len(snap.Applications) {
		t.Errorf("%v, %d applications", err, len(report.Applications))
	}
	if _, _, list := s.get("/api/v1/overview"); strings.Contains(list, "<script>") || !strings.Contains(list, `\u003cscript\u003ealert(1)`) || !strings.Contains(list, `select ? \u003c ?`) {
		t.Error("the API does not escape names or samples")
	}
	_, _, metrics := s.get("/metrics")
	for _, want := range []string{
		`hybridbouncer_application_transactions_total{application="<script>alert(1)</script>",listener="session"} 2`,
		`hybridbouncer_application_transactions_total{application="\"} 1",listener="session"} 2`,
		`hybridbouncer_application_transactions_total{application="other",listener="session"} 2`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s", want)
		}
	}
	if log := s.logged.String(); log != "" {
		t.Errorf("logged: %s", log)
	}
}
