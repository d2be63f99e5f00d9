package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// Load gives Default, with the file at path over it (none if path is empty), with the environment over that; environ is in the
// form of os.Environ. Relative files named in the configuration become absolute, beside the file.
//
// The result has passed Validate. Otherwise the error is Problems, every fault of all of it at once, or says why the file cannot
// be read; no error shows a secret.
func Load(path string, environ []string) (*Config, error) {
	c := Default()
	c.File = path
	c.origins = map[string]origin{}
	var faults Problems
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		var readable bool
		if faults, readable = c.readFile(string(text)); !readable {
			return nil, faults
		}
	}
	faults = append(faults, c.readEnviron(environ)...)
	if err := c.absolutePaths(); err != nil {
		return nil, err
	}
	for i := range c.Listeners {
		if c.Listeners[i].ServerCheckQuery == "<empty>" { // PgBouncer's word for the empty query
			c.Listeners[i].ServerCheckQuery = ";"
		}
	}
	if c.Auth.User != "" && c.Auth.UserFile != "" {
		c.Warnings = append(c.Warnings, "auth.user is ignored: auth.user_file holds the users")
	}
	c.warnOfReadable()
	c.warnOfTrust()
	faults = append(faults, c.Validate()...)
	if len(faults) > 0 {
		return nil, faults.sorted()
	}
	return c, nil
}

// readFile puts the file over the defaults. readable is false when it is not TOML at all: no other fault makes sense then.
func (c *Config) readFile(text string) (faults Problems, readable bool) {
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		return Problems{syntaxProblem(c.File, text, err)}, false
	}
	r := &fileReader{config: c, lines: locate(text)}
	r.top(tree)
	return r.faults, true
}

// syntaxProblem tells where the file is not TOML. The library's text quotes what it found, so it is kept back where that may be a
// secret.
func syntaxProblem(file, text string, err error) Problem {
	p := Problem{File: file, Text: "this is not TOML: " + err.Error()}
	var syntax toml.ParseError
	if !errors.As(err, &syntax) {
		return p
	}
	p.Line = syntax.Position.Line
	p.Text = "this is not TOML: " + syntax.Message
	line := ""
	if lines := strings.Split(text, "\n"); p.Line >= 1 && p.Line <= len(lines) {
		line = lines[p.Line-1]
	}
	if strings.Contains(strings.ToLower(line+syntax.LastKey), "pass") {
		p.Text = "this is not TOML (the line is not shown, it may hold a password); are the quotes around the value right?"
	}
	return p
}

// fileReader carries the tree of a file into a Config.
type fileReader struct {
	config *Config
	lines  map[string]int // by locate's paths
	faults Problems
}

// fault notes one; where is the path in the file, key the path people read.
func (r *fileReader) fault(where []string, key, text, near string) {
	r.faults = append(r.faults, Problem{File: r.config.File, Line: r.lines[join(where...)], Key: key, Text: text, Nearest: near})
}

// top reads the whole file: keys above all tables, then the tables.
func (r *fileReader) top(tree map[string]any) {
	keys := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		value, where := tree[name], []string{name}
		s := section(name)
		switch {
		case s == nil || name == "":
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
	r.table(section(""), nil, "", keys, r.config)
}

// listeners reads the [[listener]] tables. One in the file replaces both default listeners.
func (r *fileReader) listeners(value any) {
	tables, ok := tableList(value)
	if !ok {
		r.fault([]string{"listener"}, "listener", "write [[listener]] with double brackets, once for each port", "")
		return
	}
	r.config.Listeners = nil
	for i, table := range tables {
		l := DefaultListener()
		if name, ok := table["name"].(string); ok {
			l.Name = name
		}
		r.config.Listeners = append(r.config.Listeners, l)
		r.table(section("listener"), []string{"listener", "#" + strconv.Itoa(i)}, r.config.listenerPath(i), table, &r.config.Listeners[i])
	}
}

// tableList takes both forms of an array of tables: [[x]] and x = [{...}].
func tableList(value any) ([]map[string]any, bool) {
	switch v := value.(type) {
	case []map[string]any:
		return v, true
	case []any:
		var tables []map[string]any
		for _, element := range v {
			table, ok := element.(map[string]any)
			if !ok {
				return nil, false
			}
			tables = append(tables, table)
		}
		return tables, true
	}
	return nil, false
}

// named reads [databases.NAME] and [users.NAME].
func (r *fileReader) named(s *Section, value any) {
	tables, ok := value.(map[string]any)
	if !ok {
		r.fault([]string{s.Name}, s.Name, "wants tables: "+s.Header, "")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		where, group := []string{s.Name, name}, s.Name+"."+quoteName(name)
		if _, ok := tables[name].(map[string]any); !ok {
			r.fault(where, group, fmt.Sprintf("wants a table: [%s]", group), "")
			continue
		}
		if s.Name == "databases" {
			var database Database
			r.table(s, where, group, tables[name], &database)
			r.config.setDatabase(name, database)
		} else {
			var user User
			r.table(s, where, group, tables[name], &user)
			r.config.setUser(name, user)
		}
	}
}

func (c *Config) setDatabase(name string, database Database) {
	if c.Databases == nil {
		c.Databases = map[string]Database{}
	}
	c.Databases[name] = database
}

func (c *Config) setUser(name string, user User) {
	if c.Users == nil {
		c.Users = map[string]User{}
	}
	c.Users[name] = user
}

// table reads the keys of one section into the struct value points to.
func (r *fileReader) table(s *Section, where []string, group string, tree, value any) {
	table, ok := tree.(map[string]any)
	if !ok {
		r.fault(where, group, "wants a table: "+s.Header, "")
		return
	}
	if group != "" {
		r.config.origins[group] = origin{file: r.config.File, line: r.lines[join(where...)]}
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		keyWhere, path := append(slices.Clone(where), name), quoteName(name)
		if group != "" {
			path = group + "." + path
		}
		key := s.key(name)
		if key == nil {
			text, near := unknownKey(s, name)
			if group == "" && near == "" {
				near = nearest(name, []string{"server", "auth", "listener", "databases", "users", "admin", "log"})
			}
			r.fault(keyWhere, path, text, near)
			continue
		}
		r.config.origins[path] = origin{file: r.config.File, line: r.lines[join(keyWhere...)]}
		if err := assign(key.field(value), table[name]); err != nil {
			r.fault(keyWhere, path, err.Error(), "")
		}
	}
}

// absolutePaths makes the files a setting names absolute: beside the configuration file, or in the working directory for those
// from the environment.
func (c *Config) absolutePaths() error {
	base, err := filepath.Abs(filepath.Dir(c.File))
	if err != nil {
		return fmt.Errorf("find the directory of the configuration: %w", err)
	}
	here, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("find the working directory: %w", err)
	}
	for _, t := range c.targets() {
		p, isText := t.key.field(t.section).(*string)
		if !t.key.Path || !isText || *p == "" || filepath.IsAbs(*p) || *p == "system" {
			continue
		}
		if c.origins[t.path].name != "" {
			*p = filepath.Join(here, *p)
		} else {
			*p = filepath.Join(base, *p)
		}
	}
	return nil
}
