package pgtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority is a certificate authority for one test or cluster. Immutable.
type Authority struct {
	File string // its own certificate, PEM, readable by everybody

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes one; its certificate is written to folder.
func NewAuthority(folder string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificateFor("hybridbouncer test CA")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	a := &Authority{File: filepath.Join(folder, "ca.crt"), key: key}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return a, os.WriteFile(a.File, encodePEM("CERTIFICATE", der), 0o644)
}

// Sign makes a key and a certificate for servers and clients alike, with name as its common name, for these hosts; none: localhost and
// 127.0.0.1.
func (a *Authority) Sign(name string, hosts ...string) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	leaf := certificateFor(name)
	if leaf.DNSNames = hosts; len(hosts) == 0 {
		leaf.DNSNames, leaf.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.certificate, &private.PublicKey, a.key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return encodePEM("CERTIFICATE", der), encodePEM("EC PRIVATE KEY", keyDER), nil
}

// Issue is Sign into two files, name.crt and name.key in folder.
func (a *Authority) Issue(t TB, folder, name string) (certificateFile, keyFile string) {
	t.Helper()
	certificate, key, err := a.Sign(name)
	if err != nil {
		t.Fatalf("sign a certificate for %s: %v", name, err)
	}
	certificateFile, keyFile = filepath.Join(folder, name+".crt"), filepath.Join(folder, name+".key")
	for path, text := range map[string][]byte{certificateFile: certificate, keyFile: key} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatalf("write a certificate for %s: %v", name, err)
		}
	}
	return certificateFile, keyFile
}

// writeCertificate makes a CA and a server certificate signed by it, where PostgreSQL looks for server.crt and server.key.
func (c *Cluster) writeCertificate() error {
	authority, err := NewAuthority(c.folder) // outside the data directory, which only the server's user may enter
	if err != nil {
		return err
	}
	c.Authority, c.CAFile = authority, authority.File
	certificate, key, err := authority.Sign("localhost")
	if err != nil {
		return err
	}
	if err := c.writeFile("server.crt", string(certificate)); err != nil {
		return err
	}
	return c.writeFile("server.key", string(key))
}

// certificateFor is the template that all share: valid from an hour ago (clocks of containers differ) for a day.
func certificateFor(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
