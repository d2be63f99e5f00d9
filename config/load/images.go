package load

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// This file reads the environment names of the common PgBouncer images: edoburu/pgbouncer has no prefix, bitnami/pgbouncer has
// PGBOUNCER_ and POSTGRESQL_. So a deployment can change its image and keep its files. A shared environment may contain names for
// another program; so Config.Warnings lists every name that is used, and every name without an equal here.

// ImageNames maps a name of the images to the path of our setting. In a path, "transaction" and "session" stand for the first listener
// of that mode, and "*" for all listeners. An image has one port; so its sizes and its limits on clients go to the transaction listener.
// Settings of servers go to all listeners.
var ImageNames = map[string]string{
	"DB_HOST":                  "server.host",
	"DB_PORT":                  "server.port",
	"AUTH_FILE":                "auth.user_file",
	"AUTH_HBA_FILE":            "auth.auth_hba_file",
	"AUTH_IDENT_FILE":          "auth.auth_ident_file",
	"AUTH_USER":                "auth.auth_user",
	"AUTH_QUERY":               "auth.auth_query",
	"AUTH_DBNAME":              "auth.auth_dbname",
	"ADMIN_USERS":              "admin.users",
	"SERVER_TLS_SSLMODE":       "server.sslmode",
	"SERVER_TLS_CA_FILE":       "server.sslrootcert",
	"SERVER_TLS_CERT_FILE":     "server.sslcert",
	"SERVER_TLS_KEY_FILE":      "server.sslkey",
	"SERVER_CONNECT_TIMEOUT":   "server.server_connect_timeout",
	"SERVER_LOGIN_RETRY":       "server.server_login_retry",
	"MAX_DB_CONNECTIONS":       "server.max_db_connections",
	"MAX_USER_CONNECTIONS":     "server.max_user_connections",
	"TCP_KEEPALIVE":            "server.tcp_keepalive",
	"TCP_KEEPCNT":              "server.tcp_keepcnt",
	"TCP_KEEPIDLE":             "server.tcp_keepidle",
	"TCP_KEEPINTVL":            "server.tcp_keepintvl",
	"MAX_CLIENT_CONN":          "listener.transaction.max_client_conn",
	"POOL_SIZE":                "listener.transaction.default_pool_size",
	"DEFAULT_POOL_SIZE":        "listener.transaction.default_pool_size",
	"MIN_POOL_SIZE":            "listener.transaction.min_pool_size",
	"RESERVE_POOL_SIZE":        "listener.transaction.reserve_pool_size",
	"RESERVE_POOL_TIMEOUT":     "listener.transaction.reserve_pool_timeout",
	"CLIENT_IDLE_TIMEOUT":      "listener.transaction.client_idle_timeout",
	"IDLE_TRANSACTION_TIMEOUT": "listener.transaction.idle_transaction_timeout",
	"TRANSACTION_TIMEOUT":      "listener.transaction.transaction_timeout",
	"QUERY_TIMEOUT":            "listener.transaction.query_timeout",
	"MAX_PREPARED_STATEMENTS":  "listener.transaction.max_prepared_statements",
	"SESSION_POOL_SIZE":        "listener.session.default_pool_size",
	"SESSION_MAX_CLIENT_CONN":  "listener.session.max_client_conn",
	"QUERY_WAIT_TIMEOUT":       "listener.*.query_wait_timeout",
	"CLIENT_LOGIN_TIMEOUT":     "listener.*.client_login_timeout",
	"CLIENT_TLS_SSLMODE":       "listener.*.client_tls_sslmode",
	"CLIENT_TLS_KEY_FILE":      "listener.*.client_tls_key_file",
	"CLIENT_TLS_CERT_FILE":     "listener.*.client_tls_cert_file",
	"CLIENT_TLS_CA_FILE":       "listener.*.client_tls_ca_file",
	"CLIENT_TLS_PROTOCOLS":     "listener.*.client_tls_protocols",
	"CANCEL_WAIT_TIMEOUT":      "listener.*.cancel_wait_timeout",
	"SERVER_LIFETIME":          "listener.*.server_lifetime",
	"SERVER_IDLE_TIMEOUT":      "listener.*.server_idle_timeout",
	"AUTODB_IDLE_TIMEOUT":      "listener.*.pool_idle_timeout",
	"POOL_IDLE_TIMEOUT":        "listener.*.pool_idle_timeout",
	"SERVER_CHECK_DELAY":       "listener.*.server_check_delay",
	"SERVER_CHECK_QUERY":       "listener.*.server_check_query",
	"SERVER_RESET_QUERY":       "listener.*.server_reset_query",
	"SERVER_ROUND_ROBIN":       "listener.*.server_round_robin",
	"LOGFILE":                  "log.file",
	"LOG_CONNECTIONS":          "log.log_connections",
	"LOG_DISCONNECTIONS":       "log.log_disconnections",
	"LOG_POOLER_ERRORS":        "log.log_pooler_errors",
	"LOG_STATS":                "log.log_stats",
	"STATS_PERIOD":             "log.stats_period",
}

// imageActions maps the names that need more than one assignment to their functions.
var imageActions = map[string]func(r *envReader, name, value string){
	"DATABASE_URL":    (*envReader).databaseURL,
	"DATABASE_URLS":   (*envReader).databaseURLs,
	"DB_NAME":         (*envReader).databaseName,
	"DB_USER":         func(*envReader, string, string) {}, // with DB_PASSWORD, see login
	"DB_PASSWORD":     func(*envReader, string, string) {},
	"LISTEN_ADDR":     func(*envReader, string, string) {}, // with LISTEN_PORT, see listen
	"LISTEN_PORT":     func(*envReader, string, string) {},
	"UNIX_SOCKET_DIR": (*envReader).socketDirectory,
	"AUTH_TYPE":       (*envReader).authType,
	"VERBOSE":         (*envReader).verbose,

	"TCP_USER_TIMEOUT": (*envReader).tcpUserTimeout,
}

// ImageNamesIgnored maps the names of the images that have no equal here to the reason, or to the setting to use.
var ImageNamesIgnored = map[string]string{
	"POOL_MODE":                 "each port has its own pool mode here: connect to the transaction listener or to the session listener",
	"ADMIN_PASSWORD":            "put the administrator into the user file",
	"ADMIN_PASSWORDS":           "put the administrators into the user file",
	"STATS_USERS":               "/metrics needs no user",
	"STATS_PASSWORDS":           "/metrics needs no user",
	"IGNORE_STARTUP_PARAMETERS": "every startup parameter is accepted",
	"DISABLE_PQEXEC":            "several statements in one query are always allowed",
	"APPLICATION_NAME_ADD_HOST": "no equal here",
	"TIMEZONE":                  "no equal here: each client sets its own",
	"CLIENT_ENCODING":           "no equal here: each client sets its own",
	"CONNECT_QUERY":             "no equal here",
	"SERVER_RESET_QUERY_ALWAYS": "isolation = \"strict\" of a listener does that",
	"DNS_MAX_TTL":               "each connection looks its name up",
	"DNS_NXDOMAIN_TTL":          "each connection looks its name up",
	"CLIENT_TLS_CIPHERS":        "OpenSSL lists such as HIGH have no equal here: client_tls_ciphers of a listener needs the names of suites",
	"CLIENT_TLS13_CIPHERS":      "Go's choice of ciphers is used",
	"CLIENT_TLS_ECDHCURVE":      "Go's choice of curves is used",
	"CLIENT_TLS_DHEPARAMS":      "there is no key exchange without elliptic curves",
	"SERVER_TLS_PROTOCOLS":      "TLS 1.2 and 1.3 are used",
	"SERVER_TLS_CIPHERS":        "Go's choice of ciphers is used",
	"SERVER_TLS13_CIPHERS":      "Go's choice of ciphers is used",
	"PKT_BUF":                   "no equal here",
	"MAX_PACKET_SIZE":           "messages of any size pass through fixed buffers",
	"LISTEN_BACKLOG":            "the operating system's largest is used",
	"SBUF_LOOPCNT":              "no equal here",
	"SUSPEND_TIMEOUT":           "no equal here",
	"TCP_DEFER_ACCEPT":          "no equal here",
	"EXTRA_ARGS":                "no equal here",
	"EXTRA_FLAGS":               "no equal here",
	"INIT_SLEEP_TIME":           "the pooler dials a server until it answers",
	"INIT_MAX_RETRIES":          "the pooler dials a server until it answers",
	"SET_DATABASE_USER":         "no equal here",
	"SET_DATABASE_PASSWORD":     "no equal here",
}

// imageAliases maps bitnami's names to edoburu's, where bitnami's is more than PGBOUNCER_ before edoburu's.
var imageAliases = map[string]string{
	"POSTGRESQL_HOST":        "DB_HOST",
	"POSTGRESQL_PORT":        "DB_PORT",
	"POSTGRESQL_USERNAME":    "DB_USER",
	"POSTGRESQL_PASSWORD":    "DB_PASSWORD",
	"POSTGRESQL_DATABASE":    "DB_NAME",
	"PGBOUNCER_DATABASE":     "DB_NAME",
	"PGBOUNCER_PORT":         "LISTEN_PORT",
	"PGBOUNCER_BIND_ADDRESS": "LISTEN_ADDR",
}

// images reads the names of PgBouncer images. An empty value counts as not set, because compose files write NAME=${NAME}.
func (r *envReader) images() {
	values := r.imageValues()
	for _, known := range slices.Sorted(maps.Keys(values)) {
		v := values[known]
		if special := imageActions[known]; special != nil {
			special(r, v.name, v.value)
		} else if why, ignored := ImageNamesIgnored[known]; ignored {
			r.warn("%s is ignored: %s", v.name, why)
		} else if strings.HasSuffix(known, "_PORT") && serviceLink(v.value) {
			r.warn("%s is ignored: Kubernetes set it for a Service of this name", v.name)
		} else {
			r.assignImage(ImageNames[known], v.name, v.value)
		}
	}
	r.login(values["DB_USER"], values["DB_PASSWORD"])
	r.listen(values["LISTEN_ADDR"], values["LISTEN_PORT"])
}

// imageValue is a value and the name that set it.
type imageValue struct{ name, value string }

// imageValues returns the values that are set, by edoburu's name. Without NAME it reads the file of NAME_FILE.
func (r *envReader) imageValues() map[string]imageValue {
	values := map[string]imageValue{}
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		value := r.values[name]
		known := imageName(name)
		if known == "" {
			if base, isFile := strings.CutSuffix(name, "_FILE"); isFile && value != "" && r.values[base] == "" {
				known = imageName(base)
			}
			if known != "" {
				text, err := r.readSecret(value)
				if err != nil {
					r.fault(name, err.Error(), "")
					continue
				}
				value = text
			}
		}
		if known != "" && value != "" {
			values[known] = imageValue{name, value}
		} else if known == "" && strings.HasPrefix(name, "PGBOUNCER_") && value != "" && !serviceLink(value) {
			r.warn("%s is ignored: no equal here", name)
		}
	}
	return values
}

// imageName returns edoburu's name for a name of any image; "" for other names.
func imageName(name string) string {
	if alias := imageAliases[name]; alias != "" {
		return alias
	}
	name = strings.TrimPrefix(name, "PGBOUNCER_")
	if ImageNames[name] != "" || imageActions[name] != nil || ImageNamesIgnored[name] != "" {
		return name
	}
	return ""
}

// assignImage sets the settings that a path of ImageNames stands for.
func (r *envReader) assignImage(path, name, value string) {
	parts := strings.Split(path, ".")
	found := false
	for _, t := range r.config.Targets() {
		if !r.matches(t, parts, found) {
			continue
		}
		found = true
		r.set(t, name, value)
		r.warn("%s is taken from %s", t.Path, name)
	}
	if !found {
		r.warn("%s is ignored: there is no %s listener", name, parts[1])
	}
}

// matches reports whether a path of ImageNames, split into parts, stands for a setting. found says that it stood for an earlier one.
func (r *envReader) matches(t config.Target, parts []string, found bool) bool {
	l, isListener := t.Section.(*config.Listener)
	if parts[0] != "listener" {
		return !isListener && t.Path == strings.Join(parts, ".")
	}
	if !isListener || t.Key.Name != parts[2] {
		return false
	}
	return parts[1] == "*" || l.PoolMode == parts[1] && !found
}

// login reads DB_USER and DB_PASSWORD as the images do: clients log in with them, and so do servers.
func (r *envReader) login(user, password imageValue) {
	if user.value == "" && password.value == "" {
		return
	}
	if user.value == "" {
		user = imageValue{password.name, "postgres"} // edoburu's default
	}
	r.setLogin(user, password)
}

// setLogin sets the user for servers, and, unless there is a user file, the one login for clients.
func (r *envReader) setLogin(user, password imageValue) {
	assign := func(path string, v imageValue) {
		if v.value != "" {
			r.assignImage(path, v.name, v.value)
		}
	}
	assign("server.user", user)
	assign("server.password", password)
	if r.config.Auth.UserFile == "" && r.config.Auth.Type != "trust" {
		assign("auth.user", user)
		assign("auth.password", password)
	}
}

// listen sets the address of every listener, and the port of the transaction listener.
func (r *envReader) listen(addr, port imageValue) {
	if port.value != "" && serviceLink(port.value) {
		r.warn("%s is ignored: Kubernetes set it for a Service of this name", port.name)
		port.value = ""
	}
	transaction := firstListener(r.config, "transaction")
	for i := range r.config.Listeners {
		l := &r.config.Listeners[i]
		for j, listen := range l.Listen {
			host, oldPort, err := net.SplitHostPort(listen)
			if err != nil || strings.HasPrefix(listen, "/") {
				continue
			}
			name := ""
			if addr.value != "" {
				host, name = strings.Replace(addr.value, "*", "", 1), addr.name
			}
			if port.value != "" && l == transaction && j == 0 {
				oldPort, name = port.value, port.name
			}
			if name != "" {
				l.Listen = slices.Clone(l.Listen)
				l.Listen[j] = net.JoinHostPort(host, oldPort)
				r.took(r.config.ListenerPath(i)+".listen", name)
			}
		}
	}
}

// took records the name that set a setting without assignImage.
func (r *envReader) took(path, name string) {
	r.config.SetOrigin(path, config.Origin{Name: name})
	r.warn("%s is taken from %s", path, name)
}

// firstListener returns the first listener of a pool mode; nil if there is none.
func firstListener(c *config.Config, mode string) *config.Listener {
	for i := range c.Listeners {
		if c.Listeners[i].PoolMode == mode {
			return &c.Listeners[i]
		}
	}
	return nil
}

// socketDirectory adds a unix socket to each listener, with the number of its first port.
func (r *envReader) socketDirectory(name, value string) {
	for i := range r.config.Listeners {
		l := &r.config.Listeners[i]
		if len(l.Listen) == 0 {
			continue
		}
		if _, port, err := net.SplitHostPort(l.Listen[0]); err == nil {
			l.Listen = append(slices.Clone(l.Listen), strings.TrimRight(value, "/")+":"+port)
			r.took(r.config.ListenerPath(i)+".listen", name)
		}
	}
}

// authType translates PgBouncer's words.
func (r *envReader) authType(name, value string) {
	switch value {
	case "plain":
		value = "password"
	case "any":
		r.fault(name, "any is not supported, because it forgets the name of the client; use trust and server.user", "")
		return
	}
	r.assignImage("auth.type", name, value)
}

func (r *envReader) verbose(name, value string) {
	if value != "0" {
		r.assignImage("log.level", name, "debug")
	}
}

// tcpUserTimeout reads the only duration that PgBouncer has in milliseconds.
func (r *envReader) tcpUserTimeout(name, value string) {
	if _, err := strconv.Atoi(value); err == nil {
		value += "ms"
	}
	r.assignImage("server.tcp_user_timeout", name, value)
}
