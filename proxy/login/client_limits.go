package login

import (
	"sync"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// clientLimits counts clients by database and by user, over all listeners: max_db_client_connections and max_user_client_connections.
type clientLimits struct {
	mu        sync.Mutex
	databases map[string]int
	users     map[string]int
}

// add counts a client, unless its database or its user has as many clients as r allows.
func (c *clientLimits) add(database, user string, r *config.Resolved) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r.MaxDBClientConnections > 0 && c.databases[database] >= r.MaxDBClientConnections:
		return protocol.ErrTooManyClients("max_db_client_connections", r.MaxDBClientConnections)
	case r.MaxUserClientConnections > 0 && c.users[user] >= r.MaxUserClientConnections:
		return protocol.ErrTooManyClients("max_user_client_connections", r.MaxUserClientConnections)
	}
	if c.databases == nil {
		c.databases, c.users = make(map[string]int), make(map[string]int)
	}
	c.databases[database]++
	c.users[user]++
	return nil
}

// remove takes back add.
func (c *clientLimits) remove(database, user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	decrement(c.databases, database)
	decrement(c.users, user)
}

func decrement(counts map[string]int, name string) {
	if counts[name]--; counts[name] <= 0 {
		delete(counts, name)
	}
}
