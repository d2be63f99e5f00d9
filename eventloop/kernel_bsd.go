//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package eventloop

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kqueue is the Kernel of macOS and the BSDs. Tokens are kept beside it, because kevent's user data is a pointer there.
type kqueue struct {
	fd, wakeR, wakeW int
	tokens           map[int]uint64
	buffer           [maxEvents]unix.Kevent_t
}

const maxEvents = 256

func newKernel(Options) (Kernel, error) {
	fd, err := unix.Kqueue()
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	for _, p := range pipe {
		unix.CloseOnExec(p)
		if err := unix.SetNonblock(p, true); err != nil {
			return nil, err
		}
	}
	k := &kqueue{fd: fd, wakeR: pipe[0], wakeW: pipe[1], tokens: make(map[int]uint64)}
	return k, k.Add(k.wakeR, wakeToken, WantRead)
}

const wakeToken = ^uint64(0)

// change watches for reading always: the end of a stream is reported there. NOTE_LOWAT keeps unread data quiet while reads are paused.
func (k *kqueue) change(fd int, want Interest) error {
	read := unix.Kevent_t{Flags: unix.EV_ADD | unix.EV_ENABLE}
	unix.SetKevent(&read, fd, unix.EVFILT_READ, unix.EV_ADD|unix.EV_ENABLE)
	if want&WantRead == 0 {
		read.Fflags, read.Data = unix.NOTE_LOWAT, 1<<30
	}
	write := unix.Kevent_t{}
	if want&WantWrite != 0 {
		unix.SetKevent(&write, fd, unix.EVFILT_WRITE, unix.EV_ADD|unix.EV_ENABLE)
		_, err := unix.Kevent(k.fd, []unix.Kevent_t{read, write}, nil, nil)
		return err
	}
	if _, err := unix.Kevent(k.fd, []unix.Kevent_t{read}, nil, nil); err != nil {
		return err
	}
	unix.SetKevent(&write, fd, unix.EVFILT_WRITE, unix.EV_DELETE)
	_, _ = unix.Kevent(k.fd, []unix.Kevent_t{write}, nil, nil) // it may not have been there
	return nil
}

func (k *kqueue) Add(fd int, token uint64, want Interest) error {
	k.tokens[fd] = token
	return k.change(fd, want)
}

func (k *kqueue) Modify(fd int, token uint64, want Interest) error {
	return k.Add(fd, token, want)
}

func (k *kqueue) Remove(fd int) error {
	delete(k.tokens, fd)
	for _, filter := range []int{unix.EVFILT_READ, unix.EVFILT_WRITE} {
		var e unix.Kevent_t
		unix.SetKevent(&e, fd, filter, unix.EV_DELETE)
		_, _ = unix.Kevent(k.fd, []unix.Kevent_t{e}, nil, nil)
	}
	return nil
}

func (k *kqueue) Wait(events []Event, timeout time.Duration) int {
	var ts *unix.Timespec
	if timeout >= 0 {
		t := unix.NsecToTimespec(int64(timeout))
		ts = &t
	}
	n, err := unix.Kevent(k.fd, nil, k.buffer[:min(len(events), maxEvents)], ts)
	if err != nil {
		return 0
	}
	out := 0
	for i := range n {
		e := &k.buffer[i]
		fd := int(e.Ident)
		if fd == k.wakeR {
			var b [64]byte
			_, _ = unix.Read(k.wakeR, b[:])
			continue
		}
		var f Flags
		switch {
		case e.Filter == unix.EVFILT_WRITE:
			f = Writable
		case e.Flags&unix.EV_EOF != 0:
			f = Readable | HalfClosed
			if e.Fflags != 0 {
				f |= HungUp
			}
		default:
			f = Readable
		}
		events[out] = Event{Token: k.tokens[fd], Flags: f}
		out++
	}
	return out
}

func (k *kqueue) Wake() { _, _ = unix.Write(k.wakeW, []byte{1}) }

func (k *kqueue) Recv(fd int, b []byte) (int, syscall.Errno) {
	n, _, err := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT)
	return n, errnoOf(err)
}

func (k *kqueue) Send(fd int, b []byte) (int, syscall.Errno) {
	n, err := unix.SendmsgN(fd, b, nil, nil, unix.MSG_DONTWAIT)
	return n, errnoOf(err)
}

func (k *kqueue) Batches() bool { return false }

func (k *kqueue) Transfer(batch []Transfer) { oneByOne(k, batch) }

func (k *kqueue) Peek(fd int) bool {
	var b [1]byte
	_, _, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT|unix.MSG_PEEK)
	return errnoOf(err) != syscall.EAGAIN
}

func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if errno, ok := err.(syscall.Errno); ok { //nolint:errorlint // x/sys returns it bare
		return errno
	}
	return syscall.EIO
}

func (k *kqueue) ShutdownWrite(fd int) { _ = unix.Shutdown(fd, unix.SHUT_WR) }
func (k *kqueue) CloseFD(fd int)       { _ = unix.Close(fd) }
func (k *kqueue) Now() time.Duration   { return sinceStart() }

func (k *kqueue) Close() error {
	_ = unix.Close(k.wakeR)
	_ = unix.Close(k.wakeW)
	return unix.Close(k.fd)
}

// RingError: there is no io_uring here.
func RingError() error { return syscall.ENOSYS }
