package pgbouncer_test

import (
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// Two files become one [server], one [auth] and one [databases]: limits are added up, lists joined, sizes kept for each listener.
func TestTwoFiles(t *testing.T) {
	for _, test := range []struct {
		name, first, second string            // lines of [pgbouncer]
		firstDB, secondDB   string            // of the database d
		want                map[string]string // by path, as TOML writes it; "-": not set
		note                string            // a part of one
	}{
		{
			name: "limits", first: "max_db_connections = 5", second: "max_db_connections = 7",
			want: map[string]string{"server.max_db_connections": "12"}, note: "the sum of the files' limits, 12, holds",
		},
		{
			name: "one limit", first: "max_db_connections = 5",
			want: map[string]string{"server.max_db_connections": "0"}, note: "one file has no limit",
		},
		{
			name: "limits of a database", first: "max_db_connections = 5", second: "max_db_connections = 7", firstDB: "max_db_connections=1",
			want: map[string]string{"databases.d.max_db_connections": "8"}, note: "databases d max_db_connections: the limit is counted over all listeners here: the sum of the files' limits, 8, holds",
		},
		{
			name: "lists", first: "admin_users = a, b", second: "admin_users = b,c",
			want: map[string]string{"admin.users": `["a", "b", "c"]`},
		},
		{
			name: "larger", first: "server_connect_timeout = 3", second: "server_connect_timeout = 20",
			want: map[string]string{"server.server_connect_timeout": `"20s"`}, note: "the larger value, 20, holds",
		},
		{
			name: "debug", second: "verbose = 1",
			want: map[string]string{"log.level": `"debug"`}, note: "the files disagree",
		},
		{
			name: "first", first: "tcp_keepidle = 3", second: "tcp_keepidle = 4",
			want: map[string]string{"server.tcp_keepidle": `"3s"`}, note: "the value of a.ini:8 holds",
		},
		{
			name: "first that sets it", second: "tcp_keepidle = 4",
			want: map[string]string{"server.tcp_keepidle": `"4s"`},
		},
		{
			name: "equal sizes", firstDB: "pool_size=3", secondDB: "pool_size=3",
			want: map[string]string{"databases.d.pool_size": "3", "databases.d.transactional.pool_size": "-"},
		},
		{
			name: "different sizes", firstDB: "pool_size=3", secondDB: "pool_size=4 server_lifetime=9",
			want: map[string]string{
				"databases.d.pool_size": "0", "databases.d.transactional.pool_size": "3", "databases.d.session.pool_size": "4",
				"databases.d.session.server_lifetime": `"9s"`,
			},
		},
		{
			name: "one size", secondDB: "pool_size=4",
			want: map[string]string{"databases.d.session.pool_size": "4", "databases.d.transactional.pool_size": "-"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := func(port, mode, database, lines string) string {
				return strings.Replace(base, "host=h", "host=h "+database, 1) + "listen_addr = 127.0.0.1\n" + lines + "\nlisten_port = " + port + "\npool_mode = " + mode + "\n"
			}
			imported, err := importTexts(t, file("6432", "transaction", test.firstDB, test.first), file("6433", "session", test.secondDB, test.second))
			if err != nil {
				t.Fatal(err)
			}
			for path, want := range test.want {
				have := "-"
				if target, known := imported.Config.Target(path); known {
					have = config.Show(target.Field())
				}
				if have != want {
					t.Errorf("%s is %s, want %s", path, have, want)
				}
			}
			var notes []string
			for _, n := range imported.Notes {
				notes = append(notes, n.String())
			}
			if all := strings.Join(notes, "\n"); !strings.Contains(all, test.note) || test.note == "" && all != "" {
				t.Errorf("the notes are\n%s\nwant %q", all, test.note)
			}
		})
	}
}
