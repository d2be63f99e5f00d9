package auth

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// Origin holds the facts about a login's connection.
type Origin struct {
	Local   bool       // over a unix socket; Address has no meaning then
	Address netip.Addr // of the client, which a load balancer may have told
	TLS     bool
	// Endpoint is the hash of our certificate that the client has seen (tls-server-end-point, RFC 5929); nil without TLS.
	Endpoint []byte
	// CertificateName is the common name in the client's certificate, if the client sent one that client_tls_ca_file has signed.
	CertificateName string
	Certified       bool // the client sent such a certificate
	// SocketUser asks the operating system for the user at the other end of a unix socket.
	SocketUser func() (string, error)
}

// HBA is a file in the format of pg_hba.conf. Each rule names the databases, users and addresses that it is for, and the method of
// authentication. The first rule that matches decides. A client without a matching rule is refused. Immutable.
type HBA struct {
	rules []hbaRule
	maps  identMaps
}

// hbaRule is a line of the file.
type hbaRule struct {
	file      string
	line      int
	transport transport
	databases []token
	users     []token
	from      source
	method    Method
	mapName   string     // map=
	cert      clientCert // clientcert=
}

// transport is the first word of a line.
type transport uint8

const (
	overSocket transport = iota // local
	overAny                     // host
	overTLS                     // hostssl
	overNoTLS                   // hostnossl
)

// clientCert says how a rule checks the client's certificate, in addition to its method.
type clientCert uint8

const (
	certUnasked clientCert = iota
	certSigned             // verify-ca
	certNamed              // verify-full: its name must be the user's, too
)

// source holds the addresses that a rule is for.
type source struct {
	kind       sourceKind
	addr, mask netip.Addr // of fromNetwork; a mask may have holes, as in PostgreSQL
}

type sourceKind uint8

const (
	fromAnywhere sourceKind = iota
	fromNetwork
	fromSameHost
	fromSameNet
)

// asksSecrets reports whether some rule needs a stored secret.
func (h *HBA) asksSecrets() bool {
	return slices.ContainsFunc(h.rules, func(r hbaRule) bool { return r.method.secret() })
}

// Fit compares the rules with the ways in which listeners speak TLS: none does, some do, some ask for certificates of clients too. The error
// lists the rules that could only refuse. The warnings list those that match no client, as PostgreSQL's log does when ssl is off.
func (h *HBA) Fit(speakTLS, askCertificates bool) (warnings []string, err error) {
	var faults []error
	for i := range h.rules {
		r := &h.rules[i]
		switch {
		case (r.method == Cert || r.cert != certUnasked) && !askCertificates:
			faults = append(faults, r.fault("the line asks for a certificate of the client, and no listener has client_tls_ca_file, which says whose certificates count"))
		case r.method == SCRAMPlus && !speakTLS:
			faults = append(faults, r.fault("scram-sha-256-plus works over TLS alone, and no listener speaks TLS (client_tls_sslmode)"))
		case r.transport == overTLS && !speakTLS:
			warnings = append(warnings, r.fault("the line matches no client, because no listener speaks TLS (client_tls_sslmode)").Error())
		}
	}
	return warnings, errors.Join(faults...)
}

func (r *hbaRule) fault(text string) error { return fmt.Errorf("%s:%d: %s", r.file, r.line, text) }

// match finds the rule for a login. A client that is refused hears PostgreSQL's own message.
func (h *HBA) match(l *Login) (*hbaRule, error) {
	for i := range h.rules {
		r := &h.rules[i]
		if !r.transport.carries(&l.Origin) || !r.forDatabase(l) || !r.forUser(l) {
			continue
		}
		from, err := r.from.covers(&l.Origin)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", r.file, r.line, err)
		}
		if !from {
			continue
		}
		if r.method == Reject {
			return nil, protocol.ErrNotAuthorized("pg_hba.conf rejects " + l.kind() + " for " + l.described())
		}
		return r, nil
	}
	entry := "no pg_hba.conf entry for "
	if l.Physical {
		entry += l.kind() + " from "
	}
	return nil, protocol.ErrNotAuthorized(entry + l.described())
}

func (l *Login) kind() string {
	if l.Physical {
		return "replication connection"
	}
	return "connection"
}

// described names a login in PostgreSQL's words.
func (l *Login) described() string {
	host, encryption := l.Origin.Address.String(), "no encryption"
	if l.Origin.Local {
		host = "[local]"
	}
	if l.Origin.TLS {
		encryption = "SSL encryption"
	}
	if l.Physical {
		return fmt.Sprintf(`host "%s", user "%s", %s`, host, l.User, encryption)
	}
	return fmt.Sprintf(`host "%s", user "%s", database "%s", %s`, host, l.User, l.Database, encryption)
}

func (t transport) carries(o *Origin) bool {
	switch t {
	case overTLS:
		return !o.Local && o.TLS
	case overNoTLS:
		return !o.Local && !o.TLS
	case overAny:
		return !o.Local
	case overSocket:
		return o.Local
	}
	return false
}

func (r *hbaRule) forDatabase(l *Login) bool {
	for _, name := range r.databases {
		switch {
		case l.Physical:
			if name.is("replication") {
				return true // and no other word fits, not even all (manual 21.1)
			}
		case name.is("all"), name.is("sameuser") && l.Database == l.User, name.text == l.Database && !name.reserved():
			return true
		}
	}
	return false
}

// reserved reports whether a word without quotes is not the name of a database. "replication" matches physical replication alone.
func (t token) reserved() bool { return t.is("sameuser") || t.is("replication") }

func (r *hbaRule) forUser(l *Login) bool {
	for _, name := range r.users {
		if name.is("all") || name.text == l.User {
			return true
		}
	}
	return false
}

func (s *source) covers(o *Origin) (bool, error) {
	switch {
	case o.Local, s.kind == fromAnywhere:
		return true, nil
	case s.kind == fromNetwork:
		return masked(o.Address, s.addr, s.mask), nil
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false, fmt.Errorf("finding this machine's addresses: %w", err)
	}
	for _, a := range own {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		addr, ok := netip.AddrFromSlice(n.IP)
		addr = addr.Unmap()
		mask, ok2 := netip.AddrFromSlice(n.Mask)
		if !ok || !ok2 || addr.Is4() != mask.Is4() {
			continue
		}
		if s.kind == fromSameHost && o.Address.WithZone("") == addr || s.kind == fromSameNet && masked(o.Address, addr, mask) {
			return true, nil
		}
	}
	return false, nil
}

// masked reports whether two addresses of one family agree where the mask has ones.
func masked(a, b, mask netip.Addr) bool {
	if a.Is4() != b.Is4() {
		return false
	}
	x, y, m := a.As16(), b.As16(), mask.As16()
	for i := len(x) - a.BitLen()/8; i < len(x); i++ {
		if (x[i]^y[i])&m[i] != 0 {
			return false
		}
	}
	return true
}

// certified checks the client's certificate as the rule says.
func (r *hbaRule) certified(l *Login, maps identMaps) error {
	if r.cert == certUnasked {
		return nil
	}
	if !l.Origin.Certified {
		return protocol.ErrNotAuthorized("connection requires a valid client certificate")
	}
	if r.cert == certNamed && !maps.allow(r.mapName, l.Origin.CertificateName, l.User) {
		return protocol.ErrNotAuthorized(`certificate authentication failed for user "` + l.User + `"`)
	}
	return nil
}

// checkSocketUser checks the operating system's user at the other end of a unix socket.
func (r *hbaRule) checkSocketUser(l *Login, maps identMaps) error {
	refused := protocol.ErrNotAuthorized(fmt.Sprintf("Peer authentication failed for user \"%s\"", l.User))
	if l.Origin.SocketUser == nil {
		return refused
	}
	name, err := l.Origin.SocketUser()
	if err != nil {
		refused.Detail = "The operating system does not say who the client is: " + err.Error()
		return refused
	}
	if !maps.allow(r.mapName, name, l.User) {
		return refused
	}
	return nil
}
