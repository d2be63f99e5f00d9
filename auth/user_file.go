package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// SecretKind says in which form a password is stored.
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
	Text string // in the stored form

	keys *Keys // of SecretSCRAM; without ClientKey
}

// Format implements fmt.Formatter for every verb.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "********") }

// ParseSecret reads a secret in the form of a user file or of PostgreSQL's rolpassword: SCRAM-SHA-256$..., md5..., or the password itself.
// The error does not show the secret.
func ParseSecret(text string) (Secret, error) {
	switch {
	case strings.ContainsRune(text, 0):
		return Secret{}, errors.New("the secret holds a zero byte, which no client can send")
	case isMD5(text):
		return Secret{Kind: SecretMD5, Text: text}, nil
	case strings.HasPrefix(text, mechanism+"$"):
		keys, err := parseKeys(text)
		return Secret{Kind: SecretSCRAM, Text: text, keys: keys}, err
	}
	return Secret{Kind: SecretPlain, Text: text}, nil
}

// isMD5 reports whether the text is md5 and 32 hexadecimal digits. Any other text is a password, as in PostgreSQL.
func isMD5(text string) bool {
	return len(text) == 35 && strings.HasPrefix(text, "md5") && strings.Trim(text[3:], "0123456789abcdef") == ""
}

// md5 returns the 32 hexadecimal digits that PostgreSQL's md5 method hashes with the salt.
func (s Secret) md5(user string) string {
	if s.Kind == SecretMD5 {
		return s.Text[3:]
	}
	return hexMD5(s.Text + user)
}

// UserFile is a file in the format of PgBouncer's userlist.txt: lines of "name" "secret". A doubled quote stands for one quote. The rest of a
// line is ignored, as are empty lines and lines that begin with ; or #. Immutable.
type UserFile struct {
	secrets map[string]Secret
	hashed  bool       // some are SCRAM secrets
	forms   []disguise // of all secrets, in the order of names
}

// seed returns 32 bytes that nobody can guess without the file, and that a restart does not change. Salts that are made of the seed
// therefore stay the same, as those in SCRAM secrets do.
func (u *UserFile) seed() (seed [32]byte) {
	if u == nil || len(u.secrets) == 0 {
		_, _ = rand.Read(seed[:]) // never fails (crypto/rand)
		return seed
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(u.secrets)) {
		fmt.Fprintf(h, "%q %q\n", name, u.secrets[name].Text)
	}
	return [32]byte(h.Sum(nil))
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
		parsed, err := ParseSecret(secret)
		if err != nil {
			return nil, line, fmt.Errorf("user %q: %w", name, err)
		}
		if _, twice := u.secrets[name]; !twice {
			u.secrets[name] = parsed
			u.hashed = u.hashed || parsed.Kind == SecretSCRAM
		}
	}
	for _, name := range slices.Sorted(maps.Keys(u.secrets)) {
		u.forms = append(u.forms, disguiseAs(u.secrets[name]))
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

// Secret returns a user's secret. A nil UserFile has no users.
func (u *UserFile) Secret(user string) (Secret, bool) {
	if u == nil {
		return Secret{}, false
	}
	s, ok := u.secrets[user]
	return s, ok
}
