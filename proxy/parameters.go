package proxy

import (
	"strings"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// fixed are the parameters that a server reports and nobody can SET, by folded name (PostgreSQL manual, 54.2.7 and 20.15).
var fixed = map[string]bool{
	"server_version": true, "server_encoding": true, "integer_datetimes": true, "in_hot_standby": true,
	"is_superuser": true, "session_authorization": true,
}

// tracked reports whether a reported parameter belongs to the client that set it, and is put right at checkout.
func tracked(name string) bool { return !fixed[strings.ToLower(name)] }

// settingsOf are the tracked ones among the parameters of a server.
func settingsOf(parameters map[string]string) sqltext.Settings {
	values := make(map[string]string, len(parameters))
	for name, value := range parameters {
		if tracked(name) {
			values[name] = value
		}
	}
	return sqltext.MakeSettings(values)
}

// reportedName is a parameter's name as the server spells it: DateStyle, not datestyle.
func reportedName(server map[string]string, folded string) string {
	if _, ok := server[folded]; ok {
		return folded
	}
	for name := range server {
		if strings.EqualFold(name, folded) {
			return name
		}
	}
	return folded
}

// connectionParameters belong to the login itself, not to the session.
var connectionParameters = map[string]bool{"user": true, "database": true, "replication": true, "options": true}

// baseline is what a client's session begins with. RESET goes back to it.
type baseline struct {
	server sqltext.Settings // the reported parameters that a server began with: what PostgreSQL's configuration, the role and the database say
	asked  sqltext.Settings // the reported parameters among those of the client's startup packet
	own    sqltext.Settings // the other parameters of the startup packet
}

// reported returns the reported parameters that the session begins with.
func (b *baseline) reported() sqltext.Settings { return overlay(b.server, b.asked) }

// overlay returns base with the values of set in their places. Names that base lacks are left out: servers of another version may not
// report them.
func overlay(base, set sqltext.Settings) sqltext.Settings {
	var changes []protocol.Param
	set.Each(func(name, value string) {
		if old, ok := base.Get(name); ok && old != value {
			changes = append(changes, protocol.Param{Name: name, Value: value})
		}
	})
	return base.WithAll(changes...)
}

// baselineOf reads the parameters of a startup packet. server are the reported parameters of a server of the pool.
func baselineOf(startup *protocol.Startup, server sqltext.Settings) (base baseline, err error) {
	asked := make([]protocol.Param, 0, len(startup.Params))
	if options := startup.Get("options"); options != "" {
		if asked, err = protocol.ParseOptions(options); err != nil {
			return base, err
		}
	}
	for _, p := range startup.Params {
		if !connectionParameters[p.Name] && !strings.HasPrefix(p.Name, "_pq_.") {
			asked = append(asked, p)
		}
	}
	var known, others []protocol.Param
	for _, p := range asked {
		name := strings.ToLower(p.Name)
		if _, ok := server.Get(name); ok {
			known = append(known, protocol.Param{Name: name, Value: canonical(name, p.Value)})
		} else if !fixed[name] {
			others = append(others, p)
		}
	}
	return baseline{server: server, asked: sqltext.Settings{}.WithAll(known...), own: sqltext.Settings{}.WithAll(others...)}, nil
}

// canonical is a value as the server will report it, where that is known, so that equal settings look equal.
func canonical(name, value string) string {
	if name == "client_encoding" {
		return sqltext.CanonicalEncoding(value)
	}
	return value
}
