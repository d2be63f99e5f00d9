package measure

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is USER_HZ, the unit of the times in /proc/PID/stat: 100 in every Linux ABI Go runs on (proc(5), sysconf(3)).
const ticksPerSecond = 100

// Usage is the processor time and memory of a process, summed over its threads.
type processUsage struct {
	CPU      time.Duration // user and system time since it started
	RSSBytes int64         // resident set
	Threads  int
}

// ReadUsage sums the usage of several processes: a pooler may be more than one (PgBouncer with so_reuseport).
func ReadUsage(pids []int) (processUsage, error) {
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
		sum.CPU += one.CPU
		sum.RSSBytes += one.RSSBytes
		sum.Threads += one.Threads
	}
	return sum, nil
}

// ResidentBytes is the resident set, exact. The figure in /proc/PID/stat is kept per processor since Linux 6.2 and may be off by
// a few hundred KiB, which is too much for a difference; where this user may not read the exact one it has to do.
func ResidentBytes(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			rough, err := ReadUsage([]int{pid})
			if err != nil {
				return 0, err
			}
			sum += rough.RSSBytes
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

// CountDescriptors is how many files the processes have open, -1 when this user may not look.
func CountDescriptors(pids []int) int {
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
		CPU:      time.Duration(values[0]+values[1]) * time.Second / ticksPerSecond,
		Threads:  int(values[2]),
		RSSBytes: values[3] * pageBytes,
	}, nil
}

// LargestResident is the most that the processes have had in memory, each at its own time.
func LargestResident(pids []int) (int64, error) {
	sum := int64(0)
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, fmt.Errorf("measure process %d: %w", pid, err)
		}
		_, line, found := strings.Cut(string(text), "VmHWM:")
		fields := strings.Fields(line)
		if !found || len(fields) == 0 {
			return 0, fmt.Errorf("measure process %d: no VmHWM", pid)
		}
		kibibytes, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("measure process %d: %w", pid, err)
		}
		sum += kibibytes << 10
	}
	return sum, nil
}
