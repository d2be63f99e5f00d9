package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticksPerSecond is USER_HZ, the unit of the times in /proc/PID/stat: 100 in every Linux ABI Go runs on (proc(5), sysconf(3)).
const ticksPerSecond = 100

// processUsage is what a process has used, summed over its threads.
type processUsage struct {
	cpu      time.Duration // user and system time since it started
	rssBytes int64         // resident set
	threads  int
}

// readUsage sums the usage of several processes: a pooler may be more than one (PgBouncer with so_reuseport).
func readUsage(pids []int) (processUsage, error) {
	var sum processUsage
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return sum, fmt.Errorf("measure process %d: %w", pid, err)
		}
		one, err := parseStat(string(stat), int64(os.Getpagesize()))
		if err != nil {
			return sum, fmt.Errorf("measure process %d: %w", pid, err)
		}
		sum.cpu += one.cpu
		sum.rssBytes += one.rssBytes
		sum.threads += one.threads
	}
	return sum, nil
}

// residentBytes is the resident set, exact. The figure in /proc/PID/stat is kept per processor since Linux 6.2 and may be off by
// a few hundred KiB, which is too much for a difference; where this user may not read the exact one it has to do.
func residentBytes(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			rough, err := readUsage([]int{pid})
			if err != nil {
				return 0, err
			}
			sum += rough.rssBytes
			continue
		}
		kibibytes, err := parseRollup(string(text))
		if err != nil {
			return 0, fmt.Errorf("measure process %d: %w", pid, err)
		}
		sum += kibibytes << 10
	}
	return sum, nil
}

// parseRollup finds the line "Rss:   1234 kB".
func parseRollup(text string) (kibibytes int64, err error) {
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "Rss:" {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, errors.New("no Rss line in smaps_rollup")
}

// countDescriptors is how many files the processes have open, -1 when this user may not look.
func countDescriptors(pids []int) int {
	sum := 0
	for _, pid := range pids {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			return -1
		}
		sum += len(entries)
	}
	return sum
}

// parseStat reads the fields of /proc/PID/stat that matter here. The command's name may hold spaces and parentheses, so
// fields are counted from the last closing one (proc(5): state is field 3).
func parseStat(stat string, pageBytes int64) (processUsage, error) {
	const utime, stime, threads, rss = 14 - 3, 15 - 3, 20 - 3, 24 - 3
	end := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[end+1:])
	if end < 0 || len(fields) <= rss {
		return processUsage{}, fmt.Errorf("unexpected /proc stat line %.80q", stat)
	}
	var values [4]int64
	for i, index := range []int{utime, stime, threads, rss} {
		value, err := strconv.ParseInt(fields[index], 10, 64)
		if err != nil {
			return processUsage{}, fmt.Errorf("unexpected /proc stat line %.80q: %w", stat, err)
		}
		values[i] = value
	}
	return processUsage{
		cpu:      time.Duration(values[0]+values[1]) * time.Second / ticksPerSecond,
		threads:  int(values[2]),
		rssBytes: values[3] * pageBytes,
	}, nil
}

// child is a process started by this program. Its output goes to a file in its directory.
type child struct {
	name    string
	command *exec.Cmd
	log     string
	exited  chan struct{} // closed when it has ended
}

// startChild starts a program in a process group of its own, so that the terminal's interrupt reaches this program alone and
// children are stopped in order. As root it runs under owner when that is given: PostgreSQL and PgBouncer refuse to be root.
func startChild(name, directory string, owner *syscall.Credential, program string, arguments ...string) (*child, error) {
	return startCommand(name, directory, owner, exec.Command(program, arguments...))
}

// startCommand is startChild of a program that needs more than arguments.
func startCommand(name, directory string, owner *syscall.Credential, command *exec.Cmd) (*child, error) {
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
	c := &child{name: name, command: command, log: log.Name(), exited: make(chan struct{})}
	go func() {
		_ = command.Wait() // how it ended is said by its log; that it ended, by the channel
		close(c.exited)
	}()
	return c, nil
}

// waitListening returns once the address accepts, and fails with the end of the child's log when it ends before.
func (c *child) waitListening(ctx context.Context, address string) error {
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
			return fmt.Errorf("%s ended instead of listening on %s; its log ends with:\n%s", c.name, address, c.logTail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s: %w; its log ends with:\n%s", c.name, address, err, c.logTail())
		case <-time.After(retry):
		}
	}
}

// stop asks the child to end and waits for it; it is killed when it does not within ten seconds. Stopping twice is harmless.
func (c *child) stop(ask syscall.Signal) {
	const patience = 10 * time.Second
	_ = c.command.Process.Signal(ask) // an error means that it has ended already
	select {
	case <-c.exited:
	case <-time.After(patience):
		_ = c.command.Process.Kill()
		<-c.exited
	}
}

func (c *child) logTail() string {
	const tailBytes = 2000
	text, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	if len(text) > tailBytes {
		text = text[len(text)-tailBytes:]
	}
	return string(bytes.TrimSpace(text))
}

// unprivileged is the account that programs refusing to run as root get: nil (the own one) unless this process is root.
func unprivileged(names ...string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range names {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(account.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(account.Gid, 10, 32)
		if err := errors.Join(errUID, errGID); err != nil {
			return nil, fmt.Errorf("account %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("running as root, and none of the accounts %s exists to run PostgreSQL and PgBouncer under", strings.Join(names, ", "))
}

// scratch makes a directory below the temporary one that owner may write to and everybody may enter.
func scratch(pattern string, owner *syscall.Credential) (string, error) {
	directory, err := os.MkdirTemp("", pattern)
	if err != nil {
		return "", err
	}
	if err := os.Chmod(directory, 0o755); err != nil {
		return "", err
	}
	if owner != nil {
		if err := os.Chown(directory, int(owner.Uid), int(owner.Gid)); err != nil {
			return "", err
		}
	}
	return filepath.Clean(directory), nil
}

// freePort is a port nobody listens on at this moment.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}
