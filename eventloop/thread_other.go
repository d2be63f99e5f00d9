//go:build !linux

package eventloop

// threadID: this system has no cheap thread id; the check is Linux's.
func threadID() int64 { return 0 }
