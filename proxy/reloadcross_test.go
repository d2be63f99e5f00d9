package proxy

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/config/load"
)

// sized is a configuration with pools of n servers.
func sized(t *testing.T, n int) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	text := "[server]\nhost = \"127.0.0.1\"\n[auth]\ntype = \"trust\"\n[[listener]]\nname = \"transaction\"\nlisten = [\"127.0.0.1:0\"]\n" +
		fmt.Sprintf("pool_mode = \"transaction\"\ndefault_pool_size = %d\n", n)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := load.Config(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestReloadCrossesNewPool: a pool that is made while a reload runs has the new limits when both are through.
func TestReloadCrossesNewPool(t *testing.T) {
	configurations := []*config.Config{sized(t, 1), sized(t, 2)}
	p, err := New(configurations[1], slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i := range 60 {
		var logins sync.WaitGroup
		for n := range 100 {
			logins.Go(func() {
				sp, ok := p.poolFor(p.listeners[0], "postgres", fmt.Sprint("user", i, "-", n))
				if !ok {
					t.Error("no pool")
					return
				}
				p.release(sp)
			})
		}
		if _, err := p.Reload(configurations[i%2]); err != nil {
			t.Fatal(err)
		}
		logins.Wait()
		for _, sp := range p.allPools() {
			if got, want := sp.limits.Load().pool.Size, i%2+1; got != want {
				t.Fatalf("the pool of %s has %d servers, not %d", sp.key.User, got, want)
			}
		}
	}
}
