package config

// The key table, second half: listeners, and the settings of a database or a user.

var listenerKeys = []Key{
	{
		Name: "name", When: Restart,
		Doc:   "Name of the listener in metrics, logs and environment names. Lower-case letters, digits, - and _.",
		field: of(func(l *Listener) any { return &l.Name }),
	},
	{
		Name: "listen", When: Restart,
		Doc:   "Addresses to listen on: host:port, :port for all addresses, or /directory:port for a unix socket.",
		field: of(func(l *Listener) any { return &l.Listen }),
	},
	{
		Name: "pool_mode", When: Restart,
		Allowed: []string{"session", "transaction", "statement"},
		Doc:     "When a server returns to its pool: at the end of the client's session, transaction or statement. statement forbids transaction blocks.",
		field:   of(func(l *Listener) any { return &l.PoolMode }),
	},
	{
		Name: "max_client_conn", Min: 1, When: NewLogins, Unit: "clients",
		Doc:   "Most clients of this listener. The pooler refuses the next one (53300). Each client needs a file descriptor.",
		field: of(func(l *Listener) any { return &l.MaxClientConn }),
	},
	{
		Name: "proxy_protocol", When: NewLogins,
		Doc:   "Load balancers send the client's address by the PROXY protocol, version 1 or 2. auth_hba_file and the log use that address. Every connection from proxy_protocol_from must use the protocol; no other connection may.",
		field: of(func(l *Listener) any { return &l.ProxyProtocol }),
	},
	{
		Name: "proxy_protocol_from", When: NewLogins,
		Zero:  "none",
		Doc:   "Addresses and networks of the load balancers for proxy_protocol, such as [\"10.0.0.5\", \"10.1.0.0/16\"].",
		field: of(func(l *Listener) any { return &l.ProxyProtocolFrom }),
	},
	{
		Name: "default_pool_size", Min: 1, When: Live, Unit: "servers",
		Doc:   "Most servers of each pool; there is one pool for each database and user. The sum over all pools must fit into PostgreSQL's max_connections.",
		field: of(func(l *Listener) any { return &l.DefaultPoolSize }),
	},
	{
		Name: "min_pool_size", When: Live, Unit: "servers",
		Zero:  "a server is opened when a client needs it",
		Doc:   "Servers that a pool keeps open after its first use.",
		field: of(func(l *Listener) any { return &l.MinPoolSize }),
	},
	{
		Name: "reserve_pool_size", When: Live, Unit: "servers",
		Zero:  "no reserve",
		Doc:   "Further servers that a pool may open once a client has waited for reserve_pool_timeout.",
		field: of(func(l *Listener) any { return &l.ReservePoolSize }),
	},
	{
		Name: "reserve_pool_timeout", When: Live,
		Zero:  "never use the reserve",
		Doc:   "How long a client waits before its pool uses the reserve.",
		field: of(func(l *Listener) any { return &l.ReservePoolTimeout }),
	},
	{
		Name: "query_wait_timeout", When: Live,
		Zero:  "wait forever",
		Doc:   "How long a query waits for a server. Then the client gets an error (53300) and keeps its connection. PgBouncer waits 120s and closes the connection.",
		field: of(func(l *Listener) any { return &l.QueryWaitTimeout }),
	},
	{
		Name: "query_wait_notify", When: Live,
		Zero:  "never",
		Doc:   "The client gets a NOTICE once it has waited this long in the queue.",
		field: of(func(l *Listener) any { return &l.QueryWaitNotify }),
	},
	{
		Name: "client_login_timeout", When: NewLogins,
		Zero:  "no limit",
		Doc:   "Longest time for a login.",
		field: of(func(l *Listener) any { return &l.ClientLoginTimeout }),
	},
	{
		Name: "client_idle_timeout", When: Live,
		Zero:  "never",
		Doc:   "Close a client that sends nothing for this long outside a transaction (57P05). Set it longer than your application's own pool keeps idle connections, or leave it off.",
		field: of(func(l *Listener) any { return &l.ClientIdleTimeout }),
	},
	{
		Name: "idle_transaction_timeout", When: Live,
		Zero:  "never",
		Doc:   "Close a client that is idle in a transaction for this long (25P03). Without a limit, applications that keep transactions open can block every server.",
		field: of(func(l *Listener) any { return &l.IdleTransactionTimeout }),
	},
	{
		Name: "transaction_timeout", When: Live,
		Zero:  "never",
		Doc:   "Close a client when its transaction is older than this (25P04).",
		field: of(func(l *Listener) any { return &l.TransactionTimeout }),
	},
	{
		Name: "query_timeout", When: Live,
		Zero:  "never",
		Doc:   "Close a client when its query runs longer than this (57014). PostgreSQL's statement_timeout is gentler: it leaves the connection open.",
		field: of(func(l *Listener) any { return &l.QueryTimeout }),
	},
	{
		Name: "cancel_wait_timeout", When: Live,
		Zero:  "a built-in limit of 5s",
		Doc:   "How long a cancel request may need to reach PostgreSQL. Then the pooler drops it.",
		field: of(func(l *Listener) any { return &l.CancelWaitTimeout }),
	},
	{
		Name: "server_lifetime", When: Live,
		Zero:  "never (in PgBouncer: after each use)",
		Doc:   "Age at which a free server is closed. A random part spreads the ages, so that servers are not all closed at once.",
		field: of(func(l *Listener) any { return &l.ServerLifetime }),
	},
	{
		Name: "server_idle_timeout", When: Live,
		Zero:  "never",
		Doc:   "Close a server that is unused for this long, down to min_pool_size.",
		field: of(func(l *Listener) any { return &l.ServerIdleTimeout }),
	},
	{
		Name: "pool_idle_timeout", When: Live,
		Zero:  "never",
		Doc:   "Remove a pool that has had neither clients nor servers for this long, and its numbers from /metrics. A pool that never had a server, as for a database that does not exist, is removed after 10s.",
		field: of(func(l *Listener) any { return &l.PoolIdleTimeout }),
	},
	{
		Name: "server_check_delay", When: Live,
		Zero:  "no test (in PgBouncer: before each use)",
		Doc:   "Test a server with server_check_query before a client gets it, if it was unused for this long.",
		field: of(func(l *Listener) any { return &l.ServerCheckDelay }),
	},
	{
		Name: "server_check_query", When: Live,
		Zero:  "no test",
		Doc:   "Query that tests an idle server. \";\" costs PostgreSQL nothing. PgBouncer's word for it, <empty>, is accepted too.",
		field: of(func(l *Listener) any { return &l.ServerCheckQuery }),
	},
	{
		Name: "server_reset_query", When: Live,
		Zero:  "none: the next client inherits the session state of the last one",
		Doc:   "Query that cleans a server after a session, before the next client gets it. It is used in session mode only.",
		field: of(func(l *Listener) any { return &l.ServerResetQuery }),
	},
	{
		Name: "server_round_robin", When: Live,
		Doc:   "Use idle servers in turn, instead of the one used last. With the default, servers that no client needs become idle and are closed.",
		field: of(func(l *Listener) any { return &l.ServerRoundRobin }),
	},
	{
		Name: "isolation", When: NewLogins,
		Allowed: []string{"tracked", "strict", "off"},
		Doc:     "What happens to session state, such as SET, outside session mode. tracked: parameters follow the client from server to server, and the pooler cleans other state away. strict: like tracked, with a DISCARD ALL before another client gets the server. off: the next client inherits the state, as in PgBouncer. With tracked and strict, RESET returns to the startup parameters; with off, to the server's own values. This also holds in session mode.",
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
		Doc:     "TLS with clients. allow and prefer: the client chooses. require: the pooler refuses plain network connections (28000). verify-ca and verify-full: like require, and the client must show a valid certificate. Unix sockets never use TLS.",
		field:   of(func(l *Listener) any { return &l.ClientTLSMode }),
	},
	{
		Name: "client_tls_key_file", When: NewLogins, Path: true, Zero: "none",
		Doc:   "File with the private key of client_tls_cert_file. The pooler notices a change of the TLS files within seconds; new logins use it.",
		field: of(func(l *Listener) any { return &l.ClientTLSKeyFile }),
	},
	{
		Name: "client_tls_cert_file", When: NewLogins, Path: true, Zero: "none",
		Doc:   "File with the certificate for clients, followed by the intermediate certificates.",
		field: of(func(l *Listener) any { return &l.ClientTLSCertFile }),
	},
	{
		Name: "client_tls_ca_file", When: NewLogins, Path: true, Zero: "none",
		Doc:   "File with the authorities that sign clients' certificates. With it, every mode checks a certificate that a client shows, and lines of auth_hba_file may require one.",
		field: of(func(l *Listener) any { return &l.ClientTLSCAFile }),
	},
	{
		Name: "client_tls_protocols", When: NewLogins,
		Allowed: []string{"secure", "tlsv1.2", "tlsv1.3", "tlsv1.2,tlsv1.3"},
		Doc:     "Allowed versions of TLS with clients. secure: 1.2 and 1.3.",
		field:   of(func(l *Listener) any { return &l.ClientTLSProtocols }),
	},
	{
		Name: "client_tls_ciphers", When: NewLogins,
		Doc:   "Cipher suites of TLS 1.2 with clients: OpenSSL's names with colons between them. An example: \"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384\". Their order has no meaning. default: Go's choice. The suites of TLS 1.3 are always Go's choice.",
		field: of(func(l *Listener) any { return &l.ClientTLSCiphers }),
	},
	{
		Name: "promotion", When: Live,
		Allowed: []string{"on", "off", "error"},
		Doc:     "on: move the server of a long transaction to a pool of a session listener, and that of a client that creates session state, such as a temporary table. Then quick queries do not wait for it, and session state works. off: never. error: refuse statements that create such state (0A000). Only in transaction mode. With isolation = \"off\", on moves long transactions only.",
		field:   of(func(l *Listener) any { return &l.Promotion }),
	},
	{
		Name: "promote_to", When: Live,
		Zero:  "the first listener in session mode",
		Doc:   "Name of the session listener whose pools get promoted servers.",
		field: of(func(l *Listener) any { return &l.PromoteTo }),
	},
	{
		Name: "long_transaction", When: Live,
		Zero:  "never",
		Doc:   "Age at which a transaction's server is promoted, if other clients wait and the session pool has room.",
		field: of(func(l *Listener) any { return &l.LongTransaction }),
	},
	{
		Name: "lend_idle_after", When: Live,
		Zero:  "a client keeps its server until it leaves, as in PgBouncer",
		Doc:   "In session mode: a client that is idle outside a transaction for this long, and holds no session state, lends its server when another client waits. It gets a server again at its next statement.",
		field: of(func(l *Listener) any { return &l.LendIdleAfter }),
	},
	{
		Name: "idle_transaction_pressure_timeout", When: Live,
		Zero:  "never",
		Doc:   "Close a client that is idle in a transaction for this long (25P03), but only while another client waits for a server of the same pool.",
		field: of(func(l *Listener) any { return &l.IdleTransactionPressureTimeout }),
	},
	{
		Name: "defer_begin", When: NewLogins,
		Doc:   "Answer a BEGIN that comes alone without a server, and send it with the first statement. So a client that pauses after BEGIN needs no server. now() and the transaction's start in pg_stat_activity are then the time of the first statement; time-outs count from BEGIN. A BEGIN that can fail (SERIALIZABLE, READ WRITE) is sent at once. Only in transaction mode.",
		field: of(func(l *Listener) any { return &l.DeferBegin }),
	},
	{
		Name: "max_prepared_statements", When: NewLogins, Unit: "statements",
		Zero:  "no tracking: a statement exists only in the transaction that prepares it",
		Doc:   "Most prepared statements on each server of a transaction or statement pool. The pooler closes the least recently used one and prepares it again when a client needs it; clients do not notice. No effect in session mode.",
		field: of(func(l *Listener) any { return &l.MaxPreparedStatements }),
	},
}

const (
	asServer   = "as [server] says"
	asAuth     = "as [auth] says"
	asListener = "as the listener says"
	asDatabase = "as the database or the listener says"
	asTable    = "as the table above says"
)

var databaseKeys = []Key{
	{
		Name: "host", When: NewLogins, Zero: asServer,
		Doc:   "Host of this database, if it is not server.host.",
		field: of(func(d *Database) any { return &d.Host }),
	},
	{
		Name: "port", Max: 65535, When: NewLogins, Unit: "port", Zero: asServer,
		Doc:   "Port of this database, if it is not server.port.",
		field: of(func(d *Database) any { return &d.Port }),
	},
	{
		Name: "dbname", When: NewLogins, Zero: "the name that the client asks for",
		Doc:   "Name of this database in PostgreSQL.",
		field: of(func(d *Database) any { return &d.DBName }),
	},
	{
		Name: "user", When: NewLogins, Zero: asServer,
		Doc:   "The user that servers of this database log in to PostgreSQL as, for every client.",
		field: of(func(d *Database) any { return &d.User }),
	},
	{
		Name: "password", When: NewLogins, Secret: true, Zero: "server.password if the user is server.user, else as described there",
		Doc:   "Password of user.",
		field: of(func(d *Database) any { return &d.Password }),
	},
	{
		Name: "auth_user", When: NewLogins, Zero: asAuth,
		Doc:   "The user that runs auth_query for this database.",
		field: of(func(d *Database) any { return &d.AuthUser }),
	},
	{
		Name: "auth_query", When: NewLogins, Zero: asAuth,
		Doc:   "Query that looks up the users of this database.",
		field: of(func(d *Database) any { return &d.AuthQuery }),
	},
	{
		Name: "auth_dbname", When: NewLogins, Zero: asAuth,
		Doc:   "Database that auth_query runs in for this database.",
		field: of(func(d *Database) any { return &d.AuthDBName }),
	},
	{
		Name: "pool_size", When: Live, Unit: "servers", Zero: asListener,
		Doc:   "Most servers of each pool of this database.",
		field: of(func(d *Database) any { return &d.PoolSize }),
	},
	{
		Name: "min_pool_size", When: Live, Unit: "servers", Zero: asListener, Off: "none",
		Doc:   "Servers that each pool of this database keeps open after its first use.",
		field: of(func(d *Database) any { return &d.MinPoolSize }),
	},
	{
		Name: "reserve_pool_size", When: Live, Unit: "servers", Zero: asListener, Off: "no reserve",
		Doc:   "Reserve of each pool of this database.",
		field: of(func(d *Database) any { return &d.ReservePoolSize }),
	},
	{
		Name: "max_db_connections", When: Live, Unit: "servers", Zero: asServer, Off: "no limit",
		Doc:   "Most servers of this database, over all pools of all listeners.",
		field: of(func(d *Database) any { return &d.MaxDBConnections }),
	},
	{
		Name: "max_db_client_connections", When: NewLogins, Unit: "clients", Zero: asAuth, Off: "no limit",
		Doc:   "Most clients of this database, over all listeners.",
		field: of(func(d *Database) any { return &d.MaxDBClientConnections }),
	},
	{
		Name: "query_wait_timeout", When: Live, Zero: asListener, Off: "wait forever",
		Doc:   "How long a query to this database waits for a server.",
		field: of(func(d *Database) any { return &d.QueryWaitTimeout }),
	},
	{
		Name: "server_lifetime", When: Live, Zero: asListener, Off: "never",
		Doc:   "Age at which a free server of this database is closed.",
		field: of(func(d *Database) any { return &d.ServerLifetime }),
	},
}

var userKeys = []Key{
	{
		Name: "pool_size", When: Live, Unit: "servers", Zero: asDatabase,
		Doc:   "Most servers of each pool of this user.",
		field: of(func(u *User) any { return &u.PoolSize }),
	},
	{
		Name: "reserve_pool_size", When: Live, Unit: "servers", Zero: asDatabase, Off: "no reserve",
		Doc:   "Reserve of each pool of this user.",
		field: of(func(u *User) any { return &u.ReservePoolSize }),
	},
	{
		Name: "max_user_connections", When: Live, Unit: "servers", Zero: asServer, Off: "no limit",
		Doc:   "Most servers of this user, over all pools of all listeners.",
		field: of(func(u *User) any { return &u.MaxUserConnections }),
	},
	{
		Name: "max_user_client_connections", When: NewLogins, Unit: "clients", Zero: asAuth, Off: "no limit",
		Doc:   "Most clients of this user, over all listeners.",
		field: of(func(u *User) any { return &u.MaxUserClientConnections }),
	},
	{
		Name: "weight", When: Live, Unit: "shares",
		Zero:  "1",
		Doc:   "Share of this user in the servers of all pools while several users wait for one. A user of weight 3 gets three times the servers of a user of weight 1.",
		field: of(func(u *User) any { return &u.Weight }),
	},
	{
		Name: "query_timeout", When: Live, Zero: asListener, Off: "never",
		Doc:   "Longest time for a query of this user.",
		field: of(func(u *User) any { return &u.QueryTimeout }),
	},
	{
		Name: "query_wait_timeout", When: Live, Zero: asDatabase, Off: "wait forever",
		Doc:   "How long a query of this user waits for a server.",
		field: of(func(u *User) any { return &u.QueryWaitTimeout }),
	},
	{
		Name: "idle_transaction_timeout", When: Live, Zero: asListener, Off: "never",
		Doc:   "How long this user may be idle in a transaction.",
		field: of(func(u *User) any { return &u.IdleTransactionTimeout }),
	},
	{
		Name: "transaction_timeout", When: Live, Zero: asListener, Off: "never",
		Doc:   "Longest time for a transaction of this user.",
		field: of(func(u *User) any { return &u.TransactionTimeout }),
	},
	{
		Name: "client_idle_timeout", When: Live, Zero: asListener, Off: "never",
		Doc:   "How long a client of this user may be idle outside a transaction.",
		field: of(func(u *User) any { return &u.ClientIdleTimeout }),
	},
}

var databaseOnListenerKeys = []Key{
	{
		Name: "pool_size", When: Live, Unit: "servers", Zero: asTable,
		Doc:   "Most servers of each pool of this database on this listener.",
		field: of(func(d *DatabaseOnListener) any { return &d.PoolSize }),
	},
	{
		Name: "min_pool_size", When: Live, Unit: "servers", Zero: asTable, Off: "none",
		Doc:   "Servers that each of these pools keeps open after its first use.",
		field: of(func(d *DatabaseOnListener) any { return &d.MinPoolSize }),
	},
	{
		Name: "reserve_pool_size", When: Live, Unit: "servers", Zero: asTable, Off: "no reserve",
		Doc:   "Reserve of each of these pools.",
		field: of(func(d *DatabaseOnListener) any { return &d.ReservePoolSize }),
	},
	{
		Name: "query_wait_timeout", When: Live, Zero: asTable, Off: "wait forever",
		Doc:   "How long a query to this database waits for a server on this listener.",
		field: of(func(d *DatabaseOnListener) any { return &d.QueryWaitTimeout }),
	},
	{
		Name: "server_lifetime", When: Live, Zero: asTable, Off: "never",
		Doc:   "Age at which a free server of these pools is closed.",
		field: of(func(d *DatabaseOnListener) any { return &d.ServerLifetime }),
	},
}

var userOnListenerKeys = []Key{
	{
		Name: "pool_size", When: Live, Unit: "servers", Zero: asTable,
		Doc:   "Most servers of each pool of this user on this listener.",
		field: of(func(u *UserOnListener) any { return &u.PoolSize }),
	},
	{
		Name: "reserve_pool_size", When: Live, Unit: "servers", Zero: asTable, Off: "no reserve",
		Doc:   "Reserve of each of these pools.",
		field: of(func(u *UserOnListener) any { return &u.ReservePoolSize }),
	},
	{
		Name: "query_timeout", When: Live, Zero: asTable, Off: "never",
		Doc:   "Longest time for a query of this user on this listener.",
		field: of(func(u *UserOnListener) any { return &u.QueryTimeout }),
	},
	{
		Name: "query_wait_timeout", When: Live, Zero: asTable, Off: "wait forever",
		Doc:   "How long a query of this user waits for a server on this listener.",
		field: of(func(u *UserOnListener) any { return &u.QueryWaitTimeout }),
	},
	{
		Name: "idle_transaction_timeout", When: Live, Zero: asTable, Off: "never",
		Doc:   "How long this user may be idle in a transaction on this listener.",
		field: of(func(u *UserOnListener) any { return &u.IdleTransactionTimeout }),
	},
	{
		Name: "transaction_timeout", When: Live, Zero: asTable, Off: "never",
		Doc:   "Longest time for a transaction of this user on this listener.",
		field: of(func(u *UserOnListener) any { return &u.TransactionTimeout }),
	},
	{
		Name: "client_idle_timeout", When: Live, Zero: asTable, Off: "never",
		Doc:   "How long a client of this user may be idle outside a transaction on this listener.",
		field: of(func(u *UserOnListener) any { return &u.ClientIdleTimeout }),
	},
}
