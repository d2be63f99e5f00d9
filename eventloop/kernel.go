package eventloop

import (
	"syscall"
	"time"
)

// Kernel is the operating system as one loop sees it: readiness and raw socket calls. epoll and kqueue implement it, and a simulation
// may. Only Wake may be called from outside the loop's thread.
type Kernel interface {
	// Add, Modify and Remove say what a descriptor is watched for, level-triggered. Death (HungUp) is reported always.
	Add(fd int, token uint64, want Interest) error
	Modify(fd int, token uint64, want Interest) error
	Remove(fd int) error
	// Wait fills events and returns their number. timeout < 0: until woken; 0: look only. An interrupted wait is no event.
	Wait(events []Event, timeout time.Duration) int
	// Wake makes the current or the next Wait return at once. Any goroutine.
	Wake()
	// Recv and Send never block and never enter the Go scheduler. Recv of 0 bytes without an error is the end of the stream.
	Recv(fd int, b []byte) (int, syscall.Errno)
	Send(fd int, b []byte) (int, syscall.Errno)
	// SendAll does many Sends, in order, and fills in N and Errno of each. No descriptor may be in a batch twice.
	SendAll(batch []Outgoing)
	// Batches reports that SendAll costs one system call, so that it is worth while to gather.
	Batches() bool
	// Peek reports whether a byte or the end of the stream is waiting.
	Peek(fd int) bool
	ShutdownWrite(fd int)
	CloseFD(fd int) // and no longer watch it
	// Now is monotonic time since the process started.
	Now() time.Duration
	Close() error
}

// Outgoing is one Send of a batch.
type Outgoing struct {
	FD    int
	Bytes []byte
	N     int
	Errno syscall.Errno
}

// oneByOne does the sends of a batch by a system call each.
func oneByOne(k Kernel, batch []Outgoing) {
	for i := range batch {
		o := &batch[i]
		o.N, o.Errno = k.Send(o.FD, o.Bytes)
	}
}

// Interest is what a descriptor is watched for.
type Interest uint8

// The interests.
const (
	WantRead Interest = 1 << iota
	WantWrite
	WantHangup // the end of the stream, also while nobody reads
)

// Event is a readiness report.
type Event struct {
	Token uint64
	Flags Flags
}

// Flags say what a descriptor is ready for.
type Flags uint8

// The readiness of a descriptor.
const (
	Readable   Flags = 1 << iota
	Writable         // room to send
	HalfClosed       // the other side sends no more
	HungUp           // dead
)

var processStart = time.Now()

// sinceStart is the clock of the operating system's kernels.
func sinceStart() time.Duration { return time.Since(processStart) }
