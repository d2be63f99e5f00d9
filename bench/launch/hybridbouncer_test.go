package launch

import (
	"path/filepath"
	"testing"

	configload "github.com/hybridbouncer/hybridbouncer/config/load"
)

// The configuration written for our own pooler is one that it accepts: keys may be renamed without anybody thinking of bench.
func TestOurConfigurationIsAccepted(t *testing.T) {
	folder := t.TempDir()
	text := hybridbouncerConfig(Settings{
		Server: &Postgres{Host: "127.0.0.1", Port: 5433}, AuthType: "scram-sha-256", PoolSize: 25, ReserveSize: 5, SessionSize: 10, MaxClientConn: 1020,
	}, 7432, 7433, 7127)
	if err := WriteFiles(folder, map[string]string{"config.toml": text, "userlist.txt": userList("bench")}); err != nil {
		t.Fatal(err)
	}
	loaded, err := configload.Config(filepath.Join(folder, "config.toml"), nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if faults := loaded.Validate(); len(faults) > 0 {
		t.Fatalf("%+v in\n%s", faults, text)
	}
	if len(loaded.Listeners) != 2 || loaded.Server.Port != 5433 || loaded.Admin.Listen != "127.0.0.1:7127" {
		t.Fatalf("got %+v", loaded)
	}
	quick := loaded.Listeners[0]
	if quick.PoolMode != "transaction" || quick.DefaultPoolSize != 25 || quick.ReservePoolSize != 5 || quick.MaxClientConn != 1020 {
		t.Errorf("got %+v", quick)
	}
}
