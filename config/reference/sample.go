package reference

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// sampleSet lists the keys that config.toml sets. All other keys are comments with their default.
var sampleSet = map[string][]string{
	"server":                 {"host", "port"},
	"auth":                   {"type", "user_file"},
	"listener.transactional": {"name", "listen", "pool_mode", "max_client_conn", "default_pool_size", "reserve_pool_size", "reserve_pool_timeout", "query_wait_timeout", "idle_transaction_timeout"},
	"listener.session":       {"name", "listen", "pool_mode", "max_client_conn", "default_pool_size", "query_wait_timeout", "server_reset_query"},
	"admin":                  {"listen", "users"},
}

// Sample returns config.toml: two listeners ready to run, and every key with the first sentence of its doc and its default.
func Sample() string {
	c := config.Default()
	c.Auth.UserFile = "userlist.txt"
	c.Admin.Users = []string{"postgres"}
	s := &sample{}
	s.b.WriteString(sampleIntro)
	s.section("", "", c)
	s.section("server", "server", &c.Server)
	s.section("auth", "auth", &c.Auth)
	s.section("listener", "listener.transactional", &c.Listeners[0])
	s.section("listener", "listener.session", &c.Listeners[1])
	s.section("databases", "databases.reports", &config.Database{})
	s.section("users", "users.web", &config.User{})
	s.section("admin", "admin", &c.Admin)
	s.section("log", "log", &c.Log)
	return s.b.String()
}

const sampleIntro = `# hybridbouncer: two pools for one PostgreSQL, for quick transactions (port 6432) and long sessions (port 6433).
#
#   hybridbouncer check -config config.toml      lists every fault
#   hybridbouncer run -config config.toml        starts; kill -HUP reads this file again
#   hybridbouncer import pgbouncer.ini           writes such a file from PgBouncer's
#
# A key behind a # shows its default. Durations: "5s", "500ms", "1h30m", or a number of seconds. The environment can override each key,
# e.g. HYBRIDBOUNCER_SERVER_HOST or HYBRIDBOUNCER_LISTENER_TRANSACTIONAL_DEFAULT_POOL_SIZE.
# docs/settings.md says more about each key, and which changes need a restart.
#
# As shipped, clients log in as user "app" with password "app" (userlist.txt beside this file), and so do servers.
# "make run" creates that user and a database "app" in its throwaway PostgreSQL. Any other PostgreSQL has no such user and refuses it.
# Replace it in userlist.txt by your own users.
`

// sampleNotes maps a section of config.toml to the comment above it.
var sampleNotes = map[string]string{
	"listener.transactional": "Quick queries: REST, SSE streams, notifications. A client has a server for the length of a transaction.\nAn application that keeps a transaction open for the length of a stream blocks a server: idle_transaction_timeout ends that.",
	"listener.session":       "Long work: batch and embedding jobs, SET, temporary tables, migrations. A client keeps its server until it disconnects.\nEvery other key of the listener above is allowed here too, with the same default.",
	"databases.reports":      "Optional: the settings that differ for one database. The name is the one that clients ask for; \"*\" stands for all other names.\nWith one such table, the pooler refuses names that have no table.",
	"users.web":              "Optional: the settings that differ for one user. They override those of the database.",
}

type sample struct{ b strings.Builder }

// section writes one table. An optional table is a comment as a whole.
func (s *sample) section(name, group string, value any) {
	kind, set := config.SectionNamed(name), sampleSet[group]
	optional := name == "databases" || name == "users"
	s.b.WriteString("\n")
	if note := sampleNotes[group]; note != "" {
		for line := range strings.SplitSeq(note, "\n") {
			s.b.WriteString("# " + line + "\n")
		}
	}
	if header := s.header(name, group); optional {
		s.b.WriteString("# " + header + "\n")
	} else if header != "" {
		s.b.WriteString(header + "\n")
	}
	for i := range kind.Keys {
		k := &kind.Keys[i]
		isSet := slices.Contains(set, k.Name)
		if group == "listener.session" && !isSet {
			continue
		}
		defaults := kind.Defaults()
		if isSet {
			defaults = value
		}
		line := k.Name + " = " + config.Show(k.Field(defaults))
		if !isSet {
			line = "# " + line
		}
		comment := firstSentence(k.Doc)
		if len(k.Allowed) > 0 {
			comment += ": " + strings.Join(k.Allowed, " | ")
		}
		if !isSet && k.Zero != "" {
			comment += "; " + zeroText(k, value)
		}
		fmt.Fprintf(&s.b, "%-43s # %s\n", line, comment)
	}
}

func (s *sample) header(name, group string) string {
	switch name {
	case "":
		return ""
	case "listener":
		return "[[listener]]"
	}
	return "[" + group + "]"
}

// firstSentence cuts a doc behind its first sentence, without the full stop.
func firstSentence(doc string) string {
	for i := range len(doc) - 1 {
		if doc[i] == '.' && doc[i+1] == ' ' && i > 0 && doc[i-1] != '.' {
			return doc[:i]
		}
	}
	return strings.TrimSuffix(doc, ".")
}
