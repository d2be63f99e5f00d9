package config

import (
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// cipherSuites are the suites of TLS 1.2 that a listener can offer, by OpenSSL's names. All of them have forward secrecy: a key that is
// stolen later does not reveal earlier traffic. The suites that Go counts as insecure are left out.
var cipherSuites = map[string]uint16{
	"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-ECDSA-CHACHA20-POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-ECDSA-AES128-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
	"ECDHE-ECDSA-AES256-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	"ECDHE-RSA-AES128-GCM-SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-RSA-AES256-GCM-SHA384":   tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-RSA-CHACHA20-POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-RSA-AES128-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	"ECDHE-RSA-AES256-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
}

// CipherSuites reads client_tls_ciphers: OpenSSL's names with colons between them. For PgBouncer's words for its defaults it returns nil,
// which means Go's choice.
func CipherSuites(text string) (suites []uint16, err error) {
	switch text {
	case "", "default", "secure", "fast", "normal":
		return nil, nil
	}
	for name := range strings.SplitSeq(text, ":") {
		id, known := cipherSuites[strings.TrimSpace(name)]
		if !known {
			return nil, fmt.Errorf("unknown cipher suite %q; the known ones are: %s", name,
				strings.Join(slices.Sorted(maps.Keys(cipherSuites)), ", "))
		}
		suites = append(suites, id)
	}
	return suites, nil
}
