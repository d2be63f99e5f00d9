// Package load owns the reading of configurations: config.toml, the environment over it, and the environment names of PgBouncer images.
// It must not know what a setting does: package config's key table says what each one is and which values it accepts.
//
// Any goroutine may call it. Read load.go, then file.go and environment.go.
package load

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// Config returns config.Default, with the file at path over it, and the environment over that. With an empty path there is no file.
// environ has the form of os.Environ. Relative file names become absolute: beside the configuration file, or in the working directory
// for those of the environment.
//
// The result has passed Validate. Otherwise the error is config.Problems with every fault, or says why the file cannot be read. No
// error shows a secret.
func Config(path string, environ []string) (*config.Config, error) {
	c := config.Default()
	c.File = path
	var faults config.Problems
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		var readable bool
		if faults, readable = readFile(c, text); !readable {
			return nil, faults
		}
	}
	if err := complete(c, environ, faults); err != nil {
		return nil, err
	}
	return c, nil
}

// Complete puts the environment over a configuration that was made otherwise, and validates the result. The error is as that of Config.
func Complete(c *config.Config, environ []string) error { return complete(c, environ, nil) }

// complete is Complete with faults that are known already.
func complete(c *config.Config, environ []string, faults config.Problems) error {
	faults = append(faults, readEnviron(c, environ)...)
	if err := absolutePaths(c); err != nil {
		return err
	}
	for i := range c.Listeners {
		if c.Listeners[i].ServerCheckQuery == "<empty>" { // PgBouncer's word for the empty query
			c.Listeners[i].ServerCheckQuery = ";"
		}
	}
	if c.Auth.User != "" && c.Auth.UserFile != "" {
		c.Warnings = append(c.Warnings, "auth.user is ignored, because auth.user_file names the users")
	}
	c.Warnings = append(c.Warnings, c.ExposureWarnings()...)
	faults = append(faults, c.Validate()...)
	if len(faults) > 0 {
		return faults.Sorted()
	}
	return nil
}

// readFile puts the file over the defaults. readable is false when the text is not TOML: then no other fault makes sense.
func readFile(c *config.Config, text []byte) (faults config.Problems, readable bool) {
	if line := iniLine(text); line > 0 {
		return config.Problems{{File: c.File, Line: line, Text: "this is an ini file of PgBouncer, not TOML; translate it: hybridbouncer import -o config.toml " + c.File}}, false
	}
	var tree map[string]any
	if err := toml.Unmarshal(text, &tree); err != nil {
		return config.Problems{syntaxProblem(c.File, string(text), err)}, false
	}
	r := &fileReader{config: c, lines: locate(text)}
	r.top(tree)
	return r.faults, true
}

// iniLine returns the line of the section [pgbouncer], which every ini file of PgBouncer has; 0 if there is none.
func iniLine(text []byte) int {
	line := 0
	for l := range bytes.Lines(text) {
		line++
		if bytes.HasPrefix(bytes.TrimSpace(l), []byte("[pgbouncer]")) {
			return line
		}
	}
	return 0
}

// codePoint matches the number that the library writes before each character it quotes.
var codePoint = regexp.MustCompile(`U\+[0-9A-F]{4,6} ('.')`)

// syntaxProblem says where a file is not TOML. The library's text may quote a part of the line. So the text is left out for a line that may
// contain a password.
func syntaxProblem(file, text string, err error) config.Problem {
	message := codePoint.ReplaceAllString(strings.TrimPrefix(err.Error(), "toml: "), "$1")
	p := config.Problem{File: file, Text: "this is not TOML: " + message}
	var syntax *toml.DecodeError
	if !errors.As(err, &syntax) {
		return p
	}
	p.Line, _ = syntax.Position()
	line := ""
	if lines := strings.Split(text, "\n"); p.Line >= 1 && p.Line <= len(lines) {
		line = lines[p.Line-1]
	}
	if strings.HasSuffix(p.Text, "at start of value") {
		p.Text += "; a text must be in quotes"
	}
	if strings.Contains(strings.ToLower(line+strings.Join(syntax.Key(), ".")), "pass") {
		p.Text = "this is not TOML (the line may contain a password and is not shown); are the quotes around the value right?"
	}
	return p
}

// absolutePaths makes the file names of settings absolute: beside the configuration file, or in the working directory for those of the
// environment.
func absolutePaths(c *config.Config) error {
	base, err := filepath.Abs(filepath.Dir(c.File))
	if err != nil {
		return fmt.Errorf("find the directory of the configuration: %w", err)
	}
	here, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("find the working directory: %w", err)
	}
	for _, t := range c.Targets() {
		p, isText := t.Field().(*string)
		if !t.Key.Path || !isText || *p == "" || filepath.IsAbs(*p) || *p == "system" {
			continue
		}
		if o, _ := c.Origin(t.Path); o.Name != "" {
			*p = filepath.Join(here, *p)
		} else {
			*p = filepath.Join(base, *p)
		}
	}
	return nil
}
