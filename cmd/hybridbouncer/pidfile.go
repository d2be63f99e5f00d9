package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// pidFile is the file that contains the number of this process.
type pidFile struct{ written string }

// check returns an error if the file names another process that runs. It removes a file whose process has ended.
func (*pidFile) check(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || path == "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read pidfile: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	// The own number is that of a process before this one: in a container each has the number 1.
	stale := err == nil && pid > 0 && (pid == os.Getpid() || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH))
	if !stale {
		return fmt.Errorf("pidfile %s exists: is another one running? If not, remove the file", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the pidfile of a process that has ended: %w", err)
	}
	return nil
}

// write creates the file.
func (p *pidFile) write(path string) error {
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write pidfile: %w", err)
	}
	defer file.Close()
	p.written = path
	if _, err := fmt.Fprintln(file, os.Getpid()); err != nil {
		return fmt.Errorf("write pidfile: %w", err)
	}
	return nil
}

// remove deletes the file that write created.
func (p *pidFile) remove() {
	if p.written != "" {
		_ = os.Remove(p.written) // somebody else may have removed it
	}
}
