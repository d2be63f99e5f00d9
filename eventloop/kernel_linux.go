package eventloop

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epoll is the Kernel of Linux. Where the system lets it, sends go through an io_uring, many at once.
type epoll struct {
	fd, wakeFD int
	ring       *ring // nil: one by one
	buffer     [maxEvents]unix.EpollEvent
}

// maxEvents is how many readiness reports one look takes.
const maxEvents = 256

// keepP is how long a wait may block without telling the Go scheduler. Short waits under load then cost one bare system call; the
// runtime's preemption signal interrupts it, so that a garbage collection is not held up. Longer ones go through the scheduler, so that
// an idle process sleeps as a whole.
const keepP = 2 * time.Millisecond

func newKernel(o Options) (Kernel, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	k := &epoll{fd: fd, wakeFD: wake}
	if !o.OneByOne {
		k.ring, _ = newRing() // not there, or not allowed: see RingError
	}
	return k, k.Add(wake, wakeToken, WantRead)
}

// wakeToken marks the eventfd.
const wakeToken = ^uint64(0)

func event(token uint64, want Interest) *unix.EpollEvent {
	e := &unix.EpollEvent{Fd: int32(token), Pad: int32(token >> 32)}
	if want&WantRead != 0 {
		e.Events |= unix.EPOLLIN
	}
	if want&WantWrite != 0 {
		e.Events |= unix.EPOLLOUT
	}
	if want&WantHangup != 0 {
		e.Events |= unix.EPOLLRDHUP
	}
	return e
}

func (k *epoll) Add(fd int, token uint64, want Interest) error {
	return k.control(unix.EPOLL_CTL_ADD, fd, event(token, want))
}

func (k *epoll) Modify(fd int, token uint64, want Interest) error {
	return k.control(unix.EPOLL_CTL_MOD, fd, event(token, want))
}

func (k *epoll) Remove(fd int) error { return k.control(unix.EPOLL_CTL_DEL, fd, nil) }

// control is epoll_ctl. As with all system calls of a loop that do not block, the Go scheduler does not hear of it: of one that takes a
// little longer it would think that the thread sleeps, and give its P to others; the loop then had to wait for one.
func (k *epoll) control(operation, fd int, e *unix.EpollEvent) error {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_CTL, uintptr(k.fd), uintptr(operation), uintptr(fd), uintptr(unsafe.Pointer(e)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func (k *epoll) Wait(events []Event, timeout time.Duration) int {
	n := k.look(len(events), 0)
	if n == 0 && timeout != 0 {
		quick := keepP
		if timeout > 0 {
			quick = min(quick, timeout)
		}
		n = k.look(len(events), int(quick.Milliseconds()))
		if n == 0 && (timeout < 0 || timeout > keepP) {
			n = k.sleep(len(events), timeout)
		}
	}
	out := 0
	for i := range n {
		e := &k.buffer[i]
		token := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
		if token == wakeToken {
			var count [8]byte
			_, _, _ = syscall.RawSyscall(syscall.SYS_READ, uintptr(k.wakeFD), uintptr(unsafe.Pointer(&count)), uintptr(len(count)))
			continue
		}
		events[out] = Event{Token: token, Flags: flagsOf(e.Events)}
		out++
	}
	return out
}

func flagsOf(bits uint32) (f Flags) {
	if bits&unix.EPOLLIN != 0 {
		f |= Readable
	}
	if bits&unix.EPOLLOUT != 0 {
		f |= Writable
	}
	if bits&unix.EPOLLRDHUP != 0 {
		f |= HalfClosed
	}
	if bits&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		f |= HungUp
	}
	return f
}

// look waits without the Go scheduler's knowledge.
func (k *epoll) look(n, milliseconds int) int {
	r, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(k.fd), uintptr(unsafe.Pointer(&k.buffer)), uintptr(min(n, maxEvents)),
		uintptr(milliseconds), 0, 0)
	if errno != 0 {
		return 0
	}
	return int(r)
}

// sleep waits with its knowledge.
func (k *epoll) sleep(n int, timeout time.Duration) int {
	milliseconds := -1
	if timeout >= 0 {
		milliseconds = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	got, err := unix.EpollWait(k.fd, k.buffer[:min(n, maxEvents)], milliseconds)
	if err != nil {
		return 0
	}
	return got
}

func (k *epoll) Wake() {
	one := [8]byte{1}
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(k.wakeFD), uintptr(unsafe.Pointer(&one)), uintptr(len(one))) // a full counter has woken it already
}

func (k *epoll) Recv(fd int, b []byte) (int, syscall.Errno) {
	r, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT, 0, 0)
	return int(r), errno
}

func (k *epoll) Send(fd int, b []byte) (int, syscall.Errno) {
	r, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(r), errno
}

func (k *epoll) Batches() bool { return k.ring != nil }

func (k *epoll) SendAll(batch []Outgoing) {
	if k.ring == nil {
		oneByOne(k, batch)
		return
	}
	if done := k.ring.sendAll(batch); done < len(batch) {
		k.ring.close() // it has been taken from us: a sandbox that came later
		k.ring = nil
		oneByOne(k, batch[done:])
	}
}

func (k *epoll) Peek(fd int) bool {
	var b [1]byte
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b)), 1, unix.MSG_DONTWAIT|unix.MSG_PEEK, 0, 0)
	return errno != syscall.EAGAIN
}

func (k *epoll) ShutdownWrite(fd int) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
}

func (k *epoll) CloseFD(fd int)     { _, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0) }
func (k *epoll) Now() time.Duration { return sinceStart() }

func (k *epoll) Close() error {
	if k.ring != nil {
		k.ring.close()
	}
	_ = unix.Close(k.wakeFD)
	return unix.Close(k.fd)
}
