// Package reference owns the documents that are printed from the key table: docs/settings.md and config.toml. It must not know anything
// that the table does not say.
//
// Read settings.go, then sample.go.
package reference

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/config/load"
)

//go:generate go test . -run TestGenerated -rewrite

// Settings returns docs/settings.md: every key with its meaning, type and default, and what a change needs.
func Settings() string {
	var b strings.Builder
	b.WriteString(settingsIntro)
	for i := range config.Sections {
		s := &config.Sections[i]
		title := s.Header
		if title == "" {
			title = "Above all tables"
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", title, s.Doc)
		b.WriteString("| key | meaning | type | default | a change needs |\n|---|---|---|---|---|\n")
		defaults := s.Defaults()
		for j := range s.Keys {
			k := &s.Keys[j]
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Name, meaning(k), typeText(k, defaults), defaultText(k, s, defaults), k.When)
		}
	}
	b.WriteString(environmentIntro)
	b.WriteString("\n| name | sets |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(load.ImageNames)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, imageMeaning(load.ImageNames[name]))
	}
	b.WriteString("\nThe pooler ignores these names, with a warning at the start:\n\n| name | why |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(load.ImageNamesIgnored)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, load.ImageNamesIgnored[name])
	}
	return b.String()
}

const settingsIntro = `# Settings

` + "`go generate ./config/reference`" + ` prints this page from the key table in ` + "`config/keys.go`" + `; a test fails when the two differ.

- The file is TOML. An unknown key is an error that names the line and the nearest known key. ` + "`hybridbouncer check -config FILE`" + ` lists every fault at once.
- ` + "`hybridbouncer import`" + ` writes such a file from PgBouncer's ini files; see [MIGRATING.md](MIGRATING.md).
- A duration is a text such as ` + "`\"5s\"`, `\"500ms\"`, `\"1h30m\"`" + `, or a plain number of seconds as in PgBouncer.
- A relative file name is relative to the configuration file; in the environment, to the working directory.
- Adding or removing a listener needs a restart. Databases and users can be added and removed by a reload.

The last column says what a change needs:

| word | what to do | which connections have the new value |
|---|---|---|
| reload | ` + "`kill -HUP PID`" + ` | all of them, at the next use of the value |
| reload, new connections | ` + "`kill -HUP PID`" + ` | those made after the reload |
| restart | stop and start | all of them; until then a reload keeps the old value and logs a warning |

A reload with any fault changes nothing; the log lists the faults.
`

const environmentIntro = `
## Environment

Each key has a name in the environment, which overrides the file. The name is ` + "`HYBRIDBOUNCER_`" + `, the table and the key in capitals:

| key | name |
|---|---|
| ` + "`loops`" + ` | ` + "`HYBRIDBOUNCER_LOOPS`" + ` |
| ` + "`host` of `[server]`" + ` | ` + "`HYBRIDBOUNCER_SERVER_HOST`" + ` |
| ` + "`default_pool_size` of the `[[listener]]` named `transactional`" + ` | ` + "`HYBRIDBOUNCER_LISTENER_TRANSACTIONAL_DEFAULT_POOL_SIZE`" + ` |
| ` + "`pool_size` of `[databases.reports]`" + ` | ` + "`HYBRIDBOUNCER_DATABASES_REPORTS_POOL_SIZE`" + ` |
| ` + "`query_timeout` of `[users.web]`" + ` | ` + "`HYBRIDBOUNCER_USERS_WEB_QUERY_TIMEOUT`" + ` |

- Commas separate the elements of a list. An empty number, duration or switch counts as not set; an empty text or list becomes empty.
- Every password has a second name that ends in ` + "`_FILE`" + ` and names a file to read the password from: ` + "`HYBRIDBOUNCER_SERVER_PASSWORD_FILE=/run/secrets/pg`" + `.
- ` + "`HYBRIDBOUNCER_CONFIG`" + ` names the configuration file when ` + "`-config`" + ` does not. ` + "`HYBRIDBOUNCER_PG_BIN`" + ` names the directory of PostgreSQL's programs for the demo.
- A name with our prefix that is no setting is an error. Names that Kubernetes makes for a Service called hybridbouncer are ignored.
- A database or user that only the environment names is added, with its name in lower case.

### Names of PgBouncer images

The pooler understands the names of edoburu/pgbouncer, also with ` + "`PGBOUNCER_`" + ` in front, and bitnami's ` + "`POSTGRESQL_HOST`, `_PORT`, `_USERNAME`, `_PASSWORD`, `_DATABASE`" + `. Each may have ` + "`_FILE`" + ` behind it. These names override the file, and our own names override them. The log lists at the start which of them were used. An image has one port: its sizes and its limits on clients go to the transaction listener, its settings of servers to all listeners.

- ` + "`DATABASE_URL`" + ` sets host, port, user, password, ` + "`sslmode`" + ` and the database. ` + "`DATABASE_URLS`" + ` contains several URLs with commas between them and adds one database for each.
- ` + "`DB_USER` and `DB_PASSWORD`" + ` log servers in. Without a user file, clients log in with them too. ` + "`DB_NAME`" + ` allows clients this database only; with ` + "`*`" + ` or nothing, any database.
- ` + "`LISTEN_ADDR`" + ` is for all listeners, ` + "`LISTEN_PORT`" + ` for the transaction listener. ` + "`UNIX_SOCKET_DIR`" + ` adds a socket to each listener.
- ` + "`AUTH_TYPE`" + ` sets auth.type; plain becomes password. ` + "`VERBOSE`" + ` other than 0 sets the log level to debug.
`

// meaning returns the key's doc with its words.
func meaning(k *config.Key) string {
	text := k.Doc
	if len(k.Allowed) > 0 {
		text += " One of `" + strings.Join(k.Allowed, "`, `") + "`."
	}
	if k.Secret {
		text += " Never shown."
	}
	return strings.ReplaceAll(text, "|", "\\|")
}

// zeroText says what 0 or the empty text means, and what it means that a key with Off is absent.
func zeroText(k *config.Key, section any) string {
	if k.Off != "" {
		return "absent: " + k.Zero + "; 0: " + k.Off
	}
	return zeroWord(k, section) + ": " + k.Zero
}

// zeroWord returns the word for "not set" of the key's type.
func zeroWord(k *config.Key, section any) string {
	switch k.Field(section).(type) {
	case *string:
		return "empty"
	case *[]string:
		return "none"
	}
	return "0"
}

// typeText names the type, its unit and its range.
func typeText(k *config.Key, section any) string {
	switch k.Field(section).(type) {
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

// defaultText names the default, and the meaning of 0.
func defaultText(k *config.Key, s *config.Section, section any) string {
	value := config.Show(k.Field(section))
	unset := value == `""` || value == "0" || value == `"0s"` || value == "[]"
	switch {
	case unset && k.Zero != "":
		return zeroText(k, section)
	case unset && s.Named():
		return "must be set"
	case k.Zero != "":
		return "`" + value + "`; " + zeroText(k, section)
	}
	return "`" + value + "`"
}

// imageMeaning explains a path of load.ImageNames.
func imageMeaning(path string) string {
	parts := strings.Split(path, ".")
	switch {
	case parts[0] != "listener":
		return "`" + path + "`"
	case parts[1] == "*":
		return "`" + parts[2] + "` of all listeners"
	}
	return fmt.Sprintf("`%s` of the %s listener", parts[2], parts[1])
}
