package config

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// readableByOthers is the permission bit of a file that every user of the machine may read.
const readableByOthers = 0o004

// ExposureWarnings returns a warning for each file with secrets that every user of the machine can read. It also warns of each address
// where auth type trust lets other machines in. Call it once the paths are absolute.
func (c *Config) ExposureWarnings() []string {
	return append(c.readableSecrets(), c.trustedNetworks()...)
}

func (c *Config) readableSecrets() []string {
	configuration := ""
	for _, t := range c.Targets() {
		if p, ok := t.Field().(*string); ok && t.Key.Secret && *p != "" && c.origins[t.Path].File != "" {
			configuration = c.File
		}
	}
	var warnings []string
	for _, file := range []struct{ name, content string }{
		{configuration, "the configuration, which contains passwords"},
		{c.Auth.UserFile, "the user file"},
		{c.Server.PassFile, "passfile"},
		{c.Server.SSLKey, "sslkey"},
	} {
		if file.name == "" {
			continue
		}
		if info, err := os.Stat(file.name); err == nil && info.Mode()&readableByOthers != 0 {
			warnings = append(warnings, fmt.Sprintf("every user of this machine can read %s: chmod o-r %s", file.content, file.name))
		}
	}
	return warnings
}

func (c *Config) trustedNetworks() []string {
	if c.Auth.Type != "trust" {
		return nil
	}
	var warnings []string
	for i := range c.Listeners {
		for _, address := range c.Listeners[i].Listen {
			if host, _, err := SplitAddress(address); err == nil && !onlyThisMachine(host) {
				warnings = append(warnings, fmt.Sprintf("auth type trust lets everybody in who can reach %s, as any user", address))
			}
		}
	}
	return warnings
}

// onlyThisMachine reports whether only this machine can reach a host or the directory of a socket.
func onlyThisMachine(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasPrefix(host, "/") || err == nil && a.IsLoopback()
}
