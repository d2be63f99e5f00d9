package load

import (
	"strings"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// pgbouncerKeys says where the settings of PgBouncer's one section are here.
var pgbouncerKeys = map[string]string{
	"listen_addr":          `write listen = ["host:port"] in [[listener]]`,
	"listen_port":          `write listen = ["host:port"] in [[listener]]`,
	"unix_socket_dir":      `write listen = ["/directory:port"] in [[listener]]`,
	"auth_type":            "here it is type in [auth]",
	"auth_file":            "here it is user_file in [auth]",
	"admin_users":          "here it is users in [admin]",
	"stats_users":          "/metrics needs no user; users in [admin] may use the console",
	"server_tls_sslmode":   "here it is sslmode in [server]",
	"server_tls_ca_file":   "here it is sslrootcert in [server]",
	"server_tls_cert_file": "here it is sslcert in [server]",
	"server_tls_key_file":  "here it is sslkey in [server]",
	"client_tls13_ciphers": "the ciphers of TLS 1.3 cannot be chosen",
	"client_tls_ecdhcurve": "the curve cannot be chosen",
	"client_tls_dheparams": "there is no key exchange without elliptic curves",
	"autodb_idle_timeout":  "here it is pool_idle_timeout in [[listener]]",
	"verbose":              `write level = "debug" in [log]`,
	"pool_size":            "of a listener it is default_pool_size",
}

// unknownKey returns the text and the nearest name for a key that its section does not have.
func unknownKey(s *config.Section, name string) (text, near string) {
	near, hint := config.Nearest(name, s.KeyNames()), hintFor(s, name)
	switch {
	case near != "" && (hint == "" || config.EditDistance(name, near) <= 2):
		return "unknown key", near
	case hint != "":
		return "unknown key here: " + hint, ""
	}
	return "unknown key", ""
}

// hintFor says where a key belongs that another table has, or that has another name here; "" if neither.
func hintFor(s *config.Section, name string) string {
	var homes []string
	for i := range config.Sections {
		other := &config.Sections[i]
		switch {
		case other == s || other.Key(name) == nil || strings.Contains(other.Name, "."):
		case other.Header == "":
			homes = append(homes, "the top of the file, above all tables")
		default:
			homes = append(homes, other.Header)
		}
	}
	if len(homes) > 0 {
		return "it belongs in " + strings.Join(homes, " or ")
	}
	return pgbouncerKeys[name]
}
