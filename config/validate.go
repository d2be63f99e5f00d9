package config

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate returns every fault of the configuration in no particular order. It checks that named files exist, but opens no socket and
// changes nothing. No text contains a secret.
func (c *Config) Validate() []Problem {
	v := &validator{config: c}
	for _, t := range c.Targets() {
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

// value checks a setting against the key table: its range, its words, its file.
func (v *validator) value(t Target) {
	switch p := t.Field().(type) {
	case *int:
		v.number(t, *p)
	case *time.Duration:
		if *p == off && t.Key.Off != "" {
			return
		}
		if *p < 0 {
			v.fault(t.Path, "must not be negative; 0 means: %s", t.Key.Zero)
		} else if *p > durationMax {
			v.fault(t.Path, "must be below a century")
		}
	case *string:
		if len(t.Key.Allowed) > 0 && !slices.Contains(t.Key.Allowed, *p) {
			v.word(t, *p)
		} else if strings.ContainsRune(*p, 0) {
			v.fault(t.Path, "must not contain a zero byte")
		} else if t.Key.Creates && *p != "" {
			v.directory(t.Path, filepath.Dir(*p))
		} else if t.Key.Path && *p != "" && *p != "system" {
			v.file(t.Path, *p)
		}
	}
}

func (v *validator) number(t Target, n int) {
	// In [databases] and [users] 0 means that the key is absent.
	unset := n == off && t.Key.Off != "" || n == 0 && (strings.HasPrefix(t.Path, "databases.") || strings.HasPrefix(t.Path, "users."))
	switch {
	case unset:
	case n < t.Key.Min && t.Key.Max > 0, t.Key.Max > 0 && n > t.Key.Max:
		v.fault(t.Path, "must be from %d to %d, not %d", t.Key.Min, t.Key.Max, n)
	case n < t.Key.Min:
		v.fault(t.Path, "must be at least %d, not %d", t.Key.Min, n)
	}
}

func (v *validator) word(t Target, word string) {
	text := fmt.Sprintf("must be one of %s, not %q", strings.Join(t.Key.Allowed, ", "), word)
	if t.Path == "auth.type" && slices.Contains([]string{"pam", "ldap", "any"}, word) {
		text = fmt.Sprintf("this version does not support auth type %q, only %s", word, strings.Join(t.Key.Allowed, ", "))
	} else if t.Path == "auth.type" && word == "peer" {
		text = "write type = \"hba\", and a line with the method peer in auth_hba_file"
	}
	p := v.config.problem(t.Path, "%s", text)
	p.Nearest = Nearest(word, t.Key.Allowed)
	v.faults = append(v.faults, p)
}

// file checks that a named file can be opened. The part that uses the file checks its content.
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

// directory checks that the directory of a file that the program creates is there.
func (v *validator) directory(key, name string) {
	if info, err := os.Stat(name); err != nil {
		v.fault(key, "%v", err)
	} else if !info.IsDir() {
		v.fault(key, "%s is not a directory", name)
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
		v.fault("server.sslmode", "must be verify-full with sslrootcert = \"system\": those authorities give anybody a certificate for another name")
	}
	if s.SSLNegotiation == "direct" && slices.Contains([]string{"disable", "allow", "prefer"}, s.SSLMode) {
		v.fault("server.sslnegotiation", "direct needs sslmode require, verify-ca or verify-full, not %s", s.SSLMode)
	}
	if s.Password != "" && s.User == "" {
		v.fault("server.password", "needs server.user; without one, servers log in as the client's user, with the password of the user file")
	}
}

// host checks a comma list of names, addresses and directories. It never repeats the value, which may be a URL with a password.
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
			v.fault(key, "contains an empty name")
		case strings.HasPrefix(host, "/"):
		case strings.Contains(host, "://"):
			v.fault(key, "must be a name or address, not a URL; the environment variable DATABASE_URL accepts a URL")
		case strings.Count(host, ":") == 1:
			v.fault(key, "must not contain a port; write port = ... instead")
		case strings.ContainsAny(host, "/ @"):
			v.fault(key, "must be a name, an address, or an absolute directory")
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

// hba checks that the hba settings belong together. Package auth reads the files.
func (v *validator) hba() {
	a := &v.config.Auth
	if (a.Type == "hba") != (a.HBAFile != "") {
		v.fault("auth.auth_hba_file", "type = \"hba\" and auth_hba_file belong together: set both or none")
	}
	if a.IdentFile != "" && a.Type != "hba" {
		v.fault("auth.auth_ident_file", "needs type = \"hba\": only lines of auth_hba_file name maps")
	}
}

func (v *validator) listeners() {
	c := v.config
	if len(c.Listeners) == 0 {
		v.fault("listener", "there must be a [[listener]]")
	}
	names := map[string]int{}
	for i := range c.Listeners {
		l, group := &c.Listeners[i], c.ListenerPath(i)
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

// proxyProtocol checks the list of load balancers. Without the list, any client could claim any address.
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

// ParseNetwork reads a network such as 10.1.0.0/16. An address counts as a network of one.
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

// listenerName checks that a name suits metrics and environment names, and that no other listener has it.
func (v *validator) listenerName(name, group string, names map[string]int) {
	if name == "" {
		v.fault(group+".name", "a listener needs a name, such as name = \"transactional\"")
		return
	}
	for _, r := range name {
		if r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') {
			v.fault(group+".name", "must consist of lower-case letters, digits, - and _")
			return
		}
	}
	if names[EnvName(name)]++; names[EnvName(name)] == 2 {
		v.fault(group+".name", "two listeners have this name (- and _ count as the same letter, because environment names have no -)")
	}
}

func (v *validator) databases() {
	for name, d := range v.config.Databases {
		group := DatabasePath(name)
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
		for listener := range d.Listeners {
			v.listenerExists(group, listener)
		}
	}
	for name, u := range v.config.Users {
		for listener := range u.Listeners {
			v.listenerExists(UserPath(name), listener)
		}
	}
}

// listenerExists checks the name in [databases.NAME.LISTENER] and [users.NAME.LISTENER].
func (v *validator) listenerExists(section, name string) {
	if !slices.ContainsFunc(v.config.Listeners, func(l Listener) bool { return l.Name == name }) {
		v.fault(OnListenerPath(section, name), "there is no listener %q", name)
	}
}
