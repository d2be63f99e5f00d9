package pgtest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a child of ours (the postmaster, initdb) that the watchdog knows of.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed once the process is gone, err is set and the log is closed
	err   error         // read only after ended
}

// start runs cmd in dir as the installation's user, in a session of its own: an interrupt typed at the terminal reaches us alone,
// and it is for us to shut the server down.
// Once the process has ended, log is closed (nil: nothing); after an error that is left to the caller.
func (i *installation) start(cmd *exec.Cmd, dir string, log io.Closer) (*process, error) {
	cmd.Dir = dir
	cmd.Env = cleanEnvironment(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: i.credential}
	// With Options.LogTo, the log's pipe can be held open by a child that outlives the postmaster.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	watch(p.pid())
	go func() {
		p.err = cmd.Wait()
		unwatch(p.pid())
		if log != nil {
			_ = log.Close()
		}
		close(p.ended)
	}()
	return p, nil
}

// cleanEnvironment drops what would change PostgreSQL's behaviour, and sets the language of its messages.
func cleanEnvironment(environ []string) []string {
	kept := []string{"LC_ALL=C"}
	for _, e := range environ {
		if !strings.HasPrefix(e, "PG") && !strings.HasPrefix(e, "LC_") && !strings.HasPrefix(e, "LANG") {
			kept = append(kept, e)
		}
	}
	return kept
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// stop asks by signal and waits. A process that has not ended within limit is killed, and that is an error.
func (p *process) stop(sig syscall.Signal, limit time.Duration) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !p.hasEnded() {
		// Ended, but not waited for yet: Wait is about to return.
		<-p.ended
		return nil
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.ended:
		return nil
	case <-timer.C:
		p.kill()
		return fmt.Errorf("PostgreSQL (process %d) had not ended %v after %v and was killed", p.pid(), limit, sig)
	}
}

// kill ends the process and its children by SIGKILL and waits until it is gone. The postmaster is frozen first, or it would start
// new children while they are being counted; each of them leads a session of its own, so a kill of the group would miss them.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
	children := childrenOf(p.pid())
	_ = p.cmd.Process.Kill()
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-p.ended
}

// childrenOf lists the children of a process: from /proc on Linux, from pgrep elsewhere.
func childrenOf(pid int) []int {
	id := strconv.Itoa(pid)
	b, err := os.ReadFile("/proc/" + id + "/task/" + id + "/children")
	if err != nil {
		b, _ = exec.Command("pgrep", "-P", id).Output()
	}
	var children []int
	for _, f := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			children = append(children, n)
		}
	}
	return children
}
