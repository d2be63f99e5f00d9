package config

// The key table, first half: all tables but listeners, databases and users. This file and keys_pools.go alone say what a key means.

var processKeys = []Key{
	{
		Name: "loops", Max: 256, When: Restart, Unit: "threads",
		Zero:  "one at the start, more only when it is busy",
		Doc:   "Event loops. Each is one thread and uses one CPU core.",
		field: of(func(c *Config) any { return &c.Loops }),
	},
	{
		Name: "io_uring", When: Restart,
		Doc:   "Send to many connections in one system call, which saves CPU time. It needs Linux 5.18 or later, and a container that allows io_uring; many do not. Otherwise, and with false, each message is a system call. The log says at the start which of the two holds.",
		field: of(func(c *Config) any { return &c.IOUring }),
	},
	{
		Name: "shutdown_timeout", When: Live,
		Zero:  "no wait",
		Doc:   "How long SIGTERM and SIGINT wait for open transactions. Then the pooler closes the remaining clients. Set the grace period of your orchestrator higher (Kubernetes: terminationGracePeriodSeconds).",
		field: of(func(c *Config) any { return &c.ShutdownTimeout }),
	},
	{
		Name: "pidfile", When: Restart, Path: true, Creates: true,
		Zero:  "none",
		Doc:   "File that contains the process's number while it runs. The program does not start if the file names a process that runs. It removes the file at its end.",
		field: of(func(c *Config) any { return &c.PIDFile }),
	},
}

var serverKeys = []Key{
	{
		Name: "host", When: NewLogins,
		Doc:   "PostgreSQL's name, address or socket directory, or a comma list of them. The pooler tries a list in its order.",
		field: of(func(s *Server) any { return &s.Host }),
	},
	{
		Name: "port", Min: 1, Max: 65535, When: NewLogins, Unit: "port",
		Doc:   "Port of PostgreSQL. It is also part of the socket's name in a socket directory.",
		field: of(func(s *Server) any { return &s.Port }),
	},
	{
		Name: "user", When: NewLogins,
		Zero:  "the client's user",
		Doc:   "The user that servers log in to PostgreSQL as, for every client.",
		field: of(func(s *Server) any { return &s.User }),
	},
	{
		Name: "password", When: NewLogins, Secret: true,
		Zero:  "the user file's secret of the server user, else passfile, else the secret that the client proved at its login",
		Doc:   "Password of user. No password need be stored for a client whose SCRAM secret is known from the user file or auth_query: servers log in with the key that the client's own login reveals. PostgreSQL must have the same secret.",
		field: of(func(s *Server) any { return &s.Password }),
	},
	{
		Name: "passfile", When: NewLogins, Path: true,
		Zero:  "none",
		Doc:   "File with passwords of server users, in the format of libpq's .pgpass: host:port:database:user:password. The pooler reads it at each login to PostgreSQL when neither this table nor the user file has a password of the user. It overrides a secret from the client's login.",
		field: of(func(s *Server) any { return &s.PassFile }),
	},
	{
		Name: "sslmode", When: NewLogins,
		Allowed: []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
		Doc:     "TLS with PostgreSQL, as in libpq. Only verify-ca and verify-full check the identity of PostgreSQL.",
		field:   of(func(s *Server) any { return &s.SSLMode }),
	},
	{
		Name: "sslnegotiation", When: NewLogins,
		Allowed: []string{"postgres", "direct"},
		Doc:     "How TLS with PostgreSQL begins. postgres: the pooler asks for it first. direct: it begins at once, which saves a round trip and needs PostgreSQL 17.",
		field:   of(func(s *Server) any { return &s.SSLNegotiation }),
	},
	{
		Name: "sslrootcert", When: NewLogins, Path: true,
		Zero:  "none",
		Doc:   "File with the certificate authorities that verify-ca and verify-full trust. The word system stands for the machine's authorities.",
		field: of(func(s *Server) any { return &s.SSLRootCert }),
	},
	{
		Name: "sslcert", When: NewLogins, Path: true,
		Zero:  "none",
		Doc:   "File with the client certificate for PostgreSQL. It needs sslkey.",
		field: of(func(s *Server) any { return &s.SSLCert }),
	},
	{
		Name: "sslkey", When: NewLogins, Path: true,
		Zero:  "none",
		Doc:   "File with the private key of sslcert.",
		field: of(func(s *Server) any { return &s.SSLKey }),
	},
	{
		Name: "server_connect_timeout", When: NewLogins,
		Zero:  "no limit",
		Doc:   "Longest time for a connection and login to PostgreSQL.",
		field: of(func(s *Server) any { return &s.ConnectTimeout }),
	},
	{
		Name: "server_login_retry", When: Live,
		Zero:  "100ms",
		Doc:   "Longest pause after a failed login to PostgreSQL. The pause starts at 100ms and doubles up to this limit.",
		field: of(func(s *Server) any { return &s.LoginRetry }),
	},
	{
		Name: "max_connections", When: Live, Unit: "servers",
		Zero:  "what PostgreSQL allows ordinary users, less a twentieth (1 to 5) for logins of others; no limit where [databases] names another PostgreSQL",
		Doc:   "Most connections of the pooler to PostgreSQL: the servers of all pools together, one for each database's catalogue, and five where auth_query is used. A pool whose client waits takes the place of an idle server of another pool.",
		field: of(func(s *Server) any { return &s.MaxConnections }),
	},
	{
		Name: "max_db_connections", When: Live, Unit: "servers",
		Zero:  "no limit",
		Doc:   "Most servers of one database, over all pools of all listeners.",
		field: of(func(s *Server) any { return &s.MaxDBConnections }),
	},
	{
		Name: "max_user_connections", When: Live, Unit: "servers",
		Zero:  "no limit",
		Doc:   "Most servers of one user, over all pools of all listeners.",
		field: of(func(s *Server) any { return &s.MaxUserConnections }),
	},
	{
		Name: "tcp_keepalive", When: NewLogins,
		Doc:   "TCP keepalive on connections of clients and servers. It finds dead machines, and firewalls do not forget idle connections.",
		field: of(func(s *Server) any { return &s.TCPKeepalive }),
	},
	{
		Name: "tcp_keepidle", When: NewLogins,
		Zero:  "the operating system's",
		Doc:   "Silence before the first keepalive probe.",
		field: of(func(s *Server) any { return &s.TCPKeepidle }),
	},
	{
		Name: "tcp_keepintvl", When: NewLogins,
		Zero:  "the operating system's",
		Doc:   "Time between keepalive probes.",
		field: of(func(s *Server) any { return &s.TCPKeepintvl }),
	},
	{
		Name: "tcp_keepcnt", When: NewLogins, Unit: "probes", Max: 127,
		Zero:  "the operating system's",
		Doc:   "Number of unanswered keepalive probes that makes a connection dead.",
		field: of(func(s *Server) any { return &s.TCPKeepcnt }),
	},
	{
		Name: "tcp_user_timeout", When: NewLogins,
		Zero:  "the operating system's",
		Doc:   "How long sent data may stay unacknowledged before the connection counts as dead. Linux only.",
		field: of(func(s *Server) any { return &s.TCPUserTimeout }),
	},
	{
		Name: "application_name", When: NewLogins,
		Doc:   "application_name of a server in pg_stat_activity while no client with its own application_name uses it.",
		field: of(func(s *Server) any { return &s.ApplicationName }),
	},
}

var authKeys = []Key{
	{
		Name: "type", When: NewLogins,
		Allowed: []string{"trust", "password", "md5", "scram-sha-256", "scram-sha-256-plus", "cert", "hba"},
		Doc:     "How clients prove their identity. trust: not at all. password: in clear text. md5: with MD5, or with SCRAM for a user whose secret in the user file is a SCRAM secret. scram-sha-256: with SCRAM, and over TLS with channel binding if the client can. scram-sha-256-plus: always with channel binding. cert: by the name in the client's TLS certificate. hba: as the lines of auth_hba_file say.",
		field:   of(func(a *Auth) any { return &a.Type }),
	},
	{
		Name: "user_file", When: NewLogins, Path: true,
		Zero:  "none",
		Doc:   "File with users and secrets in PgBouncer's format: one line \"name\" \"secret\" for each user. A secret is a plain password, md5... or SCRAM-SHA-256$.... Servers can log in to PostgreSQL with a plain password. The pooler notices a change of the file within seconds, like PgBouncer.",
		field: of(func(a *Auth) any { return &a.UserFile }),
	},
	{
		Name: "auth_hba_file", When: NewLogins, Path: true,
		Zero:  "none",
		Doc:   "File in the format of PostgreSQL's pg_hba.conf, for type = \"hba\". Its first line that matches a login decides. Not supported: +role, samerole, samegroup, host names, regular expressions. A reload reads the file again.",
		field: of(func(a *Auth) any { return &a.HBAFile }),
	},
	{
		Name: "auth_ident_file", When: NewLogins, Path: true,
		Zero:  "none",
		Doc:   "File in the format of PostgreSQL's pg_ident.conf with the maps that map= in auth_hba_file names, for cert and peer. A reload reads the file again.",
		field: of(func(a *Auth) any { return &a.IdentFile }),
	},
	{
		Name: "auth_user", When: NewLogins,
		Zero:  "no lookup",
		Doc:   "The user that looks up in PostgreSQL the secrets of users that user_file does not name. Its own password stands in user_file, or in server.password if it is server.user. The lookup uses one more connection for each database, at most 5; with auth_dbname, one in all. The pooler closes it after a minute without a lookup. These connections do not count towards the pools' sizes nor max_db_connections.",
		field: of(func(a *Auth) any { return &a.AuthUser }),
	},
	{
		Name: "auth_query", When: NewLogins,
		Doc:   "Query that returns name and secret of user $1 in one row. Without a row, or with NULL as the secret, the user may not log in. The default needs a superuser as auth_user. Another auth_user needs a SECURITY DEFINER function, called with its schema.",
		field: of(func(a *Auth) any { return &a.AuthQuery }),
	},
	{
		Name: "auth_dbname", When: NewLogins,
		Zero:  "the database that the client asks for",
		Doc:   "Database that auth_query runs in.",
		field: of(func(a *Auth) any { return &a.AuthDBName }),
	},
	{
		Name: "auth_query_cache", When: NewLogins,
		Zero:  "a lookup at each login",
		Doc:   "How long the pooler keeps the result of auth_query. For this long an old password can still log in, and the first login with a new one fails. Logins of one user at the same time share a lookup anyway.",
		field: of(func(a *Auth) any { return &a.AuthQueryCache }),
	},
	{
		Name: "max_db_client_connections", When: NewLogins, Unit: "clients",
		Zero:  "no limit",
		Doc:   "Most clients of one database, over all listeners. The pooler refuses the next one (53300).",
		field: of(func(a *Auth) any { return &a.MaxDBClientConnections }),
	},
	{
		Name: "max_user_client_connections", When: NewLogins, Unit: "clients",
		Zero:  "no limit",
		Doc:   "Most clients of one user, over all listeners. The pooler refuses the next one (53300).",
		field: of(func(a *Auth) any { return &a.MaxUserClientConnections }),
	},
	{
		Name: "login_slots", Max: 1024, When: Restart, Unit: "logins",
		Zero:  "half the processors",
		Doc:   "Most logins that compute at once: passwords, keys, signatures of TLS handshakes. So a storm of logins leaves processors for running queries.",
		field: of(func(a *Auth) any { return &a.LoginSlots }),
	},
	{
		Name: "login_rate", When: NewLogins, Unit: "logins per second", Max: 1_000_000,
		Zero:  "no limit",
		Doc:   "Most logins in a second. Further logins wait for their turn. The pooler refuses a login at once (53300) if its turn would come after client_login_timeout.",
		field: of(func(a *Auth) any { return &a.LoginRate }),
	},
	{
		Name: "user", When: NewLogins,
		Zero:  "none",
		Doc:   "The only user that may log in without a user_file. PgBouncer images take it from DB_USER.",
		field: of(func(a *Auth) any { return &a.User }),
	},
	{
		Name: "password", When: NewLogins, Secret: true,
		Zero:  "none",
		Doc:   "Password of auth.user.",
		field: of(func(a *Auth) any { return &a.Password }),
	},
}

var adminKeys = []Key{
	{
		Name: "listen", When: Restart,
		Zero:  "no endpoint",
		Doc:   "host:port of /metrics, /health/db, /healthz, /readyz and the status page. Beyond this machine the page and its API need the password; everybody who reaches the endpoint may read the other paths.",
		field: of(func(a *Admin) any { return &a.Listen }),
	},
	{
		Name: "password", When: Live, Secret: true,
		Zero:  "the page and its API answer on the loopback address alone",
		Doc:   "Password of the status page and its API, with any user name. HTTP sends it as plain text: across machines put TLS in front of the endpoint.",
		field: of(func(a *Admin) any { return &a.Password }),
	},
	{
		Name: "users", When: NewLogins,
		Zero:  "nobody",
		Doc:   "Users that may use the SQL console. The console comes with a later version; until then this key changes nothing.",
		field: of(func(a *Admin) any { return &a.Users }),
	},
}

var logKeys = []Key{
	{
		Name: "file", When: Live, Path: true, Creates: true,
		Zero:  "standard error",
		Doc:   "File that the log goes to. A reload (SIGHUP) opens it anew, as logrotate needs it.",
		field: of(func(l *Log) any { return &l.File }),
	},
	{
		Name: "level", When: Live,
		Allowed: []string{"debug", "info", "warn", "error"},
		Doc:     "The log omits lines below this level.",
		field:   of(func(l *Log) any { return &l.Level }),
	},
	{
		Name: "format", When: Restart,
		Allowed: []string{"text", "json"},
		Doc:     "The form of a line: key=value or JSON.",
		field:   of(func(l *Log) any { return &l.Format }),
	},
	{
		Name: "log_connections", When: Live,
		Doc:   "Log each login.",
		field: of(func(l *Log) any { return &l.Connections }),
	},
	{
		Name: "log_disconnections", When: Live,
		Doc:   "Log the end of each client and server, with its reason.",
		field: of(func(l *Log) any { return &l.Disconnections }),
	},
	{
		Name: "log_pooler_errors", When: Live,
		Doc:   "Log each error that the pooler itself sends to a client.",
		field: of(func(l *Log) any { return &l.PoolerErrors }),
	},
	{
		Name: "log_stats", When: Live,
		Doc:   "Log a line with transactions, queries, bytes and times of all pools in each stats_period. Its form is PgBouncer's.",
		field: of(func(l *Log) any { return &l.Stats }),
	},
	{
		Name: "stats_period", When: Live,
		Zero:  "no line",
		Doc:   "Time between two lines of log_stats.",
		field: of(func(l *Log) any { return &l.StatsPeriod }),
	},
}
