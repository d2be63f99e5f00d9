package listen_test

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/proxy/listen"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// TestForgetClient: a server that becomes the shared connection has nothing left of what its client set, whatever that was, and goes on listening
// to the client's channels. Nor do the defaults of its role end it.
func TestForgetClient(t *testing.T) {
	c := pgtest.Shared(t)
	for _, sql := range []string{
		"create role listener login superuser", "create role other",
		"alter role listener set default_transaction_isolation = 'serializable'", "alter role listener set default_transaction_deferrable = on",
		"alter role listener set default_transaction_read_only = on", "alter role listener set statement_timeout = '9s'",
		"alter role listener set lock_timeout = '9s'", "alter role listener set search_path = nowhere",
	} {
		if err := c.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	fresh, used := connectAs(t, c, "listener"), connectAs(t, c, "listener")
	for _, sql := range []string{
		"listen news", "set session authorization other", "set role other", "set search_path = pg_temp, public", "set statement_timeout = '2s'",
		"set lock_timeout = '1s'", "set idle_in_transaction_session_timeout = '1s'", "set client_min_messages = debug1", "set datestyle = german",
		"set session characteristics as transaction isolation level repeatable read, read only", "set custom.one = 'x'",
		"do $$begin if current_setting('server_version_num')::int >= 140000 then set idle_session_timeout = '60s'; end if; " +
			"if current_setting('server_version_num')::int >= 170000 then set transaction_timeout = '60s'; end if; end$$",
	} {
		query(t, used, sql)
	}
	for _, sql := range listen.ForgetClient {
		query(t, used, sql)
	}
	if got := query(t, used, "select current_user, session_user, (select array_agg(c) from pg_listening_channels() c)"); got[0] != "listener listener {news}" {
		t.Errorf("the session is %s", got)
	}
	const settings = "select name, setting from pg_settings where name !~ '^(plpgsql|transaction_|idle_|default_transaction_(isolation|deferrable)|" +
		"(statement|lock)_timeout|search_path)' or name = 'transaction_read_only' order by 1"
	was, is := query(t, fresh, settings), query(t, used, settings)
	for _, line := range is {
		if !slices.Contains(was, line) && line != "custom.one " {
			t.Errorf("%s is left of its client", line)
		}
	}
	own := query(t, used, "select name, setting from pg_settings where name in ('statement_timeout', 'lock_timeout', 'idle_session_timeout', "+
		"'transaction_timeout', 'idle_in_transaction_session_timeout', 'search_path', 'default_transaction_isolation', "+
		"'default_transaction_deferrable', 'transaction_isolation', 'transaction_deferrable') order by 1")
	for _, line := range own {
		if !slices.Contains([]string{
			"statement_timeout 0", "lock_timeout 0", "idle_session_timeout 0", "transaction_timeout 0", "idle_in_transaction_session_timeout 0",
			"search_path pg_catalog", "default_transaction_isolation read committed", "default_transaction_deferrable off",
			"transaction_isolation read committed", "transaction_deferrable off",
		}, line) {
			t.Errorf("it runs under %s", line)
		}
	}
}

func connectAs(t *testing.T, c *pgtest.Cluster, user string) *pgconn.PgConn {
	t.Helper()
	w, err := pgconn.Connect(context.Background(), c.DSN(user, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(context.Background()) })
	return w
}

// query runs a statement and returns the rows of its last result, each with spaces between its values.
func query(t *testing.T, w *pgconn.PgConn, sql string) (rows []string) {
	t.Helper()
	results, err := w.Exec(context.Background(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	for _, row := range results[len(results)-1].Rows {
		line := ""
		for i, value := range row {
			if i > 0 {
				line += " "
			}
			line += string(value)
		}
		rows = append(rows, line)
	}
	return rows
}
