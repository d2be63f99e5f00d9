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

// change watches with a filter for each direction. Where reads are paused only the end of the stream is of interest, which the filter for
// reading reports: EV_CLEAR and NOTE_LOWAT keep it from reporting unread data again and again. A filter that is there keeps its flags, so
// it is made anew.
func (k *kqueue) change(fd int, want Interest) error {
	k.drop(fd, unix.EVFILT_READ)
	if want&(WantRead|WantHangup) != 0 {
		var read unix.Kevent_t
		unix.SetKevent(&read, fd, unix.EVFILT_READ, unix.EV_ADD|unix.EV_ENABLE)
		if want&WantRead == 0 {
			read.Flags |= unix.EV_CLEAR
			read.Fflags, read.Data = unix.NOTE_LOWAT, 1<<30
		}
		if _, err := unix.Kevent(k.fd, []unix.Kevent_t{read}, nil, nil); err != nil {
			return err
		}
	}
	if want&WantWrite == 0 {
		k.drop(fd, unix.EVFILT_WRITE)
		return nil
	}
	var write unix.Kevent_t
	unix.SetKevent(&write, fd, unix.EVFILT_WRITE, unix.EV_ADD|unix.EV_ENABLE)
	_, err := unix.Kevent(k.fd, []unix.Kevent_t{write}, nil, nil)
	return err
}

// drop removes a filter, which may not be there.
func (k *kqueue) drop(fd, filter int) {
	var e unix.Kevent_t
	unix.SetKevent(&e, fd, filter, unix.EV_DELETE)
	_, _ = unix.Kevent(k.fd, []unix.Kevent_t{e}, nil, nil)
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
	k.drop(fd, unix.EVFILT_READ)
	k.drop(fd, unix.EVFILT_WRITE)
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

func (k *kqueue) SendAll(batch []Outgoing) { oneByOne(k, batch) }

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
