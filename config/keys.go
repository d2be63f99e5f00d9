package config

// The key table, first half: all but listeners, databases and users. The meaning of a key is written here and nowhere else.

var processKeys = []Key{
	{
		Name: "loops", Max: 256, When: Restart, Unit: "threads",
		Zero:  "start with one and open more only when it is busy",
		Doc:   "Event loops. One loop is one thread and carries what one CPU core can.",
		field: of(func(c *Config) any { return &c.Loops }),
	},
	{
		Name: "io_uring", When: Restart,
		Doc:   "Send to many connections in one system call, where Linux (5.18 or later) lets the process: the same work for less CPU time. Containers often forbid it; then, and with false, each message is a system call of its own. The log says at start which it is.",
		field: of(func(c *Config) any { return &c.IOUring }),
	},
	{
		Name: "shutdown_timeout", When: Live,
		Zero:  "do not wait",
		Doc:   "How long SIGTERM and SIGINT wait for open transactions before they are cut off. Set your orchestrator's grace period (Kubernetes: terminationGracePeriodSeconds) higher.",
		field: of(func(c *Config) any { return &c.ShutdownTimeout }),
	},
}

var serverKeys = []Key{
	{
		Name: "host", When: NewLogins,
		Doc:   "Name, address, or socket directory; or a comma list of them, tried in order.",
		field: of(func(s *Server) any { return &s.Host }),
	},
	{
		Name: "port", Min: 1, Max: 65535, When: NewLogins, Unit: "port",
		Doc:   "Port of PostgreSQL; also part of the socket's name in a socket directory.",
		field: of(func(s *Server) any { return &s.Port }),
	},
	{
		Name: "user", When: NewLogins,
		Zero:  "as the client's own user",
		Doc:   "Log in to PostgreSQL as this user for every client.",
		field: of(func(s *Server) any { return &s.User }),
	},
	{
		Name: "password", When: NewLogins, Secret: true,
		Zero:  "what the user file holds for the server user, or what its client has proved at its login, or what passfile says",
		Doc:   "Password of user. With a SCRAM secret in the user file or from auth_query, servers log in with the key that the client's own login shows, so that no password need be stored: PostgreSQL must have the same secret.",
		field: of(func(s *Server) any { return &s.Password }),
	},
	{
		Name: "passfile", When: NewLogins, Path: true,
		Zero:  "none",
		Doc:   "Passwords of server users, in the format of libpq's .pgpass: host:port:database:user:password. It is read at each login to PostgreSQL, and asked when there is no password for the user here nor in the user file; it goes before SCRAM pass-through.",
		field: of(func(s *Server) any { return &s.PassFile }),
	},
	{
		Name: "sslmode", When: NewLogins,
		Allowed: []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
		Doc:     "TLS towards PostgreSQL, as in libpq. Only verify-ca and verify-full prove who answers.",
		field:   of(func(s *Server) any { return &s.SSLMode }),
	},
	{
		Name: "sslnegotiation", When: NewLogins,
		Allowed: []string{"postgres", "direct"},
		Doc:     "How TLS with PostgreSQL begins: after asking for it, or at once, which saves a round trip and takes PostgreSQL 17.",
		field:   of(func(s *Server) any { return &s.SSLNegotiation }),
	},
	{
		Name: "sslrootcert", When: NewLogins, Path: true,
		Zero:  "none",
		Doc:   "File of the certificate authorities that verify-ca and verify-full trust. The word system means those of the machine.",
		field: of(func(s *Server) any { return &s.SSLRootCert }),
	},
	{
		Name: "sslcert", When: NewLogins, Path: true,
		Zero:  "none",
		Doc:   "File of the client certificate shown to PostgreSQL. Needs sslkey.",
		field: of(func(s *Server) any { return &s.SSLCert }),
	},
	{
		Name: "sslkey", When: NewLogins, Path: true,
		Zero:  "none",
		Doc:   "File of the private key of sslcert.",
		field: of(func(s *Server) any { return &s.SSLKey }),
	},
	{
		Name: "server_connect_timeout", When: NewLogins,
		Zero:  "no limit",
		Doc:   "How long opening a connection to PostgreSQL and logging in may take.",
		field: of(func(s *Server) any { return &s.ConnectTimeout }),
	},
	{
		Name: "server_login_retry", When: Live,
		Zero:  "100ms",
		Doc:   "Longest pause after a failed login to PostgreSQL. The pause starts at 100ms and doubles up to this.",
		field: of(func(s *Server) any { return &s.LoginRetry }),
	},
	{
		Name: "max_db_connections", When: Live, Unit: "servers",
		Zero:  "no limit",
		Doc:   "Servers one database may have over all pools of all listeners.",
		field: of(func(s *Server) any { return &s.MaxDBConnections }),
	},
	{
		Name: "max_user_connections", When: Live, Unit: "servers",
		Zero:  "no limit",
		Doc:   "Servers one user may have over all pools of all listeners.",
		field: of(func(s *Server) any { return &s.MaxUserConnections }),
	},
	{
		Name: "tcp_keepalive", When: NewLogins,
		Doc:   "TCP keepalive on connections of clients and servers. It finds dead machines and keeps firewalls from forgetting idle connections.",
		field: of(func(s *Server) any { return &s.TCPKeepalive }),
	},
	{
		Name: "tcp_keepidle", When: NewLogins,
		Zero:  "the operating system's",
		Doc:   "Silence after which the first keepalive probe is sent.",
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
		Doc:   "Unanswered keepalive probes after which a connection is dead.",
		field: of(func(s *Server) any { return &s.TCPKeepcnt }),
	},
	{
		Name: "tcp_user_timeout", When: NewLogins,
		Zero:  "the operating system's",
		Doc:   "How long sent data may stay unacknowledged before the connection is dead. Linux only.",
		field: of(func(s *Server) any { return &s.TCPUserTimeout }),
	},
	{
		Name: "application_name", When: NewLogins,
		Doc:   "application_name of servers in pg_stat_activity while no client that sets its own uses them.",
		field: of(func(s *Server) any { return &s.ApplicationName }),
	},
}

var authKeys = []Key{
	{
		Name: "type", When: NewLogins,
		Allowed: []string{"trust", "password", "md5", "scram-sha-256", "scram-sha-256-plus", "cert", "hba"},
		Doc:     "How clients prove who they are. trust lets everybody in as anybody; password sends it in clear text; md5 uses SCRAM for users whose secret in the user file is a SCRAM one; over TLS, SCRAM offers channel binding, and scram-sha-256-plus insists on it; cert takes the name in the client's TLS certificate; hba asks auth_hba_file for each login.",
		field:   of(func(a *Auth) any { return &a.Type }),
	},
	{
		Name: "user_file", When: NewLogins, Path: true,
		Zero:  "none",
		Doc:   "Users and their secrets, in PgBouncer's format: a line \"name\" \"secret\" each. The secret is plain, md5... or SCRAM-SHA-256$...; a plain one also serves to log in to PostgreSQL. A change of the file is noticed within seconds, as in PgBouncer.",
		field: of(func(a *Auth) any { return &a.UserFile }),
	},
	{
		Name: "auth_hba_file", When: NewLogins, Path: true,
		Zero:  "none",
		Doc:   "With type = \"hba\": who may come from where, and how he proves who he is, in the format of PostgreSQL's pg_hba.conf. The first line that fits decides. Not supported: +role, samerole, samegroup, host names, regular expressions. A reload reads the file again.",
		field: of(func(a *Auth) any { return &a.HBAFile }),
	},
	{
		Name: "auth_ident_file", When: NewLogins, Path: true,
		Zero:  "none",
		Doc:   "The maps that map= in auth_hba_file names, for cert and peer, in the format of PostgreSQL's pg_ident.conf. A reload reads the file again.",
		field: of(func(a *Auth) any { return &a.IdentFile }),
	},
	{
		Name: "auth_user", When: NewLogins,
		Zero:  "PostgreSQL is not asked",
		Doc:   "Ask PostgreSQL, as this user, for the secrets of users whom user_file does not name. Its own password is that of user_file, or server.password if it is server.user. It uses one more connection for each database that is asked about, at most 5 (with auth_dbname: one in all), which is closed after a minute without a question. They come on top of the pools' sizes and of max_db_connections.",
		field: of(func(a *Auth) any { return &a.AuthUser }),
	},
	{
		Name: "auth_query", When: NewLogins,
		Doc:   "The question: name and secret of user $1, in one row; no row, or NULL as the secret, is a user who may not log in. The default needs a superuser; others need a function that runs as its owner (SECURITY DEFINER), named with its schema.",
		field: of(func(a *Auth) any { return &a.AuthQuery }),
	},
	{
		Name: "auth_dbname", When: NewLogins,
		Zero:  "in the database that the client asked for",
		Doc:   "Database in which auth_query runs.",
		field: of(func(a *Auth) any { return &a.AuthDBName }),
	},
	{
		Name: "auth_query_cache", When: NewLogins,
		Zero:  "ask at each login",
		Doc:   "How long an answer to auth_query holds: so long an old password may still let in. After a login that failed the next one asks again.",
		field: of(func(a *Auth) any { return &a.AuthQueryCache }),
	},
	{
		Name: "max_db_client_connections", When: NewLogins, Unit: "clients",
		Zero:  "no limit",
		Doc:   "Clients one database may have over all listeners; the next one is refused with 53300.",
		field: of(func(a *Auth) any { return &a.MaxDBClientConnections }),
	},
	{
		Name: "max_user_client_connections", When: NewLogins, Unit: "clients",
		Zero:  "no limit",
		Doc:   "Clients one user may have over all listeners; the next one is refused with 53300.",
		field: of(func(a *Auth) any { return &a.MaxUserClientConnections }),
	},
	{
		Name: "login_slots", Max: 1024, When: Restart, Unit: "logins",
		Zero:  "half the processors",
		Doc:   "Logins that may compute at once (passwords, keys, the signatures of TLS handshakes). A storm of logins then leaves processors to running queries.",
		field: of(func(a *Auth) any { return &a.LoginSlots }),
	},
	{
		Name: "login_rate", When: NewLogins, Unit: "logins per second", Max: 1_000_000,
		Zero:  "no limit",
		Doc:   "Logins let through in a second; a second's worth may come at once. Others wait for their turn, or are refused at once with 53300 if it would come after client_login_timeout.",
		field: of(func(a *Auth) any { return &a.LoginRate }),
	},
	{
		Name: "user", When: NewLogins,
		Zero:  "none",
		Doc:   "The one user who may log in when there is no user_file, as PgBouncer images take it from DB_USER.",
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
		Doc:   "host:port of /metrics, /health/db, /healthz and /readyz. It asks for no password: keep it off public networks.",
		field: of(func(a *Admin) any { return &a.Listen }),
	},
	{
		Name: "users", When: NewLogins,
		Zero:  "nobody",
		Doc:   "Users who may use the SQL console. The console comes with a later version; until then this key changes nothing.",
		field: of(func(a *Admin) any { return &a.Users }),
	},
}

var logKeys = []Key{
	{
		Name: "level", When: Live,
		Allowed: []string{"debug", "info", "warn", "error"},
		Doc:     "Least severe lines that are logged.",
		field:   of(func(l *Log) any { return &l.Level }),
	},
	{
		Name: "format", When: Restart,
		Allowed: []string{"text", "json"},
		Doc:     "How a line is written: key=value or JSON.",
		field:   of(func(l *Log) any { return &l.Format }),
	},
	{
		Name: "log_connections", When: Live,
		Doc:   "Log each login.",
		field: of(func(l *Log) any { return &l.Connections }),
	},
	{
		Name: "log_disconnections", When: Live,
		Doc:   "Log each end of a client or server, with its reason.",
		field: of(func(l *Log) any { return &l.Disconnections }),
	},
	{
		Name: "log_pooler_errors", When: Live,
		Doc:   "Log each error the pooler itself sends to a client.",
		field: of(func(l *Log) any { return &l.PoolerErrors }),
	},
}
