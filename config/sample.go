package config

import (
	"fmt"
	"slices"
	"strings"
)

// sampleSet are the keys config.toml sets; all others stand there as comments with their default.
var sampleSet = map[string][]string{
	"server":                 {"host", "port"},
	"auth":                   {"type", "user_file"},
	"listener.transactional": {"name", "listen", "pool_mode", "max_client_conn", "default_pool_size", "reserve_pool_size", "reserve_pool_timeout", "query_wait_timeout", "idle_transaction_timeout"},
	"listener.session":       {"name", "listen", "pool_mode", "max_client_conn", "default_pool_size", "query_wait_timeout", "server_reset_query"},
	"admin":                  {"listen", "users"},
}

// Sample gives config.toml: the two listeners ready to run, and every key with the first sentence of its doc and its default.
func Sample() string {
	c := Default()
	c.Auth.UserFile = "userlist.txt"
	c.Admin.Users = []string{"postgres"}
	s := &sample{}
	s.b.WriteString(sampleIntro)
	s.section("", "", c)
	s.section("server", "server", &c.Server)
	s.section("auth", "auth", &c.Auth)
	s.section("listener", "listener.transactional", &c.Listeners[0])
	s.section("listener", "listener.session", &c.Listeners[1])
	s.section("databases", "databases.reports", &Database{})
	s.section("users", "users.web", &User{})
	s.section("admin", "admin", &c.Admin)
	s.section("log", "log", &c.Log)
	return s.b.String()
}

const sampleIntro = `# hybridbouncer: two pools in front of one PostgreSQL, for quick transactions (6432) and long sessions (6433).
#
#   hybridbouncer check -config config.toml      tells every fault
#   hybridbouncer run -config config.toml        starts; SIGHUP reads this file again
#
# Keys that are commented out show their default. Durations: "5s", "500ms", "1h30m", or a number of seconds. Each key can also be
# set by the environment, e.g. HYBRIDBOUNCER_SERVER_HOST or HYBRIDBOUNCER_LISTENER_TRANSACTIONAL_DEFAULT_POOL_SIZE.
# docs/settings.md says more about each key, and which changes need a restart.
#
# As shipped, clients log in as user "app" with password "app" (userlist.txt beside this file), and so do servers to PostgreSQL:
# "make run" makes that user and a database "app" in its throwaway PostgreSQL. On any other PostgreSQL there is no such user, so it opens nothing;
# replace it in userlist.txt by your own.
`

// sampleNotes stand above a section in config.toml.
var sampleNotes = map[string]string{
	"listener.transactional": "Quick queries: REST, SSE streams, notifications. A server is lent for one transaction.\nApplications that keep a transaction open for the length of a stream would park all servers: idle_transaction_timeout ends that.",
	"listener.session":       "Long work: batch and embedding jobs, SET, temporary tables, migrations. A server is lent until the client leaves.\nAll other keys of the listener above can stand here too, with the same defaults.",
	"databases.reports":      "Optional: what is different for one database, by the name clients ask for; [databases.\"*\"] for all others.\nAs soon as there is one such table, names without one are refused.",
	"users.web":              "Optional: what is different for one user; goes before what a database has.",
}

type sample struct{ b strings.Builder }

// section writes one table; those that set no key are comments as a whole.
func (s *sample) section(name, group string, value any) {
	kind, set := section(name), sampleSet[group]
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
		defaults := kind.defaults()
		if isSet {
			defaults = value
		}
		line := k.Name + " = " + show(k.field(defaults))
		if !isSet {
			line = "# " + line
		}
		comment := firstSentence(k.Doc)
		if len(k.Allowed) > 0 {
			comment += ": " + strings.Join(k.Allowed, " | ")
		}
		if !isSet && k.Zero != "" {
			comment += "; " + k.zeroWord(value) + ": " + k.Zero
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
