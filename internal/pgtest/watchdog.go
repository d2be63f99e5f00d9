package pgtest

import (
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"sync"
	"syscall"
)

// watchdogScript is a shell that outlives this process to clean up after it. Its standard input is a pipe whose other end only we
// hold, so it ends however we end: exit, panic, go test's time-out, SIGKILL. Until then each line tells of a process ("run 123",
// "end 123"). Then it ends those still running (SIGQUIT is PostgreSQL's immediate shutdown, which takes its children along), by
// force after five seconds, and removes our folder. A shell and a pipe rather than a parent-death signal: they also work on
// macOS, are not bound to one of our threads, and remove the data too.
//
// A process is named as a group (-123): initdb's children are in its group; those of a postmaster are not, but obey it.
const watchdogScript = `
trap '' HUP INT QUIT TERM
cd /
running=
while read -r event pid; do
	case $event in
	run) running="$running $pid" ;;
	end) rest=
		for p in $running; do [ "$p" = "$pid" ] || rest="$rest $p"; done
		running=$rest ;;
	esac
done
for p in $running; do kill -s QUIT -- "-$p" 2>/dev/null; done
for p in $running; do
	tries=0
	while kill -s 0 -- "-$p" 2>/dev/null; do
		tries=$((tries + 1))
		if [ $tries -gt 100 ]; then kill -s KILL -- "-$p" 2>/dev/null; break; fi
		sleep 0.05
	done
done
rm -rf -- "$1"
`

// watchdog is the running script.
var watchdog struct {
	mu      sync.Mutex
	cmd     *exec.Cmd
	pipe    io.WriteCloser // nil: not running
	running map[int]bool   // processes that the script was told of and that have not ended, by id
}

// startWatchdog starts the script for the folder root. It runs in a session of its own, so that a signal typed at the terminal, or sent to
// our process group, leaves it alone.
func startWatchdog(root string) error {
	watchdog.mu.Lock()
	defer watchdog.mu.Unlock()
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "hybridbouncer-pgtest-watchdog", root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the watchdog that removes PostgreSQL when this process is gone: %w", err)
	}
	watchdog.cmd, watchdog.pipe, watchdog.running = cmd, pipe, map[int]bool{}
	return nil
}

// watch tells the watchdog of a process to end when we are gone.
func watch(pid int) {
	watchdog.mu.Lock()
	defer watchdog.mu.Unlock()
	if watchdog.pipe != nil {
		watchdog.running[pid] = true
		_, _ = fmt.Fprintln(watchdog.pipe, "run", pid)
	}
}

// unwatch tells it that the process has ended, so that its number can be given to another.
func unwatch(pid int) {
	watchdog.mu.Lock()
	defer watchdog.mu.Unlock()
	if watchdog.pipe != nil {
		delete(watchdog.running, pid)
		_, _ = fmt.Fprintln(watchdog.pipe, "end", pid)
	}
}

// stillRunning is the error of a test run that left servers running; nil if there are none.
func stillRunning() error {
	watchdog.mu.Lock()
	defer watchdog.mu.Unlock()
	if len(watchdog.running) == 0 {
		return nil
	}
	return fmt.Errorf("the tests left PostgreSQL running (a Cluster without Stop): processes %v",
		slices.Sorted(maps.Keys(watchdog.running)))
}

// Cleanup ends every server of this process that is still running, removes all folders, and waits for that to be done; Main calls
// it. Without it the same happens when the process ends. A later Start begins anew.
func Cleanup() error {
	workshop.mu.Lock()
	defer workshop.mu.Unlock()
	watchdog.mu.Lock()
	cmd, pipe := watchdog.cmd, watchdog.pipe
	watchdog.cmd, watchdog.pipe, watchdog.running = nil, nil, nil
	watchdog.mu.Unlock()
	workshop.root, workshop.template = "", ""
	if pipe == nil {
		return nil
	}
	_ = pipe.Close()
	return cmd.Wait()
}
