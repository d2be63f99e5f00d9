package auth

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// identMaps are the maps of a file in the format of pg_ident.conf, by name. A map lists which user of the operating system, or which name in
// a certificate, may log in as which user.
type identMaps map[string][]identLine

type identLine struct {
	system  token
	pattern *regexp.Regexp // system begins with /
	user    token
}

// load reads a file of maps.
func (m identMaps) load(path string, files lineReader) error {
	lines, err := files.lines(path, 0)
	faults := []error{err}
	for _, l := range lines {
		name, line, err := parseIdentLine(l)
		if err != nil {
			faults = append(faults, l.fault(err))
			continue
		}
		m[name] = append(m[name], line)
	}
	return errors.Join(faults...)
}

func parseIdentLine(l hbaLine) (name string, line identLine, err error) {
	if len(l.fields) != 3 {
		return "", line, errors.New("expected three fields: map name, system user, database user")
	}
	for _, f := range l.fields {
		if len(f) != 1 {
			return "", line, errors.New("no lists here; write a line for each user")
		}
	}
	line.system, line.user = l.fields[1][0], l.fields[2][0]
	if !line.user.quoted && (strings.HasPrefix(line.user.text, "+") || strings.HasPrefix(line.user.text, "/")) {
		return "", line, fmt.Errorf(`%s: groups and regular expressions of database users are not supported; name the user, or use \1 or all`, line.user.text)
	}
	if expression, is := strings.CutPrefix(line.system.text, "/"); is {
		if line.pattern, err = regexp.Compile(expression); err != nil {
			return "", line, fmt.Errorf("%w (regular expressions are those of RE2)", err)
		}
		if strings.Contains(line.user.text, `\1`) && line.pattern.NumSubexp() == 0 {
			return "", line, fmt.Errorf(`%s: \1 needs a part in parentheses in %s`, line.user.text, line.system.text)
		}
	}
	return l.fields[0][0].text, line, nil
}

// allow reports whether the owner of a system name may log in as a user. Without a map both must be the same.
func (m identMaps) allow(name, system, user string) bool {
	if name == "" {
		return system != "" && system == user
	}
	for _, l := range m[name] {
		if system != "" && l.allows(system, user) {
			return true
		}
	}
	return false
}

func (l *identLine) allows(system, user string) bool {
	want := l.user.text
	if l.pattern == nil {
		if system != l.system.text {
			return false
		}
	} else {
		found := l.pattern.FindStringSubmatchIndex(system)
		if found == nil {
			return false
		}
		if strings.Contains(want, `\1`) {
			if found[2] < 0 {
				return false
			}
			want = strings.Replace(want, `\1`, system[found[2]:found[3]], 1)
		}
	}
	return l.user.is("all") || want == user
}
