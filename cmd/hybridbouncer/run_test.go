package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// TestHalfStarted: when the admin endpoint cannot start, the proxy that has started already is closed again.
func TestHalfStarted(t *testing.T) {
	before := goleak.IgnoreCurrent()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.toml")
	text := "[auth]\ntype = \"trust\"\n[[listener]]\nname = \"only\"\nlisten = \"" + address + "\"\n[admin]\nlisten = \"" + taken.Addr().String() + "\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &service{process: &process{stderr: io.Discard}, path: path, logTo: io.Discard}
	if err := s.start(); err == nil {
		t.Fatal("started with an address that is taken")
	}
	goleak.VerifyNone(t, before)
	if nc, err := net.Dial("tcp", address); err == nil {
		_ = nc.Close()
		t.Error("the proxy still listens")
	}
}
