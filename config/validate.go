package config

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate gives every fault of the configuration, in no order; none means the program can start with it, as far as that can be
// told without opening a socket. It changes nothing; it looks whether the files that are named exist. No text holds a secret.
func (c *Config) Validate() []Problem {
	v := &validator{config: c}
	for _, t := range c.targets() {
		v.value(t)
	}
	v.server()
	v.auth()
	v.hba()
	v.listeners()
	v.databases()
	v.addresses()
	return v.faults
}

type validator struct {
	config *Config
	faults []Problem
}

func (v *validator) fault(key, format string, args ...any) {
	v.faults = append(v.faults, v.config.problem(key, format, args...))
}

// value checks what the key table says of a setting: range, words, existence of its file.
func (v *validator) value(t target) {
	switch p := t.key.field(t.section).(type) {
	case *int:
		v.number(t, *p)
	case *time.Duration:
		if *p < 0 {
			v.fault(t.path, "must not be negative; 0 means: %s", t.key.Zero)
		} else if *p > maxDuration {
			v.fault(t.path, "must be below a century")
		}
	case *string:
		if len(t.key.Allowed) > 0 && !slices.Contains(t.key.Allowed, *p) {
			v.word(t, *p)
		} else if strings.ContainsRune(*p, 0) {
			v.fault(t.path, "must not contain a zero byte")
		} else if t.key.Path && *p != "" && *p != "system" {
			v.file(t.path, *p)
		}
	}
}

func (v *validator) number(t target, n int) {
	// 0 in [databases] and [users] means "not set".
	unset := n == 0 && (strings.HasPrefix(t.path, "databases.") || strings.HasPrefix(t.path, "users."))
	switch {
	case unset:
	case n < t.key.Min && t.key.Max > 0, t.key.Max > 0 && n > t.key.Max:
		v.fault(t.path, "must be from %d to %d, not %d", t.key.Min, t.key.Max, n)
	case n < t.key.Min:
		v.fault(t.path, "must be at least %d, not %d", t.key.Min, n)
	}
}

func (v *validator) word(t target, word string) {
	text := fmt.Sprintf("must be one of %s, not %q", strings.Join(t.key.Allowed, ", "), word)
	if t.path == "auth.type" && slices.Contains([]string{"pam", "ldap", "any"}, word) {
		text = fmt.Sprintf("this version has no auth type %q; it has %s", word, strings.Join(t.key.Allowed, ", "))
	} else if t.path == "auth.type" && word == "peer" {
		text = "write hba, and a line with the method peer in auth_hba_file"
	}
	p := v.config.problem(t.path, "%s", text)
	p.Nearest = nearest(word, t.key.Allowed)
	v.faults = append(v.faults, p)
}

// file checks that a named file can be opened. What is in it is judged by who reads it.
func (v *validator) file(key, name string) {
	file, err := os.Open(name)
	if err != nil {
		v.fault(key, "%v", err)
		return
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		v.fault(key, "%s is a directory, not a file", name)
	}
}

func (v *validator) server() {
	s := &v.config.Server
	v.host("server.host", s.Host, true)
	if (s.SSLCert == "") != (s.SSLKey == "") {
		v.fault("server.sslcert", "sslcert and sslkey belong together: set both or none")
	}
	if strings.HasPrefix(s.SSLMode, "verify-") && s.SSLRootCert == "" {
		v.fault("server.sslmode", "%s needs sslrootcert: a file of certificate authorities, or \"system\"", s.SSLMode)
	}
	if s.SSLRootCert == "system" && s.SSLMode != "verify-full" {
		v.fault("server.sslmode", "must be verify-full with sslrootcert = \"system\": anybody can have a certificate of those authorities, for another name")
	}
	if s.SSLNegotiation == "direct" && slices.Contains([]string{"disable", "allow", "prefer"}, s.SSLMode) {
		v.fault("server.sslnegotiation", "direct needs sslmode require, verify-ca or verify-full, not %s", s.SSLMode)
	}
	if s.Password != "" && s.User == "" {
		v.fault("server.password", "needs server.user; without one, servers log in as the client's user, with the password of the user file")
	}
}

// host checks a comma list of names, addresses and directories. It never repeats the value: a URL with a password may stand there.
func (v *validator) host(key, hosts string, needed bool) {
	if hosts == "" {
		if needed {
			v.fault(key, "must not be empty; PostgreSQL on this machine is 127.0.0.1, or a directory such as /run/postgresql")
		}
		return
	}
	for host := range strings.SplitSeq(hosts, ",") {
		switch {
		case strings.TrimSpace(host) == "":
			v.fault(key, "has an empty name in its list")
		case strings.HasPrefix(host, "/"):
		case strings.Contains(host, "://"):
			v.fault(key, "wants a name or address, not a URL; a URL can be given as DATABASE_URL in the environment")
		case strings.Count(host, ":") == 1:
			v.fault(key, "wants no port; that is the key port")
		case strings.ContainsAny(host, "/ @"):
			v.fault(key, "wants a name, an address, or an absolute directory")
		}
	}
}

func (v *validator) auth() {
	a := &v.config.Auth
	if a.Password != "" && a.User == "" {
		v.fault("auth.password", "needs auth.user")
	}
	if a.User != "" && a.Password == "" && a.Type != "trust" {
		v.fault("auth.user", "needs auth.password")
	}
	if slices.Contains([]string{"password", "md5", "scram-sha-256", "scram-sha-256-plus"}, a.Type) && a.UserFile == "" && a.User == "" && !v.config.AsksPostgreSQL() {
		v.fault("auth.user_file", "auth type %s needs a user_file (lines of \"name\" \"password\"), or auth.user and auth.password, or auth_user to ask PostgreSQL", a.Type)
	}
	if !strings.Contains(a.AuthQuery, "$1") {
		v.fault("auth.auth_query", "must name the user as $1")
	}
}

// hba: the files are read by who uses them.
func (v *validator) hba() {
	a := &v.config.Auth
	if (a.Type == "hba") != (a.HBAFile != "") {
		v.fault("auth.auth_hba_file", "type = \"hba\" and auth_hba_file belong together: set both or none")
	}
	if a.IdentFile != "" && a.Type != "hba" {
		v.fault("auth.auth_ident_file", "is of use with type = \"hba\" alone, where lines of auth_hba_file name maps")
	}
}

func (v *validator) listeners() {
	c := v.config
	if len(c.Listeners) == 0 {
		v.fault("listener", "there must be a [[listener]]")
	}
	names := map[string]int{}
	for i := range c.Listeners {
		l, group := &c.Listeners[i], c.listenerPath(i)
		v.listenerName(l.Name, group, names)
		if len(l.Listen) == 0 {
			v.fault(group+".listen", "must have an address, such as listen = [\"127.0.0.1:6432\"]")
		}
		for _, address := range l.Listen {
			if text := addressFault(address); text != "" {
				v.fault(group+".listen", "%q %s", address, text)
			}
		}
		v.proxyProtocol(l, group)
		if l.MinPoolSize > l.DefaultPoolSize {
			v.fault(group+".min_pool_size", "must not be above default_pool_size (%d), is %d", l.DefaultPoolSize, l.MinPoolSize)
		}
		v.promotion(group, l)
		if mode, err := strconv.ParseUint(l.UnixSocketMode, 8, 32); err != nil || fs.FileMode(mode) > fs.ModePerm {
			v.fault(group+".unix_socket_mode", "must be an octal number such as \"0777\"")
		}
		v.clientTLS(l, group)
	}
}

func (v *validator) clientTLS(l *Listener, group string) {
	if _, err := CipherSuites(l.ClientTLSCiphers); err != nil {
		v.fault(group+".client_tls_ciphers", "%v", err)
	}
	if l.ClientTLSMode == "disable" {
		return
	}
	if l.ClientTLSKeyFile == "" || l.ClientTLSCertFile == "" {
		v.fault(group+".client_tls_sslmode", "%s needs client_tls_key_file and client_tls_cert_file", l.ClientTLSMode)
	}
	if strings.HasPrefix(l.ClientTLSMode, "verify-") && l.ClientTLSCAFile == "" {
		v.fault(group+".client_tls_sslmode", "%s needs client_tls_ca_file: the authorities that sign the certificates of clients", l.ClientTLSMode)
	}
}

// proxyProtocol: without a list anybody could say that he comes from anywhere.
func (v *validator) proxyProtocol(l *Listener, group string) {
	if l.ProxyProtocol != (len(l.ProxyProtocolFrom) > 0) {
		v.fault(group+".proxy_protocol", "proxy_protocol = true and proxy_protocol_from belong together: set both or none")
	}
	for _, text := range l.ProxyProtocolFrom {
		if _, err := ParseNetwork(text); err != nil {
			v.fault(group+".proxy_protocol_from", "%q is neither an address nor a network such as 10.1.0.0/16", text)
		}
	}
}

// ParseNetwork reads an address, which stands for itself alone, or a network.
func ParseNetwork(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		return netip.ParsePrefix(text)
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	return a.Prefix(a.BitLen())
}

// listenerName checks that a name can stand in metrics and in environment names, and stands once.
func (v *validator) listenerName(name, group string, names map[string]int) {
	if name == "" {
		v.fault(group+".name", "a listener needs a name, such as name = \"transactional\"")
		return
	}
	for _, r := range name {
		if r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') {
			v.fault(group+".name", "must be of lower-case letters, digits, - and _")
			return
		}
	}
	if names[envName(name)]++; names[envName(name)] == 2 {
		v.fault(group+".name", "two listeners have this name (- and _ count as the same, the environment cannot tell them apart)")
	}
}

// addressFault says what is wrong with an address to listen on; "" if nothing.
func addressFault(text string) string {
	host, port, err := splitAddress(text)
	if err != nil {
		return "wants host:port, :port, or /directory:port"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "needs a port from 0 to 65535 (0: any free one)"
	}
	if strings.HasPrefix(host, "/") && port == "0" {
		return "needs a port: it is part of the socket's name"
	}
	if strings.Contains(host, "/") && !path.IsAbs(host) {
		return "wants an absolute directory"
	}
	return ""
}

// splitAddress splits host:port and /directory:port.
func splitAddress(address string) (host, port string, err error) {
	if !strings.HasPrefix(address, "/") {
		return net.SplitHostPort(address)
	}
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return "", "", fmt.Errorf("no port")
	}
	return address[:i], address[i+1:], nil
}

func (v *validator) databases() {
	for name, d := range v.config.Databases {
		group := "databases." + quoteName(name)
		v.host(group+".host", d.Host, false)
		if d.Password != "" && d.User == "" && v.config.Server.User == "" {
			v.fault(group+".password", "needs %s.user or server.user", group)
		}
		if d.AuthQuery != "" && !strings.Contains(d.AuthQuery, "$1") {
			v.fault(group+".auth_query", "must name the user as $1")
		}
		if d.PoolSize > 0 && d.MinPoolSize > d.PoolSize {
			v.fault(group+".min_pool_size", "must not be above pool_size (%d), is %d", d.PoolSize, d.MinPoolSize)
		}
	}
}

// addresses checks that no two sockets want the same address, and that PostgreSQL's is not one of ours.
func (v *validator) addresses() {
	c := v.config
	var used []address
	take := func(key, text string) {
		a, ok := newAddress(key, text)
		if !ok {
			return
		}
		if other := a.among(used); other != "" {
			v.fault(key, "%s is taken by %s", text, other)
			return
		}
		used = append(used, a)
	}
	for i := range c.Listeners {
		for _, text := range c.Listeners[i].Listen {
			take(c.listenerPath(i)+".listen", text)
		}
	}
	if c.Admin.Listen != "" {
		if text := addressFault(c.Admin.Listen); text != "" || strings.HasPrefix(c.Admin.Listen, "/") {
			v.fault("admin.listen", "%q wants host:port, or \"\" for no endpoint", c.Admin.Listen)
		}
		take("admin.listen", c.Admin.Listen)
	}
	for host := range strings.SplitSeq(c.Server.Host, ",") {
		for _, name := range ownNames(host) {
			server := address{host: sameHost(name), port: strconv.Itoa(c.Server.Port)}
			if key := server.among(used); key != "" {
				v.fault("server.port", "%s port %d is an address of this program itself (%s); it must be PostgreSQL's", host, c.Server.Port, key)
				break
			}
		}
	}
}

// ownNames gives what a host stands for if it is surely this machine; nothing for others.
func ownNames(host string) []string {
	switch {
	case host == "localhost":
		return []string{"127.0.0.1", "::1"}
	case host == "127.0.0.1", host == "::1", strings.HasPrefix(host, "/"):
		return []string{host}
	}
	return nil
}

// address is a socket we open, and the setting that says so.
type address struct{ host, port, key string }

// newAddress reads an address; ok is false for those that cannot collide.
func newAddress(key, text string) (a address, ok bool) {
	host, port, err := splitAddress(text)
	return address{sameHost(host), port, key}, err == nil && port != "0"
}

// among gives the setting of the first address that cannot be opened beside this one; "" if there is none.
func (a address) among(used []address) string {
	for _, other := range used {
		if a.port == other.port && (a.host == other.host || a.covers(other) || other.covers(a)) {
			return other.key
		}
	}
	return ""
}

// covers tells whether an address stands for all hosts of a kind, the other one included.
func (a address) covers(other address) bool {
	if strings.HasPrefix(other.host, "/") {
		return false
	}
	return a.host == "::" || a.host == "0.0.0.0" && !strings.Contains(other.host, ":")
}

// sameHost writes a host in the one way addresses are compared by.
func sameHost(host string) string {
	switch {
	case host == "localhost":
		return "127.0.0.1"
	case host == "":
		return "::" // what Go binds for it: IPv4 and IPv6
	case strings.HasPrefix(host, "/"):
		return path.Clean(host)
	}
	return host
}
