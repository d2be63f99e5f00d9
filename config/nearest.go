package config

import "strings"

// nearest gives the name that was most likely meant, or "" if none is close: at most a third of the letters may differ.
func nearest(word string, names []string) string {
	best, bestDistance := "", len(word)/3+1
	for _, name := range names {
		if d := distance(strings.ToLower(word), name); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their neighbour to make a into b.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	before, last, row := rows[0], rows[1], rows[2]
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(last[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// names lists the keys of a section.
func (s *Section) names() []string {
	names := make([]string, len(s.Keys))
	for i := range s.Keys {
		names[i] = s.Keys[i].Name
	}
	return names
}

// elsewhere answers for a key that stands in the wrong table: PgBouncer has most of them in one section.
var elsewhere = map[string]string{
	"listen_addr":          `write listen = ["host:port"] in [[listener]]`,
	"listen_port":          `write listen = ["host:port"] in [[listener]]`,
	"unix_socket_dir":      `write listen = ["/directory:port"] in [[listener]]`,
	"auth_type":            "it is type in [auth] here",
	"auth_file":            "it is user_file in [auth] here",
	"admin_users":          "it is users in [admin] here",
	"stats_users":          "/metrics asks for no user; users in [admin] may use the console",
	"server_tls_sslmode":   "it is sslmode in [server] here",
	"server_tls_ca_file":   "it is sslrootcert in [server] here",
	"server_tls_cert_file": "it is sslcert in [server] here",
	"server_tls_key_file":  "it is sslkey in [server] here",
	"client_tls13_ciphers": "which ciphers TLS 1.3 uses cannot be chosen",
	"client_tls_ecdhcurve": "which curve is used cannot be chosen",
	"client_tls_dheparams": "key exchange without elliptic curves is not spoken",
	"autodb_idle_timeout":  "it is pool_idle_timeout in [[listener]] here",
	"verbose":              `write level = "debug" in [log]`,
	"pool_size":            "of a listener it is default_pool_size",
}

// unknownKey makes the text and the nearest name for a key that its section does not have.
func unknownKey(s *Section, name string) (text, near string) {
	if near = nearest(name, s.names()); near != "" && (distance(name, near) <= 2 || hint(s, name) == "") {
		return "unknown key", near
	}
	if h := hint(s, name); h != "" {
		return "unknown key here: " + h, ""
	}
	return "unknown key", ""
}

// hint says where a key belongs that is right in another table, or known under another name; "" if neither.
func hint(s *Section, name string) string {
	var homes []string
	for i := range sections {
		if other := &sections[i]; other != s && other.key(name) != nil {
			homes = append(homes, other.title())
		}
	}
	if len(homes) > 0 {
		return "it belongs in " + strings.Join(homes, " or ")
	}
	return elsewhere[name]
}

// title names a section as it is written in the file.
func (s *Section) title() string {
	if s.Header == "" {
		return "the top of the file, above all tables"
	}
	return s.Header
}
