//go:build !linux

package eventloop

import "time"

// threadID: this system has no cheap thread id; the check is Linux's.
func threadID() int64 { return 0 }

// threadTime: nor a clock of another thread.
func threadTime(int64) (time.Duration, bool) { return 0, false }
