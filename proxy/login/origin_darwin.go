package login

import "golang.org/x/sys/unix"

// otherEndUser returns the user id of the process at the other end of a unix socket.
func otherEndUser(fd int) (uint32, error) {
	const solLocal = 0 // SOL_LOCAL of sys/un.h
	c, err := unix.GetsockoptXucred(fd, solLocal, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return c.Uid, nil
}
