package main

import (
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/config"
)

func TestFilesWarning(t *testing.T) {
	c := config.Default() // 1000 and 100 clients, 25+5 and 10 servers
	if have := filesWarning(c, 1000+100+40+filesSpare); have != "" {
		t.Errorf("enough files, yet: %s", have)
	}
	if have := filesWarning(c, 1000+100+40+filesSpare-1); !strings.Contains(have, "may need 1396") {
		t.Errorf("one file too few: %q", have)
	}
}

func TestServersMax(t *testing.T) {
	c := config.Default()
	for _, test := range []struct{ database, user, want int }{{0, 0, 40}, {35, 0, 35}, {35, 30, 30}, {90, 0, 40}} {
		c.Server.MaxDBConnections, c.Server.MaxUserConnections = test.database, test.user
		if have := serversMax(c); have != test.want {
			t.Errorf("with limits %d and %d: %d, want %d", test.database, test.user, have, test.want)
		}
	}
}

func TestPsqlLine(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:6432":        "psql -h 127.0.0.1 -p 6432",
		"[::]:6432":             "psql -h 127.0.0.1 -p 6432",
		"[::1]:6432":            "psql -h ::1 -p 6432",
		"/run/hb/.s.PGSQL.6432": "psql -h /run/hb -p 6432",
	} {
		if have := psqlLine(address, "", ""); have != want {
			t.Errorf("%s: %q, want %q", address, have, want)
		}
	}
	if have := psqlLine("127.0.0.1:1", "u", "d"); have != "psql -h 127.0.0.1 -p 1 -U u -d d" {
		t.Error(have)
	}
}
