package config

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// The environment names of the common PgBouncer images (edoburu/pgbouncer without prefix, bitnami/pgbouncer with PGBOUNCER_ and
// POSTGRESQL_). People who change the image keep their deployment files. Whatever is taken from such a name is told in
// Config.Warnings, since a shared environment may hold names meant for another program; whatever has no equal is told too.

// foreignNames leads from an image's name to our path. "transaction" and "session" stand for the first listener of that mode, "*"
// for all. An image has one port, and its sizes and limits on clients were chosen for that one: they go to the transaction
// listener. What concerns servers goes to all.
var foreignNames = map[string]string{
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
	"LOG_CONNECTIONS":          "log.log_connections",
	"LOG_DISCONNECTIONS":       "log.log_disconnections",
	"LOG_POOLER_ERRORS":        "log.log_pooler_errors",
}

// foreignSpecial need more than one assignment.
var foreignSpecial = map[string]func(r *envReader, name, value string){
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

// foreignIgnored have no equal here; the text says why, or what to do.
var foreignIgnored = map[string]string{
	"POOL_MODE":                 "each port has its own pool mode here: connect to the transaction listener or to the session listener",
	"ADMIN_PASSWORD":            "put the administrator into the user file",
	"ADMIN_PASSWORDS":           "put the administrators into the user file",
	"STATS_USERS":               "/metrics asks for no user",
	"STATS_PASSWORDS":           "/metrics asks for no user",
	"IGNORE_STARTUP_PARAMETERS": "every startup parameter is accepted",
	"DISABLE_PQEXEC":            "several statements in one query are always allowed",
	"APPLICATION_NAME_ADD_HOST": "no equal here",
	"TIMEZONE":                  "no equal here: clients set their own",
	"CLIENT_ENCODING":           "no equal here: clients set their own",
	"CONNECT_QUERY":             "no equal here",
	"LOG_STATS":                 "see /metrics",
	"STATS_PERIOD":              "see /metrics",
	"LOGFILE":                   "the log goes to standard error",
	"SERVER_RESET_QUERY_ALWAYS": "isolation = \"strict\" of a listener does that",
	"DNS_MAX_TTL":               "names are looked up at each connection",
	"DNS_NXDOMAIN_TTL":          "names are looked up at each connection",
	"CLIENT_TLS_CIPHERS":        "lists of OpenSSL such as HIGH mean nothing here: client_tls_ciphers of a listener takes ciphers by name",
	"CLIENT_TLS13_CIPHERS":      "Go's choice of ciphers is used",
	"CLIENT_TLS_ECDHCURVE":      "Go's choice of curves is used",
	"CLIENT_TLS_DHEPARAMS":      "key exchange without elliptic curves is not spoken",
	"SERVER_TLS_PROTOCOLS":      "TLS 1.2 and 1.3 are used",
	"SERVER_TLS_CIPHERS":        "Go's choice of ciphers is used",
	"SERVER_TLS13_CIPHERS":      "Go's choice of ciphers is used",
	"PKT_BUF":                   "no equal here",
	"MAX_PACKET_SIZE":           "messages of any size stream through fixed buffers",
	"LISTEN_BACKLOG":            "the operating system's largest is used",
	"SBUF_LOOPCNT":              "no equal here",
	"SUSPEND_TIMEOUT":           "no equal here",
	"TCP_DEFER_ACCEPT":          "no equal here",
	"EXTRA_ARGS":                "no equal here",
	"EXTRA_FLAGS":               "no equal here",
	"INIT_SLEEP_TIME":           "servers are dialled again until they answer",
	"INIT_MAX_RETRIES":          "servers are dialled again until they answer",
	"SET_DATABASE_USER":         "no equal here",
	"SET_DATABASE_PASSWORD":     "no equal here",
}

// foreignAliases are bitnami's names that are more than PGBOUNCER_ before edoburu's.
var foreignAliases = map[string]string{
	"POSTGRESQL_HOST":        "DB_HOST",
	"POSTGRESQL_PORT":        "DB_PORT",
	"POSTGRESQL_USERNAME":    "DB_USER",
	"POSTGRESQL_PASSWORD":    "DB_PASSWORD",
	"POSTGRESQL_DATABASE":    "DB_NAME",
	"PGBOUNCER_DATABASE":     "DB_NAME",
	"PGBOUNCER_PORT":         "LISTEN_PORT",
	"PGBOUNCER_BIND_ADDRESS": "LISTEN_ADDR",
}

// foreign reads the names of other poolers' images. An empty value counts as not set: compose files write NAME=${NAME}.
func (r *envReader) foreign() {
	values := r.foreignValues()
	for _, known := range slices.Sorted(maps.Keys(values)) {
		v := values[known]
		if special := foreignSpecial[known]; special != nil {
			special(r, v.name, v.value)
		} else if why, ignored := foreignIgnored[known]; ignored {
			r.warn("%s is ignored: %s", v.name, why)
		} else if strings.HasSuffix(known, "_PORT") && serviceLink(v.value) {
			r.warn("%s is ignored: its value is the one Kubernetes gives for a Service of this name", v.name)
		} else {
			r.assignForeign(foreignNames[known], v.name, v.value)
		}
	}
	r.login(values["DB_USER"], values["DB_PASSWORD"])
	r.listen(values["LISTEN_ADDR"], values["LISTEN_PORT"])
}

// foreignValue is a value and the name it really came by.
type foreignValue struct{ name, value string }

// foreignValues gives what is set, by edoburu's name; NAME_FILE is read where NAME is not set.
func (r *envReader) foreignValues() map[string]foreignValue {
	values := map[string]foreignValue{}
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		value := r.values[name]
		known := foreignName(name)
		if known == "" {
			if base, isFile := strings.CutSuffix(name, "_FILE"); isFile && value != "" && r.values[base] == "" {
				known = foreignName(base)
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
			values[known] = foreignValue{name, value}
		} else if known == "" && strings.HasPrefix(name, "PGBOUNCER_") && value != "" && !serviceLink(value) {
			r.warn("%s is ignored: no equal here", name)
		}
	}
	return values
}

// foreignName gives edoburu's name for one of any image; "" if it is none.
func foreignName(name string) string {
	if alias := foreignAliases[name]; alias != "" {
		return alias
	}
	name = strings.TrimPrefix(name, "PGBOUNCER_")
	if foreignNames[name] != "" || foreignSpecial[name] != nil || foreignIgnored[name] != "" {
		return name
	}
	return ""
}

// assignForeign sets the settings a path of foreignNames stands for.
func (r *envReader) assignForeign(path, name, value string) {
	parts := strings.Split(path, ".")
	found := false
	for _, t := range r.config.targets() {
		if !r.meant(t, parts, found) {
			continue
		}
		found = true
		r.set(t, name, value)
		r.warn("%s is taken from %s", t.path, name)
	}
	if !found {
		r.warn("%s is ignored: there is no %s listener", name, parts[1])
	}
}

// meant tells whether a path of foreignNames, in its parts, stands for a setting; found, whether it stood for one before.
func (r *envReader) meant(t target, parts []string, found bool) bool {
	l, isListener := t.section.(*Listener)
	if parts[0] != "listener" {
		return !isListener && t.path == strings.Join(parts, ".")
	}
	if !isListener || t.key.Name != parts[2] {
		return false
	}
	return parts[1] == "*" || l.PoolMode == parts[1] && !found
}

// login takes DB_USER and DB_PASSWORD as the images do: clients log in with them, and so do we to PostgreSQL.
func (r *envReader) login(user, password foreignValue) {
	if user.value == "" && password.value == "" {
		return
	}
	if user.value == "" {
		user = foreignValue{password.name, "postgres"} // edoburu's default
	}
	r.setLogin(user, password)
}

// setLogin sets the user for servers, and, unless there is a user file, the one login for clients.
func (r *envReader) setLogin(user, password foreignValue) {
	assign := func(path string, v foreignValue) {
		if v.value != "" {
			r.assignForeign(path, v.name, v.value)
		}
	}
	assign("server.user", user)
	assign("server.password", password)
	if r.config.Auth.UserFile == "" && r.config.Auth.Type != "trust" {
		assign("auth.user", user)
		assign("auth.password", password)
	}
}

// listen gives every listener the address, and the transaction listener the port.
func (r *envReader) listen(addr, port foreignValue) {
	if port.value != "" && serviceLink(port.value) {
		r.warn("%s is ignored: its value is the one Kubernetes gives for a Service of this name", port.name)
		port.value = ""
	}
	transaction := r.config.firstListener("transaction")
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
				r.took(r.config.listenerPath(i)+".listen", name)
			}
		}
	}
}

// took notes where a setting came from when it was not set by assignForeign.
func (r *envReader) took(path, name string) {
	r.config.origins[path] = origin{name: name}
	r.warn("%s is taken from %s", path, name)
}

// firstListener gives the first listener of a pool mode, nil if there is none.
func (c *Config) firstListener(mode string) *Listener {
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
			r.took(r.config.listenerPath(i)+".listen", name)
		}
	}
}

// authType takes PgBouncer's words.
func (r *envReader) authType(name, value string) {
	switch value {
	case "plain":
		value = "password"
	case "any":
		r.fault(name, "any is not supported: it forgets who the client is; use trust and server.user", "")
		return
	}
	r.assignForeign("auth.type", name, value)
}

func (r *envReader) verbose(name, value string) {
	if value != "0" {
		r.assignForeign("log.level", name, "debug")
	}
}

// tcpUserTimeout: the one duration that PgBouncer has in milliseconds.
func (r *envReader) tcpUserTimeout(name, value string) {
	if _, err := strconv.Atoi(value); err == nil {
		value += "ms"
	}
	r.assignForeign("server.tcp_user_timeout", name, value)
}
