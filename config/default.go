package config

import "time"

// Default returns the configuration of a program without a file: the two listeners of the README, and PgBouncer's value for
// everything else. Two values differ from PgBouncer's on purpose. query_wait_timeout is 30s instead of 120s, because an HTTP client
// gives up long before that. auth.type is scram-sha-256 instead of md5.
func Default() *Config {
	transactional := DefaultListener()
	transactional.Name = "transactional"
	transactional.Listen = []string{"127.0.0.1:6432"}
	transactional.PoolMode = "transaction"
	transactional.MaxClientConn = 1000
	transactional.DefaultPoolSize = 25
	transactional.ReservePoolSize = 5
	transactional.IdleTransactionTimeout = time.Minute

	session := DefaultListener()
	session.Name = "session"
	session.Listen = []string{"127.0.0.1:6433"}
	session.PoolMode = "session"
	session.MaxClientConn = 100
	session.DefaultPoolSize = 10

	return &Config{
		IOUring:         true,
		ShutdownTimeout: 30 * time.Second,
		Server: Server{
			Host:            "127.0.0.1",
			Port:            5432,
			SSLMode:         "prefer",
			SSLNegotiation:  "postgres",
			ConnectTimeout:  15 * time.Second,
			LoginRetry:      15 * time.Second,
			TCPKeepalive:    true,
			ApplicationName: "hybridbouncer",
		},
		Auth: Auth{
			Type:      "scram-sha-256",
			AuthQuery: defaultAuthQuery,
		},
		Listeners: []Listener{transactional, session},
		Admin:     Admin{Listen: "127.0.0.1:9127"},
		Log: Log{
			Level:          "info",
			Format:         "text",
			Connections:    true,
			Disconnections: true,
			PoolerErrors:   true,
			Stats:          true,
			StatsPeriod:    time.Minute,
		},
	}
}

// defaultAuthQuery is PgBouncer's query with every name in its schema. It finds no secret for a role that may not log in, or whose
// password has expired.
const defaultAuthQuery = "SELECT rolname, CASE WHEN rolvaliduntil < pg_catalog.now() THEN NULL ELSE rolpassword END " +
	"FROM pg_catalog.pg_authid WHERE rolname = $1 AND rolcanlogin"

// DefaultListener returns the values that a [[listener]] of the file starts with: PgBouncer's defaults, no name and no address.
func DefaultListener() Listener {
	return Listener{
		PoolMode:           "session",
		MaxClientConn:      100,
		DefaultPoolSize:    20,
		ReservePoolTimeout: 5 * time.Second,
		QueryWaitTimeout:   30 * time.Second,
		QueryWaitNotify:    5 * time.Second,
		ClientLoginTimeout: 60 * time.Second,
		CancelWaitTimeout:  10 * time.Second,
		ServerLifetime:     time.Hour,
		ServerIdleTimeout:  10 * time.Minute,
		PoolIdleTimeout:    time.Hour,
		ServerCheckDelay:   30 * time.Second,
		ServerCheckQuery:   ";",
		ServerResetQuery:   "DISCARD ALL",
		Isolation:          "tracked",
		UnixSocketMode:     "0777",
		ClientTLSMode:      "disable",
		ClientTLSProtocols: "secure",
		ClientTLSCiphers:   "default",
		Promotion:          "on",
		LongTransaction:    time.Second,
		LendIdleAfter:      50 * time.Millisecond,

		IdleTransactionPressureTimeout: 5 * time.Second,

		MaxPreparedStatements: 200,
	}
}
