package pgtest

import (
	"net"
	"os"
	"testing"
)

func TestCheckLeaks(t *testing.T) {
	if text := failure(CheckLeaks); text != "" {
		t.Errorf("nothing leaked, yet: %s", text)
	}
	var left *os.File
	wantFailure(t, failure(func(tb TB) {
		CheckLeaks(tb)
		left, _ = os.Open(os.DevNull)
	}), os.DevNull)
	_ = left.Close()
	stop := make(chan struct{})
	wantFailure(t, failure(func(tb TB) {
		CheckLeaks(tb)
		go func() { <-stop }()
	}), "goroutines")
	close(stop)
}

// TestLeakOfWholeRun runs a package's tests within a test: what they leave behind fails the run.
func TestLeakOfWholeRun(t *testing.T) {
	before := openFiles()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	if err := leakedFiles(before, openFiles()); err == nil {
		t.Error("an open listener was not seen")
	}
	_ = l.Close()
	if err := settledFiles(before); err != nil {
		t.Error(err)
	}
}
