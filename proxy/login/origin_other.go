//go:build !linux && !darwin

package login

import "errors"

// otherEndUser fails: this system has no way that is used here.
func otherEndUser(int) (uint32, error) {
	return 0, errors.New("peer: this system is not asked who is at the other end of a unix socket")
}
