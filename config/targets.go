package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Target is one setting of one section of a Config. The file, the environment, Validate and Diff all walk over targets.
type Target struct {
	Key     *Key
	Path    string // server.host, listener.transactional.listen, databases.reports.pool_size
	Section any    // pointer to the section's struct: into the Config, or to a copy for databases and users

	store func() // writes the copy back; nil when Section points into the Config
}

// Field returns the pointer to the setting; see Key.Field.
func (t Target) Field() any { return t.Key.field(t.Section) }

// Set assigns a raw value; see Key.Assign, and the function Assign for its types and the error.
func (t Target) Set(raw any) error {
	if err := t.Key.Assign(t.Section, raw); err != nil {
		return err
	}
	if t.store != nil {
		t.store()
	}
	return nil
}

// Targets lists every setting of the configuration in the order of the key table. Databases and users stand in the order of their
// names, listeners as the file has them. Only the goroutine that builds the configuration may call Set on one.
func (c *Config) Targets() []Target {
	var all []Target
	add := func(sectionName, group string, value any, store func()) {
		s := SectionNamed(sectionName)
		for i := range s.Keys {
			path := s.Keys[i].Name
			if group != "" {
				path = group + "." + path
			}
			all = append(all, Target{Key: &s.Keys[i], Path: path, Section: value, store: store})
		}
	}
	add("", "", c, nil)
	add("server", "server", &c.Server, nil)
	add("auth", "auth", &c.Auth, nil)
	for i := range c.Listeners {
		add("listener", c.ListenerPath(i), &c.Listeners[i], nil)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Databases)) {
		database := c.Databases[name]
		add("databases", DatabasePath(name), &database, func() { c.Databases[name] = database })
		for _, listener := range slices.Sorted(maps.Keys(database.Listeners)) {
			sizes := database.Listeners[listener]
			add(DatabaseOnListenerSection, OnListenerPath(DatabasePath(name), listener), &sizes, func() { database.Listeners[listener] = sizes })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Users)) {
		user := c.Users[name]
		add("users", UserPath(name), &user, func() { c.Users[name] = user })
		for _, listener := range slices.Sorted(maps.Keys(user.Listeners)) {
			settings := user.Listeners[listener]
			add(UserOnListenerSection, OnListenerPath(UserPath(name), listener), &settings, func() { user.Listeners[listener] = settings })
		}
	}
	add("admin", "admin", &c.Admin, nil)
	add("log", "log", &c.Log, nil)
	return all
}

// Target finds a setting by its path.
func (c *Config) Target(path string) (Target, bool) {
	for _, t := range c.Targets() {
		if t.Path == path {
			return t, true
		}
	}
	return Target{}, false
}

// ListenerPath returns the path of a listener's section. A listener without a name is named by its place.
func (c *Config) ListenerPath(i int) string {
	if name := c.Listeners[i].Name; name != "" {
		return "listener." + QuoteName(name)
	}
	return fmt.Sprintf("listener.#%d", i+1)
}

// DatabasePath returns the path of a database's section.
func DatabasePath(name string) string { return "databases." + QuoteName(name) }

// UserPath returns the path of a user's section.
func UserPath(name string) string { return "users." + QuoteName(name) }

// OnListenerPath returns the path of the section that overrides a database's or user's section on one listener.
func OnListenerPath(section, listener string) string { return section + "." + QuoteName(listener) }

// SetDatabase adds or replaces a database. Only the goroutine that builds the configuration may call it.
func (c *Config) SetDatabase(name string, database Database) {
	if c.Databases == nil {
		c.Databases = map[string]Database{}
	}
	c.Databases[name] = database
}

// SetUser adds or replaces a user. Only the goroutine that builds the configuration may call it.
func (c *Config) SetUser(name string, user User) {
	if c.Users == nil {
		c.Users = map[string]User{}
	}
	c.Users[name] = user
}

// QuoteName quotes a name where TOML needs quotes.
func QuoteName(name string) string {
	bare := func(r rune) bool {
		return r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if name != "" && strings.IndexFunc(name, func(r rune) bool { return !bare(r) }) < 0 {
		return name
	}
	return QuoteText(name)
}

// QuoteText writes a text as a basic string of TOML.
func QuoteText(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		switch {
		case r == '"', r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// EnvPrefix starts the environment name of every setting.
const EnvPrefix = "HYBRIDBOUNCER_"

// EnvName returns the environment name of a path: HYBRIDBOUNCER_SERVER_HOST for server.host.
func EnvName(path string) string {
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
	return EnvPrefix + upper
}
