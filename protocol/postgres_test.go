package protocol

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// login connects to the shared PostgreSQL; options is the startup parameter of that name.
func login(t *testing.T, options string) (*pgconn.PgConn, context.Context, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	cluster := pgtest.Shared(t)
	cfg, err := pgconn.ParseConfig(cluster.DSN(cluster.Superuser, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if options != "" {
		cfg.RuntimeParams["options"] = options
	}
	pc, err := pgconn.ConnectConfig(ctx, cfg)
	if err == nil {
		t.Cleanup(func() { _ = pc.Close(context.Background()) })
	}
	return pc, ctx, err
}

// TestOptionsAgainstPostgres: what ParseOptions makes of "options" is what PostgreSQL makes of it, and it refuses what PostgreSQL
// refuses, in the same words.
func TestOptionsAgainstPostgres(t *testing.T) {
	for _, options := range []string{
		"-c app.a=1", "-capp.a=1 --app.b=2", `-c app.a=x\ y\\z`, "-c app.a=1 -c app.a=2", "-c  app.a=b=c\t--app.b=", "--app.under-score=-",
		`-c app.a=\`, `-c app.a=a\	b`, `\-\c app.a=1`, "-c App.A=1", `-c app.a=+b`, `-c app.a="q"'r'`, "--statement-timeout=7s",
		"-c statement-timeout=7s", "  -c   app.a=1   ", "-c app.a=\u00e4",
	} {
		params, err := ParseOptions(options)
		if err != nil || len(params) == 0 {
			t.Errorf("%q: %v", options, err)
			continue
		}
		pc, ctx, err := login(t, options)
		if err != nil {
			t.Errorf("%q: PostgreSQL: %v", options, err)
			continue
		}
		last := map[string]string{} // of a name given twice the last counts
		for _, p := range params {
			last[strings.ToLower(p.Name)] = p.Value
		}
		for name, value := range last {
			r := pc.ExecParams(ctx, "select current_setting($1, true)", [][]byte{[]byte(name)}, nil, nil, nil).Read()
			if r.Err != nil || len(r.Rows) != 1 {
				t.Fatalf("%s: %v", name, r.Err)
			}
			if have := string(r.Rows[0][0]); have != value {
				t.Errorf("%q: %s is %q for PostgreSQL, %q for us", options, name, have, value)
			}
		}
	}
	for _, options := range []string{"-c a", "--a", "x", "-c", "-c app.a=1 x"} {
		_, err := ParseOptions(options)
		_, _, theirs := login(t, options)
		var e *Error
		var pe *pgconn.PgError
		if !errors.As(err, &e) || !errors.As(theirs, &pe) || e.Code != pe.Code || e.Message != pe.Message || e.Severity != pe.Severity {
			t.Errorf("%q: we say %v, PostgreSQL %v", options, err, theirs)
		}
	}
}
