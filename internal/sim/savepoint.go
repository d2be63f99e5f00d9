package sim

import (
	"slices"
	"strings"
)

// savepoint is one of the open transaction, and what to go back to. Like all of a session it is a value.
type savepoint struct {
	name     string
	settings settings
	doing    []string
	said     []note
}

// savepoint is SAVEPOINT, RELEASE and ROLLBACK TO.
func (s *session) savepoint(plain string) (replies []message, fault []byte) {
	words := strings.Fields(plain)
	verb, name := words[0], words[len(words)-1]
	if s.tx == 'I' {
		what := map[string]string{"savepoint": "SAVEPOINT", "release": "RELEASE SAVEPOINT", "rollback": "ROLLBACK TO SAVEPOINT"}[verb]
		return nil, failure("25P01", what+" can only be used in transaction blocks")
	}
	if verb == "savepoint" {
		s.saved = append(slices.Clone(s.saved), savepoint{name: name, settings: s.settings, doing: s.doing, said: s.said})
		return []message{complete("SAVEPOINT")}, nil
	}
	at := len(s.saved) - 1
	for at >= 0 && s.saved[at].name != name {
		at--
	}
	switch {
	case at < 0:
		return nil, failure("3B001", "savepoint \""+name+"\" does not exist")
	case verb == "release":
		s.saved = s.saved[:at]
		return []message{complete("RELEASE")}, nil
	}
	s.back(at)
	s.saved = s.saved[:at+1]
	s.tx, s.begun = 'T', true
	return []message{complete("ROLLBACK")}, nil
}

// back undoes what came behind a savepoint.
func (s *session) back(at int) {
	s.settings, s.doing, s.said = s.saved[at].settings, s.saved[at].doing, s.saved[at].said
}
