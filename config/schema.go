package config

import "time"

// When says what a changed setting needs before it takes effect.
type When uint8

const (
	// Live: a reload (SIGHUP) is enough. The new value holds from its next use, for open connections too.
	Live When = iota
	// NewLogins: a reload is enough. Open connections keep the old value; connections made after the reload have the new one.
	NewLogins
	// Restart: the running process keeps the old value until an operator restarts it.
	Restart
)

// String returns the word that docs/settings.md and the log use.
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

// Key is one setting, with everything that the documents, the environment, Validate and Diff need to know of it.
type Key struct {
	Name    string
	Doc     string   // sentences; config.toml shows the first one alone
	Unit    string   // of a number, such as "servers"; empty for texts and durations
	When    When     // what a change needs
	Secret  bool     // never shown; the environment may give it by file: NAME_FILE
	Path    bool     // names a file, relative to the configuration file
	Creates bool     // the program creates the file
	Allowed []string // the words a text may be; nil: any text
	Min     int      // of a number
	Max     int      // of a number; 0: no limit
	Zero    string   // what 0 or the empty text means, for the documents; with Off, what it means that the key is absent
	Off     string   // of a key that overrides a limit of another table: what a written 0 means, for the documents

	// field returns the pointer to the setting inside its section: *string, *int, *bool, *time.Duration or *[]string.
	field func(section any) any
}

// Field returns the pointer to the setting inside its section: *string, *int, *bool, *time.Duration or *[]string. The section is a
// pointer to the section's struct.
func (k *Key) Field(section any) any { return k.field(section) }

// The names of the sections that stand inside another section. No table of a file has such a name.
const (
	DatabaseOnListenerSection = "databases.listener"
	UserOnListenerSection     = "users.listener"
)

// Section is a table of the configuration file.
type Section struct {
	Name   string // "" for the keys above all tables
	Header string // as the file writes it
	Doc    string
	Keys   []Key

	defaults func() any
}

// Defaults returns a pointer to a new struct of the section that holds the default values.
func (s *Section) Defaults() any { return s.defaults() }

// Named reports whether the file may repeat the section, once for each name: listeners, databases, users.
func (s *Section) Named() bool {
	switch s.Name {
	case "listener", "databases", "users", DatabaseOnListenerSection, UserOnListenerSection:
		return true
	}
	return false
}

// Key finds a key by its name; nil if the section has no such key.
func (s *Section) Key(name string) *Key {
	for i := range s.Keys {
		if s.Keys[i].Name == name {
			return &s.Keys[i]
		}
	}
	return nil
}

// KeyNames lists the names of the section's keys in their order.
func (s *Section) KeyNames() []string {
	names := make([]string, len(s.Keys))
	for i := range s.Keys {
		names[i] = s.Keys[i].Name
	}
	return names
}

// of lets a row of the table name its field with the section's own type.
func of[T any](field func(*T) any) func(any) any {
	return func(section any) any { return field(section.(*T)) }
}

// Sections lists the tables of the configuration file in the order of config.toml. Nobody may change it.
var Sections = []Section{
	{Name: "", Header: "", Doc: "The process.", Keys: processKeys, defaults: func() any { return Default() }},
	{
		Name: "server", Header: "[server]", Doc: "PostgreSQL, for all listeners.",
		Keys: serverKeys, defaults: func() any { return &Default().Server },
	},
	{
		Name: "auth", Header: "[auth]", Doc: "Which clients may log in.",
		Keys: authKeys, defaults: func() any { return &Default().Auth },
	},
	{
		Name: "listener", Header: "[[listener]]", Doc: "A port with a pool mode and the limits of its pools. Each database and user has one pool per listener.",
		Keys: listenerKeys, defaults: func() any { l := DefaultListener(); return &l },
	},
	{
		Name: "databases", Header: "[databases.NAME]", Doc: "Optional: the settings that differ for one database. NAME is the name that clients ask for; \"*\" stands for all other names. Without any [databases] table, every name goes to PostgreSQL unchanged. With one, the pooler refuses other names (3D000).",
		Keys: databaseKeys, defaults: func() any { return &Database{} },
	},
	{
		Name: DatabaseOnListenerSection, Header: "[databases.NAME.LISTENER]", Doc: "Optional: the sizes of one database on one listener. LISTENER is the listener's name. They override [databases.NAME].",
		Keys: databaseOnListenerKeys, defaults: func() any { return &DatabaseOnListener{} },
	},
	{
		Name: "users", Header: "[users.NAME]", Doc: "Optional: the settings that differ for one user. They override [databases].",
		Keys: userKeys, defaults: func() any { return &User{} },
	},
	{
		Name: UserOnListenerSection, Header: "[users.NAME.LISTENER]", Doc: "Optional: the settings of one user on one listener. They override [users.NAME].",
		Keys: userOnListenerKeys, defaults: func() any { return &UserOnListener{} },
	},
	{
		Name: "admin", Header: "[admin]", Doc: "The HTTP endpoint: /metrics, /health/db, /healthz, /readyz.",
		Keys: adminKeys, defaults: func() any { return &Default().Admin },
	},
	{
		Name: "log", Header: "[log]", Doc: "The log.",
		Keys: logKeys, defaults: func() any { return &Default().Log },
	},
}

// SectionNamed finds a section by its name; nil if there is none.
func SectionNamed(name string) *Section {
	for i := range Sections {
		if Sections[i].Name == name {
			return &Sections[i]
		}
	}
	return nil
}

// durationMax bounds every time-out. A century means "a mistake"; time.Duration itself ends at 292 years.
const durationMax = 100 * 365 * 24 * time.Hour
