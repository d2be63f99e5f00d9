package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// target is one setting of one section of a Config: what the file, the environment, Validate and Diff walk over.
type target struct {
	key     *Key
	path    string // server.host, listener.transactional.listen, databases.reports.pool_size
	group   string // the path of its section: server, listener.transactional; "" for the top
	section any    // pointer to the section's struct: into the Config, or to a copy for databases and users
	store   func() // puts the copy back; nil when there is none
}

// set assigns a raw value.
func (t target) set(raw any) error {
	if err := assign(t.key.field(t.section), raw); err != nil {
		return err
	}
	if t.store != nil {
		t.store()
	}
	return nil
}

// targets lists every setting of the configuration, in the order of the key table; named sections by name, listeners as written.
func (c *Config) targets() []target {
	var all []target
	add := func(s *Section, group string, value any, store func()) {
		for i := range s.Keys {
			path := s.Keys[i].Name
			if group != "" {
				path = group + "." + path
			}
			all = append(all, target{key: &s.Keys[i], path: path, group: group, section: value, store: store})
		}
	}
	add(section(""), "", c, nil)
	add(section("server"), "server", &c.Server, nil)
	add(section("auth"), "auth", &c.Auth, nil)
	for i := range c.Listeners {
		add(section("listener"), c.listenerPath(i), &c.Listeners[i], nil)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Databases)) {
		database := c.Databases[name]
		add(section("databases"), "databases."+quoteName(name), &database, func() { c.Databases[name] = database })
	}
	for _, name := range slices.Sorted(maps.Keys(c.Users)) {
		user := c.Users[name]
		add(section("users"), "users."+quoteName(name), &user, func() { c.Users[name] = user })
	}
	add(section("admin"), "admin", &c.Admin, nil)
	add(section("log"), "log", &c.Log, nil)
	return all
}

// listenerPath names a listener in faults; one without a name by its place.
func (c *Config) listenerPath(i int) string {
	if name := c.Listeners[i].Name; name != "" {
		return "listener." + quoteName(name)
	}
	return fmt.Sprintf("listener.#%d", i+1)
}

// quoteName quotes a name as TOML needs it.
func quoteName(name string) string {
	bare := name != ""
	for _, r := range name {
		bare = bare && (r == '_' || r == '-' || r < 0x80 && (r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'))
	}
	if bare {
		return name
	}
	return strconv.Quote(name)
}

// envName gives the environment name of a path: HYBRIDBOUNCER_SERVER_HOST for server.host.
func envName(path string) string {
	upper := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		case r == '"':
			return -1
		}
		return '_'
	}, path)
	return envPrefix + upper
}
