package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

//go:generate go test . -run TestGenerated -rewrite

// SettingsDoc gives docs/settings.md: every key with its meaning, type, default, environment name, and what a change takes.
func SettingsDoc() string {
	var b strings.Builder
	b.WriteString(settingsIntro)
	for i := range sections {
		s := &sections[i]
		title := s.Header
		if title == "" {
			title = "Above all tables"
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", title, s.Doc)
		b.WriteString("| key | meaning | type | default | change takes |\n|---|---|---|---|---|\n")
		defaults := s.defaults()
		for j := range s.Keys {
			k := &s.Keys[j]
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Name, k.meaning(), k.typeText(defaults), k.defaultText(s, defaults), k.When)
		}
	}
	b.WriteString(environmentIntro)
	b.WriteString("\n| name | sets |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(foreignNames)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, foreignMeaning(foreignNames[name]))
	}
	b.WriteString("\nNot used, with a warning at the start:\n\n| name | why |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(foreignIgnored)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, foreignIgnored[name])
	}
	return b.String()
}

const settingsIntro = `# Settings

Printed from the key table in ` + "`config/keys.go`" + ` by ` + "`go generate ./config`" + `; a test fails when the two differ.

- A file is TOML. An unknown key is an error that names the line and the nearest right key. ` + "`hybridbouncer check -config FILE`" + ` tells every fault at once.
- A duration is a text such as ` + "`\"5s\"`, `\"500ms\"`, `\"1h30m\"`" + `, or a plain number of seconds as in PgBouncer.
- A relative file name is beside the configuration file; in the environment, in the working directory.
- What a change takes: **reload** (SIGHUP) holds for open connections too; **reload, new connections** holds for those made afterwards; **restart** keeps its old value until then, and the log says so. A reload with any fault changes nothing.
- Adding or removing a listener takes a restart; databases and users come and go by a reload.
`

const environmentIntro = `
## Environment

Each key has a name in the environment, which goes before the file: ` + "`HYBRIDBOUNCER_`" + `, the table, the key, in capitals:

| key | name |
|---|---|
| ` + "`loops`" + ` | ` + "`HYBRIDBOUNCER_LOOPS`" + ` |
| ` + "`host` of `[server]`" + ` | ` + "`HYBRIDBOUNCER_SERVER_HOST`" + ` |
| ` + "`default_pool_size` of the `[[listener]]` named `transactional`" + ` | ` + "`HYBRIDBOUNCER_LISTENER_TRANSACTIONAL_DEFAULT_POOL_SIZE`" + ` |
| ` + "`pool_size` of `[databases.reports]`" + ` | ` + "`HYBRIDBOUNCER_DATABASES_REPORTS_POOL_SIZE`" + ` |
| ` + "`query_timeout` of `[users.web]`" + ` | ` + "`HYBRIDBOUNCER_USERS_WEB_QUERY_TIMEOUT`" + ` |

- Lists are separated by commas. Numbers, durations and true or false count as not set when empty; texts and lists become empty.
- Every password has a twin ending in ` + "`_FILE`" + ` that names a file to read it from: ` + "`HYBRIDBOUNCER_SERVER_PASSWORD_FILE=/run/secrets/pg`" + `.
- ` + "`HYBRIDBOUNCER_CONFIG`" + ` names the configuration file when ` + "`-config`" + ` does not; ` + "`HYBRIDBOUNCER_PG_BIN`" + ` tells the demo where PostgreSQL's programs are.
- A name with our prefix that is no setting is an error; those Kubernetes makes for a Service called hybridbouncer are passed over.
- A database or user that only the environment speaks of is made, with its name in lower case.

### Names of PgBouncer images

The names of edoburu/pgbouncer are understood, also with ` + "`PGBOUNCER_`" + ` before them and with bitnami's ` + "`POSTGRESQL_HOST`, `_PORT`, `_USERNAME`, `_PASSWORD`, `_DATABASE`" + `, and each with ` + "`_FILE`" + ` behind it. They go before the file and behind our own names; the log of the start tells what was taken from them. An image has one port: sizes and limits on clients go to the transaction listener, what concerns servers to all listeners.

- ` + "`DATABASE_URL`" + ` sets host, port, user, password, ` + "`sslmode`" + ` and the database. ` + "`DATABASE_URLS`" + `, separated by commas, makes one database of each.
- ` + "`DB_USER` and `DB_PASSWORD`" + ` log servers in, and are the login of clients when there is no user file. ` + "`DB_NAME`" + ` lets clients ask for this database only; ` + "`*`" + ` or nothing: for any.
- ` + "`LISTEN_ADDR`" + ` is for all listeners, ` + "`LISTEN_PORT`" + ` for the transaction listener, ` + "`UNIX_SOCKET_DIR`" + ` adds a socket to each.
- ` + "`AUTH_TYPE`" + ` is auth.type (plain: password), ` + "`VERBOSE`" + ` other than 0 sets the log level to debug.
`

// meaning is the doc with what 0 or nothing means.
func (k *Key) meaning() string {
	text := k.Doc
	if len(k.Allowed) > 0 {
		text += " One of `" + strings.Join(k.Allowed, "`, `") + "`."
	}
	if k.Secret {
		text += " Never shown."
	}
	return strings.ReplaceAll(text, "|", "\\|")
}

// zeroWord is how "not set" is written for the key's type.
func (k *Key) zeroWord(section any) string {
	switch k.field(section).(type) {
	case *string:
		return "empty"
	case *[]string:
		return "none"
	}
	return "0"
}

// typeText names the type, its unit and its range.
func (k *Key) typeText(section any) string {
	switch k.field(section).(type) {
	case *bool:
		return "true or false"
	case *time.Duration:
		return "duration"
	case *[]string:
		return "list of texts"
	case *int:
		text := "number"
		if k.Unit != "port" && k.Unit != "" {
			text = "number of " + k.Unit
		}
		switch {
		case k.Max > 0:
			text += fmt.Sprintf(", %d-%d", k.Min, k.Max)
		case k.Min > 0:
			text += fmt.Sprintf(", at least %d", k.Min)
		}
		return text
	}
	if k.Path {
		return "file"
	}
	return "text"
}

// defaultText gives the default, and what 0 means.
func (k *Key) defaultText(s *Section, section any) string {
	value := show(k.field(section))
	unset := value == `""` || value == "0" || value == `"0s"` || value == "[]"
	switch {
	case unset && k.Zero != "":
		return k.zeroWord(section) + ": " + k.Zero
	case unset && s.Named():
		return "must be set"
	case k.Zero != "":
		return "`" + value + "`; " + k.zeroWord(section) + ": " + k.Zero
	}
	return "`" + value + "`"
}

// foreignMeaning explains a path of foreignNames.
func foreignMeaning(path string) string {
	parts := strings.Split(path, ".")
	switch {
	case parts[0] != "listener":
		return "`" + path + "`"
	case parts[1] == "*":
		return "`" + parts[2] + "` of all listeners"
	}
	return fmt.Sprintf("`%s` of the %s listener", parts[2], parts[1])
}
