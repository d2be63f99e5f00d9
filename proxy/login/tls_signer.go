package login

import (
	"context"
	"crypto"
	"errors"
	"io"

	"golang.org/x/sync/semaphore"
)

// limitedSigner signs for TLS handshakes, which is most of the cost of one. It computes no more signatures at once than there are login
// slots: a storm of logins must not take the processors away from running queries.
type limitedSigner struct {
	crypto.Signer
	computing *semaphore.Weighted // see Logins.computing
	life      context.Context     // of the pooler: crypto.Signer has no context of its own
}

// Sign waits for a login slot. A login that waits holds nothing but its own socket, which closes in time.
func (s *limitedSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if s.computing.Acquire(s.life, 1) != nil {
		return nil, errors.New("the pooler is shutting down")
	}
	defer s.computing.Release(1)
	return s.Signer.Sign(rand, digest, opts)
}

// limited makes a certificate's private key a limitedSigner.
func (s *Logins) limited(key crypto.PrivateKey) crypto.PrivateKey {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return key
	}
	return &limitedSigner{Signer: signer, computing: s.computing, life: s.Life}
}
