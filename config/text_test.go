package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/config/load"
)

// minimal is a file without a fault, for tests that add to it.
const minimal = "[auth]\ntype = \"trust\"\n"

// read writes a file c.toml and loads it.
func read(t *testing.T, text string, environ ...string) (*config.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return load.Config(path, environ)
}

func mustLoad(t *testing.T, text string, environ ...string) *config.Config {
	t.Helper()
	c, err := read(t, text, environ...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// faults loads a text and returns its faults without the directory.
func faults(t *testing.T, text string, environ ...string) []string {
	t.Helper()
	_, err := read(t, text, environ...)
	var problems config.Problems
	if err == nil || !errors.As(err, &problems) {
		t.Fatalf("want faults, have error %v", err)
	}
	var lines []string
	for _, p := range problems {
		if p.File != "environment" {
			p.File = filepath.Base(p.File)
		}
		lines = append(lines, p.String())
	}
	return lines
}
