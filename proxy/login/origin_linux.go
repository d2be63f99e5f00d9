package login

import "golang.org/x/sys/unix"

// otherEndUser returns the user id of the process at the other end of a unix socket.
func otherEndUser(fd int) (uint32, error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return c.Uid, nil
}
