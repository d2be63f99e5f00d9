package config

import (
	"errors"
	"net"
	"path"
	"strconv"
	"strings"
)

// addressFault returns the fault of an address to listen on; "" if there is none.
func addressFault(text string) string {
	host, port, err := SplitAddress(text)
	if err != nil {
		return "must be host:port, :port, or /directory:port"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "needs a port from 0 to 65535 (0: any free one)"
	}
	if strings.HasPrefix(host, "/") && port == "0" {
		return "needs a port: it is part of the socket's name"
	}
	if strings.Contains(host, "/") && !path.IsAbs(host) {
		return "must be an absolute directory"
	}
	return ""
}

// SplitAddress splits host:port and /directory:port. The error says that there is no port.
func SplitAddress(address string) (host, port string, err error) {
	if !strings.HasPrefix(address, "/") {
		return net.SplitHostPort(address)
	}
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return "", "", errors.New("no port")
	}
	return address[:i], address[i+1:], nil
}

// addresses checks that no two sockets have the same address, and that server.host is not one of our own addresses.
func (v *validator) addresses() {
	c := v.config
	var used []address
	take := func(key, text string) {
		a, ok := newAddress(key, text)
		if !ok {
			return
		}
		if other := a.among(used); other != "" {
			v.fault(key, "%s is already the address of %s", text, other)
			return
		}
		used = append(used, a)
	}
	for i := range c.Listeners {
		for _, text := range c.Listeners[i].Listen {
			take(c.ListenerPath(i)+".listen", text)
		}
	}
	if c.Admin.Listen != "" {
		if text := addressFault(c.Admin.Listen); text != "" || strings.HasPrefix(c.Admin.Listen, "/") {
			v.fault("admin.listen", "%q must be host:port, or \"\" for no endpoint", c.Admin.Listen)
		}
		take("admin.listen", c.Admin.Listen)
	}
	for host := range strings.SplitSeq(c.Server.Host, ",") {
		for _, name := range ownNames(host) {
			server := address{host: sameHost(name), port: strconv.Itoa(c.Server.Port)}
			if key := server.among(used); key != "" {
				v.fault("server.port", "%s port %d is an address of this program (%s); write the address of PostgreSQL", host, c.Server.Port, key)
				break
			}
		}
	}
}

// ownNames returns the addresses of a host that is surely this machine; none for other hosts.
func ownNames(host string) []string {
	switch {
	case host == "localhost":
		return []string{"127.0.0.1", "::1"}
	case host == "127.0.0.1", host == "::1", strings.HasPrefix(host, "/"):
		return []string{host}
	}
	return nil
}

// address is a socket that the program opens, and the setting that names it.
type address struct{ host, port, key string }

// newAddress reads an address; ok is false for an address that cannot collide.
func newAddress(key, text string) (a address, ok bool) {
	host, port, err := SplitAddress(text)
	return address{sameHost(host), port, key}, err == nil && port != "0"
}

// among returns the setting of the first address that collides with this one; "" if none does.
func (a address) among(used []address) string {
	for _, other := range used {
		if a.port == other.port && (a.host == other.host || a.covers(other) || other.covers(a)) {
			return other.key
		}
	}
	return ""
}

// covers reports whether an address stands for all hosts of a family, including the other one.
func (a address) covers(other address) bool {
	if strings.HasPrefix(other.host, "/") {
		return false
	}
	return a.host == "::" || a.host == "0.0.0.0" && !strings.Contains(other.host, ":")
}

// sameHost returns the form of a host that addresses are compared by.
func sameHost(host string) string {
	switch {
	case host == "localhost":
		return "127.0.0.1"
	case host == "":
		return "::" // Go binds IPv4 and IPv6 for it
	case strings.HasPrefix(host, "/"):
		return path.Clean(host)
	}
	return host
}
