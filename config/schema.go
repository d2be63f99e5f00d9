package config

import "time"

// When says what a changed setting takes to come into effect.
type When uint8

const (
	// Live: a reload (SIGHUP) is enough; the value holds from the next time it is used, for open connections too.
	Live When = iota
	// NewLogins: a reload is enough, but connections that are open keep the old value; those made afterwards have the new one.
	NewLogins
	// Restart: the running process keeps the old value until it is started again.
	Restart
)

// String gives the word docs/settings.md and the log use.
func (w When) String() string {
	switch w {
	case Live:
		return "reload"
	case NewLogins:
		return "reload, new connections"
	case Restart:
		return "restart"
	}
	return "unknown"
}

// Key is one setting: what docs, environment, validation and Diff need to know of it.
type Key struct {
	Name    string
	Doc     string   // sentences; the first one alone stands in config.toml
	Unit    string   // of a number, e.g. "servers"; empty for texts. Durations need none
	When    When     // what a change takes
	Secret  bool     // never shown; may be given by a file: NAME_FILE in the environment
	Path    bool     // names a file; relative to the configuration file
	Allowed []string // a text must be one of them
	Min     int      // of a number
	Max     int      // of a number; 0: no limit
	Zero    string   // what 0 or the empty text means, for the docs

	// field gives the pointer to the setting inside its section: *string, *int, *bool, *time.Duration or *[]string.
	field func(section any) any
}

// Section is a table of the configuration file.
type Section struct {
	Name   string // "" for the keys above all tables
	Header string // as written in the file
	Doc    string
	Keys   []Key

	defaults func() any // a pointer to the section's struct with its default values
}

// Named tells whether the section stands once per name: listeners, databases, users.
func (s *Section) Named() bool {
	return s.Name == "listener" || s.Name == "databases" || s.Name == "users"
}

// key finds a key by its name.
func (s *Section) key(name string) *Key {
	for i := range s.Keys {
		if s.Keys[i].Name == name {
			return &s.Keys[i]
		}
	}
	return nil
}

// of lets a row of the table name its field with the section's own type.
func of[T any](field func(*T) any) func(any) any {
	return func(section any) any { return field(section.(*T)) }
}

// sections in the order of config.toml.
var sections = []Section{
	{Name: "", Header: "", Doc: "The process.", Keys: processKeys, defaults: func() any { return Default() }},
	{
		Name: "server", Header: "[server]", Doc: "PostgreSQL behind all listeners.",
		Keys: serverKeys, defaults: func() any { return &Default().Server },
	},
	{
		Name: "auth", Header: "[auth]", Doc: "Which clients may log in.",
		Keys: authKeys, defaults: func() any { return &Default().Auth },
	},
	{
		Name: "listener", Header: "[[listener]]", Doc: "A port with a pool mode, and the limits of its pools. One pool stands for one database and user of one listener.",
		Keys: listenerKeys, defaults: func() any { l := DefaultListener(); return &l },
	},
	{
		Name: "databases", Header: "[databases.NAME]", Doc: "Optional: what is different for one database, by the name clients ask for; \"*\" stands for all others. With no [databases] table at all, every name is passed on to PostgreSQL; with one, other names are refused (3D000).",
		Keys: databaseKeys, defaults: func() any { return &Database{} },
	},
	{
		Name: "users", Header: "[users.NAME]", Doc: "Optional: what is different for one user. It goes before what [databases] says.",
		Keys: userKeys, defaults: func() any { return &User{} },
	},
	{
		Name: "admin", Header: "[admin]", Doc: "The HTTP endpoint: /metrics, /health/db, /healthz, /readyz.",
		Keys: adminKeys, defaults: func() any { return &Default().Admin },
	},
	{
		Name: "log", Header: "[log]", Doc: "Logging, to standard error.",
		Keys: logKeys, defaults: func() any { return &Default().Log },
	},
}

// section finds a section by its name; nil if there is none.
func section(name string) *Section {
	for i := range sections {
		if sections[i].Name == name {
			return &sections[i]
		}
	}
	return nil
}

// maxDuration bounds every time-out. A century means "a mistake"; time.Duration itself ends at 292 years.
const maxDuration = 100 * 365 * 24 * time.Hour
