package sqltext

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// login connects to the shared PostgreSQL.
func login(t *testing.T) (*pgconn.PgConn, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	cluster := pgtest.Shared(t)
	pc, err := pgconn.Connect(ctx, cluster.DSN(cluster.Superuser, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close(context.Background()) })
	return pc, ctx
}

// show is a setting as PostgreSQL has it.
func show(ctx context.Context, t *testing.T, pc *pgconn.PgConn, name string) string {
	t.Helper()
	r := pc.ExecParams(ctx, "select current_setting($1, true)", [][]byte{[]byte(name)}, nil, nil, nil).Read()
	if r.Err != nil || len(r.Rows) != 1 {
		t.Fatalf("%s: %v", name, r.Err)
	}
	return string(r.Rows[0][0])
}

// TestSettingsOnPostgres: whatever state the last client left a server in, PostgreSQL has afterwards what was wanted.
func TestSettingsOnPostgres(t *testing.T) {
	want := MakeSettings(map[string]string{
		"application_name": `it's "x" \ ; --`, "search_path": `"$user", public, "a""b", Fold`, "DateStyle": "SQL, DMY",
		"TimeZone": "Europe/Berlin", "app.tenant_id": `\'; drop table t; --`, "app.umlaut": "\xc3\xa4 '\xe3\x82\xbd\\", "app.empty": "",
		"statement_timeout": "7s", "client_encoding": "SJIS", "extra_float_digits": "3", "work_mem": "5MB", "escape_string_warning": "on",
	})
	for _, left := range []string{
		"", "set standard_conforming_strings = off; set backslash_quote = on", "set client_encoding = SJIS", "set client_encoding = GB18030",
		"set search_path = nowhere", "set client_encoding = LATIN1; set standard_conforming_strings = off",
	} {
		pc, ctx := login(t)
		if _, err := pc.Exec(ctx, left).ReadAll(); err != nil {
			t.Fatal(err)
		}
		sql := string(AppendSettingsDiff(nil, want, Settings{}))
		if _, err := pc.Exec(ctx, sql).ReadAll(); err != nil {
			t.Fatalf("after %q: %s: %v", left, sql, err)
		}
		if _, err := pc.Exec(ctx, "set client_encoding = UTF8").ReadAll(); err != nil {
			t.Fatal(err)
		}
		want.Each(func(name, value string) {
			if have := show(ctx, t, pc, name); have != value && name != "client_encoding" {
				t.Errorf("after %q: %s is %q, want %q", left, name, have, value)
			}
		})
	}
}

// TestSettingsRefusedByPostgres: a bad name or value gets PostgreSQL's own words, and none of the rest is set.
func TestSettingsRefusedByPostgres(t *testing.T) {
	for _, c := range []struct{ name, value, code, message string }{
		{"statement_timeout", "soon", "22023", `invalid value for parameter "statement_timeout": "soon"`},
		{"search_path", `a, "`, "22023", `invalid value for parameter "search_path": "a, ""`},
		{"no_such", "1", "42704", `unrecognized configuration parameter "no_such"`},
		{`a"b`, "1", "42704", `unrecognized configuration parameter "a"b"`},
		{strings.Repeat("n", 64), "1", "42704", `unrecognized configuration parameter "` + strings.Repeat("n", 64) + `"`},
		{"server_version", "1", "55P02", `parameter "server_version" cannot be changed`},
	} {
		pc, ctx := login(t)
		sql := string(AppendSettingsDiff(nil, Settings{}.With(c.name, c.value).With("application_name", "bad"), Settings{}))
		_, err := pc.Exec(ctx, sql).ReadAll()
		var pe *pgconn.PgError
		if !errors.As(err, &pe) || pe.Code != c.code || pe.Message != c.message {
			t.Errorf("%s: %v", sql, err)
		}
		if show(ctx, t, pc, "application_name") == "bad" {
			t.Errorf("%s: half of it was done", sql)
		}
	}
}

// TestEncodingsAgainstPostgres: every name in the table means to PostgreSQL what it means to us, and none of PostgreSQL's is missing.
func TestEncodingsAgainstPostgres(t *testing.T) {
	pc, ctx := login(t)
	ask := func(sql, value string) string {
		r := pc.ExecParams(ctx, sql, [][]byte{[]byte(value)}, nil, nil, nil).Read()
		if r.Err != nil || len(r.Rows) != 1 {
			t.Fatalf("%s: %v", value, r.Err)
		}
		return string(r.Rows[0][0])
	}
	for given, want := range encodings {
		if have := ask("select pg_encoding_to_char(pg_char_to_encoding($1))", given); have != want {
			t.Errorf("%s is %q to PostgreSQL, %q to us", given, have, want)
		}
	}
	for _, name := range strings.Fields(ask("select string_agg(pg_encoding_to_char(i), ' ') from generate_series(0, 60) i where $1 = ''", "")) {
		if CanonicalEncoding(strings.ToLower(name)) != name {
			t.Errorf("%s is not known", name)
		}
	}
}
