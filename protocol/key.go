package protocol

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
)

// cancelSecretMax is the longest secret of protocol 3.2 (manual 54.2.1).
const cancelSecretMax = 256

// CancelKey is what a CancelRequest must show: the process id and the secret of BackendKeyData. A secret has 4 bytes in protocol 3.0, up
// to 256 in 3.2; that of a server is opaque.
type CancelKey struct {
	ProcessID uint32
	Secret    []byte
}

// NewCancelKey makes a key with a random secret.
func NewCancelKey(pid uint32, secretBytes int) (CancelKey, error) {
	k := CancelKey{ProcessID: pid, Secret: make([]byte, secretBytes)}
	_, err := rand.Read(k.Secret)
	return k, err
}

// Equal compares in constant time.
func (k CancelKey) Equal(o CancelKey) bool {
	return k.ProcessID == o.ProcessID && subtle.ConstantTimeCompare(k.Secret, o.Secret) == 1
}

// AppendBackendKeyData builds the message that tells a client its key.
func AppendBackendKeyData(dst []byte, k CancelKey) []byte {
	dst = append(dst, ServerBackendKeyData)
	dst = binary.BigEndian.AppendUint32(dst, uint32(8+len(k.Secret)))
	dst = binary.BigEndian.AppendUint32(dst, k.ProcessID)
	return append(dst, k.Secret...)
}

// AppendCancelRequest builds the packet that asks a server to cancel.
func AppendCancelRequest(dst []byte, k CancelKey) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(12+len(k.Secret)))
	dst = binary.BigEndian.AppendUint32(dst, cancelRequestCode)
	dst = binary.BigEndian.AppendUint32(dst, k.ProcessID)
	return append(dst, k.Secret...)
}
