package eventloop

import (
	"time"

	"golang.org/x/sys/unix"
)

func threadID() int64 { return int64(unix.Gettid()) }

// threadTime is the processor time that a thread of this process has used. Its clock is named after it (clock_getcpuclockid(3)).
func threadTime(id int64) (used time.Duration, ok bool) {
	const perThread, schedulerTime = 4, 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^id<<3|perThread|schedulerTime), &t); err != nil {
		return 0, false
	}
	return time.Duration(t.Nano()), true
}
