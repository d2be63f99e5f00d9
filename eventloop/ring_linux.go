package eventloop

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is an io_uring(7) that does many sends in one system call. It is used for nothing else: readiness stays with epoll, and no send waits
// (MSG_DONTWAIT), so that all of a batch have been done when the call returns.
type ring struct {
	fd         int
	queue      []byte // both rings: the system's memory, shared with it
	entries    []byte // of the submission queue
	submission []submission
	sqTail     *uint32
	sqMask     uint32
	completion []completion
	cqHead     *uint32
	cqTail     *uint32
	cqMask     uint32
}

// ringEntries is how many sends one call takes. Longer batches take several.
const ringEntries = batchMax

// The interface of the system (linux/io_uring.h).
const (
	setupClamp       = 1 << 4
	setupSubmitAll   = 1 << 7 // one that fails does not keep back those behind it; since Linux 5.18
	featureOneMap    = 1 << 0 // both rings in one mapping; since Linux 5.4
	enterGetEvents   = 1 << 0
	mapQueue         = 0
	mapEntries       = 0x10000000
	opSend           = 26
	submissionBytes  = 64
	completionBytes  = 16
	mapShared        = unix.MAP_SHARED | unix.MAP_POPULATE
	readableWritable = unix.PROT_READ | unix.PROT_WRITE
)

type ringParameters struct {
	sqEntries, cqEntries, flags, cpu, idle, features, workers uint32
	_                                                         [3]uint32
	sq                                                        struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, completions, flags, _ uint32
		_                                                          uint64
	}
}

type submission struct {
	op, flags     uint8
	priority      uint16
	fd            int32
	offset        uint64
	address       uint64
	length, mode  uint32
	token         uint64
	buffer, owner uint16
	_             int32
	_             [2]uint64
}

type completion struct {
	token  uint64
	result int32
	flags  uint32
}

// RingError says why there is no io_uring here; nil: there is. Containers often forbid it, and so may kernel.io_uring_disabled.
var RingError = sync.OnceValue(func() error {
	r, err := newRing()
	if err == nil {
		r.close()
	}
	return err
})

func newRing() (*ring, error) {
	p := ringParameters{flags: setupClamp | setupSubmitAll}
	fd, _, errno := syscall.RawSyscall(unix.SYS_IO_URING_SETUP, ringEntries, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno)
	}
	r := &ring{fd: int(fd)}
	if p.features&featureOneMap == 0 {
		r.close()
		return nil, fmt.Errorf("io_uring: %w", unix.ENOSYS)
	}
	size := max(p.sq.array+4*p.sqEntries, p.cq.completions+completionBytes*p.cqEntries)
	var err error
	if r.queue, err = unix.Mmap(r.fd, mapQueue, int(size), readableWritable, mapShared); err == nil {
		r.entries, err = unix.Mmap(r.fd, mapEntries, int(p.sqEntries)*submissionBytes, readableWritable, mapShared)
	}
	if err != nil {
		r.close()
		return nil, fmt.Errorf("mapping an io_uring: %w", err)
	}
	word := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.queue[offset])) }
	r.sqTail, r.sqMask = word(p.sq.tail), *word(p.sq.mask)
	r.cqHead, r.cqTail, r.cqMask = word(p.cq.head), word(p.cq.tail), *word(p.cq.mask)
	r.submission = unsafe.Slice((*submission)(unsafe.Pointer(&r.entries[0])), p.sqEntries)
	r.completion = unsafe.Slice((*completion)(unsafe.Pointer(&r.queue[p.cq.completions])), p.cqEntries)
	order := unsafe.Slice(word(p.sq.array), p.sqEntries)
	for i := range order {
		order[i] = uint32(i) // entries are used in the order of the ring
	}
	return r, nil
}

// sendAll does a batch and returns how many of it have been done. Less than all: the ring is of no use any more, and the rest has not been
// begun.
func (r *ring) sendAll(batch []Outgoing) (done int) {
	for done < len(batch) {
		some := batch[done:min(len(batch), done+len(r.submission))]
		n := r.submit(some)
		done += n
		if n < len(some) {
			return done
		}
	}
	return done
}

func (r *ring) submit(batch []Outgoing) (done int) {
	tail := *r.sqTail // the system only reads it
	for i := range batch {
		o := &batch[i]
		s := &r.submission[(tail+uint32(i))&r.sqMask]
		*s = submission{
			op: opSend, fd: int32(o.FD), address: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(o.Bytes)))), length: uint32(len(o.Bytes)),
			mode: unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL, token: uint64(i),
		}
	}
	atomic.StoreUint32(r.sqTail, tail+uint32(len(batch)))
	submitted := 0
	for submitted < len(batch) {
		n, ok := r.enter(len(batch)-submitted, 0, 0)
		if !ok || n == 0 {
			break
		}
		submitted += n
	}
	for done < submitted {
		n := r.reap(batch)
		if done += n; n > 0 || done == submitted {
			continue
		}
		if _, ok := r.enter(0, submitted-done, enterGetEvents); !ok {
			break
		}
	}
	runtime.KeepAlive(batch)
	return submitted
}

// reap takes in what has been done.
func (r *ring) reap(batch []Outgoing) int {
	head, tail := *r.cqHead, atomic.LoadUint32(r.cqTail)
	for at := head; at != tail; at++ {
		c := &r.completion[at&r.cqMask]
		o := &batch[c.token]
		if o.N, o.Errno = int(c.result), 0; c.result < 0 {
			o.N, o.Errno = 0, syscall.Errno(-c.result)
		}
	}
	atomic.StoreUint32(r.cqHead, tail)
	return int(tail - head)
}

// enter is io_uring_enter(2), which does not wait unless it is told to.
func (r *ring) enter(submit, wait int, flags uintptr) (int, bool) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(submit), uintptr(wait), flags, 0, 0)
		if errno == 0 {
			return int(n), true
		}
		if errno != syscall.EINTR && errno != syscall.EAGAIN && errno != syscall.EBUSY {
			return 0, false
		}
	}
}

func (r *ring) close() {
	if r.entries != nil {
		_ = unix.Munmap(r.entries)
	}
	if r.queue != nil {
		_ = unix.Munmap(r.queue)
	}
	_ = unix.Close(r.fd)
}
