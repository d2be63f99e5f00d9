package config

import (
	"fmt"
	"strings"
)

// A configuration ends up in logs and test output sooner or later. So every way of printing a struct that contains a password masks
// the password.

// maskedText writes a section with its secrets masked.
func maskedText(sectionName string, value any) string {
	var b strings.Builder
	b.WriteString("{")
	for i := range SectionNamed(sectionName).Keys {
		key := &SectionNamed(sectionName).Keys[i]
		if i > 0 {
			b.WriteString(" ")
		}
		b.WriteString(key.Name + "=" + key.Show(value))
	}
	b.WriteString("}")
	return b.String()
}

// Format implements fmt.Formatter for every verb, including %#v.
func (s Server) Format(f fmt.State, _ rune) { fmt.Fprint(f, maskedText("server", &s)) }

// MarshalText implements encoding.TextMarshaler, for slog and encoding/json.
func (s Server) MarshalText() ([]byte, error) { return []byte(maskedText("server", &s)), nil }

// Format implements fmt.Formatter for every verb, including %#v.
func (a Auth) Format(f fmt.State, _ rune) { fmt.Fprint(f, maskedText("auth", &a)) }

// MarshalText implements encoding.TextMarshaler, for slog and encoding/json.
func (a Auth) MarshalText() ([]byte, error) { return []byte(maskedText("auth", &a)), nil }

// Format implements fmt.Formatter for every verb, including %#v.
func (a Admin) Format(f fmt.State, _ rune) { fmt.Fprint(f, maskedText("admin", &a)) }

// MarshalText implements encoding.TextMarshaler, for slog and encoding/json.
func (a Admin) MarshalText() ([]byte, error) { return []byte(maskedText("admin", &a)), nil }

// Format implements fmt.Formatter for every verb, including %#v.
func (d Database) Format(f fmt.State, _ rune) { fmt.Fprint(f, maskedText("databases", &d)) }

// MarshalText implements encoding.TextMarshaler, for slog and encoding/json.
func (d Database) MarshalText() ([]byte, error) { return []byte(maskedText("databases", &d)), nil }

// Format implements fmt.Formatter for every verb, including %#v.
func (r Resolved) Format(f fmt.State, _ rune) { fmt.Fprint(f, r.masked()) }

// MarshalText implements encoding.TextMarshaler, for slog and encoding/json.
func (r Resolved) MarshalText() ([]byte, error) { return []byte(r.masked()), nil }

func (r Resolved) masked() string {
	type plain Resolved // has no Format method
	p := plain(r)
	if p.ServerPassword != "" {
		p.ServerPassword = masked
	}
	return fmt.Sprintf("%+v", p)
}
