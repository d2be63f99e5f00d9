package auth

import (
	"fmt"
	"os"
	"strings"
)

// SecretKind is how a password is stored.
type SecretKind uint8

// The kinds of secret in a user file.
const (
	SecretPlain SecretKind = iota
	SecretMD5
	SecretSCRAM
)

// Secret is a stored password.
type Secret struct {
	Kind SecretKind
	Text string // as in the file
}

func newSecret(text string) Secret {
	switch {
	case strings.HasPrefix(text, "md5") && len(text) == 35:
		return Secret{Kind: SecretMD5, Text: text}
	case strings.HasPrefix(text, mechanism+"$"):
		return Secret{Kind: SecretSCRAM, Text: text}
	}
	return Secret{Kind: SecretPlain, Text: text}
}

// md5 is what PostgreSQL's md5 method hashes with the salt: 32 hexadecimal digits.
func (s Secret) md5(user string) string {
	if s.Kind == SecretMD5 {
		return s.Text[3:]
	}
	return hexMD5(s.Text + user)
}

// UserFile is a file in the format of PgBouncer's userlist.txt: lines of "name" "secret", where a doubled quote stands for one; what
// follows on a line is ignored, as are empty lines and those that begin with ; or #. Immutable.
type UserFile struct {
	secrets map[string]Secret
}

// LoadUserFile reads a user file. Errors name file and line, never a secret.
func LoadUserFile(path string) (*UserFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("user file: %w", err)
	}
	u, line, err := parseUserFile(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", path, line, err)
	}
	return u, nil
}

// ParseUserFile reads the text of a user file.
func ParseUserFile(text string) (*UserFile, error) {
	u, line, err := parseUserFile(text)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", line, err)
	}
	return u, nil
}

func parseUserFile(text string) (u *UserFile, line int, err error) {
	u = &UserFile{secrets: make(map[string]Secret)}
	for l := range strings.Lines(text) {
		line++
		l = strings.TrimSpace(l)
		if l == "" || l[0] == ';' || l[0] == '#' {
			continue
		}
		name, rest, ok := quoted(l)
		if !ok {
			return nil, line, fmt.Errorf(`expected "user" "secret", both in double quotes`)
		}
		secret, _, ok := quoted(strings.TrimSpace(rest))
		if !ok {
			return nil, line, fmt.Errorf(`expected the secret of user %q in double quotes`, name)
		}
		if _, twice := u.secrets[name]; !twice {
			u.secrets[name] = newSecret(secret)
		}
	}
	return u, line, nil
}

// quoted cuts a string in double quotes off the start of s.
func quoted(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", s, false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		return b.String(), s[i+1:], true
	}
	return "", s, false
}

// Secret is a user's secret. No file is a file without users.
func (u *UserFile) Secret(user string) (Secret, bool) {
	if u == nil {
		return Secret{}, false
	}
	s, ok := u.secrets[user]
	return s, ok
}

// PlainPassword is a user's password, if it is stored as such: the only kind that can log in to a server.
func (u *UserFile) PlainPassword(user string) (string, bool) {
	s, ok := u.Secret(user)
	if !ok || s.Kind != SecretPlain {
		return "", false
	}
	return s.Text, true
}
