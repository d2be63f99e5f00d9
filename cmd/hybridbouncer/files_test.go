package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A pidfile with the own number is that of a process before this one: in a container, each has the number 1.
func TestPIDFileOfTheOwnNumber(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	for content, free := range map[string]bool{
		strconv.Itoa(os.Getpid()) + "\n": true, strconv.Itoa(os.Getppid()) + "\n": false, "": false, "x\n": false, "999999999\n": true,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var p pidFile
		if err := p.check(path); (err == nil) != free {
			t.Errorf("a file with %q: %v", content, err)
		}
		if _, err := os.Stat(path); os.IsNotExist(err) != free {
			t.Errorf("a file with %q is there: %v", content, err)
		}
	}
	var p pidFile
	_ = os.Remove(path)
	if err := p.write(path); err != nil {
		t.Fatal(err)
	}
	if err := new(pidFile).write(path); err == nil {
		t.Error("a pidfile that is there was overwritten")
	}
	p.remove()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the pidfile is still there: %v", err)
	}
}

// The log file keeps what is in it, and a file that logrotate has truncated begins anew.
func TestLogFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var otherwise strings.Builder
	l := logFile{otherwise: &otherwise}
	steps := []func() error{
		func() error { _, err := l.Write([]byte("1\n")); return err },
		func() error { return l.open(path) },
		func() error { _, err := l.Write([]byte("2\n")); return err },
		func() error { return os.Truncate(path, 0) },
		func() error { _, err := l.Write([]byte("3\n")); return err },
		func() error { return l.open("") },
		func() error { _, err := l.Write([]byte("4\n")); return err },
	}
	want := []string{"before\n", "before\n", "before\n2\n", "", "3\n", "3\n", "3\n"}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		if have, err := os.ReadFile(path); err != nil || string(have) != want[i] {
			t.Errorf("after step %d the file has %q, want %q (%v)", i, have, want[i], err)
		}
	}
	if otherwise.String() != "1\n4\n" {
		t.Errorf("without a file the log had %q", otherwise.String())
	}
	if err := l.open(filepath.Join(path, "x")); err == nil {
		t.Error("a path below a file was opened")
	}
}
