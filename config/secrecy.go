package config

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// readableByAnybody is the permission of a file that everybody on the machine may read.
const readableByAnybody = 0o004

// warnOfReadable warns of files with secrets in them that everybody on the machine can read.
func (c *Config) warnOfReadable() {
	held := map[string]bool{c.File: false}
	for _, t := range c.targets() {
		if p, ok := t.key.field(t.section).(*string); ok && t.key.Secret && *p != "" && c.origins[t.path].file != "" {
			held[c.File] = true
		}
	}
	for _, file := range []struct{ name, what string }{
		{c.File, "the configuration, which holds passwords"},
		{c.Auth.UserFile, "the user file"},
		{c.Server.PassFile, "passfile"},
		{c.Server.SSLKey, "sslkey"},
	} {
		secret, known := held[file.name]
		if file.name == "" || known && !secret {
			continue
		}
		if info, err := os.Stat(file.name); err == nil && info.Mode()&readableByAnybody != 0 {
			c.Warnings = append(c.Warnings, fmt.Sprintf("everybody on this machine can read %s: chmod o-r %s", file.what, file.name))
		}
	}
}

// warnOfTrust warns of addresses at which anybody is let in as anybody, and that not this machine alone can reach.
func (c *Config) warnOfTrust() {
	if c.Auth.Type != "trust" {
		return
	}
	for i := range c.Listeners {
		for _, address := range c.Listeners[i].Listen {
			if host, _, err := splitAddress(address); err == nil && !local(host) {
				c.Warnings = append(c.Warnings, fmt.Sprintf("auth type trust lets everybody in who can reach %s, as any user", address))
			}
		}
	}
}

// local reports whether a host, or the directory of a socket, is of this machine alone.
func local(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasPrefix(host, "/") || err == nil && a.IsLoopback()
}
