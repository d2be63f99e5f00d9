package proxy

import (
	"context"
	"crypto"
	"errors"
	"io"
)

// turnSigner signs for TLS handshakes, which is most of what one costs, no more of them at once than there are login slots: a storm of
// logins must not take the processors away from running queries.
type turnSigner struct {
	crypto.Signer
	slots slots
	life  context.Context // that of the proxy
}

// Sign waits for a slot. Whoever waits holds nothing but its own socket, which closes in time.
func (s *turnSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if !s.slots.take(s.life) {
		return nil, errors.New("the pooler is shutting down")
	}
	defer s.slots.free()
	return s.Signer.Sign(rand, digest, opts)
}

// inTurn makes a certificate's private key sign in turn.
func (p *Proxy) inTurn(key crypto.PrivateKey) crypto.PrivateKey {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return key
	}
	return &turnSigner{Signer: signer, slots: p.loginSlots, life: p.life}
}
