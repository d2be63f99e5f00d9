package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// The page, the API and the report name applications, databases and users and show samples of statements. They are for the operator
// alone. Without admin.password a client on this machine is the operator; with it, every client that sends the password. /metrics and
// the health paths answer every client, because scrapers and probes have no password.

// refusal is why a request is not answered.
type refusal struct {
	status int
	text   string
}

// refusedTo says why this request may not see the operator's pages; nil: it may.
func (e *Endpoint) refusedTo(r *http.Request) *refusal {
	if secret := *e.password.Load(); secret != "" {
		_, password, given := r.BasicAuth()
		have, want := sha256.Sum256([]byte(password)), sha256.Sum256([]byte(secret))
		if !given || subtle.ConstantTimeCompare(have[:], want[:]) != 1 {
			return &refusal{http.StatusUnauthorized, "this page wants the password of the configuration (password of [admin]), with any user name"}
		}
		return nil
	}
	if !fromThisMachine(r) {
		return &refusal{http.StatusForbidden, "beyond this machine only /metrics, /health/db, /healthz and /readyz are served without a password; " +
			"set password of [admin], or come by way of the loopback address"}
	}
	if !namesThisMachine(r.Host) {
		// A page of somebody else's, in the operator's browser, may have pointed its own name at this address.
		return &refusal{http.StatusForbidden, "without a password this page answers to localhost and to addresses, not to other host names"}
	}
	return nil
}

// fromThisMachine says whether a request came over the loopback interface, and was not passed on by a proxy.
func fromThisMachine(r *http.Request) bool {
	for _, header := range []string{"X-Forwarded-For", "Forwarded", "Via", "X-Real-Ip"} {
		if r.Header.Get(header) != "" {
			return false
		}
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// namesThisMachine says whether a Host header is an address or a name that no DNS server can point elsewhere.
func namesThisMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// forOperator lets a request through that may see the operator's pages, and answers the others itself.
func (e *Endpoint) forOperator(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		refused := e.refusedTo(r)
		if refused == nil {
			next(w, r)
			return
		}
		if refused.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="hybridbouncer", charset="UTF-8"`)
		}
		plain(w, refused.status, refused.text)
	}
}
