package pgbouncer

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// connectionRow is one key of a connection string of [databases], or of the settings of [users].
type connectionRow struct {
	key    string
	number bool // atoi
	match  match
	to     string // key of our section; "" without an equal
	merge  merge
	why    string
}

const otherPort = "the pool mode belongs to the port here: clients that need another one connect to the other listener"

// databaseRows lists every key of a database.
var databaseRows = []connectionRow{
	{key: "dbname", to: "dbname", merge: equal},
	{key: "host", match: differs, to: "host", merge: equal, why: "a list of hosts is tried in its order here; PgBouncer takes them in turn, unless load_balance_hosts = disable"},
	{key: "port", number: true, to: "port", merge: equal},
	{key: "user", to: "user", merge: equal},
	{key: "password", to: "password", merge: equal},
	{key: "auth_user", to: "auth_user", merge: equal},
	{key: "auth_query", to: "auth_query", merge: equal},
	{key: "auth_dbname", to: "auth_dbname", merge: equal},
	{key: "pool_size", number: true, to: "pool_size"},
	{key: "min_pool_size", number: true, to: "min_pool_size"},
	{key: "reserve_pool_size", number: true, to: "reserve_pool_size"},
	{key: "reserve_pool", number: true, to: "reserve_pool_size"},
	{key: "max_db_connections", number: true, to: "max_db_connections", merge: sum, why: oneForAll},
	{key: "max_db_client_connections", number: true, to: "max_db_client_connections", merge: sum, why: oneForAll},
	{key: "server_lifetime", number: true, to: "server_lifetime"},
	{key: "query_wait_timeout", number: true, to: "query_wait_timeout"},
	{key: "pool_mode", match: differs, why: otherPort},
	{key: "load_balance_hosts", match: differs, why: "see host"},
	{key: "connect_query", match: missing, why: "no equal in this version: ALTER ROLE ... IN DATABASE ... SET can set parameters"},
	{key: "client_encoding", match: missing, why: "no equal in this version: ALTER DATABASE ... SET can set it, and clients set their own"},
	{key: "datestyle", match: missing, why: "no equal in this version: ALTER DATABASE ... SET can set it, and clients set their own"},
	{key: "timezone", match: missing, why: "no equal in this version: ALTER DATABASE ... SET can set it, and clients set their own"},
	{key: "application_name", match: missing, why: "no equal in this version: clients set their own"},
}

// userRows lists every key of a user.
var userRows = []connectionRow{
	{key: "pool_mode", match: differs, why: otherPort},
	{key: "pool_size", number: true, to: "pool_size"},
	{key: "reserve_pool_size", number: true, to: "reserve_pool_size"},
	{key: "max_user_connections", number: true, to: "max_user_connections", merge: sum, why: oneForAll},
	{key: "max_user_client_connections", number: true, to: "max_user_client_connections", merge: sum, why: oneForAll},
	{key: "query_timeout", number: true, to: "query_timeout"},
	{key: "query_wait_timeout", number: true, to: "query_wait_timeout"},
	{key: "idle_transaction_timeout", number: true, to: "idle_transaction_timeout"},
	{key: "transaction_timeout", number: true, to: "transaction_timeout"},
	{key: "client_idle_timeout", number: true, to: "client_idle_timeout"},
}

// connection is one database or user of one file.
type connection struct {
	file   int // index of importer.files
	at     Place
	values map[string]string // by our key; a number as atoi reads it
}

// connections reads the entries of a section in all files, by name in the order in which the names first come.
func (i *importer) connections(section string, rows []connectionRow, of func(*iniFile) []entry) (names []string, byName map[string][]connection) {
	byName = map[string][]connection{}
	for n, f := range i.files {
		for _, e := range of(f) {
			if byName[e.key] == nil {
				names = append(names, e.key)
			}
			c := connection{file: n, at: e.Place, values: i.readPairs(section, rows, f, e)}
			byName[e.key] = append(byName[e.key], c)
		}
	}
	return names, byName
}

// readPairs reads one connection string.
func (i *importer) readPairs(section string, rows []connectionRow, f *iniFile, e entry) map[string]string {
	values := map[string]string{}
	pairs, err := parsePairs(e.value)
	if err != nil {
		i.fault(e.Place, section+" "+e.key, "%v", err)
	}
	for _, p := range pairs {
		label := section + " " + e.key + " " + p.key
		n := slices.IndexFunc(rows, func(r connectionRow) bool { return r.key == p.key })
		if n < 0 {
			i.fault(e.Place, label, "PgBouncer has no such setting")
			continue
		}
		row, value := &rows[n], p.value
		if row.number {
			number := parseAtoi(value)
			value = strconv.Itoa(number)
			if strings.Trim(p.value, "0123456789") != "" {
				i.note(e.Place, label, "PgBouncer reads %d here", number)
			}
		}
		switch {
		case row.key == "pool_mode":
			if mode, _ := f.value("pool_mode"); !strings.EqualFold(mode, value) {
				i.note(e.Place, label, "%s", row.why)
			}
		case row.to != "":
			values[row.to] = value
		case row.key == "load_balance_hosts":
			values["load_balance_hosts"] = strings.ToLower(value)
		default:
			i.note(e.Place, label, "%s", row.why)
		}
	}
	return values
}

// databases translates [databases] of all files.
func (i *importer) databases() {
	names, byName := i.connections("databases", databaseRows, func(f *iniFile) []entry { return f.databases })
	if len(names) == 0 {
		i.fault(Place{File: i.files[0].path}, "databases", "the files name no database; PgBouncer would refuse every client, and without [databases] every name is allowed here")
		return
	}
	for _, name := range names {
		for _, c := range byName[name] {
			i.checkDatabase(name, c)
		}
	}
	home := i.home(names, byName)
	for _, name := range names {
		i.result.Config.SetDatabase(name, config.Database{})
		path := config.DatabasePath(name)
		i.result.Config.SetOrigin(path, config.Origin{File: byName[name][0].at.File, Line: byName[name][0].at.Line})
		i.result.sources[path] = sourceList(byName[name])
		i.onlyInSome("databases", name, byName[name])
		i.mergeConnections(path, "databases "+name, databaseRows, byName[name], home)
	}
}

// checkDatabase completes one database of one file and finds what cannot be translated.
func (i *importer) checkDatabase(name string, c connection) {
	label := "databases " + name
	if name == "pgbouncer" {
		i.fault(c.at, label, "the name is reserved for the console")
	}
	directory, _ := i.files[c.file].value("unix_socket_dir")
	c.values["host"] = cmp.Or(c.values["host"], directory)
	c.values["port"] = cmp.Or(c.values["port"], "5432")
	if c.values["dbname"] == name {
		delete(c.values, "dbname")
	}
	switch host := c.values["host"]; {
	case host == "":
		i.fault(c.at, label, "the database has no host, and unix_socket_dir is empty")
	case strings.HasPrefix(host, "@"):
		i.fault(c.at, label, "abstract sockets have no equal in this version: name a host")
	case strings.Contains(host, ",") && c.values["load_balance_hosts"] != "disable":
		i.fault(c.at, label+" host", "%s: add load_balance_hosts = disable if that is right for you (PgBouncer 1.24 and later), or name one host", databaseRows[1].why)
	}
	if c.values["password"] != "" && c.values["user"] == "" {
		i.note(c.at, label+" password", "is left out: PgBouncer uses it with user= only")
		delete(c.values, "password")
	}
	for _, key := range []string{"pool_size", "max_db_connections"} {
		i.checkZero(label, key, c)
	}
	for _, key := range []string{"pool_size", "min_pool_size", "reserve_pool_size", "max_db_connections", "max_db_client_connections"} {
		if strings.HasPrefix(c.values[key], "-") {
			delete(c.values, key) // PgBouncer's word for "as in [pgbouncer]"
		}
	}
	if size, _ := strconv.Atoi(c.values["pool_size"]); size > 0 {
		if least, _ := strconv.Atoi(c.values["min_pool_size"]); least > size {
			i.note(c.at, label+" min_pool_size", "is above pool_size (%d) and becomes that", size)
			c.values["min_pool_size"] = c.values["pool_size"]
		}
	}
}

// checkZero refuses a 0 that means "no limit" in PgBouncer and "as for the others" here.
func (i *importer) checkZero(label, key string, c connection) {
	global := map[string]string{"max_db_connections": "max_db_connections", "max_user_connections": "max_user_connections"}[key]
	if c.values[key] != "0" {
		return
	}
	if global != "" {
		if value, _ := i.files[c.file].value(global); value == "0" {
			return
		}
	}
	i.fault(c.at, label+" "+key, "0 is \"no limit\" in PgBouncer, and \"as for the others\" here: write a number")
}

// home returns the server that [server] names: that of "*", else of the first database. The databases there need no host and port.
func (i *importer) home(names []string, byName map[string][]connection) connection {
	name := names[0]
	if byName["*"] != nil {
		name = "*"
	}
	c := byName[name][0]
	i.set("server.host", c.values["host"], "databases "+name, c.at)
	i.set("server.port", c.values["port"], "databases "+name, c.at)
	return c
}

// users translates [users] of all files.
func (i *importer) users() {
	names, byName := i.connections("users", userRows, func(f *iniFile) []entry { return f.users })
	for _, name := range names {
		for _, c := range byName[name] {
			for _, key := range []string{"pool_size", "max_user_connections"} {
				i.checkZero("users "+name, key, c)
			}
			for key, value := range c.values {
				if strings.HasPrefix(value, "-") {
					delete(c.values, key)
				}
			}
		}
		if !slices.ContainsFunc(byName[name], func(c connection) bool { return len(c.values) > 0 }) {
			continue
		}
		path := config.UserPath(name)
		i.result.Config.SetUser(name, config.User{})
		i.result.Config.SetOrigin(path, config.Origin{File: byName[name][0].at.File, Line: byName[name][0].at.Line})
		i.result.sources[path] = sourceList(byName[name])
		i.mergeConnections(path, "users "+name, userRows, byName[name], connection{})
	}
}

// sourceList names the lines of a database or user.
func sourceList(all []connection) string {
	var places []string
	for _, c := range all {
		places = append(places, c.at.String())
	}
	return strings.Join(places, ", ")
}

// onlyInSome tells about a database that only some of the files name: here every listener serves it.
func (i *importer) onlyInSome(section, name string, all []connection) {
	if len(all) == len(i.files) || name == "*" {
		return
	}
	for n, f := range i.files {
		if slices.ContainsFunc(all, func(c connection) bool { return c.file == n }) {
			continue
		}
		text := f.path + " refuses this name; here every listener serves it"
		if slices.ContainsFunc(f.databases, func(e entry) bool { return e.key == "*" }) {
			text = f.path + " serves this name by its *; here every listener serves it as this line says"
		}
		i.note(all[0].at, section+" "+name, "%s", text)
	}
}

// mergeConnections makes one section of the same name in several files.
func (i *importer) mergeConnections(path, label string, rows []connectionRow, all []connection, home connection) {
	atHome := all[0].values["host"] == home.values["host"] && all[0].values["port"] == home.values["port"]
	for n := range rows {
		row := &rows[n]
		if row.to == "" || slices.ContainsFunc(rows[:n], func(r connectionRow) bool { return r.to == row.to }) {
			continue
		}
		switch row.merge {
		case equal:
			i.mergeEqual(path, label, row, all, atHome && (row.to == "host" || row.to == "port"))
		case sum:
			i.mergeSum(path, label, row, all)
		case perFile:
			i.mergeSizes(path, row, all)
		case first, largest, union:
			panic("bug: no rule for several files of " + row.key)
		}
	}
}

// mergeEqual assigns a setting that all files must agree on.
func (i *importer) mergeEqual(path, label string, row *connectionRow, all []connection, known bool) {
	value := all[0].values[row.to]
	for _, c := range all[1:] {
		if c.values[row.to] != value {
			i.fault(c.at, label+" "+row.key, "differs from %s, and a database is the same on all listeners here: make them equal, or rename one", all[0].at)
			return
		}
	}
	if value != "" && !known {
		i.set(path+"."+row.to, value, row.key, all[0].at)
	}
}

// mergeSum adds limits that PgBouncer counts in each process. A file that does not set one has the limit of its [pgbouncer].
func (i *importer) mergeSum(path, label string, row *connectionRow, all []connection) {
	var values []fileValue
	set, places := false, []Place{}
	for _, c := range all {
		value, own := c.values[row.to]
		if !own {
			value, _ = i.files[c.file].value(row.key)
		}
		set, places = set || own, append(places, c.at)
		values = append(values, fileValue{value, c.at})
	}
	if !set {
		return
	}
	total, unlimited := addLimits(values)
	if len(all) > 1 && !unlimited {
		i.note(all[0].at, label+" "+row.key, "the limit is %s: the sum of the files' limits, %d, holds", row.why, total)
	}
	i.set(path+"."+row.to, strconv.Itoa(total), row.key, places...)
}

// mergeSizes assigns a setting that PgBouncer has for each process: here it stands in the section if all listeners have it alike, and
// in [databases.NAME.LISTENER] otherwise.
func (i *importer) mergeSizes(path string, row *connectionRow, all []connection) {
	alike := len(all) == len(i.files)
	for _, c := range all {
		alike = alike && c.values[row.to] == all[0].values[row.to]
	}
	for _, c := range all {
		value, set := c.values[row.to]
		switch {
		case !set || value == "0": // as in [pgbouncer]
		case alike:
			i.set(path+"."+row.to, value, row.key, c.at)
		default:
			listener := i.result.Config.Listeners[c.file].Name
			i.addOnListener(path, listener)
			i.set(config.OnListenerPath(path, listener)+"."+row.to, value, row.key, c.at)
		}
	}
}

// addOnListener adds [databases.NAME.LISTENER] or [users.NAME.LISTENER] if it is not there.
func (i *importer) addOnListener(path, listener string) {
	c := i.result.Config
	for name, database := range c.Databases {
		if config.DatabasePath(name) == path {
			if _, there := database.Listeners[listener]; !there {
				if database.Listeners == nil {
					database.Listeners = map[string]config.DatabaseOnListener{}
				}
				database.Listeners[listener] = config.DatabaseOnListener{}
				c.SetDatabase(name, database)
			}
		}
	}
	for name, user := range c.Users {
		if config.UserPath(name) == path {
			if _, there := user.Listeners[listener]; !there {
				if user.Listeners == nil {
					user.Listeners = map[string]config.UserOnListener{}
				}
				user.Listeners[listener] = config.UserOnListener{}
				c.SetUser(name, user)
			}
		}
	}
}
