package config

import "time"

// Resolved is what holds for one database and user on one listener, with all overrides applied: users before databases before
// the listener, as in PgBouncer. Time-outs of 0 and limits of 0 are off, except where docs/settings.md says otherwise.
type Resolved struct {
	Host           string // as server.host: a comma list, or a directory
	Port           int
	DBName         string // in PostgreSQL
	ServerUser     string // who to log in as
	ServerPassword string // empty: the user file's plain password of ServerUser

	PoolSize           int // servers of this pool
	MinPoolSize        int // at most PoolSize
	ReservePoolSize    int
	ReservePoolTimeout time.Duration
	MaxDBConnections   int // servers of this database over all pools
	MaxUserConnections int // servers of this user over all pools

	MaxDBClientConnections   int // clients of this database over all listeners
	MaxUserClientConnections int // clients of this user over all listeners

	QueryWaitTimeout       time.Duration
	QueryWaitNotify        time.Duration
	ClientIdleTimeout      time.Duration
	IdleTransactionTimeout time.Duration
	TransactionTimeout     time.Duration
	QueryTimeout           time.Duration
	ServerLifetime         time.Duration
	ServerIdleTimeout      time.Duration
	ServerCheckDelay       time.Duration
}

// Listener returns the settings of the listener with this name. It returns nil if there is none.
func (c *Config) Listener(name string) *Listener {
	for i := range c.Listeners {
		if c.Listeners[i].Name == name {
			return &c.Listeners[i]
		}
	}
	return nil
}

// Resolve gives what holds for a client of a listener that asks for a database as a user. ok is false when there is no such
// database: it is neither named in [databases] nor covered by "*". With no [databases] at all every name is allowed.
func (c *Config) Resolve(listener *Listener, database, user string) (r Resolved, ok bool) {
	d, ok := c.database(database)
	if !ok {
		return Resolved{}, false
	}
	u := c.Users[user]
	r = Resolved{
		Host:   first(d.Host, c.Server.Host),
		Port:   first(d.Port, c.Server.Port),
		DBName: first(d.DBName, database),

		PoolSize:           first(u.PoolSize, d.PoolSize, listener.DefaultPoolSize),
		ReservePoolSize:    first(u.ReservePoolSize, d.ReservePoolSize, listener.ReservePoolSize),
		ReservePoolTimeout: listener.ReservePoolTimeout,
		MaxDBConnections:   first(d.MaxDBConnections, c.Server.MaxDBConnections),
		MaxUserConnections: first(u.MaxUserConnections, c.Server.MaxUserConnections),

		MaxDBClientConnections:   first(d.MaxDBClientConnections, c.Auth.MaxDBClientConnections),
		MaxUserClientConnections: first(u.MaxUserClientConnections, c.Auth.MaxUserClientConnections),

		QueryWaitTimeout:       first(u.QueryWaitTimeout, d.QueryWaitTimeout, listener.QueryWaitTimeout),
		QueryWaitNotify:        listener.QueryWaitNotify,
		ClientIdleTimeout:      first(u.ClientIdleTimeout, listener.ClientIdleTimeout),
		IdleTransactionTimeout: first(u.IdleTransactionTimeout, listener.IdleTransactionTimeout),
		TransactionTimeout:     first(u.TransactionTimeout, listener.TransactionTimeout),
		QueryTimeout:           first(u.QueryTimeout, listener.QueryTimeout),
		ServerLifetime:         first(d.ServerLifetime, listener.ServerLifetime),
		ServerIdleTimeout:      listener.ServerIdleTimeout,
		ServerCheckDelay:       listener.ServerCheckDelay,
	}
	if listener.ReservePoolTimeout == 0 { // off, as in PgBouncer
		r.ReservePoolSize = 0
	}
	r.MinPoolSize = min(first(d.MinPoolSize, listener.MinPoolSize), r.PoolSize)
	r.ServerUser, r.ServerPassword = c.serverLogin(d, user)
	return r, true
}

// AuthQuery says how to ask PostgreSQL for the secret of a user of one database.
type AuthQuery struct {
	Host     string
	Port     int
	DBName   string
	User     string
	Password string // empty: the user file's
	Query    string
}

// AuthQueryOf says how users of a database are looked up; ok is false if they are not, or there is no such database.
func (c *Config) AuthQueryOf(database string) (q AuthQuery, ok bool) {
	d, ok := c.database(database)
	user := first(d.AuthUser, c.Auth.AuthUser)
	if !ok || user == "" {
		return AuthQuery{}, false
	}
	q = AuthQuery{
		Host: first(d.Host, c.Server.Host), Port: first(d.Port, c.Server.Port),
		DBName: first(d.AuthDBName, c.Auth.AuthDBName, d.DBName, database),
		User:   user, Query: first(d.AuthQuery, c.Auth.AuthQuery),
	}
	switch user {
	case d.User:
		q.Password = d.Password
	case c.Server.User:
		q.Password = c.Server.Password
	}
	return q, true
}

// AsksPostgreSQL: there are databases whose users are looked up.
func (c *Config) AsksPostgreSQL() bool {
	for _, d := range c.Databases {
		if d.AuthUser != "" {
			return true
		}
	}
	return c.Auth.AuthUser != ""
}

// database is what is different for a database; ok is false when there is no such one.
func (c *Config) database(name string) (d Database, ok bool) {
	d, ok = c.Databases[name]
	if !ok {
		d, ok = c.Databases["*"]
	}
	return d, ok || len(c.Databases) == 0
}

// serverLogin says who logs in to PostgreSQL for a client. The password of [server] serves its own user only.
func (c *Config) serverLogin(d Database, clientUser string) (user, password string) {
	user = first(d.User, c.Server.User, clientUser)
	if d.Password != "" {
		return user, d.Password
	}
	if user == c.Server.User {
		return user, c.Server.Password
	}
	return user, ""
}

// first gives the first value that is set.
func first[T comparable](values ...T) T {
	var unset T
	for _, value := range values {
		if value != unset {
			return value
		}
	}
	return unset
}
