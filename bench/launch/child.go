package launch

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Child is a process started by this program. Its output goes to a file in its directory.
type Child struct {
	name    string
	command *exec.Cmd
	Log     string
	exited  chan struct{} // closed when it has ended
}

// startChild starts a program in a process group of its own, so that the terminal's interrupt reaches this program alone and
// children are stopped in order. As root it runs under owner when that is given: PostgreSQL and PgBouncer refuse to be root.
func startChild(name, directory string, owner *syscall.Credential, program string, arguments ...string) (*Child, error) {
	return StartCommand(name, directory, owner, exec.Command(program, arguments...))
}

// StartCommand starts a command as startChild does. The caller may have set more than its arguments, such as its environment.
func StartCommand(name, directory string, owner *syscall.Credential, command *exec.Cmd) (*Child, error) {
	log, err := os.CreateTemp(directory, name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command.Dir = directory
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: owner}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c := &Child{name: name, command: command, Log: log.Name(), exited: make(chan struct{})}
	go func() {
		_ = command.Wait() // how it ended is said by its log; that it ended, by the channel
		close(c.exited)
	}()
	return c, nil
}

// waitListening returns once the address accepts, and fails with the end of the child's log when it ends before.
func (c *Child) waitListening(ctx context.Context, address string) error {
	const patience, retry = 15 * time.Second, 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		probe, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return probe.Close()
		}
		select {
		case <-c.exited:
			return fmt.Errorf("%s ended instead of listening on %s; its log ends with:\n%s", c.name, address, c.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s: %w; its log ends with:\n%s", c.name, address, err, c.LogTail())
		case <-time.After(retry):
		}
	}
}

// Stop asks the child to end and waits for it; it is killed when it does not within ten seconds. Stopping twice is harmless.
func (c *Child) Stop(ask syscall.Signal) {
	const patience = 10 * time.Second
	_ = c.command.Process.Signal(ask) // an error means that it has ended already
	select {
	case <-c.exited:
	case <-time.After(patience):
		_ = c.command.Process.Kill()
		<-c.exited
	}
}

// LogTail gives the last 2000 bytes of the child's output, or why they cannot be read.
func (c *Child) LogTail() string {
	const tailBytes = 2000
	text, err := os.ReadFile(c.Log)
	if err != nil {
		return err.Error()
	}
	if len(text) > tailBytes {
		text = text[len(text)-tailBytes:]
	}
	return string(bytes.TrimSpace(text))
}
