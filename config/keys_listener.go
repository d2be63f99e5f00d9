package config

// The key table, second half: listeners, and what a database or a user may have different.

var listenerKeys = []Key{
	{
		Name: "name", When: Restart,
		Doc:   "Name of the listener in metrics, logs and environment names. Lower-case letters, digits, - and _.",
		field: of(func(l *Listener) any { return &l.Name }),
	},
	{
		Name: "listen", When: Restart,
		Doc:   "Addresses: host:port, :port for all of them, or the path of a unix socket directory with :port.",
		field: of(func(l *Listener) any { return &l.Listen }),
	},
	{
		Name: "pool_mode", When: Restart,
		Allowed: []string{"session", "transaction", "statement"},
		Doc:     "When a server goes back to its pool: at the end of the client's session, transaction, or statement (which forbids transaction blocks).",
		field:   of(func(l *Listener) any { return &l.PoolMode }),
	},
	{
		Name: "max_client_conn", Min: 1, When: NewLogins, Unit: "clients",
		Doc:   "Clients this listener accepts; the next one is refused with 53300. Each needs a file descriptor.",
		field: of(func(l *Listener) any { return &l.MaxClientConn }),
	},
	{
		Name: "proxy_protocol", When: NewLogins,
		Doc:   "Load balancers say whose connection they hand on, by the PROXY protocol, version 1 or 2: rules by address and the log see the client's own address. Those in proxy_protocol_from have to, nobody else may.",
		field: of(func(l *Listener) any { return &l.ProxyProtocol }),
	},
	{
		Name: "proxy_protocol_from", When: NewLogins,
		Zero:  "none",
		Doc:   "Addresses and networks of the load balancers of proxy_protocol, such as [\"10.0.0.5\", \"10.1.0.0/16\"].",
		field: of(func(l *Listener) any { return &l.ProxyProtocolFrom }),
	},
	{
		Name: "default_pool_size", Min: 1, When: Live, Unit: "servers",
		Doc:   "Servers of each pool, that is per database and user. The sum over all pools must fit into PostgreSQL's max_connections.",
		field: of(func(l *Listener) any { return &l.DefaultPoolSize }),
	},
	{
		Name: "min_pool_size", When: Live, Unit: "servers",
		Zero:  "servers are opened when clients need them",
		Doc:   "Servers a pool keeps open once it has been used.",
		field: of(func(l *Listener) any { return &l.MinPoolSize }),
	},
	{
		Name: "reserve_pool_size", When: Live, Unit: "servers",
		Zero:  "no reserve",
		Doc:   "More servers a pool may open when a client has waited for reserve_pool_timeout.",
		field: of(func(l *Listener) any { return &l.ReservePoolSize }),
	},
	{
		Name: "reserve_pool_timeout", When: Live,
		Zero:  "never use the reserve",
		Doc:   "How long a client waits before the pool uses its reserve.",
		field: of(func(l *Listener) any { return &l.ReservePoolTimeout }),
	},
	{
		Name: "query_wait_timeout", When: Live,
		Zero:  "wait without end",
		Doc:   "How long a query waits for a server before the client gets an error (53300) and keeps its connection. PgBouncer: 120s, and the connection is closed.",
		field: of(func(l *Listener) any { return &l.QueryWaitTimeout }),
	},
	{
		Name: "query_wait_notify", When: Live,
		Zero:  "never",
		Doc:   "After this long in the queue the client gets a NOTICE that it waits.",
		field: of(func(l *Listener) any { return &l.QueryWaitNotify }),
	},
	{
		Name: "client_login_timeout", When: NewLogins,
		Zero:  "no limit",
		Doc:   "How long a client may take to log in.",
		field: of(func(l *Listener) any { return &l.ClientLoginTimeout }),
	},
	{
		Name: "client_idle_timeout", When: Live,
		Zero:  "never",
		Doc:   "Close clients that sent nothing for this long outside a transaction (57P05). Longer than your application's pool keeps idle connections, or not at all.",
		field: of(func(l *Listener) any { return &l.ClientIdleTimeout }),
	},
	{
		Name: "idle_transaction_timeout", When: Live,
		Zero:  "never",
		Doc:   "Close clients idle in a transaction for this long (25P03). Applications that keep a transaction open for the length of a stream otherwise park all servers.",
		field: of(func(l *Listener) any { return &l.IdleTransactionTimeout }),
	},
	{
		Name: "transaction_timeout", When: Live,
		Zero:  "never",
		Doc:   "Close clients whose transaction is older than this (25P04).",
		field: of(func(l *Listener) any { return &l.TransactionTimeout }),
	},
	{
		Name: "query_timeout", When: Live,
		Zero:  "never",
		Doc:   "Close clients whose query runs longer than this (57014). PostgreSQL's statement_timeout is gentler: it leaves the connection open.",
		field: of(func(l *Listener) any { return &l.QueryTimeout }),
	},
	{
		Name: "cancel_wait_timeout", When: Live,
		Zero:  "a built-in limit of 5s",
		Doc:   "How long a cancel request may wait for its way to PostgreSQL before it is dropped.",
		field: of(func(l *Listener) any { return &l.CancelWaitTimeout }),
	},
	{
		Name: "server_lifetime", When: Live,
		Zero:  "never (PgBouncer: after each use)",
		Doc:   "Servers older than this are closed when next free. Spread by a jitter, so that they do not all go at once.",
		field: of(func(l *Listener) any { return &l.ServerLifetime }),
	},
	{
		Name: "server_idle_timeout", When: Live,
		Zero:  "never",
		Doc:   "Servers unused for this long are closed, down to min_pool_size.",
		field: of(func(l *Listener) any { return &l.ServerIdleTimeout }),
	},
	{
		Name: "pool_idle_timeout", When: Live,
		Zero:  "never",
		Doc:   "A pool with neither clients nor servers for this long is forgotten, and its numbers vanish from /metrics. One that never had a server, as for a database that does not exist, is forgotten after 10s.",
		field: of(func(l *Listener) any { return &l.PoolIdleTimeout }),
	},
	{
		Name: "server_check_delay", When: Live,
		Zero:  "no test (PgBouncer: before each use)",
		Doc:   "A server unused for this long is tested with server_check_query before a client gets it. Only if there is such a query.",
		field: of(func(l *Listener) any { return &l.ServerCheckDelay }),
	},
	{
		Name: "server_check_query", When: Live,
		Zero:  "no test",
		Doc:   "Query that tests an idle server. \";\" costs PostgreSQL nothing; PgBouncer writes it as <empty>, which is understood too.",
		field: of(func(l *Listener) any { return &l.ServerCheckQuery }),
	},
	{
		Name: "server_reset_query", When: Live,
		Zero:  "none: the next client inherits what the last one left",
		Doc:   "Query that cleans a server after a session, before the next client gets it. Only in session mode.",
		field: of(func(l *Listener) any { return &l.ServerResetQuery }),
	},
	{
		Name: "server_round_robin", When: Live,
		Doc:   "Use idle servers in turn instead of the one used last. The default lets servers nobody needs grow old and close.",
		field: of(func(l *Listener) any { return &l.ServerRoundRobin }),
	},
	{
		Name: "isolation", When: NewLogins,
		Allowed: []string{"tracked", "strict", "off"},
		Doc:     "What becomes of SET and its kin outside session mode. tracked: parameters follow the client from server to server, whatever else it leaves on one is cleaned away. strict: likewise, and each server is reset before a different client gets it, which costs a DISCARD ALL each time. off: as in PgBouncer, the next client inherits it. In every mode, session mode too, RESET gives back the startup parameters with tracked and strict, and goes past them with off.",
		field:   of(func(l *Listener) any { return &l.Isolation }),
	},
	{
		Name: "unix_socket_mode", When: Restart,
		Doc:   "Permissions of the unix socket, in octal.",
		field: of(func(l *Listener) any { return &l.UnixSocketMode }),
	},
	{
		Name: "client_tls_sslmode", When: NewLogins,
		Allowed: []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
		Doc:     "TLS with clients. allow and prefer, which mean the same, leave the choice to the client; require refuses plain connections over the network (28000); verify-ca and verify-full, the same again, also want a certificate of the client's. Unix sockets are always plain.",
		field:   of(func(l *Listener) any { return &l.ClientTLSMode }),
	},
	{
		Name: "client_tls_key_file", When: NewLogins, Path: true, Zero: "none",
		Doc:   "File of the private key of client_tls_cert_file. A change of these files is noticed within seconds; new logins see it.",
		field: of(func(l *Listener) any { return &l.ClientTLSKeyFile }),
	},
	{
		Name: "client_tls_cert_file", When: NewLogins, Path: true, Zero: "none",
		Doc:   "File of the certificate shown to clients, followed by those between it and the root.",
		field: of(func(l *Listener) any { return &l.ClientTLSCertFile }),
	},
	{
		Name: "client_tls_ca_file", When: NewLogins, Path: true, Zero: "none",
		Doc:   "File of the authorities that may have signed a client's certificate. With it, a certificate that a client shows is checked in every mode, and lines of auth_hba_file may ask for one.",
		field: of(func(l *Listener) any { return &l.ClientTLSCAFile }),
	},
	{
		Name: "client_tls_protocols", When: NewLogins,
		Allowed: []string{"secure", "tlsv1.2", "tlsv1.3", "tlsv1.2,tlsv1.3"},
		Doc:     "Versions of TLS spoken with clients; secure is both that are left, 1.2 and 1.3.",
		field:   of(func(l *Listener) any { return &l.ClientTLSProtocols }),
	},
	{
		Name: "client_tls_ciphers", When: NewLogins,
		Doc:   "Cipher suites of TLS 1.2 with clients: OpenSSL's names with colons between them, such as \"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384\"; which of them is taken is not decided by their order. default is Go's choice, and those of TLS 1.3 always are.",
		field: of(func(l *Listener) any { return &l.ClientTLSCiphers }),
	},
	{
		Name: "promotion", When: Live,
		Allowed: []string{"on", "off", "error"},
		Doc:     "Move the server of a long transaction, or of a client that makes a temporary table and the like, from this listener's pool to that of a session listener. Quick queries do not wait behind it, and what only a connection can hold works. error: refuse statements that make such things (0A000), and move nothing. Only in transaction mode; for session state isolation must not be off, but for error.",
		field:   of(func(l *Listener) any { return &l.Promotion }),
	},
	{
		Name: "promote_to", When: Live,
		Zero:  "the first listener in session mode",
		Doc:   "Name of the session listener whose pools take promoted servers.",
		field: of(func(l *Listener) any { return &l.PromoteTo }),
	},
	{
		Name: "long_transaction", When: Live,
		Zero:  "never",
		Doc:   "Age at which a transaction is promoted, if the session pool has room.",
		field: of(func(l *Listener) any { return &l.LongTransaction }),
	},
	{
		Name: "defer_begin", When: NewLogins,
		Doc:   "Answer a BEGIN that comes alone without a server, and send it ahead of the first statement: a client that begins a transaction and then thinks holds no server meanwhile. now() and the transaction's start in pg_stat_activity are then the time of that statement; time-outs count from BEGIN. A BEGIN that could fail (SERIALIZABLE, READ WRITE) is sent at once. Only in transaction mode.",
		field: of(func(l *Listener) any { return &l.DeferBegin }),
	},
	{
		Name: "max_prepared_statements", When: NewLogins, Unit: "statements",
		Zero:  "messages pass as they are: a statement is there only in the transaction that prepares it",
		Doc:   "Statements each server holds for the clients of a transaction or statement pool. Those used least recently are closed and prepared again when needed; clients do not notice. No effect in session mode.",
		field: of(func(l *Listener) any { return &l.MaxPreparedStatements }),
	},
}

const (
	asServer   = "as [server] says"
	asAuth     = "as [auth] says"
	asListener = "as the listener says"
	asDatabase = "as the database or the listener says"
)

var databaseKeys = []Key{
	{
		Name: "host", When: NewLogins, Zero: asServer,
		Doc:   "Where this database is, if not at server.host.",
		field: of(func(d *Database) any { return &d.Host }),
	},
	{
		Name: "port", Max: 65535, When: NewLogins, Unit: "port", Zero: asServer,
		Doc:   "Its port, if not server.port.",
		field: of(func(d *Database) any { return &d.Port }),
	},
	{
		Name: "dbname", When: NewLogins, Zero: "the name the client asked for",
		Doc:   "Its name in PostgreSQL.",
		field: of(func(d *Database) any { return &d.DBName }),
	},
	{
		Name: "user", When: NewLogins, Zero: asServer,
		Doc:   "Log in to PostgreSQL as this user for every client of this database.",
		field: of(func(d *Database) any { return &d.User }),
	},
	{
		Name: "password", When: NewLogins, Secret: true, Zero: "server.password if the user is the same, else as there",
		Doc:   "Password of user.",
		field: of(func(d *Database) any { return &d.Password }),
	},
	{
		Name: "auth_user", When: NewLogins, Zero: asAuth,
		Doc:   "Who asks auth_query for this database.",
		field: of(func(d *Database) any { return &d.AuthUser }),
	},
	{
		Name: "auth_query", When: NewLogins, Zero: asAuth,
		Doc:   "How users of this database are looked up.",
		field: of(func(d *Database) any { return &d.AuthQuery }),
	},
	{
		Name: "auth_dbname", When: NewLogins, Zero: asAuth,
		Doc:   "Database in which users of this database are looked up.",
		field: of(func(d *Database) any { return &d.AuthDBName }),
	},
	{
		Name: "pool_size", When: Live, Unit: "servers", Zero: asListener,
		Doc:   "Servers of each pool of this database.",
		field: of(func(d *Database) any { return &d.PoolSize }),
	},
	{
		Name: "min_pool_size", When: Live, Unit: "servers", Zero: asListener,
		Doc:   "Servers each pool of this database keeps open once it has been used.",
		field: of(func(d *Database) any { return &d.MinPoolSize }),
	},
	{
		Name: "reserve_pool_size", When: Live, Unit: "servers", Zero: asListener,
		Doc:   "Reserve of each pool of this database.",
		field: of(func(d *Database) any { return &d.ReservePoolSize }),
	},
	{
		Name: "max_db_connections", When: Live, Unit: "servers", Zero: asServer,
		Doc:   "Servers this database may have over all pools of all listeners.",
		field: of(func(d *Database) any { return &d.MaxDBConnections }),
	},
	{
		Name: "max_db_client_connections", When: NewLogins, Unit: "clients", Zero: asAuth,
		Doc:   "Clients this database may have over all listeners.",
		field: of(func(d *Database) any { return &d.MaxDBClientConnections }),
	},
	{
		Name: "query_wait_timeout", When: Live, Zero: asListener,
		Doc:   "How long a query to this database waits for a server.",
		field: of(func(d *Database) any { return &d.QueryWaitTimeout }),
	},
	{
		Name: "server_lifetime", When: Live, Zero: asListener,
		Doc:   "Age at which servers of this database are replaced.",
		field: of(func(d *Database) any { return &d.ServerLifetime }),
	},
}

var userKeys = []Key{
	{
		Name: "pool_size", When: Live, Unit: "servers", Zero: asDatabase,
		Doc:   "Servers of each pool of this user.",
		field: of(func(u *User) any { return &u.PoolSize }),
	},
	{
		Name: "reserve_pool_size", When: Live, Unit: "servers", Zero: asDatabase,
		Doc:   "Reserve of each pool of this user.",
		field: of(func(u *User) any { return &u.ReservePoolSize }),
	},
	{
		Name: "max_user_connections", When: Live, Unit: "servers", Zero: asServer,
		Doc:   "Servers this user may have over all pools of all listeners.",
		field: of(func(u *User) any { return &u.MaxUserConnections }),
	},
	{
		Name: "max_user_client_connections", When: NewLogins, Unit: "clients", Zero: asAuth,
		Doc:   "Clients this user may have over all listeners.",
		field: of(func(u *User) any { return &u.MaxUserClientConnections }),
	},
	{
		Name: "query_timeout", When: Live, Zero: asListener,
		Doc:   "Longest query of this user.",
		field: of(func(u *User) any { return &u.QueryTimeout }),
	},
	{
		Name: "query_wait_timeout", When: Live, Zero: asDatabase,
		Doc:   "How long a query of this user waits for a server.",
		field: of(func(u *User) any { return &u.QueryWaitTimeout }),
	},
	{
		Name: "idle_transaction_timeout", When: Live, Zero: asListener,
		Doc:   "How long this user may be idle in a transaction.",
		field: of(func(u *User) any { return &u.IdleTransactionTimeout }),
	},
	{
		Name: "transaction_timeout", When: Live, Zero: asListener,
		Doc:   "Longest transaction of this user.",
		field: of(func(u *User) any { return &u.TransactionTimeout }),
	},
	{
		Name: "client_idle_timeout", When: Live, Zero: asListener,
		Doc:   "How long a client of this user may be idle outside a transaction.",
		field: of(func(u *User) any { return &u.ClientIdleTimeout }),
	},
}
