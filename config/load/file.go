package load

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// fileReader copies the tree of a TOML file into a Config.
type fileReader struct {
	config *config.Config
	lines  map[string]int // by joinPath
	faults config.Problems
}

// fault records a fault. where is the path in the file, key the path that people read.
func (r *fileReader) fault(where []string, key, text, near string) {
	r.faults = append(r.faults, config.Problem{File: r.config.File, Line: r.line(where), Key: key, Text: text, Nearest: near})
}

func (r *fileReader) line(where []string) int { return r.lines[joinPath(where...)] }

// top reads the whole file: the keys above all tables, and the tables.
func (r *fileReader) top(tree map[string]any) {
	keys := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		value, where := tree[name], []string{name}
		s := config.SectionNamed(name)
		switch {
		case s == nil || name == "" || strings.Contains(name, "."):
			keys[name] = value
		case name == "listener":
			r.listeners(value)
		case s.Named():
			r.named(s, value)
		default:
			r.table(s, where, name, value, map[string]any{
				"server": &r.config.Server, "auth": &r.config.Auth, "admin": &r.config.Admin, "log": &r.config.Log,
			}[name])
		}
	}
	r.table(config.SectionNamed(""), nil, "", keys, r.config)
}

// listeners reads the [[listener]] tables. A single one in the file replaces both default listeners.
func (r *fileReader) listeners(value any) {
	tables, ok := tableList(value)
	if !ok {
		r.fault([]string{"listener"}, "listener", "write [[listener]] with double brackets, once for each port", "")
		return
	}
	r.config.Listeners = nil
	for i, table := range tables {
		l := config.DefaultListener()
		if name, ok := table["name"].(string); ok {
			l.Name = name
		}
		r.config.Listeners = append(r.config.Listeners, l)
		r.table(config.SectionNamed("listener"), []string{"listener", "#" + strconv.Itoa(i)}, r.config.ListenerPath(i), table, &r.config.Listeners[i])
	}
}

// tableList returns the tables of an array of tables, whether the file writes [[x]] or x = [{...}].
func tableList(value any) (tables []map[string]any, ok bool) {
	elements, ok := value.([]any)
	if !ok {
		return nil, false
	}
	for _, element := range elements {
		table, ok := element.(map[string]any)
		if !ok {
			return nil, false
		}
		tables = append(tables, table)
	}
	return tables, true
}

// named reads [databases.NAME] and [users.NAME].
func (r *fileReader) named(s *config.Section, value any) {
	tables, ok := value.(map[string]any)
	if !ok {
		r.fault([]string{s.Name}, s.Name, "must be tables: "+s.Header, "")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		where, group := []string{s.Name, name}, s.Name+"."+config.QuoteName(name)
		if _, ok := tables[name].(map[string]any); !ok {
			r.fault(where, group, fmt.Sprintf("must be a table: [%s]", group), "")
			continue
		}
		keys, listeners := splitTable(tables[name].(map[string]any))
		if s.Name == "databases" {
			var database config.Database
			r.table(s, where, group, keys, &database)
			database.Listeners = onListeners[config.DatabaseOnListener](r, config.DatabaseOnListenerSection, where, group, listeners)
			r.config.SetDatabase(name, database)
		} else {
			var user config.User
			r.table(s, where, group, keys, &user)
			user.Listeners = onListeners[config.UserOnListener](r, config.UserOnListenerSection, where, group, listeners)
			r.config.SetUser(name, user)
		}
	}
}

// splitTable separates the keys of [databases.NAME] from the tables [databases.NAME.LISTENER] in it.
func splitTable(table map[string]any) (keys, listeners map[string]any) {
	keys, listeners = map[string]any{}, map[string]any{}
	for name, value := range table {
		if _, isTable := value.(map[string]any); isTable {
			listeners[name] = value
		} else {
			keys[name] = value
		}
	}
	return keys, listeners
}

// onListeners reads the tables [databases.NAME.LISTENER] or [users.NAME.LISTENER].
func onListeners[T any](r *fileReader, section string, where []string, group string, tables map[string]any) map[string]T {
	if len(tables) == 0 {
		return nil
	}
	all := map[string]T{}
	for _, listener := range slices.Sorted(maps.Keys(tables)) {
		var settings T
		r.table(config.SectionNamed(section), append(slices.Clone(where), listener), config.OnListenerPath(group, listener), tables[listener], &settings)
		all[listener] = settings
	}
	return all
}

// table reads the keys of one section into the struct that value points to.
func (r *fileReader) table(s *config.Section, where []string, group string, tree, value any) {
	table, ok := tree.(map[string]any)
	if !ok {
		r.fault(where, group, "must be a table: "+s.Header, "")
		return
	}
	if group != "" {
		r.config.SetOrigin(group, config.Origin{File: r.config.File, Line: r.line(where)})
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		keyWhere, path := append(slices.Clone(where), name), config.QuoteName(name)
		if group != "" {
			path = group + "." + path
		}
		key := s.Key(name)
		if key == nil {
			text, near := unknownKey(s, name)
			if group == "" && near == "" {
				near = config.Nearest(name, tableNames())
			}
			r.fault(keyWhere, path, text, near)
			continue
		}
		r.config.SetOrigin(path, config.Origin{File: r.config.File, Line: r.line(keyWhere)})
		if err := key.Assign(value, table[name]); err != nil {
			r.fault(keyWhere, path, err.Error(), "")
		}
	}
}

// tableNames lists the names of the file's tables.
func tableNames() []string {
	var names []string
	for i := range config.Sections {
		if name := config.Sections[i].Name; name != "" && !strings.Contains(name, ".") {
			names = append(names, name)
		}
	}
	return names
}
