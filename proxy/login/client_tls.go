package login

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// ClientTLS is how a listener speaks TLS. It is made from the settings of the listener and the files that they name, and replaced as a
// whole when either changes. A client keeps the ClientTLS with which it came in.
type ClientTLS struct {
	config     *tls.Config
	endpoint   []byte // tls-server-end-point of the certificate, for SCRAM-SHA-256-PLUS
	required   bool   // plain connections over the network are refused
	verify     bool   // the client must show a certificate
	files      []config.Watched
	unreadable error // why the files could not be loaded when they last changed
}

// alpn is the name that PostgreSQL's protocol has within TLS (manual 54.2.11).
const alpn = "postgresql"

// LoadTLS reads the files that the TLS settings of a listener name. It returns nil if the listener is to speak no TLS.
func (l *Listener) LoadTLS(cfg *config.Listener) (*ClientTLS, error) {
	if cfg.ClientTLSMode == "disable" || cfg.ClientTLSMode == "" {
		return nil, nil
	}
	t := &ClientTLS{
		verify: strings.HasPrefix(cfg.ClientTLSMode, "verify-"),
		config: &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13, NextProtos: []string{alpn}},
	}
	t.required = t.verify || cfg.ClientTLSMode == "require"
	for _, path := range []string{cfg.ClientTLSKeyFile, cfg.ClientTLSCertFile, cfg.ClientTLSCAFile} {
		if path != "" {
			t.files = append(t.files, config.Watch(path))
		}
	}
	switch cfg.ClientTLSProtocols {
	case "tlsv1.2":
		t.config.MaxVersion = tls.VersionTLS12
	case "tlsv1.3":
		t.config.MinVersion = tls.VersionTLS13
	}
	suites, err := config.CipherSuites(cfg.ClientTLSCiphers)
	if err != nil {
		return nil, fmt.Errorf("listener %q: client_tls_ciphers: %w", cfg.Name, err)
	}
	t.config.CipherSuites = suites
	certificate, err := tls.LoadX509KeyPair(cfg.ClientTLSCertFile, cfg.ClientTLSKeyFile)
	if err != nil {
		return nil, fmt.Errorf("listener %q: client_tls_cert_file and client_tls_key_file: %w", cfg.Name, err)
	}
	certificate.PrivateKey = l.logins.limited(certificate.PrivateKey)
	t.config.Certificates = []tls.Certificate{certificate}
	t.endpoint = auth.Endpoint(certificate.Leaf)
	if cfg.ClientTLSCAFile != "" {
		authorities, err := os.ReadFile(cfg.ClientTLSCAFile)
		if err != nil {
			return nil, fmt.Errorf("listener %q: client_tls_ca_file: %w", cfg.Name, err)
		}
		t.config.ClientCAs = x509.NewCertPool()
		if !t.config.ClientCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("listener %q: client_tls_ca_file: no certificate in %s", cfg.Name, cfg.ClientTLSCAFile)
		}
		// A client without a certificate hears an error message, after the handshake.
		t.config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return t, nil
}

// SetTLS puts t in force for clients that come from now on, and warns of files that can be used but should not be.
func (l *Listener) SetTLS(t *ClientTLS) {
	l.tls.Store(t)
	l.warn(t)
}

const (
	// certificateShort is how long before the end of a certificate the operator is warned.
	certificateShort = 14 * 24 * time.Hour
	// readableByAnybody is the permission that the file of a private key should not have.
	readableByAnybody = 0o004
)

// warn warns of files that can be used but should not be.
func (l *Listener) warn(t *ClientTLS) {
	if t == nil {
		return
	}
	log := l.logins.Log
	if leaf := t.config.Certificates[0].Leaf; leaf != nil && time.Until(leaf.NotAfter) < certificateShort {
		log.Warn("the certificate for clients ends soon, or has ended", "listener", l.name, "not_after", leaf.NotAfter)
	}
	if key := t.files[0]; key.Info != nil && key.Info.Mode()&readableByAnybody != 0 {
		log.Warn("everybody on this machine can read client_tls_key_file", "listener", l.name, "file", key.Path)
	}
}

// changed reports whether one of the files has changed since it was read.
func (t *ClientTLS) changed() bool {
	for _, f := range t.files {
		if f.Changed() {
			return true
		}
	}
	return false
}

// RenewTLS reads the files again if they have changed. The old ones stay in force until the new ones fit together: a key may follow its
// certificate a moment later.
func (l *Listener) RenewTLS() {
	old, log := l.tls.Load(), l.logins.Log
	if old == nil || !old.changed() {
		return
	}
	cfg := l.settings()
	if cfg == nil {
		return
	}
	next, err := l.LoadTLS(cfg)
	if err != nil {
		if old.unreadable == nil || old.unreadable.Error() != err.Error() {
			old.unreadable = err
			log.Warn("a certificate was replaced and cannot be used; the old one stays in force", "listener", l.name, "error", err)
		}
		return
	}
	if l.tls.CompareAndSwap(old, next) {
		log.Info("the certificate for clients was replaced", "listener", l.name)
		l.warn(next)
	}
}

// secureClient does the handshake. head holds the bytes of it that have been read.
func (t *ClientTLS) secureClient(nc net.Conn, head []byte) (*tls.Conn, error) {
	secure := tls.Server(eventloop.NewTLSTransport(nc, head), t.config)
	if err := secure.Handshake(); err != nil {
		return nil, &handshakeError{err}
	}
	return secure, nil
}

// admit refuses a client for the way it is connected. secure is nil on a plain connection; t is nil where no TLS is offered.
func (t *ClientTLS) admit(secure *tls.Conn) error {
	switch {
	case t == nil:
	case secure == nil && t.required:
		return protocol.ErrTLSRequired()
	case secure != nil && t.verify:
		if _, certified := certifiedName(secure); !certified {
			return protocol.ErrNotAuthorized("connection requires a valid client certificate")
		}
	}
	return nil
}

// certifiedName returns the common name in the client's certificate, if the client showed one. The handshake has checked its signature.
func certifiedName(secure *tls.Conn) (name string, certified bool) {
	chains := secure.ConnectionState().VerifiedChains
	if len(chains) == 0 {
		return "", false
	}
	return chains[0][0].Subject.CommonName, true
}

// handshakeError is a TLS handshake that failed. The client has received an alert and can understand nothing else.
type handshakeError struct{ cause error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.cause.Error() }
func (e *handshakeError) Unwrap() error { return e.cause }

// tlsVersion names the version of TLS on a connection for the log. It returns "" for a plain connection.
func tlsVersion(nc net.Conn) string {
	secure, ok := nc.(*tls.Conn)
	if !ok {
		return ""
	}
	return tls.VersionName(secure.ConnectionState().Version)
}

func isUnix(nc net.Conn) bool {
	_, is := nc.LocalAddr().(*net.UnixAddr)
	return is
}

var errNoALPN = errors.New("direct TLS without the protocol name postgresql (ALPN)")
