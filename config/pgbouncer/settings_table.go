package pgbouncer

// match says how well one of our settings stands for one of PgBouncer's.
type match uint8

const (
	same    match = iota // the same meaning
	differs              // a setting of ours with a difference that the operator should know
	nothing              // accepted: there is nothing to do here
	missing              // no equal here
)

// String returns the word of docs/PGBOUNCER.md.
func (m match) String() string {
	return [...]string{"same", "differs", "nothing to do", "no equal"}[m]
}

// merge says what several ini files make of a setting that we have once for all listeners.
type merge uint8

const (
	perFile merge = iota // a setting of the listener: no merge
	equal                // the files must agree
	first                // the first file's value; a note if they differ
	largest              // the largest value; a note if they differ
	sum                  // the sum, since PgBouncer counts for each process alone; no limit if one file has none
	union                // all elements of the lists
)

// settingRow is one key of [pgbouncer].
type settingRow struct {
	key      string
	kind     valueType
	words    []string // of a word
	fallback string   // PgBouncer's default
	unset    bool     // PgBouncer has no default: it keeps the value when the section is repeated
	off      string   // beside the default, a value that means "not used": then there is nothing to tell

	match match
	to    string // path of our setting; "listener.KEY" for the listener of this file; "" without an equal
	merge merge
	write bool   // write PgBouncer's default too, because ours is another
	why   string // the difference or the reason, for the operator
	quiet bool   // why is for the documents; convert or merge tells it where it matters

	// convert turns a checked value into ours. note is a difference to tell, err a reason to refuse.
	convert func(value string) (converted, note string, err error)
	// special names the function of import.go that reads this key together with others.
	special string
}

var (
	sslModes  = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
	poolModes = []string{"session", "transaction", "statement"}
	authTypes = []string{"any", "trust", "plain", "md5", "cert", "hba", "ldap", "pam", "scram-sha-256"}
)

const (
	goTLS13     = "Go chooses among the cipher suites of TLS 1.3"
	eachDial    = "each connection looks its name up"
	ownLoops    = "the event loops need no such setting"
	systemd     = "the log goes to standard error, which systemd and Docker collect; or set log.file"
	oneForAll   = "counted over all listeners here"
	consoleSoon = "the console has no equal of it in this version"
)

// settingRows lists every key of [pgbouncer] of PgBouncer 1.25 and 1.26, in the order of SHOW CONFIG.
var settingRows = []settingRow{
	{key: "admin_users", to: "admin.users", merge: union},
	{key: "application_name_add_host", kind: integer, fallback: "0", match: missing, why: "no equal in this version: application_name stays as the client sets it"},
	{key: "auth_dbname", unset: true, to: "auth.auth_dbname", merge: equal},
	{key: "auth_file", unset: true, to: "auth.user_file", merge: equal, convert: absolute},
	{key: "auth_hba_file", special: "authType", to: "auth.auth_hba_file", merge: equal},
	{key: "auth_ident_file", unset: true, special: "authType", to: "auth.auth_ident_file", merge: equal},
	{key: "auth_ldap_options", unset: true, match: missing, why: "there is no LDAP in this version"},
	{key: "auth_query", fallback: "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname=$1 AND rolcanlogin", to: "auth.auth_query", merge: equal},
	{key: "auth_type", kind: word, words: authTypes, fallback: "md5", special: "authType", to: "auth.type", merge: equal},
	{key: "auth_user", unset: true, to: "auth.auth_user", merge: equal},
	{key: "autodb_idle_timeout", kind: seconds, fallback: "3600", match: differs, special: "poolIdleTimeout", to: "listener.pool_idle_timeout", why: "one setting here for named databases and \"*\""},
	{key: "cancel_wait_timeout", kind: seconds, fallback: "10", to: "listener.cancel_wait_timeout"},
	{key: "client_idle_timeout", kind: seconds, fallback: "0", to: "listener.client_idle_timeout"},
	{key: "client_login_timeout", kind: seconds, fallback: "60", to: "listener.client_login_timeout"},
	{key: "client_tls13_ciphers", unset: true, match: nothing, why: goTLS13},
	{key: "client_tls_ca_file", to: "listener.client_tls_ca_file", convert: absolute},
	{key: "client_tls_cert_file", to: "listener.client_tls_cert_file", convert: absolute},
	{key: "client_tls_ciphers", fallback: "default", match: differs, to: "listener.client_tls_ciphers", convert: ciphers, quiet: true, why: "names of cipher suites are kept; OpenSSL lists such as HIGH:!aNULL become Go's choice"},
	{key: "client_tls_dheparams", fallback: "auto", match: nothing, why: "there is no key exchange without elliptic curves"},
	{key: "client_tls_ecdhcurve", fallback: "auto", match: nothing, why: "Go chooses the curve"},
	{key: "client_tls_key_file", to: "listener.client_tls_key_file", convert: absolute},
	{key: "client_tls_protocols", fallback: "secure", to: "listener.client_tls_protocols", convert: protocols},
	{key: "client_tls_sslmode", kind: word, words: sslModes, fallback: "disable", to: "listener.client_tls_sslmode"},
	{key: "conffile", unset: true, match: nothing, why: "a reload reads the file that the program was started with"},
	{key: "default_pool_size", kind: integer, fallback: "20", to: "listener.default_pool_size", convert: poolSize},
	{key: "disable_pqexec", kind: integer, fallback: "0", match: missing, why: "no equal in this version: a query may contain several statements"},
	{key: "dns_max_ttl", kind: seconds, fallback: "15", match: nothing, why: eachDial},
	{key: "dns_nxdomain_ttl", kind: seconds, fallback: "15", match: nothing, why: eachDial},
	{key: "dns_zone_check_period", kind: seconds, fallback: "0", match: nothing, why: eachDial},
	{key: "idle_transaction_timeout", kind: seconds, fallback: "0", to: "listener.idle_transaction_timeout"},
	{key: "ignore_startup_parameters", match: differs, why: "every startup parameter is accepted here, and applied, where PgBouncer drops it"},
	{key: "job_name", fallback: "pgbouncer", match: nothing, why: "it names the process in PgBouncer's log"},
	{key: "listen_addr", special: "addresses", to: "listener.listen"},
	{key: "listen_backlog", kind: integer, fallback: "128", match: nothing, why: "the operating system's largest is used"},
	{key: "listen_port", kind: integer, fallback: "6432", special: "addresses", to: "listener.listen"},
	{key: "log_connections", kind: integer, fallback: "1", to: "log.log_connections", merge: largest},
	{key: "log_disconnections", kind: integer, fallback: "1", to: "log.log_disconnections", merge: largest},
	{key: "log_pooler_errors", kind: integer, fallback: "1", to: "log.log_pooler_errors", merge: largest},
	{key: "log_stats", kind: integer, fallback: "1", match: differs, to: "log.log_stats", merge: largest, quiet: true, why: "one line about all listeners"},
	{key: "logfile", match: differs, to: "log.file", merge: first, convert: absolute, why: "the log goes to this file alone; PgBouncer also writes it to standard error"},
	{key: "login_notify_message", match: missing, why: "no equal in this version"},
	{key: "max_client_conn", kind: integer, fallback: "100", to: "listener.max_client_conn"},
	{key: "max_db_client_connections", kind: integer, fallback: "0", to: "auth.max_db_client_connections", merge: sum, why: oneForAll},
	{key: "max_db_connections", kind: integer, fallback: "0", match: differs, to: "server.max_db_connections", merge: sum, quiet: true, why: oneForAll},
	{key: "max_packet_size", kind: integer, fallback: "2147483647", match: nothing, why: "messages of any size pass through buffers of a fixed size"},
	{key: "max_prepared_statements", kind: integer, fallback: "200", to: "listener.max_prepared_statements"},
	{key: "max_user_client_connections", kind: integer, fallback: "0", to: "auth.max_user_client_connections", merge: sum, why: oneForAll},
	{key: "max_user_connections", kind: integer, fallback: "0", match: differs, to: "server.max_user_connections", merge: sum, quiet: true, why: oneForAll},
	{key: "min_pool_size", kind: integer, fallback: "0", match: differs, special: "minPoolSize", to: "listener.min_pool_size", why: "PgBouncer opens these servers at its start for a database with user=; here a pool opens them after its first use"},
	{key: "peer_id", kind: integer, fallback: "0", match: missing, why: "no equal in this version: one process uses all cores and needs no peers"},
	{key: "pidfile", to: "pidfile", merge: first, convert: absolute},
	{key: "pkt_buf", kind: integer, fallback: "4096", match: nothing, why: ownLoops},
	{key: "pool_mode", kind: word, words: poolModes, fallback: "session", to: "listener.pool_mode", write: true},
	{key: "pool_idle_timeout", kind: seconds, fallback: "0", special: "poolIdleTimeout", to: "listener.pool_idle_timeout"},
	{key: "query_timeout", kind: seconds, fallback: "0", to: "listener.query_timeout"},
	{key: "query_wait_notify", kind: integer, fallback: "5", to: "listener.query_wait_notify"},
	{key: "query_wait_timeout", kind: seconds, fallback: "120", match: differs, to: "listener.query_wait_timeout", write: true, why: "the client gets an error (53300) and keeps its connection; PgBouncer closes it"},
	{key: "reserve_pool_size", kind: integer, fallback: "0", to: "listener.reserve_pool_size"},
	{key: "reserve_pool_timeout", kind: seconds, fallback: "5", to: "listener.reserve_pool_timeout"},
	{key: "resolv_conf", match: nothing, why: "the system's resolver is used"},
	{key: "sbuf_loopcnt", kind: integer, fallback: "5", match: nothing, why: ownLoops},
	{key: "scram_iterations", kind: integer, fallback: "4096", match: nothing, why: "secrets of plain passwords are computed with 4096 iterations"},
	{key: "server_check_delay", kind: seconds, fallback: "30", match: differs, to: "listener.server_check_delay", convert: checkDelay, quiet: true, why: "0 is a test before each use in PgBouncer; it becomes 1ms"},
	{key: "server_check_query", fallback: "<empty>", to: "listener.server_check_query", convert: checkQuery},
	{key: "server_connect_timeout", kind: seconds, fallback: "15", to: "server.server_connect_timeout", merge: largest},
	{key: "server_fast_close", kind: integer, fallback: "0", match: missing, why: "no equal in this version: a session keeps its server until it ends"},
	{key: "server_idle_timeout", kind: seconds, fallback: "600", to: "listener.server_idle_timeout"},
	{key: "server_lifetime", kind: seconds, fallback: "3600", match: differs, to: "listener.server_lifetime", convert: lifetime, quiet: true, why: "a random part spreads the ages; 0, in PgBouncer one use for each server, becomes 1ms"},
	{key: "server_login_retry", kind: seconds, fallback: "15", match: differs, to: "server.server_login_retry", merge: largest, why: "the pause here grows from 100ms up to this; PgBouncer always waits this long"},
	{key: "server_reset_query", fallback: "DISCARD ALL", to: "listener.server_reset_query"},
	{key: "server_reset_query_always", kind: integer, fallback: "0", match: differs, special: "resetAlways", to: "listener.isolation", why: "it becomes isolation = \"strict\""},
	{key: "server_round_robin", kind: integer, fallback: "0", to: "listener.server_round_robin"},
	{key: "server_tls13_ciphers", unset: true, match: nothing, why: goTLS13},
	{key: "server_tls_ca_file", to: "server.sslrootcert", merge: equal, convert: absolute},
	{key: "server_tls_cert_file", to: "server.sslcert", merge: equal, convert: absolute},
	{key: "server_tls_ciphers", fallback: "default", match: nothing, why: "Go chooses the cipher suites"},
	{key: "server_tls_key_file", to: "server.sslkey", merge: equal, convert: absolute},
	{key: "server_tls_protocols", fallback: "secure", match: nothing, why: "TLS 1.2 and 1.3 are used"},
	{key: "server_tls_sslmode", kind: word, words: sslModes, fallback: "prefer", to: "server.sslmode", merge: equal},
	{key: "service_name", fallback: "pgbouncer", match: nothing, why: "it is job_name on Windows"},
	{key: "so_reuseport", kind: integer, fallback: "0", match: missing, why: "no equal in this version: one process uses all cores"},
	{key: "stats_period", kind: integer, fallback: "60", match: differs, to: "log.stats_period", merge: largest, why: "it holds for the line of log_stats; averages over it have no equal in this version"},
	{key: "stats_users", match: missing, why: "/metrics needs no user; " + consoleSoon},
	{key: "suspend_timeout", kind: seconds, fallback: "10", match: missing, why: consoleSoon},
	{key: "syslog", kind: integer, fallback: "0", match: nothing, why: systemd},
	{key: "syslog_facility", fallback: "daemon", match: nothing, why: systemd},
	{key: "syslog_ident", fallback: "pgbouncer", match: nothing, why: systemd},
	{key: "tcp_defer_accept", kind: integer, fallback: "1", off: "0", match: nothing, why: ownLoops},
	{key: "tcp_keepalive", kind: integer, fallback: "1", to: "server.tcp_keepalive", merge: first},
	{key: "tcp_keepcnt", kind: integer, fallback: "0", to: "server.tcp_keepcnt", merge: first},
	{key: "tcp_keepidle", kind: integer, fallback: "0", to: "server.tcp_keepidle", merge: first},
	{key: "tcp_keepintvl", kind: integer, fallback: "0", to: "server.tcp_keepintvl", merge: first},
	{key: "tcp_socket_buffer", kind: integer, fallback: "0", match: missing, why: "no equal in this version: the operating system sizes the buffers"},
	{key: "tcp_user_timeout", kind: integer, fallback: "0", to: "server.tcp_user_timeout", merge: first, convert: milliseconds},
	{key: "track_extra_parameters", fallback: "IntervalStyle", match: nothing, why: "isolation = \"tracked\" follows every parameter"},
	{key: "transaction_timeout", kind: seconds, fallback: "0", to: "listener.transaction_timeout"},
	{key: "unix_socket_dir", fallback: "/tmp", special: "addresses", to: "listener.listen"},
	{key: "unix_socket_group", match: missing, why: "no equal in this version: the socket has the group of the process"},
	{key: "unix_socket_mode", kind: integer, fallback: "0777", to: "listener.unix_socket_mode", convert: octal},
	{key: "user", unset: true, match: nothing, why: "start the program as this user; started as pgbouncer, it switches to the user"},
	{key: "verbose", kind: integer, fallback: "0", unset: true, match: differs, to: "log.level", merge: largest, convert: verbosity, quiet: true, why: "above 0 it is level = \"debug\""},
}

// settingRowOf finds the row of a key; nil if PgBouncer has no such key.
func settingRowOf(key string) *settingRow {
	for i := range settingRows {
		if settingRows[i].key == key {
			return &settingRows[i]
		}
	}
	return nil
}
