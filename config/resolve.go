package config

import (
	"cmp"
	"time"
)

// Resolved holds the settings of one database and user on one listener. A user's setting overrides the database's, and that one the
// listener's, as in PgBouncer. A table for one listener overrides its own user or database only. A time-out or limit of
// 0 is off, except where docs/settings.md says otherwise.
type Resolved struct {
	Host           string // as server.host: a comma list, or a directory
	Port           int
	DBName         string // in PostgreSQL
	ServerUser     string // the user that logs in to PostgreSQL
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

// Resolve returns the settings of a client that logs in to a listener with this database and user. ok is false when the database is
// unknown: [databases] has neither its name nor "*". Without any [databases] every name is known.
func (c *Config) Resolve(listener *Listener, database, user string) (r Resolved, ok bool) {
	d, ok := c.database(database)
	if !ok {
		return Resolved{}, false
	}
	u := c.Users[user]
	ul, dl := u.Listeners[listener.Name], d.Listeners[listener.Name]
	r = Resolved{
		Host:   cmp.Or(d.Host, c.Server.Host),
		Port:   cmp.Or(d.Port, c.Server.Port),
		DBName: cmp.Or(d.DBName, database),

		PoolSize:           cmp.Or(ul.PoolSize, u.PoolSize, dl.PoolSize, d.PoolSize, listener.DefaultPoolSize),
		ReservePoolSize:    limit(ul.ReservePoolSize, u.ReservePoolSize, dl.ReservePoolSize, d.ReservePoolSize, listener.ReservePoolSize),
		ReservePoolTimeout: listener.ReservePoolTimeout,
		MaxDBConnections:   limit(d.MaxDBConnections, c.Server.MaxDBConnections),
		MaxUserConnections: limit(u.MaxUserConnections, c.Server.MaxUserConnections),

		MaxDBClientConnections:   limit(d.MaxDBClientConnections, c.Auth.MaxDBClientConnections),
		MaxUserClientConnections: limit(u.MaxUserClientConnections, c.Auth.MaxUserClientConnections),

		QueryWaitTimeout:       limit(ul.QueryWaitTimeout, u.QueryWaitTimeout, dl.QueryWaitTimeout, d.QueryWaitTimeout, listener.QueryWaitTimeout),
		QueryWaitNotify:        listener.QueryWaitNotify,
		ClientIdleTimeout:      limit(ul.ClientIdleTimeout, u.ClientIdleTimeout, listener.ClientIdleTimeout),
		IdleTransactionTimeout: limit(ul.IdleTransactionTimeout, u.IdleTransactionTimeout, listener.IdleTransactionTimeout),
		TransactionTimeout:     limit(ul.TransactionTimeout, u.TransactionTimeout, listener.TransactionTimeout),
		QueryTimeout:           limit(ul.QueryTimeout, u.QueryTimeout, listener.QueryTimeout),
		ServerLifetime:         limit(dl.ServerLifetime, d.ServerLifetime, listener.ServerLifetime),
		ServerIdleTimeout:      listener.ServerIdleTimeout,
		ServerCheckDelay:       listener.ServerCheckDelay,
	}
	if listener.ReservePoolTimeout == 0 { // off, as in PgBouncer
		r.ReservePoolSize = 0
	}
	r.MinPoolSize = min(limit(dl.MinPoolSize, d.MinPoolSize, listener.MinPoolSize), r.PoolSize)
	r.ServerUser, r.ServerPassword = c.serverLogin(d, user)
	return r, true
}

// AuthQuery describes the lookup of a user's secret in PostgreSQL.
type AuthQuery struct {
	Host     string
	Port     int
	DBName   string
	User     string
	Password string // empty: the user file's
	Query    string
}

// AuthQueryOf describes the lookup of a database's users. ok is false if there is no lookup or no such database.
func (c *Config) AuthQueryOf(database string) (q AuthQuery, ok bool) {
	d, ok := c.database(database)
	user := cmp.Or(d.AuthUser, c.Auth.AuthUser)
	if !ok || user == "" {
		return AuthQuery{}, false
	}
	q = AuthQuery{
		Host: cmp.Or(d.Host, c.Server.Host), Port: cmp.Or(d.Port, c.Server.Port),
		DBName: cmp.Or(d.AuthDBName, c.Auth.AuthDBName, d.DBName, database),
		User:   user, Query: cmp.Or(d.AuthQuery, c.Auth.AuthQuery),
	}
	switch user {
	case d.User:
		q.Password = d.Password
	case c.Server.User:
		q.Password = c.Server.Password
	}
	return q, true
}

// AsksPostgreSQL reports whether the users of any database are looked up in PostgreSQL.
func (c *Config) AsksPostgreSQL() bool {
	for _, d := range c.Databases {
		if d.AuthUser != "" {
			return true
		}
	}
	return c.Auth.AuthUser != ""
}

// database returns the overrides of a database; ok is false when the database is unknown.
func (c *Config) database(name string) (d Database, ok bool) {
	d, ok = c.Databases[name]
	if !ok {
		d, ok = c.Databases["*"]
	}
	return d, ok || len(c.Databases) == 0
}

// serverLogin returns the login to PostgreSQL for a client. The password of [server] belongs to the user of [server] only.
func (c *Config) serverLogin(d Database, clientUser string) (user, password string) {
	user = cmp.Or(d.User, c.Server.User, clientUser)
	if d.Password != "" {
		return user, d.Password
	}
	if user == c.Server.User {
		return user, c.Server.Password
	}
	return user, ""
}
