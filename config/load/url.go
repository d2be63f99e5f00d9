package load

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// serverURL holds the parts of a DATABASE_URL.
type serverURL struct {
	host, user, password, database string
	port                           int
	options                        url.Values
}

// errURL does not repeat the value, which contains a password.
var errURL = errors.New("must be postgres://user:password@host:port/database, with special characters of the password percent-encoded (the value is not shown)")

// parseURL reads a connection URI of libpq with one host.
func parseURL(text string) (serverURL, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Opaque != "" || u.Fragment != "" {
		return serverURL{}, errURL
	}
	switch u.Scheme {
	case "postgres", "postgresql", "pgbouncer":
	default:
		return serverURL{}, errURL
	}
	s := serverURL{host: u.Hostname(), database: strings.TrimPrefix(u.Path, "/")}
	if strings.Contains(s.database, "/") {
		return serverURL{}, errURL
	}
	if s.database == "*" {
		s.database = ""
	}
	if u.User != nil {
		s.user = u.User.Username()
		s.password, _ = u.User.Password()
	}
	if port := u.Port(); port != "" {
		if s.port, err = strconv.Atoi(port); err != nil {
			return serverURL{}, errURL
		}
	}
	if s.options, err = url.ParseQuery(u.RawQuery); err != nil {
		return serverURL{}, errURL
	}
	if host := s.options.Get("host"); host != "" && s.host == "" {
		s.host = host
	}
	delete(s.options, "host")
	return s, nil
}

// urlOptions maps the parameters of a connection URI to our settings.
var urlOptions = map[string]string{
	"sslmode":          "server.sslmode",
	"sslrootcert":      "server.sslrootcert",
	"sslnegotiation":   "server.sslnegotiation",
	"sslcert":          "server.sslcert",
	"sslkey":           "server.sslkey",
	"application_name": "server.application_name",
	"connect_timeout":  "server.server_connect_timeout",
}

// databaseURL sets server, login and database from one URL.
func (r *envReader) databaseURL(name, value string) {
	u, err := parseURL(value)
	if err != nil {
		r.fault(name, err.Error(), "")
		return
	}
	if u.host != "" {
		r.assignImage("server.host", name, u.host)
	}
	if u.port != 0 {
		r.assignImage("server.port", name, strconv.Itoa(u.port))
	}
	for _, option := range slices.Sorted(maps.Keys(u.options)) {
		if path := urlOptions[option]; path != "" {
			r.assignImage(path, name, u.options.Get(option))
		} else {
			r.warn("the parameter %q of %s is ignored", option, name)
		}
	}
	if u.user != "" {
		r.setLogin(imageValue{name, u.user}, imageValue{name, u.password})
	}
	if u.database != "" {
		r.databaseName(name, u.database)
	}
}

// databaseURLs adds one database for each URL.
func (r *envReader) databaseURLs(name, value string) {
	for i, text := range config.SplitList(value) {
		u, err := parseURL(text)
		if err != nil {
			r.fault(name, fmt.Sprintf("URL %d: %v", i+1, err), "")
			continue
		}
		database := u.database
		if database == "" {
			database = "*"
		}
		if len(u.options) > 0 {
			r.warn("the parameters of URL %d of %s are ignored: they can be set in [server] only", i+1, name)
		}
		r.config.SetDatabase(database, config.Database{Host: u.host, Port: u.port, User: u.user, Password: u.password})
		r.took(config.DatabasePath(database), name)
	}
}

// databaseName allows one database only, as the images do; "*" stands for all.
func (r *envReader) databaseName(name, value string) {
	if value == "*" {
		return
	}
	if _, known := r.config.Databases[value]; !known {
		r.config.SetDatabase(value, config.Database{})
		r.took(config.DatabasePath(value), name)
	}
}
