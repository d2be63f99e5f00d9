package protocol

import "strings"

// Replication is what kind of connection a startup packet asks for (manual 55.4).
type Replication uint8

// The kinds of connection. The server of the last two is a walsender: it speaks the commands of streaming replication.
const (
	NoReplication       Replication = iota
	PhysicalReplication             // it belongs to no database, and has no SQL
	LogicalReplication              // it belongs to a database, and has SQL too
)

// String is the word of SHOW CLIENTS, and of PgBouncer's.
func (r Replication) String() string { return [...]string{"none", "physical", "logical"}[r] }

// Replication reads the parameter of that name as PostgreSQL does: "database", or a boolean.
func (s *Startup) Replication() (Replication, error) {
	value := s.Get("replication")
	if value == "database" {
		return LogicalReplication, nil
	}
	physical, ok := parseBool(value)
	switch {
	case value != "" && !ok, value == "" && s.has("replication"):
		return NoReplication, ErrReplicationValue(value)
	case physical:
		return PhysicalReplication, nil
	}
	return NoReplication, nil
}

// has reports whether a parameter is given, be it empty.
func (s *Startup) has(name string) bool {
	for _, p := range s.Params {
		if p.Name == name {
			return true
		}
	}
	return false
}

// parseBool reads a boolean as PostgreSQL does (parse_bool): a word or the beginning of one, in any case of letters.
func parseBool(value string) (is, ok bool) {
	value = strings.ToLower(value)
	begins := func(word string, least int) bool { return len(value) >= least && strings.HasPrefix(word, value) }
	switch {
	case value == "1", begins("true", 1), begins("yes", 1), begins("on", 2):
		return true, true
	case value == "0", begins("false", 1), begins("no", 1), begins("off", 2):
		return false, true
	}
	return false, false
}
