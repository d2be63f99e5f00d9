package config

import (
	"maps"
	"slices"
)

// Change is one setting that differs between two configurations.
type Change struct {
	Key  string // path such as server.port; of a listener, database or user that came or went, the path of its section
	Old  string // as TOML writes it, secrets masked; "absent" for a section that came
	New  string // the same; "absent" for a section that went
	When When   // what it takes to come into effect
}

// absent stands for a listener, database or user that one of the configurations does not have.
const absent = "absent"

// Diff gives what changes from one configuration to another, in the order of the key table. Listeners, databases and users are
// matched by name. A changed secret is told, its value is not.
func Diff(before, after *Config) []Change {
	old := map[string]target{}
	for _, t := range before.targets() {
		old[t.path] = t
	}
	changes := changedSections(before, after)
	for _, t := range after.targets() {
		o, known := old[t.path]
		if !known || show(o.key.field(o.section)) == show(t.key.field(t.section)) {
			continue
		}
		changes = append(changes, Change{Key: t.path, Old: o.key.show(o.section), New: t.key.show(t.section), When: t.key.When})
	}
	return changes
}

// changedSections gives the listeners, databases and users that came or went. A listener is a socket, and sockets are opened at
// the start only.
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

// groups lists the named sections, each with what it takes to add or remove one.
func (c *Config) groups() map[string]When {
	groups := map[string]When{}
	for i := range c.Listeners {
		groups[c.listenerPath(i)] = Restart
	}
	for name := range c.Databases {
		groups["databases."+quoteName(name)] = NewLogins
	}
	for name := range c.Users {
		groups["users."+quoteName(name)] = Live
	}
	return groups
}

// Merge gives what a reload makes of two configurations: after, with the settings that take a Restart as they are in before. The
// result belongs to the caller.
func Merge(before, after *Config) *Config {
	merged, before := after.clone(), before.clone()
	var listeners []Listener // those of before, each as after has it
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
	old := map[string]target{}
	for _, t := range before.targets() {
		old[t.path] = t
	}
	for _, t := range merged.targets() {
		if o, known := old[t.path]; known && t.key.When == Restart {
			copyField(t.key.field(t.section), o.key.field(o.section))
		}
	}
	return merged
}

// clone copies a configuration so far that setting a field of the copy does not touch the original.
func (c *Config) clone() *Config {
	copied := *c
	copied.Listeners = slices.Clone(c.Listeners)
	for i := range copied.Listeners {
		copied.Listeners[i].Listen = slices.Clone(copied.Listeners[i].Listen)
		copied.Listeners[i].ProxyProtocolFrom = slices.Clone(copied.Listeners[i].ProxyProtocolFrom)
	}
	copied.Admin.Users = slices.Clone(c.Admin.Users)
	copied.Databases = maps.Clone(c.Databases)
	copied.Users = maps.Clone(c.Users)
	copied.origins = maps.Clone(c.origins)
	return &copied
}
