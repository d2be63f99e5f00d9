package protocol

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// Lengths of a cancel key's secret: 4 bytes in protocol 3.0, up to 256 in 3.2 (manual 54.7, BackendKeyData).
const (
	cancelSecretMin = 4
	cancelSecretMax = 256
)

// CancelKey is what a CancelRequest must show: the process id and the secret of BackendKeyData. That of a server is opaque.
type CancelKey struct {
	ProcessID uint32
	Secret    []byte // never changed; may be shared
}

// NewCancelKey makes a key with a secret of secretBytes (4 to 256) from the operating system's random numbers.
func NewCancelKey(pid uint32, secretBytes int) (CancelKey, error) {
	if secretBytes < cancelSecretMin || secretBytes > cancelSecretMax {
		return CancelKey{}, fmt.Errorf("a cancel key of %d bytes: the protocol allows %d to %d", secretBytes, cancelSecretMin, cancelSecretMax)
	}
	k := CancelKey{ProcessID: pid, Secret: make([]byte, secretBytes)}
	_, err := rand.Read(k.Secret)
	return k, err
}

// Equal compares in constant time, but for the lengths of the secrets and the process ids, which are no secrets. Keys without a
// secret equal nothing.
func (k CancelKey) Equal(o CancelKey) bool {
	return k.ProcessID == o.ProcessID && len(k.Secret) > 0 && subtle.ConstantTimeCompare(k.Secret, o.Secret) == 1
}

// AppendBackendKeyData builds the message that tells a client its key.
func AppendBackendKeyData(dst []byte, k CancelKey) []byte {
	dst = append(dst, ServerBackendKeyData)
	dst = binary.BigEndian.AppendUint32(dst, uint32(8+len(k.Secret)))
	dst = binary.BigEndian.AppendUint32(dst, k.ProcessID)
	return append(dst, k.Secret...)
}

// AppendCancelRequest builds the packet that asks a server to cancel. It goes alone over a connection of its own.
func AppendCancelRequest(dst []byte, k CancelKey) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(12+len(k.Secret)))
	dst = binary.BigEndian.AppendUint32(dst, cancelRequestCode)
	dst = binary.BigEndian.AppendUint32(dst, k.ProcessID)
	return append(dst, k.Secret...)
}
