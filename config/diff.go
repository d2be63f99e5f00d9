package config

import (
	"maps"
	"slices"
	"time"
)

// Change is one setting that differs between two configurations.
type Change struct {
	Key  string // path such as server.port; the path of the section for a new or removed listener, database or user
	Old  string // as TOML writes it, secrets masked; "absent" for a new section, or an override that is not written
	New  string // the same; "absent" for a removed section
	When When   // what the change needs
}

// absent stands for a listener, database, user or override that one of the configurations does not have.
const absent = "absent"

// Diff returns the changes from one configuration to another in the order of the key table. It matches listeners, databases and users
// by name. It reports a changed secret without its value.
func Diff(before, after *Config) []Change {
	old := map[string]Target{}
	for _, t := range before.Targets() {
		old[t.Path] = t
	}
	changes := changedSections(before, after)
	for _, t := range after.Targets() {
		o, known := old[t.Path]
		if !known || Show(o.Field()) == Show(t.Field()) && o.isAbsent() == t.isAbsent() {
			continue
		}
		changes = append(changes, Change{Key: t.Path, Old: o.shown(), New: t.shown(), When: t.Key.When})
	}
	return changes
}

// isAbsent reports whether a key that overrides a limit is not written.
func (t Target) isAbsent() bool {
	if t.Key.Off == "" {
		return false
	}
	switch p := t.Field().(type) {
	case *int:
		return *p == 0
	case *time.Duration:
		return *p == 0
	}
	return false
}

func (t Target) shown() string {
	if t.isAbsent() {
		return absent
	}
	return t.Key.Show(t.Section)
}

// changedSections returns the new and the removed listeners, databases and users.
func changedSections(before, after *Config) []Change {
	old, now := before.groups(), after.groups()
	var changes []Change
	for _, group := range slices.Sorted(maps.Keys(old)) {
		if _, kept := now[group]; !kept {
			changes = append(changes, Change{Key: group, Old: "present", New: absent, When: old[group]})
		}
	}
	for _, group := range slices.Sorted(maps.Keys(now)) {
		if _, kept := old[group]; !kept {
			changes = append(changes, Change{Key: group, Old: absent, New: "present", When: now[group]})
		}
	}
	return changes
}

// groups lists the named sections, each with what its addition or removal needs. A listener needs a restart, because the program opens
// its sockets only at the start.
func (c *Config) groups() map[string]When {
	groups := map[string]When{}
	for i := range c.Listeners {
		groups[c.ListenerPath(i)] = Restart
	}
	for name, database := range c.Databases {
		groups[DatabasePath(name)] = NewLogins
		for listener := range database.Listeners {
			groups[OnListenerPath(DatabasePath(name), listener)] = Live
		}
	}
	for name, user := range c.Users {
		groups[UserPath(name)] = Live
		for listener := range user.Listeners {
			groups[OnListenerPath(UserPath(name), listener)] = Live
		}
	}
	return groups
}

// Merge returns the configuration in force after a reload: a copy of after in which every setting that needs a restart has its value
// from before.
func Merge(before, after *Config) *Config {
	merged, before := after.Clone(), before.Clone()
	var listeners []Listener // those of before, with the values of after
	for i := range before.Listeners {
		l := before.Listeners[i]
		for j := range merged.Listeners {
			if merged.Listeners[j].Name == l.Name {
				l = merged.Listeners[j]
			}
		}
		listeners = append(listeners, l)
	}
	merged.Listeners = listeners
	old := map[string]Target{}
	for _, t := range before.Targets() {
		old[t.Path] = t
	}
	for _, t := range merged.Targets() {
		if o, known := old[t.Path]; known && t.Key.When == Restart {
			copyField(t.Field(), o.Field())
		}
	}
	return merged
}

// Clone copies a configuration. Setting a field of the copy does not touch the original.
func (c *Config) Clone() *Config {
	copied := *c
	copied.Listeners = slices.Clone(c.Listeners)
	for i := range copied.Listeners {
		copied.Listeners[i].Listen = slices.Clone(copied.Listeners[i].Listen)
		copied.Listeners[i].ProxyProtocolFrom = slices.Clone(copied.Listeners[i].ProxyProtocolFrom)
	}
	copied.Admin.Users = slices.Clone(c.Admin.Users)
	copied.Databases = maps.Clone(c.Databases)
	for name, database := range copied.Databases {
		database.Listeners = maps.Clone(database.Listeners)
		copied.Databases[name] = database
	}
	copied.Users = maps.Clone(c.Users)
	for name, user := range copied.Users {
		user.Listeners = maps.Clone(user.Listeners)
		copied.Users[name] = user
	}
	copied.origins = maps.Clone(c.origins)
	return &copied
}
