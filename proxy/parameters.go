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

// startupSettings is what a client's session begins with: Reported are the server's settings with the client's in their place; Own are
// those that no server reports.
func startupSettings(startup *protocol.Startup, server sqltext.Settings) (base sqltext.Session, err error) {
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
	return sqltext.Session{Reported: server.WithAll(known...), Own: sqltext.Settings{}.WithAll(others...)}, nil
}

// canonical is a value as the server will report it, where that is known, so that equal settings look equal.
func canonical(name, value string) string {
	if name == "client_encoding" {
		return sqltext.CanonicalEncoding(value)
	}
	return value
}
