// Package config owns the settings: their names, meanings, defaults and rules, and what a change of each one needs to take effect.
// It must not know its users: it imports nothing of ours, opens no socket and starts nothing. It touches only the files that a
// setting names.
//
// Default returns the values of a program without a file. Validate finds every fault. Diff compares two configurations. Resolve
// returns the settings of one client. Any goroutine may call them; nobody changes a Config once it is in use.
//
// The packages below this one read and write configurations:
//
//   - config/load reads config.toml and the environment;
//   - config/reference prints docs/settings.md and config.toml;
//   - config/pgbouncer translates PgBouncer's ini files.
//
// Read config.go for the fields, then keys.go and keys_pools.go for the meaning of each one. All packages work from that key table, so
// they cannot disagree.
package config

import "time"

// Config holds every setting of the program. Nobody changes it once the proxy has it.
//
// The key table (keys.go) says what each field means, its unit, its default, and when a change takes effect. docs/settings.md is
// printed from that table.
type Config struct {
	// File is the file that was read; empty for defaults and environment alone.
	File string `toml:"-"`

	// Warnings are remarks that stop nothing: the settings taken from the environment names of PgBouncer images, the names among them
	// that have no equal here, and secrets that others can read. They contain no secrets. The program logs them once.
	Warnings []string `toml:"-"`

	Loops           int           `toml:"loops"`            // event loops; 0: start with one, open more when it is busy
	IOUring         bool          `toml:"io_uring"`         // gather sends where the system lets it
	ShutdownTimeout time.Duration `toml:"shutdown_timeout"` // how long SIGTERM waits for transactions
	PIDFile         string        `toml:"pidfile"`          // path, absolute after Load; empty: none

	Server    Server              `toml:"server"`
	Auth      Auth                `toml:"auth"`
	Listeners []Listener          `toml:"listener"`
	Databases map[string]Database `toml:"databases"` // by the name clients ask for; "*" for the rest
	Users     map[string]User     `toml:"users"`
	Admin     Admin               `toml:"admin"`
	Log       Log                 `toml:"log"`

	// SecretFiles are the password files that _FILE names of the environment name.
	SecretFiles []Watched `toml:"-"`

	// origins maps the path of a key ("server.port") to the place of its value.
	origins map[string]Origin
}

// Server says where PostgreSQL is and how the pooler connects to it. Printing a Server masks its password.
type Server struct {
	Host           string `toml:"host"` // name, address, socket directory, or a comma list tried in order
	Port           int    `toml:"port"`
	User           string `toml:"user"`           // log in as this user for every client; empty: as the client's user
	Password       string `toml:"password"`       // empty: the user file's plain password of the server user
	PassFile       string `toml:"passfile"`       // of .pgpass format; path, absolute after Load
	SSLMode        string `toml:"sslmode"`        // libpq's: disable, allow, prefer, require, verify-ca, verify-full
	SSLNegotiation string `toml:"sslnegotiation"` // postgres, direct
	SSLRootCert    string `toml:"sslrootcert"`    // path, absolute after Load; or "system"
	SSLCert        string `toml:"sslcert"`        // path, absolute after Load
	SSLKey         string `toml:"sslkey"`         // path, absolute after Load

	ConnectTimeout time.Duration `toml:"server_connect_timeout"`
	LoginRetry     time.Duration `toml:"server_login_retry"` // longest pause between failed logins

	MaxConnections     int `toml:"max_connections"`      // of the pooler to PostgreSQL; 0: as many as PostgreSQL has places for, less a reserve
	MaxDBConnections   int `toml:"max_db_connections"`   // servers per database over all pools; 0: no limit
	MaxUserConnections int `toml:"max_user_connections"` // servers per user over all pools; 0: no limit

	TCPKeepalive    bool          `toml:"tcp_keepalive"`
	TCPKeepidle     time.Duration `toml:"tcp_keepidle"`
	TCPKeepintvl    time.Duration `toml:"tcp_keepintvl"`
	TCPKeepcnt      int           `toml:"tcp_keepcnt"`
	TCPUserTimeout  time.Duration `toml:"tcp_user_timeout"`
	ApplicationName string        `toml:"application_name"` // of idle servers in pg_stat_activity
}

// Auth says which clients may log in. Printing an Auth masks its password.
type Auth struct {
	Type      string `toml:"type"`            // trust, password, md5, scram-sha-256, scram-sha-256-plus, cert, hba
	UserFile  string `toml:"user_file"`       // PgBouncer's userlist format; relative to the config file, absolute after Load
	HBAFile   string `toml:"auth_hba_file"`   // PostgreSQL's pg_hba.conf format; path, absolute after Load
	IdentFile string `toml:"auth_ident_file"` // PostgreSQL's pg_ident.conf format; path, absolute after Load
	// AuthUser logs in to PostgreSQL to look up users that UserFile does not name; empty: no lookup.
	AuthUser       string        `toml:"auth_user"`
	AuthQuery      string        `toml:"auth_query"`  // returns name and secret of user $1
	AuthDBName     string        `toml:"auth_dbname"` // database of auth_query; empty: the one the client asks for
	AuthQueryCache time.Duration `toml:"auth_query_cache"`

	MaxDBClientConnections   int `toml:"max_db_client_connections"`   // clients per database over all listeners; 0: no limit
	MaxUserClientConnections int `toml:"max_user_client_connections"` // clients per user over all listeners; 0: no limit
	LoginSlots               int `toml:"login_slots"`                 // concurrent logins; 0: half the processors
	LoginRate                int `toml:"login_rate"`                  // logins a second; 0: no limit

	User     string `toml:"user"`     // the only login without a user file; PgBouncer images take it from DB_USER
	Password string `toml:"password"` // plain, of User
}

// Listener is a port (or several addresses) with a pool mode, and the limits of its pools.
type Listener struct {
	Name     string   `toml:"name"`
	Listen   []string `toml:"listen"`    // host:port, or the path of a unix socket directory with :port
	PoolMode string   `toml:"pool_mode"` // session, transaction, statement

	MaxClientConn      int           `toml:"max_client_conn"`
	ProxyProtocol      bool          `toml:"proxy_protocol"`      // load balancers name their client's address
	ProxyProtocolFrom  []string      `toml:"proxy_protocol_from"` // addresses and networks of those load balancers
	DefaultPoolSize    int           `toml:"default_pool_size"`
	MinPoolSize        int           `toml:"min_pool_size"`
	ReservePoolSize    int           `toml:"reserve_pool_size"`
	ReservePoolTimeout time.Duration `toml:"reserve_pool_timeout"`

	QueryWaitTimeout       time.Duration `toml:"query_wait_timeout"`
	QueryWaitNotify        time.Duration `toml:"query_wait_notify"`
	ClientLoginTimeout     time.Duration `toml:"client_login_timeout"`
	ClientIdleTimeout      time.Duration `toml:"client_idle_timeout"`
	IdleTransactionTimeout time.Duration `toml:"idle_transaction_timeout"`
	TransactionTimeout     time.Duration `toml:"transaction_timeout"`
	QueryTimeout           time.Duration `toml:"query_timeout"`
	CancelWaitTimeout      time.Duration `toml:"cancel_wait_timeout"`

	ServerLifetime    time.Duration `toml:"server_lifetime"`
	ServerIdleTimeout time.Duration `toml:"server_idle_timeout"`
	PoolIdleTimeout   time.Duration `toml:"pool_idle_timeout"`
	ServerCheckDelay  time.Duration `toml:"server_check_delay"`
	ServerCheckQuery  string        `toml:"server_check_query"`
	ServerResetQuery  string        `toml:"server_reset_query"` // after a session
	ServerRoundRobin  bool          `toml:"server_round_robin"`
	Isolation         string        `toml:"isolation"`        // tracked, strict, off
	UnixSocketMode    string        `toml:"unix_socket_mode"` // octal

	ClientTLSMode      string `toml:"client_tls_sslmode"`   // disable, allow, prefer, require, verify-ca, verify-full
	ClientTLSKeyFile   string `toml:"client_tls_key_file"`  // path, absolute after Load
	ClientTLSCertFile  string `toml:"client_tls_cert_file"` // path, absolute after Load
	ClientTLSCAFile    string `toml:"client_tls_ca_file"`   // path, absolute after Load
	ClientTLSProtocols string `toml:"client_tls_protocols"` // secure, tlsv1.2, tlsv1.3
	ClientTLSCiphers   string `toml:"client_tls_ciphers"`   // for TLS 1.2; see CipherSuites

	Promotion       string        `toml:"promotion"` // on, off, error
	PromoteTo       string        `toml:"promote_to"`
	LongTransaction time.Duration `toml:"long_transaction"`

	LendIdleAfter                  time.Duration `toml:"lend_idle_after"`                   // 0: idle clients keep their servers
	IdleTransactionPressureTimeout time.Duration `toml:"idle_transaction_pressure_timeout"` // 0: never

	DeferBegin bool `toml:"defer_begin"`

	// MaxPreparedStatements is how many statements a server of a transaction pool holds; 0: they are not tracked.
	MaxPreparedStatements int `toml:"max_prepared_statements"`
}

// Database overrides address and pool sizes for one database name. A zero value means "as the listener says"; for host, port, user and
// password it means "as [server] says". Printing a Database masks its password.
type Database struct {
	Host                   string        `toml:"host"`
	Port                   int           `toml:"port"`
	DBName                 string        `toml:"dbname"`
	User                   string        `toml:"user"`
	Password               string        `toml:"password"`
	AuthUser               string        `toml:"auth_user"`
	AuthQuery              string        `toml:"auth_query"`
	AuthDBName             string        `toml:"auth_dbname"`
	PoolSize               int           `toml:"pool_size"`
	MinPoolSize            int           `toml:"min_pool_size"`
	ReservePoolSize        int           `toml:"reserve_pool_size"`
	MaxDBConnections       int           `toml:"max_db_connections"`
	MaxDBClientConnections int           `toml:"max_db_client_connections"`
	QueryWaitTimeout       time.Duration `toml:"query_wait_timeout"`
	ServerLifetime         time.Duration `toml:"server_lifetime"`

	// Listeners overrides the sizes of this database for one listener, by the listener's name.
	Listeners map[string]DatabaseOnListener `toml:"-"`
}

// DatabaseOnListener overrides the sizes of one database on one listener. A zero value means "as the database says".
type DatabaseOnListener struct {
	PoolSize         int           `toml:"pool_size"`
	MinPoolSize      int           `toml:"min_pool_size"`
	ReservePoolSize  int           `toml:"reserve_pool_size"`
	QueryWaitTimeout time.Duration `toml:"query_wait_timeout"`
	ServerLifetime   time.Duration `toml:"server_lifetime"`
}

// User overrides pool sizes and time-outs for one user. A zero value means "as the database or the listener says".
type User struct {
	PoolSize                 int           `toml:"pool_size"`
	ReservePoolSize          int           `toml:"reserve_pool_size"`
	MaxUserConnections       int           `toml:"max_user_connections"`
	MaxUserClientConnections int           `toml:"max_user_client_connections"`
	Weight                   int           `toml:"weight"` // 0: 1
	QueryTimeout             time.Duration `toml:"query_timeout"`
	QueryWaitTimeout         time.Duration `toml:"query_wait_timeout"`
	IdleTransactionTimeout   time.Duration `toml:"idle_transaction_timeout"`
	TransactionTimeout       time.Duration `toml:"transaction_timeout"`
	ClientIdleTimeout        time.Duration `toml:"client_idle_timeout"`

	// Listeners overrides the settings of this user for one listener, by the listener's name.
	Listeners map[string]UserOnListener `toml:"-"`
}

// UserOnListener overrides the settings of one user on one listener. A zero value means "as the user says".
type UserOnListener struct {
	PoolSize               int           `toml:"pool_size"`
	ReservePoolSize        int           `toml:"reserve_pool_size"`
	QueryTimeout           time.Duration `toml:"query_timeout"`
	QueryWaitTimeout       time.Duration `toml:"query_wait_timeout"`
	IdleTransactionTimeout time.Duration `toml:"idle_transaction_timeout"`
	TransactionTimeout     time.Duration `toml:"transaction_timeout"`
	ClientIdleTimeout      time.Duration `toml:"client_idle_timeout"`
}

// Admin describes the HTTP endpoint and the users of the SQL console.
type Admin struct {
	Listen   string   `toml:"listen"`   // host:port; empty: no endpoint
	Password string   `toml:"password"` // of the page and the API; empty: they answer to this machine alone
	Users    []string `toml:"users"`    // may use the SQL console
}

// Log says what the program logs, where and how.
type Log struct {
	File           string `toml:"file"`   // path, absolute after Load; empty: standard error
	Level          string `toml:"level"`  // debug, info, warn, error
	Format         string `toml:"format"` // text, json
	Connections    bool   `toml:"log_connections"`
	Disconnections bool   `toml:"log_disconnections"`
	PoolerErrors   bool   `toml:"log_pooler_errors"`

	Stats       bool          `toml:"log_stats"`
	StatsPeriod time.Duration `toml:"stats_period"`
}
