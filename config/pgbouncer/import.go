package pgbouncer

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// Imported is the translation of ini files.
type Imported struct {
	// Config holds the settings, each with the ini line that it came from. It has not been validated, and the environment is not in it.
	Config *config.Config
	// Notes lists what the operator should know, in the order of the files.
	Notes []Note
	// User is PgBouncer's setting user: the system user that the program should run as; "" if no file sets it.
	User string

	sources map[string]string // from the path of a setting to the comment behind it
}

// Import reads ini files, one for each listener, and translates them. The error is Faults: every setting that cannot be translated
// without a change of behaviour that nobody would notice.
func Import(paths ...string) (*Imported, error) {
	i := &importer{result: &Imported{Config: config.Default(), sources: map[string]string{}}}
	i.result.Config.Listeners = nil
	i.result.Config.File = strings.Join(paths, " ")
	for _, path := range paths {
		file, err := readIni(path)
		if err != nil {
			return nil, err
		}
		i.files = append(i.files, file)
		i.result.Notes = append(i.result.Notes, file.notes...)
	}
	i.checkValues()
	if len(i.faults) == 0 {
		i.listeners()
		i.shared()
		i.authType()
		i.databases()
		i.users()
		i.peers()
	}
	if len(i.faults) > 0 {
		return nil, i.faults
	}
	slices.SortStableFunc(i.result.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(i.rank(a.File), i.rank(b.File)), cmp.Compare(a.Line, b.Line))
	})
	return i.result, nil
}

// importer carries ini files into a Config.
type importer struct {
	files  []*iniFile
	result *Imported
	faults Faults
}

// rank orders the files as the caller named them, their includes behind them.
func (i *importer) rank(file string) int {
	n := slices.IndexFunc(i.files, func(f *iniFile) bool { return f.path == file })
	if n < 0 {
		return len(i.files)
	}
	return n
}

func (i *importer) note(at Place, key, format string, args ...any) {
	i.result.Notes = append(i.result.Notes, Note{at, key, fmt.Sprintf(format, args...)})
}

func (i *importer) fault(at Place, key, format string, args ...any) {
	i.faults = append(i.faults, Note{at, key, fmt.Sprintf(format, args...)})
}

// set assigns a setting and records its source. Without a line, the value is PgBouncer's default.
func (i *importer) set(path, value, key string, sources ...Place) {
	t, known := i.result.Config.Target(path)
	if !known {
		panic("bug: the importer names " + path + ", which is no setting")
	}
	if err := t.Set(config.Text(value)); err != nil {
		i.fault(sources[0], key, "%v", err)
		return
	}
	comment := ""
	for _, at := range sources {
		switch {
		case at.Line == 0:
			continue
		case comment == "":
			comment = at.String() + " " + key
			i.result.Config.SetOrigin(path, config.Origin{File: at.File, Line: at.Line})
		default:
			comment += ", " + at.String()
		}
	}
	i.result.sources[path] = cmp.Or(comment, "PgBouncer's default of "+key)
}

// value returns a setting of a file as valueType.check left it, or PgBouncer's default. at has no line for a default.
func (f *iniFile) value(key string) (value string, at Place) {
	row := settingRowOf(key)
	if e, set := f.settings[key]; set {
		value, _ := row.kind.check(e.value, row.words)
		return value, e.Place
	}
	value = row.fallback
	if row.kind == integer || row.kind == seconds {
		value, _ = row.kind.check(cmp.Or(row.fallback, "0"), nil)
	}
	return value, Place{File: f.path}
}

// checkValues finds unknown keys and values that PgBouncer would refuse, and tells about settings without an equal.
func (i *importer) checkValues() {
	for _, f := range i.files {
		for _, e := range f.sortedSettings() {
			row := settingRowOf(e.key)
			if row == nil {
				text := "PgBouncer has no such setting"
				if near := config.Nearest(e.key, settingNames()); near != "" {
					text += "; did you mean " + near + "?"
				}
				i.fault(e.Place, e.key, "%s", text)
				continue
			}
			value, err := row.kind.check(e.value, row.words)
			if err != nil {
				i.fault(e.Place, e.key, "%v", err)
				continue
			}
			used, _ := row.kind.check(row.fallback, row.words)
			if row.why != "" && !row.quiet && row.match != same && value != used && value != row.off {
				i.note(e.Place, e.key, "%s", row.why)
			}
			if e.key == "user" && i.result.User == "" {
				i.result.User = value
			}
		}
	}
}

// sortedSettings lists the settings of [pgbouncer] in the order of the files' lines.
func (f *iniFile) sortedSettings() []entry {
	var all []entry
	for _, e := range f.settings {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.key, b.key))
	})
	return all
}

func settingNames() []string {
	names := make([]string, len(settingRows))
	for i := range settingRows {
		names[i] = settingRows[i].key
	}
	return names
}

// listeners makes a listener of each file.
func (i *importer) listeners() {
	c := i.result.Config
	for n, f := range i.files {
		l := config.DefaultListener()
		l.Name = i.listenerName(n)
		c.Listeners = append(c.Listeners, l)
		c.SetOrigin(c.ListenerPath(n), config.Origin{File: f.path, Line: 1})
		group := c.ListenerPath(n) + "."
		i.set(group+"name", l.Name, "pool_mode", placeOf(f, "pool_mode"))
		for r := range settingRows {
			row := &settingRows[r]
			if to, ok := strings.CutPrefix(row.to, "listener."); ok && row.special == "" {
				i.convert(f, row, group+to)
			}
		}
		i.addresses(f, group+"listen")
		i.poolIdleTimeout(f, group+"pool_idle_timeout")
		i.minPoolSize(f, group)
		if value, at := f.value("server_reset_query_always"); value != "0" {
			i.set(group+"isolation", "strict", "server_reset_query_always", at)
		}
	}
}

func placeOf(f *iniFile, key string) Place {
	_, at := f.value(key)
	return at
}

// convert assigns a setting that one file has for itself.
func (i *importer) convert(f *iniFile, row *settingRow, path string) {
	value, at := f.value(row.key)
	if at.Line == 0 && !row.write {
		return // our default is the same: TestDefaultsAreTheSame
	}
	if row.convert != nil {
		converted, note, err := row.convert(value)
		if err != nil {
			i.fault(at, row.key, "%v", err)
			return
		}
		if note != "" {
			i.note(at, row.key, "%s", note)
		}
		value = converted
	}
	i.set(path, value, row.key, at)
}

// listenerName names a listener by its pool mode, as docs and environment names do; or by its file, if there are two of a mode.
func (i *importer) listenerName(n int) string {
	mode, _ := i.files[n].value("pool_mode")
	alone := true
	for other, f := range i.files {
		otherMode, _ := f.value("pool_mode")
		alone = alone && (other == n || otherMode != mode)
	}
	switch {
	case alone && mode == "transaction":
		return "transactional"
	case alone:
		return mode
	}
	base := strings.ToLower(strings.TrimSuffix(filepath.Base(i.files[n].path), ".ini"))
	name := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' {
			return r
		}
		return '_'
	}, base)
	if slices.ContainsFunc(i.result.Config.Listeners, func(l config.Listener) bool { return l.Name == name }) {
		name += "_" + strconv.Itoa(n+1)
	}
	return name
}

// addresses joins listen_addr, listen_port and unix_socket_dir.
func (i *importer) addresses(f *iniFile, path string) {
	hosts, hostsAt := f.value("listen_addr")
	port, portAt := f.value("listen_port")
	directory, directoryAt := f.value("unix_socket_dir")
	var listen []string
	names := config.SplitList(hosts)
	if slices.Contains(names, "*") && len(names) > 1 {
		i.note(hostsAt, "listen_addr", "* stands for every address: the others are left out")
		names = []string{"*"}
	}
	for _, host := range names {
		switch {
		case host == "*":
			listen = append(listen, ":"+port)
		case strings.Contains(host, ":"):
			listen = append(listen, "["+host+"]:"+port)
		default:
			listen = append(listen, host+":"+port)
		}
	}
	if strings.HasPrefix(directory, "@") {
		i.note(directoryAt, "unix_socket_dir", "abstract sockets have no equal in this version: clients need a directory or a TCP address")
	} else if directory != "" {
		absolutePath, _, err := absolute(directory)
		if err != nil {
			i.fault(directoryAt, "unix_socket_dir", "%v", err)
		}
		listen = append(listen, absolutePath+":"+port)
	}
	if len(listen) == 0 {
		i.fault(hostsAt, "listen_addr", "the file names no address that can be listened on")
		return
	}
	i.set(path, strings.Join(listen, ","), "listen_addr, listen_port, unix_socket_dir", firstSet(hostsAt, portAt, directoryAt))
}

// firstSet returns the first place that is a line; the first place if none is.
func firstSet(places ...Place) Place {
	if n := slices.IndexFunc(places, func(p Place) bool { return p.Line > 0 }); n >= 0 {
		return places[n]
	}
	return places[0]
}

// poolIdleTimeout joins the two time-outs of PgBouncer: autodb_idle_timeout holds for databases of "*" only.
func (i *importer) poolIdleTimeout(f *iniFile, path string) {
	value, at := f.value("pool_idle_timeout")
	key := "pool_idle_timeout"
	automatic, automaticAt := f.value("autodb_idle_timeout")
	if slices.ContainsFunc(f.databases, func(e entry) bool { return e.key == "*" }) {
		all, _ := strconv.ParseFloat(value, 64)
		some, _ := strconv.ParseFloat(automatic, 64)
		if some > 0 && (all == 0 || some < all) {
			value, at, key = automatic, automaticAt, "autodb_idle_timeout"
		}
	}
	i.set(path, value, key, at)
}

// minPoolSize keeps min_pool_size within default_pool_size: PgBouncer accepts more and opens no more.
func (i *importer) minPoolSize(f *iniFile, group string) {
	value, at := f.value("min_pool_size")
	if at.Line == 0 {
		return
	}
	least, _ := strconv.Atoi(value)
	text, _ := f.value("default_pool_size")
	if size, _ := strconv.Atoi(text); least > size && size > 0 {
		i.note(at, "min_pool_size", "is above default_pool_size (%d) and becomes that", size)
		value = text
	}
	i.set(group+"min_pool_size", value, "min_pool_size", at)
}

// peers tells that there are none here.
func (i *importer) peers() {
	for _, f := range i.files {
		for _, e := range f.peers {
			i.note(e.Place, "peers "+e.key, "no equal in this version: one process uses all cores; cancel requests of other PgBouncers are not forwarded")
		}
	}
}
