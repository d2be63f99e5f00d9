package protocol

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// go generate ./protocol writes the document that this compares.
func TestGenerated(t *testing.T) {
	const path = "../docs/errors.md"
	if *rewrite {
		if err := os.WriteFile(path, []byte(ErrorsDoc()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != ErrorsDoc() {
		t.Errorf("%s is not what the table says: run go generate ./protocol", path)
	}
}

func errorRows() []errorRow {
	return slices.Concat(loginErrors, laterErrors, statementErrors, listenErrors)
}

// An error without a row would be missing from docs/errors.md.
func TestEveryErrorHasOneRow(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var functions, rows []string
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.IsExported() && f.Recv == nil {
			functions = append(functions, f.Name.Name)
		}
	}
	for _, r := range errorRows() {
		rows = append(rows, r.constructor)
	}
	slices.Sort(functions)
	slices.Sort(rows)
	if !slices.Equal(functions, rows) {
		t.Errorf("constructors of errors.go: %v\nrows: %v", functions, rows)
	}
}

// The table of DESIGN section 8: severity and SQLSTATE.
func TestSQLStates(t *testing.T) {
	want := map[string]string{
		"ErrQueryWaitTimeout": "ERROR 53300", "ErrNoRoomForSession": "ERROR 53300", "ErrTooManyClients": "FATAL 53300", "ErrAuthFailed": "FATAL 28P01",
		"ErrNotAuthorized": "FATAL 28000", "ErrLookup": "FATAL 08006", "ErrNoSuchDatabase": "FATAL 3D000", "ErrServerUnreachable": "FATAL 08006",
		"ErrServerLost": "FATAL 08006", "ErrServerLogin": "FATAL 28P01", "ErrShutdown": "FATAL 57P01",
		"ErrClientIdle": "FATAL 57P05", "ErrIdleTransaction": "FATAL 25P03", "ErrIdleTransactionPressure": "FATAL 25P03", "ErrTransactionTimeout": "FATAL 25P04",
		"ErrQueryTimeout": "FATAL 57014", "ErrCanceledWaiting": "ERROR 57014", "ErrLoginTimeout": "FATAL 08006",
		"ErrReplication": "FATAL 0A000", "ErrReplicationValue": "FATAL 22023", "ErrTLSRequired": "FATAL 28000", "NoticeQueryWait": "NOTICE 00000", "ErrSettingRefused": "FATAL 22023",
		"ErrProtocol": "FATAL 08P01", "ErrProtocolVersion": "FATAL 0A000", "ErrStatementMode": "FATAL 08P01",
		"ErrStatementTooLong": "ERROR 54000", "ErrSettingTooLong": "FATAL 54000", "ErrStatementMemory": "ERROR 53200", "ErrResultChanged": "ERROR 0A000", "ErrStateRefused": "ERROR 0A000",
		"NoticeNotificationsLost": "WARNING 01000", "ErrListenImpossible": "ERROR 0A000", "ErrListenTimeout": "FATAL 53300",
		"ErrNotificationsUnread": "FATAL 53200",
	}
	for _, r := range errorRows() {
		if have := r.sample.Severity + " " + r.sample.Code; have != want[r.constructor] {
			t.Errorf("%s: %s, want %s", r.constructor, have, want[r.constructor])
		}
		if fatal := r.sample.Severity == "FATAL"; r.sample.Fatal() != fatal || !r.sample.AsFatal().Fatal() {
			t.Errorf("%s: Fatal() = %v", r.constructor, r.sample.Fatal())
		}
	}
}

// Each error says which setting matters, and the setting exists; and it says what to do.
func TestErrorsNameSettingsAndRemedies(t *testing.T) {
	known, err := os.ReadFile("../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range errorRows() {
		text := r.sample.Message + r.sample.Detail + r.sample.Hint
		for _, setting := range r.settings {
			if !strings.Contains(text, setting) {
				t.Errorf("%s does not name %s: %s", r.constructor, setting, text)
			}
			if !strings.Contains(string(known), "| `"+setting+"` |") {
				t.Errorf("%s names %s, which is not in docs/settings.md", r.constructor, setting)
			}
		}
		if (r.sample.Hint == "") == (r.remedy == "") && r.constructor != "ErrServerLogin" {
			t.Errorf("%s: hint %q, remedy %q: exactly one is wanted", r.constructor, r.sample.Hint, r.remedy)
		}
		if strings.Contains(text+r.when+r.remedy, "|") {
			t.Errorf("%s: a | would break the row of docs/errors.md", r.constructor)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	tests := []struct {
		e    *Error
		want string
	}{
		{
			ErrQueryWaitTimeout(Shortage{Listener: "tx", Timeout: 30 * time.Second, Busy: 25, Size: 25, Running: 23, Idle: 2, Oldest: 41 * time.Second, Application: "embedder"}),
			`no server became free within query_wait_timeout (30s) of listener "tx": 25 of 25 busy (23 run statements, 2 are idle with session state), oldest transaction 41s old by "embedder"`,
		},
		{
			ErrQueryWaitTimeout(Shortage{Listener: "tx", Timeout: time.Minute, Busy: 3, Size: 5, Oldest: 1234 * time.Millisecond, PostgreSQL: "too many clients"}),
			`no server became free within query_wait_timeout (1m) of listener "tx": 3 of 5 busy, oldest transaction 1.2s old by a client without application_name, and PostgreSQL has no place for another server: too many clients`,
		},
		{
			ErrQueryWaitTimeout(Shortage{Listener: "tx", Timeout: time.Minute, Busy: 3, Size: 5, IdleInTransaction: 3, Others: 88, Budget: 91}),
			`no server became free within query_wait_timeout (1m) of listener "tx": 3 of 5 busy (3 are idle in transactions), and all pools together may have no more than 91 servers (max_connections): others have 88`,
		},
		{ErrAuthFailed(`o"brien`), `password authentication failed for user "o"brien"`}, // as PostgreSQL: not escaped
		{ErrClientIdle("client_idle_timeout", 90*time.Minute), `terminating connection due to idle-session timeout (client_idle_timeout = 1h30m)`},
		{ErrServerLogin(Error{}), `PostgreSQL refused the login without saying why`},
		{ErrSettingRefused(Error{}), `PostgreSQL refused a startup parameter without saying why`},
	}
	for _, tt := range tests {
		if tt.e.Message != tt.want {
			t.Errorf("have %s\nwant %s", tt.e.Message, tt.want)
		}
	}
	if e := ErrServerLogin(Error{Severity: "ERROR"}); e.Code != "08006" || e.Severity != "FATAL" {
		t.Errorf("a login refused without a code: %+v", e)
	}
	if e := ErrSettingRefused(Error{Code: "42704", Message: "m", Hint: "h"}); e.Code != "42704" || e.Message != "m" || e.Hint != "h" {
		t.Errorf("PostgreSQL's own words are not kept: %+v", e)
	}
}

func TestSpan(t *testing.T) {
	tests := map[time.Duration]string{
		0: "0s", 250 * time.Millisecond: "250ms", 1499 * time.Millisecond: "1.5s", 30 * time.Second: "30s", 41234 * time.Millisecond: "41s",
		time.Minute: "1m", 10 * time.Minute: "10m", 90 * time.Second: "1m30s", time.Hour: "1h", 10 * time.Hour: "10h", 1500 * time.Nanosecond: "1.5µs",
		time.Hour + time.Second: "1h0m1s",
	}
	for d, want := range tests {
		if have := span(d); have != want {
			t.Errorf("%d: %s, want %s", d, have, want)
		}
	}
}
