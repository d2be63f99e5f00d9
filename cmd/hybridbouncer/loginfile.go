package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// loginFile makes a user file of auth.user and auth.password, which stand in for one (the PgBouncer images' DB_USER), so that no
// other part need know a second kind of login. The file is private to this process and vanishes with it.
type loginFile struct{ directory string }

// apply points the configuration at the file if it needs one. The configuration must not be in use yet.
func (f *loginFile) apply(c *config.Config) error {
	if c.Auth.User == "" || c.Auth.UserFile != "" {
		return nil
	}
	if f.directory == "" {
		directory, err := os.MkdirTemp("", "hybridbouncer-login-") // mode 0700
		if err != nil {
			return fmt.Errorf("keep auth.user: %w; name a user_file in [auth] instead", err)
		}
		f.directory = directory
	}
	path := filepath.Join(f.directory, "userlist.txt")
	line := quoteUser(c.Auth.User) + " " + quoteUser(c.Auth.Password) + "\n"
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		return fmt.Errorf("keep auth.user: %w", err)
	}
	c.Auth.UserFile = path
	return nil
}

// quoteUser writes a text as the user file has it.
func quoteUser(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }

// remove deletes the file.
func (f *loginFile) remove() {
	if f.directory != "" {
		os.RemoveAll(f.directory)
	}
}
