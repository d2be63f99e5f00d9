package main

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// poolText tells the size of a listener's pools.
func poolText(l *config.Listener) string {
	if l.ReservePoolSize > 0 {
		return fmt.Sprintf("pools of %d servers and %d in reserve", l.DefaultPoolSize, l.ReservePoolSize)
	}
	return fmt.Sprintf("pools of %d servers", l.DefaultPoolSize)
}

// serversMax gives how many servers one database and user can have on all listeners together, overrides aside: what PostgreSQL's
// max_connections must have room for.
func serversMax(c *config.Config) int {
	sum := 0
	for i := range c.Listeners {
		sum += c.Listeners[i].DefaultPoolSize + c.Listeners[i].ReservePoolSize
	}
	for _, limit := range []int{c.Server.MaxDBConnections, c.Server.MaxUserConnections} {
		if limit > 0 {
			sum = min(sum, limit)
		}
	}
	return sum
}

// filesSpare are the file descriptors the process needs beside those of clients and servers: listeners, loops, the admin endpoint,
// logins and cancel requests under way.
const filesSpare = 256

// filesNeeded gives how many open files the configuration can lead to, for one database and user.
func filesNeeded(c *config.Config) uint64 {
	sum := serversMax(c) + filesSpare
	for i := range c.Listeners {
		sum += c.Listeners[i].MaxClientConn
	}
	return uint64(sum)
}

// filesWarning tells when the operating system allows fewer open files than the configuration can lead to; "" if it allows enough.
func filesWarning(c *config.Config, allowed uint64) string {
	if needed := filesNeeded(c); allowed < needed {
		return fmt.Sprintf("the limit of open files is %d, all clients and servers together may need %d: raise it (ulimit -n, LimitNOFILE=), or lower max_client_conn",
			allowed, needed)
	}
	return ""
}

// psqlLine gives a line to paste that connects to a bound address.
func psqlLine(address, user, database string) string {
	host, port, err := splitHostPort(address)
	if err != nil {
		return ""
	}
	line := fmt.Sprintf("psql -h %s -p %s", host, port)
	if user != "" {
		line += " -U " + user
	}
	if database != "" {
		line += " -d " + database
	}
	return line
}

// splitHostPort splits an address as bound (of a unix socket: its path) and replaces "all hosts" by this one.
func splitHostPort(address string) (host, port string, err error) {
	if directory, port, ok := strings.Cut(address, "/.s.PGSQL."); ok {
		return directory, port, nil
	}
	host, port, err = net.SplitHostPort(address)
	if host == "" || host == "::" || host == "0.0.0.0" {
		host = "127.0.0.1"
	}
	return host, port, err
}

// announce logs what runs and where to connect.
func announce(log *slog.Logger, c *config.Config, addresses map[string][]string) {
	file := c.File
	if file == "" {
		file = "none: environment and defaults"
	}
	log.Info("hybridbouncer "+version(), "config", file, "server_host", c.Server.Host, "server_port", c.Server.Port,
		"auth", c.Auth.Type, "servers_max_per_database_and_user", serversMax(c))
	for _, warning := range c.Warnings {
		log.Warn(warning)
	}
	var limit syscall.Rlimit // the Go runtime has raised it to the hard limit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		if warning := filesWarning(c, uint64(limit.Cur)); warning != "" { //nolint:unconvert // Cur is an int64 on FreeBSD
			log.Warn(warning)
		}
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		bound := addresses[l.Name]
		connect := ""
		if len(bound) > 0 {
			connect = psqlLine(bound[0], "", "")
		}
		log.Info("listening", "listener", l.Name, "pool_mode", l.PoolMode, "addresses", strings.Join(bound, " "),
			"max_client_conn", l.MaxClientConn, "default_pool_size", l.DefaultPoolSize, "reserve_pool_size", l.ReservePoolSize,
			"connect", connect)
	}
}
